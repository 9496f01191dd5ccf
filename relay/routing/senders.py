"""Who may send as whom: API keys, the sender domains and the SES account of each. Held in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.config import SenderDomain
from relay.errors import Kind, Problem
from relay.message import Address, Mode
from relay.sealing import Sealer
from relay.store.clock import now_ms
from relay.store.directory import ApiKey, Permission


@dataclass(frozen=True, slots=True)
class Credential:
    """On whose behalf something is asked. `key_id` is None for a trusted network."""

    tenant_id: int
    key_id: int | None
    permission: Permission

    def require(self, permission: Permission) -> None:
        """Raises Problem(FORBIDDEN) where the key is for less."""
        order = list(Permission)
        if order.index(self.permission) < order.index(permission):
            raise Problem(
                Kind.FORBIDDEN, f"this API key is {self.permission.value}; the request needs {permission.value}"
            )


@dataclass(frozen=True, slots=True)
class Route:
    """Where a sender domain's mail goes. `name` is the registered domain, which may be a parent of the sender's."""

    name: str
    mode: Mode
    account: str


class Senders:
    """Keys and domains as they are now; `replace_keys` when the database has changed."""

    def __init__(self, domains: Mapping[str, SenderDomain], sealer: Sealer, tenant_id: int) -> None:
        self._domains = domains
        self._sealer = sealer
        self._tenant_id = tenant_id
        self._keys: dict[bytes, ApiKey] = {}

    def replace_keys(self, keys: Iterable[ApiKey]) -> None:
        self._keys = {key.hash: key for key in keys}

    def authenticate(self, secret: str) -> Credential:
        """Whose key this is. Raises Problem(NO_CREDENTIAL | UNAUTHORIZED).

        The look-up is by keyed hash: what its time could tell is of no use without the installation key.
        """
        if not secret:
            raise Problem(Kind.NO_CREDENTIAL)
        key = self._keys.get(self._sealer.hash_api_key(secret))
        if key is None or not key.is_valid(now_ms()):
            raise Problem(Kind.UNAUTHORIZED)
        return Credential(key.tenant_id, key.id, key.permission)

    def trusted(self) -> Credential:
        """What a client on a trusted network may do without a key."""
        return Credential(self._tenant_id, None, Permission.SEND_ONLY)

    def find(self, domain: str) -> Route | None:
        """The registered domain that carries this one: itself, or the longest parent that includes subdomains."""
        if (exact := self._domains.get(domain)) is not None:
            return Route(domain, exact.mode, exact.account)
        parent = domain
        while "." in parent:
            parent = parent.partition(".")[2]
            above = self._domains.get(parent)
            if above is not None and above.include_subdomains:
                return Route(parent, above.mode, above.account)
        return None

    def route(self, credential: Credential, address: Address) -> Route:
        """Where mail of this sender goes. Raises Problem(NOT_REGISTERED)."""
        found = self.find(address.domain) if credential.tenant_id == self._tenant_id else None
        if found is None:
            raise Problem(
                Kind.NOT_REGISTERED,
                f"{address.domain} is not registered here: use an address of a registered domain, or ask the operator "
                "to add it",
            )
        return found
