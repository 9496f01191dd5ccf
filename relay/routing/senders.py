"""Who may send as whom: API keys, tenants, and the sender domains of each. Held in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from relay.config import Plan
from relay.declared import Permission, SenderRule
from relay.errors import Kind, Problem
from relay.message import Address, Stream
from relay.routing import sender_rules, standing
from relay.routing.sender_rules import Rule
from relay.sealing import Sealer
from relay.store.clock import now_ms
from relay.store.directory.domains import SenderDomain, carrier
from relay.store.directory.keys import ApiKey
from relay.store.directory.snapshot import Snapshot
from relay.store.directory.tenants import Tenant

LOST_TRUST = "the API key for this address is revoked or has expired: ask the operator, or log in with another one"


@dataclass(frozen=True, slots=True)
class Credential:
    """On whose behalf something is asked. `key` is None for a trusted network that acts as no key.

    `rule`: what the listener or the trusted network says of senders, where the key says nothing. `is_trusted`: known by
    its address alone; it may still authenticate as someone else.
    """

    tenant: Tenant
    key: ApiKey | None
    rule: SenderRule | None = None
    is_trusted: bool = False

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

    @property
    def effective_rule(self) -> Rule | None:
        """Whose address its mail goes out under: its device's, or as its key says, or where it came in."""
        if self.key is not None:
            if self.key.device is not None:
                return sender_rules.of_device(self.key.device)
            if self.key.sender_rule is not None:
                return sender_rules.of_rule(self.key.sender_rule)
        return None if self.rule is None else sender_rules.of_rule(self.rule)

    def under(self, rule: SenderRule | None) -> Credential:
        """The same, where a listener has this rule."""
        return self if rule is None else replace(self, rule=rule)

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
        key = self._valid(self._sealer.hash_api_key(secret))
        return Credential(self.snapshot.tenants[key.tenant_id], key)

    def current(self, credential: Credential) -> Credential:
        """The same as it is now: a session may outlive its key, and its tenant's standing.

        Raises Problem(UNAUTHORIZED).
        """
        key = credential.key
        if key is not None:
            key = self._valid(key.hash, LOST_TRUST if credential.is_trusted else "")
        tenant = self.snapshot.tenants[credential.tenant_id]
        return Credential(tenant, key, credential.rule, credential.is_trusted)

    def _valid(self, key_hash: bytes, refusal: str = "") -> ApiKey:
        key = self.snapshot.keys.get(key_hash)
        now = now_ms()
        if key is None or not key.is_valid(now):
            raise Problem(Kind.UNAUTHORIZED, refusal)
        self._used[key.id] = now
        return key

    def take_used(self) -> dict[int, int]:
        """When keys were last used since this was last asked, by id."""
        used, self._used = self._used, {}
        return used

    def plan(self, tenant: Tenant) -> Plan:
        return standing.plan_of(tenant, self.plans)

    # -- domains -----------------------------------------------------------------------------------------------------

    def find(self, domain: str, tenant_id: int) -> SenderDomain | None:
        """The tenant's registered domain that carries this one."""
        return carrier(domain, tenant_id, self.snapshot.domains)

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

    def default_sender(self, credential: Credential, domain: str | None = None) -> Address | None:
        """Whom mail without a From is from: the default sender of that domain, or of the first that has one.

        Only domains that the credential may send as count.
        """
        for each in self._domains_of(credential):
            if each.default_sender and domain in (None, each.name):
                return Address.parse(each.default_sender)
        return None

    def first_ready(self, credential: Credential) -> SenderDomain | None:
        """The first domain that the credential may send as now."""
        tenant = credential.tenant
        plan = self.plan(tenant)
        ready = (each for each in self._domains_of(credential) if standing.refused_domain(each, tenant, plan) is None)
        return next(ready, None)

    def _domains_of(self, credential: Credential) -> Iterator[SenderDomain]:
        for domain in self.snapshot.domains.values():
            is_theirs = domain.tenant_id == credential.tenant_id
            if is_theirs and (credential.scope is None or domain.name in credential.scope):
                yield domain
