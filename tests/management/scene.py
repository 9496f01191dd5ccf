"""What stories of sender domains share: a real store, a sandbox for SES, a DNS server, and a desk between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, update
from sqlalchemy.engine import URL

from relay.declared import AccountFields, DomainFields, TenantFields
from relay.dns import Resolver
from relay.management.desk import Desk
from relay.management.reaching import base_of
from relay.message import Mode
from relay.sandbox.accounts import Account
from relay.sandbox.faults import read_script
from relay.sandbox.server import Running
from relay.sandbox.server import running as running_sandbox
from relay.sealing import MasterKey
from relay.ses.clients import Accounts
from relay.settings import Aws
from relay.store import database
from relay.store.directory import accounts, domains, tenants
from relay.store.directory.audit import FILE, Actor
from relay.store.directory.domains import SenderDomain
from relay.store.schema import domains as domain_rows
from relay.store.store import Store, open_store
from tests.dns_server import DnsServer, records

ACTOR = Actor("command test", is_operator=True)
OWNED = "owned.example"  # an identity that the operator's account has had for ever


@dataclass(frozen=True)
class Scene:
    store: Store
    sandbox: Running
    dns: DnsServer
    clients: Accounts
    resolver: Resolver
    desk: Desk

    async def tenant(self, name: str) -> None:
        await self.store.change(lambda db: tenants.create(db, ACTOR, name, TenantFields(), is_approved=True))

    async def account(self, name: str = "operator", tenant: str | None = None, **changes: Any) -> None:
        fields = AccountFields.model_validate(
            {
                "region": "eu-west-1",
                "tenant": tenant,
                "endpoint_url": self.sandbox.url,
                "credentials": {"access_key_id": name, "secret_access_key": "0123456789abcdef-not-shown"},
                **changes,
            }
        )
        await self.store.change(lambda db: accounts.add(db, self.store.sealer, ACTOR, name, fields))

    async def add(self, name: str, tenant: str = "acme", *, is_vouched: bool = False, **fields: Any) -> SenderDomain:
        said = DomainFields.model_validate({"mode": Mode.SHARED, "tenant": tenant, **fields})
        return await self.desk.add_domain(ACTOR, name, said, is_vouched=is_vouched)

    async def declare(self, name: str, **fields: Any) -> SenderDomain:
        """A domain as the configuration file has it."""
        said = DomainFields.model_validate({"mode": Mode.SHARED, **fields})
        return await self.store.change(lambda db: domains.add(db, FILE, name, said))

    async def find(self, name: str) -> SenderDomain:
        return await self.store.read(lambda db: domains.find(db, name))

    async def verify(self, name: str) -> SenderDomain:
        return await self.desk.verify_domain(ACTOR, await self.find(name))

    def publish(self, published: Iterable[Mapping[str, Any]], *purposes: str) -> None:
        """Put these records into the DNS, or those of the purposes only."""
        for record in published:
            if not purposes or record["purpose"] in purposes:
                value = f'"{record["value"]}"' if record["type"] == "TXT" else f"{record['value']}."
                self.dns.zone[record["name"], record["type"]] = records(f"{record['type']} {value}")

    def withdraw(self, published: Iterable[Mapping[str, Any]], *purposes: str) -> None:
        for record in published:
            if record["purpose"] in purposes:
                self.dns.zone.pop((record["name"], record["type"]), None)

    def fail(
        self, operation: str, code: str, text: str = "", *, times: int | None = 1, account: str | None = None
    ) -> None:
        """Let SES answer so, the next `times`; None: until `mend`."""
        fault = {"error": code, "message": text}
        script = {"account": account, "operation": operation, "times": times, "fault": fault}
        self.sandbox.state.faults.scripts.append(
            read_script(json.dumps(script).encode(), set(self.sandbox.state.accounts))
        )

    def mend(self) -> None:
        self.sandbox.state.faults.scripts.clear()

    async def age(self, name: str, by: timedelta) -> None:
        """Let time pass for a domain: all of its moments are earlier by so much."""
        await self.store.change(lambda db: _age(db, name, int(by.total_seconds() * 1000)))

    def identity(self, name: str, account: str = "operator") -> Any:
        """What SES has, from its own books."""
        [region] = [each for (owner, _), each in self.sandbox.state._regions.items() if owner == account]
        return region.identities.find(name)


def _age(db: Connection, name: str, by: int) -> None:
    moments = (domain_rows.c.checked_at, domain_rows.c.check_at, domain_rows.c.created_at)
    db.execute(
        update(domain_rows).where(domain_rows.c.name == name).values({moment: moment - by for moment in moments})
    )


def play(url: URL, story: Callable[[Scene], Awaitable[None]], *, sts_url: str | None = None) -> None:
    """Run a story. There are the tenants default and acme, and the SES account operator. `sts_url`: of an STS."""
    known = [Account("operator", (OWNED,)), Account("customer", ()), Account("another", ())]

    base = {"access_key_id": "relay", "secret_access_key": "base-secret"}
    aws = Aws.model_validate({"credentials": base, "sts_endpoint_url": sts_url})

    async def run() -> None:
        if not database.is_sqlite(url):
            await database.migrate_postgresql(url)
        with DnsServer() as dns:
            async with (
                open_store(url, MasterKey(bytes(32))) as store,
                running_sandbox(known, nameserver=dns.nameserver) as sandbox,
                Accounts(base_of(aws)) as clients,
            ):
                resolver = Resolver([dns.nameserver])
                scene = Scene(store, sandbox, dns, clients, resolver, Desk(store, clients, resolver))
                await scene.tenant("acme")
                await scene.account()
                await story(scene)
                await resolver.close()

    asyncio.run(run())


def check(domain: SenderDomain, purpose: str) -> Mapping[str, Any]:
    [found] = [each for each in domain.checks if each["purpose"] == purpose]
    return found


def statuses(domain: SenderDomain) -> dict[str, str]:
    return {each["purpose"]: each["status"] for each in domain.checks}
