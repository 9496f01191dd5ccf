"""What `relay doctor` examines: a server and its sandbox, two accounts that are set up whole, and a DNS that has it all.

What a test breaks it breaks at AWS, by AWS's own operations or by the sandbox's scripts, and `Scene.mend` mends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.dns import Resolver
from relay.management.desk import Desk
from relay.management.doctoring.checked import Checked
from relay.management.doctoring.examination import Asked, examine
from relay.management.doctoring.tools import Tools
from relay.management.setting_up import USUAL
from relay.ses.clients import Accounts
from relay.store.beside import open_beside
from relay.store.directory import accounts
from relay.store.directory.audit import Actor
from tests.cli.program import found, relay
from tests.dns_server import DnsServer, records
from tests.processes import free_ports
from tests.support import DOMAINS, World

HOST = "relay.test"
ACCOUNT = "operator"
DOMAIN = DOMAINS[ACCOUNT]
SETS = {stream: f"relay-{stream}" for stream in ("transactional", "shared", "broadcast")}


class Scene:
    """`aws` calls an operation of a service with the credentials of the account that is broken."""

    def __init__(
        self, world: World, dns: DnsServer, runner: asyncio.Runner, clients: dict[str, Any], tools: Tools
    ) -> None:
        self.world = world
        self.dns = dns
        self.folder = world.folder
        self._runner = runner
        self._clients = clients
        self._tools = tools
        self._zone = dict(dns.zone)
        self.queue = self.aws("sqs", "get_queue_url", QueueName="relay-events")["QueueUrl"]
        asked = {"QueueUrl": self.queue, "AttributeNames": ["QueueArn"]}
        self.topic = self.aws("sqs", "get_queue_attributes", **asked)["Attributes"]["QueueArn"].replace(
            ":sqs:", ":sns:"
        )

    def aws(self, service: str, operation: str, **request: Any) -> Any:
        async def call() -> Any:
            return await getattr(self._clients[service], operation)(**request)

        return self._runner.run(call())

    def examined(self, wait: timedelta | None = None) -> dict[str, Checked]:
        """As the command does it, of the account that is broken; but AWS's libraries are loaded once for all tests."""
        found: list[Checked] = []
        asked = Asked(ACCOUNT, wait)
        dns = self._tools.settings.dns  # a resolver of its own: it remembers what it heard
        tools = replace(self._tools, resolver=Resolver(dns.nameservers, dns.timeout))
        self._runner.run(examine(tools, asked, found.extend, lambda _: None))
        return {each.check: each for each in found}

    def script(self, **script: Any) -> None:
        body = json.dumps({"account": ACCOUNT} | script).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.world.sandbox_url}/faults", body)):
            pass

    def mend(self) -> None:
        request = urllib.request.Request(f"{self.world.sandbox_url}/faults", method="DELETE")
        with urllib.request.urlopen(request):
            pass
        self.dns.zone.clear()
        self.dns.zone.update(self._zone)
        self._runner.run(self._set_up())

    async def _set_up(self) -> None:
        tools = self._tools
        account = await tools.store.read(lambda db: accounts.find(db, ACCOUNT))
        desk = Desk(tools.store, tools.accounts, tools.resolver)
        done = await desk.set_up(Actor("test"), account, USUAL, is_dry=False, told=lambda _: None)
        assert done.is_whole, done.as_json()


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[Scene]:
    smtp, tls, http = free_ports(3)
    certificate, key = certify(folder, HOST, timedelta(days=90))
    at = "127.0.0.1:{}".format
    with DnsServer({"amazon.com": records("MX 10 mx.amazon.com.")}) as dns, asyncio.Runner() as runner:
        world = World(
            folder,
            via="sqs",
            hostname=HOST,
            certificate={"certificate": str(certificate), "key": str(key)},
            smtp={
                "listeners": [
                    {"address": at(smtp), "tls": "starttls"},
                    {"address": at(tls), "tls": "implicit"},
                    {"address": "127.0.0.1:0", "tls": "none", "trusted_networks": ["127.0.0.1/32"]},
                ]
            },
            http={"address": at(http), "tls": True},
            dns={"nameservers": [dns.nameserver]},
            domains={
                domain: {
                    "mode": "shared" if account == ACCOUNT else "byoc",
                    "account": account,
                    "configuration_sets": SETS,
                }
                for account, domain in DOMAINS.items()
            },
        )
        with world:
            for account, domain in DOMAINS.items():
                relay(folder, "account", "setup", account)
                relay(folder, "domain", "verify", domain)
                publish(dns, found(folder, "domain", "dns", domain))
            left = contextlib.AsyncExitStack()
            try:
                tools, clients = runner.run(_opened(world, left))
                yield Scene(world, dns, runner, clients, tools)
            finally:
                runner.run(left.aclose())


async def _opened(world: World, left: contextlib.AsyncExitStack) -> tuple[Tools, dict[str, Any]]:
    settings = world.settings
    resolver = Resolver(settings.dns.nameservers, settings.dns.timeout)
    store = await left.enter_async_context(open_beside(settings))
    tools = Tools(settings, store, await left.enter_async_context(Accounts()), resolver, is_running=True)
    session, config = get_session(), AioConfig(retries={"total_max_attempts": 1, "mode": "standard"})
    return tools, {
        service: await left.enter_async_context(
            session.create_client(
                service,
                region_name="eu-west-1",
                endpoint_url=world.sandbox_url,
                aws_access_key_id=ACCOUNT,
                aws_secret_access_key="any",
                config=config,
            )
        )
        for service in ("sesv2", "sns", "sqs")
    }


def publish(dns: DnsServer, shown: list[dict[str, Any]]) -> None:
    for record in shown:
        value = f'"{record["value"]}"' if record["type"] == "TXT" else f"{record['value']}."
        dns.zone[record["name"], record["type"]] = records(f"{record['type']} {value}")


def certify(folder: Path, name: str, lasts: timedelta) -> tuple[Path, Path]:
    """A certificate of an authority that nobody knows, and its key."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=365))
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(authority, hashes.SHA256())
    )
    pair = folder / "server.crt", folder / "server.key"
    pair[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pair[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pair
