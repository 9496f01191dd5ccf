"""The directory as a server holds it in memory: read whole, in one transaction, whenever it changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from relay.declared import DEFAULT_TENANT
from relay.judging import Level
from relay.store import windows
from relay.store.directory import accounts, domains, installation, keys, tenants
from relay.store.directory.accounts import SesAccount
from relay.store.directory.domains import SenderDomain
from relay.store.directory.keys import ApiKey
from relay.store.directory.tenants import Tenant
from relay.store.webhooks import rows as webhooks
from relay.store.webhooks.rows import Webhook


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment: tenants and webhooks by id, accounts and domains by name, usable keys by hash.

    `levels`: of tenants whose shared sending does not stand well.
    """

    generation: int
    tenants: Mapping[int, Tenant]
    accounts: Mapping[str, SesAccount]
    domains: Mapping[str, SenderDomain]
    keys: Mapping[bytes, ApiKey] = field(repr=False)
    levels: Mapping[int, Level] = field(default_factory=dict)
    webhooks: Mapping[int, Webhook] = field(default_factory=dict)

    @property
    def default_tenant(self) -> Tenant:
        return next(tenant for tenant in self.tenants.values() if tenant.name == DEFAULT_TENANT)


def read(db: Connection) -> Snapshot:
    """The generation first: what changes while we read shows in the next look."""
    generation = installation.generation(db)
    return Snapshot(
        generation,
        {tenant.id: tenant for tenant in tenants.every(db)},
        {account.name: account for account in accounts.every(db)},
        {domain.name: domain for domain in domains.every(db)},
        {key.hash: key for key in keys.usable(db)},
        windows.levels(db),
        {webhook.id: webhook for webhook in webhooks.every(db)},
    )


def read_alone(db: Connection) -> Snapshot:
    """The same as all of a new transaction, and so of one moment: a key never comes without its tenant."""
    if db.dialect.name != "sqlite":  # there, a transaction sees one moment anyway
        db.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    return read(db)
