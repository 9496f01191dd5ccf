"""A relay with many tenants, made as commands make them: by the store's own functions, beside the running server."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, select

from relay.declared import AccountFields, DomainFields, DomainStatus, KeyFields, TenantFields
from relay.sandbox.accounts import Account
from relay.store.beside import Beside, open_beside
from relay.store.directory import accounts, domains, keys, tenants
from relay.store.directory.audit import Actor
from relay.store.directory.domains import Finding, SenderDomain
from relay.store.directory.keys import ApiKey
from relay.store.directory.tenants import Tenant
from relay.store.schema import metadata
from tests.dns_server import DnsServer
from tests.support import Answer, World, wait_for
from tests.wire import Wire

Found = TypeVar("Found")

ROOT = "/api/v1"
ACTOR = Actor("command test", is_operator=True)
TRUSTED = "127.0.0.2"  # from here one sends without a key
STRANGER = "127.0.0.1"
NOTICED_WITHIN = 5.0  # seconds; 2 are promised, a busy machine gets more
FAR = timedelta(days=365)
ANYTHING = 100_000  # requests a minute
ANYWHERE = {"address": "127.0.0.1:0"}
LISTENERS = [
    ANYWHERE | {"tls": "starttls"},
    ANYWHERE | {"tls": "implicit"},
    ANYWHERE | {"tls": "none", "auth_without_tls": True, "trusted_networks": [f"{TRUSTED}/32"]},
]
# Each has every domain under .example as an identity.
SANDBOX = [
    Account(name, ("example", "shared.example", "byoc.example"), daily_quota=-1) for name in ("operator", "customer")
]


@dataclass
class House:
    """`operator` is an admin key of the default tenant."""

    world: World
    beside: Beside
    operator: str
    _runner: asyncio.Runner
    _sources: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def change(self, work: Callable[[Connection], Found]) -> Found:
        """What a command does, in one transaction beside the server."""
        return self._runner.run(self.beside.change(work))

    read = change

    # -- making things -----------------------------------------------------------------------------------------------

    def tenant(self, name: str, *, is_approved: bool = True, **fields: Any) -> Tenant:
        said = TenantFields.model_validate(fields)
        return self.change(lambda db: tenants.create(db, ACTOR, name, said, is_approved=is_approved))

    def account(self, name: str, tenant: str) -> accounts.SesAccount:
        """Its own name, the sandbox's `customer`."""
        said = AccountFields.model_validate(
            {
                "region": "eu-west-1",
                "tenant": tenant,
                "endpoint_url": self.world.sandbox_url,
                "rate": 900,
                "credentials": {"access_key_id": "customer", "secret_access_key": "a-secret-of-16-or-more"},
            }
        )
        return self.change(lambda db: accounts.add(db, self.beside.sealer, ACTOR, name, said))

    def domain(
        self,
        name: str,
        tenant: str,
        mode: str = "byoc",
        *,
        is_verified: bool = True,
        is_vouched: bool = True,
        **fields: Any,
    ) -> SenderDomain:
        """By default vouched for and verified, and not looked at again."""
        account = {"byoc": "customer", "shared": "operator"}[mode]
        said = DomainFields.model_validate({"mode": mode, "tenant": tenant, "account": account, **fields})

        def add(db: Connection) -> SenderDomain:
            made = domains.add(db, ACTOR, name, said, is_vouched=is_vouched)
            status = DomainStatus.VERIFIED if is_verified else DomainStatus.PENDING
            record = {"name": f"_dmarc.{name}", "type": "TXT", "value": "v=DMARC1; p=none;", "purpose": "dmarc"}
            records = (record | {"required": False},)
            finding = Finding(made.id, made.account_id, None, status, made.is_claimed, records, (), (), 0, FAR)
            settled = domains.settle(db, ACTOR, finding)
            assert settled is not None
            return settled

        return self.change(add)

    def key(self, tenant: str, permission: str = "send_only", **fields: Any) -> str:
        return self.whole_key(tenant, permission, **fields)[1]

    def whole_key(self, tenant: str, permission: str = "send_only", **fields: Any) -> tuple[ApiKey, str]:
        said = KeyFields.model_validate({"name": "k", "tenant": tenant, "permission": permission, **fields})
        return self.change(lambda db: keys.create(db, self.beside.sealer, ACTOR, said))

    def settle(self) -> None:
        """Until the server knows all that was made so far: it takes over whole directories, in their order."""
        secret, source = (
            self.key("default"),
            f"127.0.9.{next(self._sources)}",
        )  # asking is a failed login, until it is not
        wait_for(lambda: self.send(key=secret, source=source).status == 400)

    # -- asking ------------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None, **more: str) -> Answer:
        """A management request, by default the operator's."""
        return self.world.call(method, ROOT + path, body, key=self.operator if key is None else key, **more)

    def send(self, key: str = "", source: str = "", **members: Any) -> Answer:
        """A message by HTTP. Without members it is one that is refused, but for a key that is."""
        fields = {"from" if name == "author" else name: value for name, value in members.items()}
        return self.world.call("POST", f"{ROOT}/emails", fields, key=key, source=source)

    def send_status(self, public_id: str, key: str) -> dict[str, Any]:
        """What became of a message."""
        answer = self.world.call("GET", f"{ROOT}/emails/{public_id}", key=key)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    def session(self, key: str | None, source: str = STRANGER) -> Wire:
        """An SMTP session up to MAIL, authenticated if there is a key."""
        wire = Wire(self.world.plain, source=source)
        assert wire.reply().startswith("220 ")
        assert wire.say("EHLO client.test").startswith("250 ")
        if key is not None:
            reply = wire.say(f"AUTH PLAIN {login(key)}")
            assert reply.startswith("235 "), reply
        return wire


def login(key: str) -> str:
    return base64.b64encode(b"\0user\0" + key.encode()).decode()


@contextmanager
def housing(folder: Path, database: str, **overrides: Any) -> Iterator[House]:
    rates = {"requests_per_minute": ANYTHING, "management_requests_per_minute": ANYTHING}
    with (
        DnsServer() as dns,
        World(
            folder,
            accounts=SANDBOX,
            **{"smtp": {"listeners": LISTENERS}, "http": rates, "dns": {"nameservers": [dns.nameserver]}} | overrides,
            database=database,
        ) as world,
        asyncio.Runner() as runner,
    ):
        opening = open_beside(world.settings)
        beside = runner.run(opening.__aenter__())
        try:
            house = House(world, beside, "", runner)
            house.operator = house.key("default", "admin")
            house.settle()
            yield house
        finally:
            runner.run(opening.__aexit__(None, None, None))


# -- SMTP ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Letter:
    """A message, and as whom it is sent. `key` None: none is given. `sender` is the envelope's, if another."""

    key: str | None
    author: str
    sender: str = ""
    to: Sequence[str] = ("ana@one.test",)
    headers: Mapping[str, str] = ()  # type: ignore[assignment]
    source: str = STRANGER

    @property
    def text(self) -> bytes:
        named = {"From": self.author, "To": ", ".join(self.to), "Subject": "Hi", **dict(self.headers)}
        return "".join(f"{name}: {value}\r\n" for name, value in named.items()).encode() + b"\r\nHi\r\n."


def by_smtp(house: House, letter: Letter) -> tuple[str, str]:
    """Go as far as the server lets us: the step it refused, or "" where it took the message, and its reply."""
    with house.session(None, letter.source) as wire:
        steps: list[tuple[str, str | bytes]] = [("MAIL", f"MAIL FROM:<{letter.sender or letter.author}>")]
        if letter.key is not None:
            steps.insert(0, ("AUTH", f"AUTH PLAIN {login(letter.key)}"))
        steps += [("RCPT", f"RCPT TO:<{each}>") for each in letter.to]
        steps += [("DATA", "DATA"), ("DATA", letter.text)]
        for step, line in steps:
            reply = wire.say(line)
            if reply[0] not in "23":
                return step, reply
        return "", reply


def by_http(house: House, letter: Letter) -> Answer:
    """The same over HTTP, where there is no envelope sender."""
    members = {"to": list(letter.to), "subject": "Hi", "text": "Hi"}
    if letter.headers:
        members["headers"] = dict(letter.headers)
    return house.send(letter.key or "", letter.source, author=letter.author, **members)


# -- rows ------------------------------------------------------------------------------------------------------------

UNSTEADY = {"last_used_at"}  # noted by servers now and then


def rows_of(db: Connection, tenant_id: int) -> dict[str, list[dict[str, Any]]]:
    """Every row that is a tenant's, or hangs on one of its, in every table."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table in metadata.sorted_tables:
        condition = _theirs(table, tenant_id)
        if condition is not None:
            rows = db.execute(select(table).where(condition).order_by(*table.primary_key.columns)).mappings()
            found[table.name] = [{n: v for n, v in row.items() if n not in UNSTEADY} for row in rows]
    return found


def _theirs(table: Table, tenant_id: int) -> ColumnElement[bool] | None:
    if table.name == "tenants":
        return table.c.id == tenant_id
    if "tenant_id" in table.c:
        return table.c.tenant_id == tenant_id
    for key in table.foreign_keys:
        above = _theirs(key.column.table, tenant_id)
        if above is not None:
            return key.parent.in_(select(key.column).where(above))
    return None
