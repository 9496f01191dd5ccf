"""The relay that the recipes of docs/clients.md are pointed at, and what of a recipe has to be put in for that."""

from __future__ import annotations

import email.policy
import os
import re
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import yaml

from relay.sandbox.accounts import Account
from tests.clients.letters import RECEIVED, arrivals
from tests.clients.programs import call
from tests.support import World, wait_for

TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
TO = "ana@example.org"


@dataclass(frozen=True)
class Server:
    """The relay that the recipes are pointed at. `port` is how the page names the one that is meant: 587 or 465."""

    world: World
    key: str
    port: int

    @property
    def certificate(self) -> str:
        return str(self.world.folder / "self-signed.crt")

    def put_in(self, block: str, files: Mapping[str, Path] | None = None, *, at_465: tuple[str, str] = ("", "")) -> str:
        """A block of the page with this server's name, port, key and certificate, and files where the test has them.

        `at_465`: what the page says is another there, and what it is.
        """
        for name, here in (files or {}).items():
            assert name in block, name
            block = block.replace(name, str(here))
        if self.port == 465:
            before, after = at_465
            assert before in block, before
            block = block.replace(before, after) if before else block + after
        port = self.world.tls if self.port == 465 else self.world.starttls
        block = re.sub(r"\b587\b", str(port), block)
        block = block.replace("relay.example.net", "localhost").replace("YOUR_API_KEY", self.key)
        return block.replace(TRUSTED, self.certificate)

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "SSL_CERT_FILE": self.certificate, "NODE_EXTRA_CA_CERTS": self.certificate, **more}

    def got(self, subject: str, sender: str, to: str = TO, protocol: str = "ESMTPSA") -> EmailMessage:
        """The one mail of this subject, from whom and how it has to come: S is TLS, A a login (RFC 3848)."""
        (found,) = arrivals(self.world, subject)
        assert found["recipients"] == [to]
        received = RECEIVED.match(found["raw"])
        assert received is not None, found["raw"][:200]
        assert received["protocol"].decode() == protocol
        message = email.message_from_bytes(found["raw"], policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        assert message["From"].addresses[0].addr_spec == sender
        return message


def relaying(folder: Path, smtp: Mapping[str, Any]) -> World:
    accounts = [Account("operator", ("example.com",), daily_quota=-1)]
    return World(
        folder, accounts=accounts, smtp=smtp, domains={"example.com": {"mode": "shared", "account": "operator"}}
    )


def listeners(block: str) -> list[dict[str, Any]]:
    """Those of a YAML block, each on a port of its own."""
    return [each | {"address": "127.0.0.1:0"} for each in yaml.safe_load(block)["smtp"]["listeners"]]


def clear(world: World) -> None:
    with urllib.request.urlopen(urllib.request.Request(f"{world.sandbox_url}/messages", method="DELETE")):
        pass


def made_key(world: World, command: str) -> str:
    """What a command of the page prints, as soon as the relay knows it."""
    key = shell(command, os.environ | {"RELAY_CONFIG": str(world.folder / "config.yaml")}).decode().strip()
    # It may not read mail, as of 403; one that is not known is answered otherwise.
    wait_for(lambda: world.call("GET", f"/api/v1/emails/{'0' * 24}", key=key).status == 403)
    return key


def shell(script: str, environment: Mapping[str, str], folder: Path | None = None) -> bytes:
    """A block as a shell takes it, with the `relay` of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    return call("bash", "-euo", "pipefail", "-c", script, environment={**environment, "PATH": path}, folder=folder)
