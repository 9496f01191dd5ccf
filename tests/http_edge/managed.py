"""A relay with an operator, and two tenants with keys of every sort, to be managed over real sockets."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relay.declared import Permission
from relay.store.beside import with_database
from relay.store.database import migrate_postgresql
from relay.store.directory import audit
from relay.store.directory.audit import Entry
from tests import databases
from tests.dns_server import DnsServer
from tests.ses.sts_server import Sts
from tests.ses.sts_server import running as running_sts
from tests.support import Answer, World, wait_for

ROOT = "/api/v1"
# On PostgreSQL with `make soak`: what is stored is tested on both, below the edge.
DATABASES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.soak))
PLANS = {
    "free": {"monthly": 100, "daily_guideline": 10},
    "pro": {"needs": ["approval", "contact"]},
}


@dataclass
class Managed:
    """`full`, `scoped` and `send_only` are keys of the tenant acme; `other` is a full key of the tenant umbra.

    `scoped` is for scoped.example alone, a byoc domain of acme through its account acme-ses; acme.example is another.
    """

    world: World
    sts: Sts
    dns: DnsServer
    operator: str
    full: str = ""
    scoped: str = ""
    send_only: str = ""
    other: str = ""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Answer:
        """One request, by default with the operator's key."""
        return self.world.call(method, ROOT + path, body, key=self.operator if key is None else key, **headers)

    def made(self, path: str, body: Any, *, key: str | None = None) -> Any:
        """What was made of it."""
        answer = self.ask("POST", path, body, key=key)
        assert answer.status == 201, answer.body
        assert answer.headers["location"].startswith(ROOT + path.partition("?")[0])
        return answer.json

    def name(self, what: str) -> str:
        """A fresh one."""
        return f"{what}-{next(self._numbers)}"

    def tenant(self, **fields: Any) -> str:
        name: str = self.made("/tenants", {"name": self.name("tenant"), **fields})["name"]
        return name

    def account(self, **fields: Any) -> str:
        body = {"name": self.name("account"), "region": "eu-west-1", "endpoint_url": self.world.sandbox_url}
        body |= {"credentials": {"access_key_id": "customer", "secret_access_key": "a-secret-of-16-or-more"}}
        name: str = self.made("/ses-accounts", body | fields)["name"]
        return name

    def domain(self, **fields: Any) -> str:
        body = {"domain": f"{self.name('d')}.example", "mode": "byoc", "tenant": "acme", "account": "acme-ses"}
        name: str = self.made("/domains", body | fields)["domain"]
        return name

    def key(self, **fields: Any) -> Any:
        """With the secret as `key`, which the server knows within two seconds."""
        return self.made("/keys", {"name": self.name("key"), "tenant": "acme", **fields})

    def usable(self, **fields: Any) -> str:
        """A key's secret, once the server knows it."""
        secret: str = self.key(**fields)["key"]
        self.wait_for_key(secret)
        return secret

    def wait_for_key(self, secret: str) -> None:
        wait_for(lambda: self.ask("GET", "/stats", key=secret).status != 401)

    def suppression(self) -> str:
        address = f"{self.name('gone')}@one.test"
        assert self.ask("POST", "/suppressions", {"address": address, "tenant": "acme"}).status == 201
        return address

    def template(self, **fields: Any) -> str:
        body = {"name": self.name("template"), "subject": "Hi", "text": "Hello", "tenant": "acme"}
        name: str = self.made("/templates", body | fields)["name"]
        return name

    def webhook(self, **fields: Any) -> str:
        """Its id. Nobody listens there."""
        body = {"url": f"http://127.0.0.1:9/{self.name('hook')}", "tenant": "acme", **fields}
        made: str = self.made("/webhooks", body)["id"]
        return made

    def webhook_post(self) -> str:
        """The path of what was posted to a webhook."""
        answer = self.ask("POST", f"/webhooks/{self.webhook()}/test")
        assert answer.status == 201, answer.body
        return str(answer.headers["location"]).removeprefix(ROOT)

    def audited(self, target: str) -> list[Entry]:
        """What was written down about it, the newest first."""
        return with_database(
            self.world.settings, lambda db, _: audit.entries(db, target=target, tenant_id=None, limit=100)
        )


class _World(World):
    def new_key(self, permission: Permission) -> str:
        """In a thread of its own: on PostgreSQL it takes an event loop, and here is one already."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(super().new_key, permission).result()


def _database(kind: str) -> str:
    """The setting for an empty database of this kind, with its schema where a server does not make it."""
    if kind == "sqlite":
        return "relay.db"
    url = databases.postgresql()
    asyncio.run(migrate_postgresql(url))
    return databases.setting(url)


@contextmanager
def managing(folder: Path, kind: str = "sqlite") -> Iterator[Managed]:
    """`kind`: of the database, one of DATABASES."""
    overrides = {
        "plans": PLANS,
        "webhooks": {"allow_networks": ["127.0.0.0/8"], "allow_plain": True},
        "http": {
            "management_requests_per_minute": 100_000,
            "requests_per_minute": 100_000,
            "dialect_requests_per_minute": dict.fromkeys(("sendfleet", "mailerlogic", "sendmux"), 100_000),
        },
    }
    with running_sts() as sts, DnsServer() as dns:
        aws = {
            "sts_endpoint_url": sts.url,
            "credentials": {"access_key_id": "relay", "secret_access_key": "a-secret-of-the-relay"},
        }
        with _World(
            folder, **overrides, database=_database(kind), aws=aws, dns={"nameservers": [dns.nameserver]}
        ) as world:
            managed = Managed(world, sts, dns, world.new_key(Permission.ADMIN))
            managed.wait_for_key(managed.operator)
            for name in ("acme", "umbra"):
                managed.made("/tenants", {"name": name})
            for name in ("acme", "umbra", "default"):
                managed.account(name=f"{name}-ses", tenant=name)
            for domain in ("acme.example", "scoped.example"):
                managed.domain(domain=domain)
            keys = {
                "full": {"permission": "full"},
                "scoped": {"permission": "full", "domains": ["scoped.example"]},
                "send_only": {},
                "other": {"permission": "full", "tenant": "umbra"},
            }
            made = {name: managed.key(name=name, **fields)["key"] for name, fields in keys.items()}
            for name, secret in made.items():
                managed.wait_for_key(secret)
                setattr(managed, name, secret)
            yield managed
