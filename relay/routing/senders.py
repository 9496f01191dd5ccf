"""Who may send as whom: API keys, tenants, and the sender domains of each. Held in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relay.config import Plan
from relay.declared import Permission
from relay.errors import Kind, Problem
from relay.message import Address, Stream
from relay.routing import standing
from relay.sealing import Sealer
from relay.store.clock import now_ms
from relay.store.directory.domains import SenderDomain
from relay.store.directory.keys import ApiKey
from relay.store.directory.snapshot import Snapshot
from relay.store.directory.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Credential:
    """On whose behalf something is asked. `key` is None for a trusted network."""

    tenant: Tenant
    key: ApiKey | None

    @property
    def tenant_id(self) -> int:
        return self.tenant.id

    @property
    def key_id(self) -> int | None:
        return None if self.key is None else self.key.id

    @property
    def permission(self) -> Permission:
        return Permission.SEND_ONLY if self.key is None else self.key.permission

    @property
    def scope(self) -> frozenset[str] | None:
        """The only domains it may send as, and manage. None: every one of its tenant."""
        return None if self.key is None else self.key.domains

    def require(self, permission: Permission) -> None:
        """Raises Problem(FORBIDDEN) where the key is for less."""
        if not self.permission.includes(permission):
            raise Problem(
                Kind.FORBIDDEN, f"this API key is {self.permission.value}; the request needs {permission.value}"
            )


class Senders:
    """Keys, tenants and domains as they are now; `replace` when the directory has changed."""

    def __init__(self, sealer: Sealer, snapshot: Snapshot, plans: Mapping[str, Plan]) -> None:
        self._sealer = sealer
        self.snapshot = snapshot
        self.plans = plans
        self._used: dict[int, int] = {}

    def replace(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    # -- credentials -------------------------------------------------------------------------------------------------

    def authenticate(self, secret: str) -> Credential:
        """Whose key this is. Raises Problem(NO_CREDENTIAL | UNAUTHORIZED).

        The look-up is by keyed hash: what its time could tell is of no use without the installation key.
        """
        if not secret:
            raise Problem(Kind.NO_CREDENTIAL)
        return self._known(self._sealer.hash_api_key(secret))

    def current(self, credential: Credential) -> Credential:
        """The same as it is now: a session may outlive its key, and its tenant's standing.

        Raises Problem(UNAUTHORIZED).
        """
        if credential.key is None:
            return Credential(self.snapshot.tenants[credential.tenant_id], None)
        return self._known(credential.key.hash)

    def _known(self, key_hash: bytes) -> Credential:
        key = self.snapshot.keys.get(key_hash)
        now = now_ms()
        if key is None or not key.is_valid(now):
            raise Problem(Kind.UNAUTHORIZED)
        self._used[key.id] = now
        return Credential(self.snapshot.tenants[key.tenant_id], key)

    def trusted(self) -> Credential:
        """What a client on a trusted network may do without a key."""
        return Credential(self.snapshot.default_tenant, None)

    def take_used(self) -> dict[int, int]:
        """When keys were last used since this was last asked, by id."""
        used, self._used = self._used, {}
        return used

    def plan(self, tenant: Tenant) -> Plan:
        return standing.plan_of(tenant, self.plans)

    # -- domains -----------------------------------------------------------------------------------------------------

    def find(self, domain: str, tenant_id: int) -> SenderDomain | None:
        """The tenant's registered domain that carries this one: itself, or the longest parent with its subdomains.

        Another tenant's longer match keeps it from the parent; but only one that is known to be that tenant's, or a
        mere claim would cut off someone else's mail.
        """
        name, is_exact = domain, True
        while True:
            found = self.snapshot.domains.get(name)
            if found is not None and (is_exact or found.include_subdomains):
                if found.tenant_id == tenant_id:
                    return found
                if found.is_claimed and found.verified_at is not None:
                    return None
            _, dot, name = name.partition(".")
            is_exact = False
            if not dot:
                return None

    def registered(self, credential: Credential, address: Address) -> SenderDomain:
        """The domain of the credential's tenant that carries an address. Raises Problem(NOT_REGISTERED)."""
        found = self.find(address.domain, credential.tenant_id)
        if found is None:
            raise Problem(
                Kind.NOT_REGISTERED,
                f"{address.domain} is not registered here: use an address of a registered domain, or ask the operator "
                "to add it",
            )
        return found

    def route(self, credential: Credential, address: Address, stream: Stream | None = None) -> SenderDomain:
        """Where mail of this author goes, if it may be sent at all.

        Raises Problem(SUSPENDED | NOT_REGISTERED | FORBIDDEN | NOT_APPROVED | NOT_VERIFIED), in this order.
        """
        self.require_standing(credential)
        domain = self.registered(credential, address)
        if credential.scope is not None and domain.name not in credential.scope:
            raise Problem(Kind.FORBIDDEN, f"this API key is not for {domain.name}")
        tenant = credential.tenant
        problem = standing.refused_domain(domain, tenant, self.plan(tenant))
        if problem is None and stream is not None:
            problem = standing.refused_stream(domain, stream)
        if problem is not None:
            raise problem
        return domain

    def require_standing(self, credential: Credential) -> None:
        """Raises Problem(SUSPENDED)."""
        if (problem := standing.refused_tenant(credential.tenant)) is not None:
            raise problem

    def default_sender(self, credential: Credential) -> Address | None:
        """Whom mail without a From is from: the default sender of the first domain the credential may send as."""
        for domain in self.snapshot.domains.values():
            is_theirs = domain.tenant_id == credential.tenant_id
            if is_theirs and domain.default_sender and (credential.scope is None or domain.name in credential.scope):
                return Address.parse(domain.default_sender)
        return None
