"""A sandbox and a relay in one background thread, to be talked to over real sockets."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import threading
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from relay import app, config
from relay.cli.starting import create_key
from relay.declared import Permission
from relay.sandbox.accounts import Account
from relay.sandbox.server import running as running_sandbox
from relay.store import suppressions
from relay.store.beside import with_database
from relay.store.directory import installation
from relay.store.directory.audit import Actor
from tests.processes import wait_until

PATIENCE = 15.0  # seconds
DOMAINS = {"operator": "shared.example", "customer": "byoc.example"}  # by account
ACCOUNTS = [Account(name, (domain,), daily_quota=-1) for name, domain in DOMAINS.items()]
Found = TypeVar("Found")


def relay_settings(folder: Path, sandbox_url: str, *, via: str = "none", **overrides: Any) -> config.Settings:
    """Settings as from a file, which is left in `folder`. An override replaces single members of its section.

    `via`: how events come; without them nothing waits to learn an outcome. SANDBOX_URL stands for itself in any override.
    """
    anywhere = {"address": "127.0.0.1:0"}
    trusted = {"tls": "none", "trusted_networks": ["127.0.0.1/32"]}
    account = {"region": "eu-west-1", "endpoint_url": sandbox_url, "rate": 900, "feedback": {"via": via}}
    raw: dict[str, Any] = {
        "hostname": "relay.test",
        "smtp": {
            "login_delay": "0s",
            "listeners": [anywhere | {"tls": "starttls"}, anywhere | {"tls": "implicit"}, anywhere | trusted],
        },
        "http": anywhere,
        "ses_accounts": {
            each.name: account | {"credentials": {"access_key_id": each.name, "secret_access_key": "any"}}
            for each in ACCOUNTS
        },
        "domains": {
            "shared.example": {"mode": "shared", "account": "operator"},
            "byoc.example": {"mode": "byoc", "account": "customer"},
        },
        "mx": {"policy": "off"},
    }
    for section, members in overrides.items():
        raw[section] = {**raw.get(section, {}), **members} if isinstance(members, dict) else members
    file = folder / "config.yaml"
    file.write_text(json.dumps(raw).replace("SANDBOX_URL", sandbox_url))  # JSON is YAML
    return config.load(file)


def wait_for(ask: Callable[[], Found], patience: float = PATIENCE) -> Found:
    """What `ask` answers as soon as that is true."""
    return wait_until(ask, "it", patience)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]  # by lower-case name
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class World:
    """A sandbox and a relay while the context is open. `key` may do everything a sender may.

    `accounts` are those of the sandbox; `via` is how events come. `database` is one of `overrides`, and has its schema
    if it is on PostgreSQL.
    """

    def __init__(self, folder: Path, *, accounts: Sequence[Account] = ACCOUNTS, **overrides: Any) -> None:
        self.folder = folder
        self._accounts = accounts
        self._overrides = overrides
        self._ready = threading.Event()
        self._thread = ThreadPoolExecutor(1, "world")

    def __enter__(self) -> Self:
        self._end = self._thread.submit(lambda: asyncio.run(self._live()))
        self._end.add_done_callback(lambda _: self._ready.set())
        self._ready.wait()
        if self._end.done():
            self._end.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._end.result()
        self._thread.shutdown()

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with running_sandbox(self._accounts) as sandbox:
            self.sandbox_url = sandbox.url
            self.settings = relay_settings(self.folder, sandbox.url, **self._overrides)
            self.key = await asyncio.to_thread(self.new_key, Permission.FULL)
            async with app.running(self.settings) as server:
                self.starttls, self.tls, self.plain = server.smtp_ports
                self.http = server.http_port
                self._ready.set()
                await self._stop.wait()

    def new_key(self, permission: Permission) -> str:
        """A running relay knows it within two seconds."""
        return create_key(self.folder / "config.yaml", "test", permission)

    def suppress(self, address: str) -> None:
        """On the default tenant's list."""
        entry = suppressions.Entry(address, "bounced")
        with_database(
            self.settings,
            lambda db, _: suppressions.suppress(db, Actor("test"), installation.default_tenant(db), entry),
        )

    def messages(self) -> list[dict[str, Any]]:
        """What SES accepted, oldest first, `raw` as octets."""
        with urllib.request.urlopen(f"{self.sandbox_url}/messages") as answer:
            return [{**each, "raw": base64.b64decode(each["raw"])} for each in json.load(answer)]

    def forget_messages(self) -> None:
        """Empty the sandbox's list: large messages in it would make every later look at it slow."""
        with urllib.request.urlopen(urllib.request.Request(f"{self.sandbox_url}/messages", method="DELETE")):
            pass

    def sent_to(self, address: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for what SES accepted for this recipient."""

        def arrived() -> list[dict[str, Any]]:
            found = [message for message in self.messages() if address in message["recipients"]]
            return found if len(found) >= count else []

        found = wait_for(arrived)
        assert len(found) == count
        return found

    def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, source: str = "", **headers: str
    ) -> Answer:
        """One HTTP request, by default with the key. `key=""`: none. Octets go out as they are, all else as JSON.

        `source`: the address it comes from, any of 127.0.0.0/8.
        """
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if key != "":
            fields.setdefault("Authorization", f"Bearer {key or self.key}")
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.http, timeout=PATIENCE, source_address=(source, 0) if source else None
        )
        try:
            octets = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, octets, fields)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        [value] = re.findall(rf"(?m)^{name} (\S+)$", self.call("GET", "/metrics").body.decode())
        return float(value)
