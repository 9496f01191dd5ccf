"""Real SMTP clients: each with AUTH PLAIN and LOGIN, over STARTTLS and implicit TLS. What is written arrives."""

from __future__ import annotations

import base64
import itertools
import json
import os
import smtplib
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.letters import Letter
from tests.clients.programs import NODE, call, needs, needs_node, needs_swaks
from tests.support import World
from tests.wire import PATIENCE, Wire

USER = "anybody"


@dataclass(frozen=True)
class Server:
    """What a client is told."""

    world: World
    is_tls: bool
    mechanism: str

    @property
    def port(self) -> int:
        return self.world.tls if self.is_tls else self.world.starttls

    @property
    def key(self) -> str:
        return self.world.key

    @property
    def trusted(self) -> Path:
        """The certificate to trust: clients check it, and the name."""
        return self.world.folder / "self-signed.crt"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.trusted))

    def told(self, letter: Letter) -> str:
        """For a sending program of ours."""
        server = {"port": self.port, "is_tls": self.is_tls, "mechanism": self.mechanism, "password": self.key}
        envelope = {"sender": letter.sender, "recipients": letter.recipients}
        return json.dumps(server | envelope | {"trusted": str(self.trusted)})


# -- the clients -----------------------------------------------------------------------------------------------------


def by_smtplib(server: Server, letter: Letter) -> None:
    if server.is_tls:
        smtp: smtplib.SMTP = smtplib.SMTP_SSL("localhost", server.port, timeout=PATIENCE, context=server.context())
    else:
        smtp = smtplib.SMTP("localhost", server.port, timeout=PATIENCE)
        smtp.starttls(context=server.context())
    with smtp:
        smtp.ehlo()
        smtp.user, smtp.password = USER, server.key
        smtp.auth(server.mechanism, getattr(smtp, f"auth_{server.mechanism.lower()}"))
        smtp.sendmail(letter.sender, letter.recipients, letter.raw)


def by_aiosmtplib(server: Server, letter: Letter) -> None:
    program = Path(__file__).with_name("aiosmtplib_send.py")
    call(sys.executable, str(program), server.told(letter), given=letter.raw)


def by_swaks(server: Server, letter: Letter) -> None:
    command = [needs_swaks(), "--server", "localhost", "--port", str(server.port)]
    command += ["--tls-on-connect" if server.is_tls else "--tls", "--tls-verify", "--tls-ca-path", str(server.trusted)]
    command += ["--auth", server.mechanism, "--auth-user", USER, "--auth-password", server.key]
    command += ["--from", letter.sender, "--to", ",".join(letter.recipients), "--pipeline", "--no-data-fixup"]
    file = server.world.folder / f"{letter.subject}.eml"
    stuffed = letter.raw.replace(b"\r\n.", b"\r\n..")  # what --no-data-fixup leaves to us, with the dot at the end
    file.write_bytes(stuffed + b".")
    call(*command, "--data", f"@{file}")


def by_curl(server: Server, letter: Letter) -> None:
    scheme = "smtps" if server.is_tls else "smtp"
    command = [needs("curl"), "-sS", "--ssl-reqd", "--cacert", str(server.trusted)]
    command += ["--url", f"{scheme}://localhost:{server.port}", "--user", f"{USER}:{server.key}"]
    command += ["--login-options", f"AUTH={server.mechanism}", "--mail-from", letter.sender]
    command += ["--mail-auth", letter.sender]
    for each in letter.recipients:
        command += ["--mail-rcpt", each]
    call(*command, "-T", "-", given=letter.raw)


def by_msmtp(server: Server, letter: Letter) -> None:
    command = [needs("msmtp"), "--host=localhost", f"--port={server.port}", "--tls=on"]
    command += [f"--tls-starttls={'off' if server.is_tls else 'on'}", f"--tls-trust-file={server.trusted}"]
    command += [f"--auth={server.mechanism.lower()}", f"--user={USER}", f"--passwordeval=echo {server.key}"]
    call(*command, f"--from={letter.sender}", *letter.recipients, given=letter.raw.replace(b"\r\n", b"\n"))


def by_nodemailer(server: Server, letter: Letter) -> None:
    call(
        needs_node("nodemailer"),
        str(NODE / "send.mjs"),
        server.told(letter),
        given=letter.raw,
        environment=os.environ | {"NODE_EXTRA_CA_CERTS": str(server.trusted)},
    )


def by_dotnet(server: Server, letter: Letter) -> None:
    """What System.Net.Mail.SmtpClient writes: the mechanism in lower case, the user name with it (SMTP fact 0.5)."""
    with Wire(server.port, is_tls=server.is_tls) as wire:
        assert wire.reply().startswith("220 ")
        assert wire.say("EHLO DESKTOP-1A2B3C").startswith("250 ")
        if not server.is_tls:
            assert wire.say("STARTTLS").startswith("220 ")
            wire.start_tls()
            assert wire.say("EHLO DESKTOP-1A2B3C").startswith("250 ")
        assert wire.say(b"AUTH login " + base64.b64encode(USER.encode())) == "334 UGFzc3dvcmQ6"
        assert wire.say(base64.b64encode(server.key.encode())).startswith("235 ")
        wire.envelope(letter.sender, *letter.recipients)
        wire.socket.sendall(letter.raw.replace(b"\r\n.", b"\r\n.."))
        assert wire.say(".").startswith("250 ")
        assert wire.say("QUIT").startswith("221 ")


CLIENTS: dict[Callable[[Server, Letter], None], tuple[str, ...]] = {
    by_smtplib: ("PLAIN", "LOGIN"),
    by_aiosmtplib: ("PLAIN", "LOGIN"),
    by_swaks: ("PLAIN", "LOGIN"),
    by_curl: ("PLAIN", "LOGIN"),
    by_msmtp: ("PLAIN", "LOGIN"),
    by_nodemailer: ("PLAIN", "LOGIN"),
    by_dotnet: ("LOGIN",),
}
NPM = {by_nodemailer}


# -- the matrix ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world")) as made:
        yield made


def cases() -> Iterator[object]:
    for (client, mechanisms), is_tls in itertools.product(CLIENTS.items(), (False, True)):
        name = client.__name__.removeprefix("by_")
        marks = [pytest.mark.npm] if client in NPM else []
        for mechanism in mechanisms:
            tls = "implicit" if is_tls else "starttls"
            yield pytest.param(client, is_tls, mechanism, marks=marks, id=f"{name}-{mechanism}-{tls}")


@pytest.mark.parametrize(("client", "is_tls", "mechanism"), list(cases()))
def test_what_a_client_writes_arrives(
    world: World, client: Callable[[Server, Letter], None], is_tls: bool, mechanism: str
) -> None:
    letter = Letter(f"{client.__name__}.{mechanism}.{is_tls}")
    client(Server(world, is_tls, mechanism), letter)
    assert letter.arrived(world) == "ESMTPSA"
