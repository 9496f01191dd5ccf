"""Listeners of a running server: TLS and its floor, proxies, renewed certificates, and what they say when they fail."""

from __future__ import annotations

import http.client
import json
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from relay.certificates import self_signed
from relay.config import SmtpListener, Tls
from relay.declared import Permission, TlsVersion
from relay.smtp.listener import doubts
from tests.smtp.test_tls import V, client_context
from tests.support import World, wait_for
from tests.wire import Wire

ANYWHERE = {"address": "127.0.0.1:0"}
PROXY, ELSEWHERE = "127.0.0.2", "127.0.0.3"
TRUSTED, STRANGER = "192.0.2.7", "198.51.100.7"
PROXIED = {"proxy_from": [f"{PROXY}/32"], "trusted_networks": ["192.0.2.0/24"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All behind a proxy."""
    listeners = [ANYWHERE | PROXIED | {"tls": each} for each in ("starttls", "implicit", "none")]
    with World(tmp_path_factory.mktemp("proxied"), smtp={"listeners": listeners}) as world:
        world.operator = world.new_key(Permission.ADMIN)  # type: ignore[attr-defined]
        yield world


def header(client: str) -> bytes:
    return f"PROXY TCP4 {client} 203.0.113.1 40000 25".encode()


def behind_proxy(port: int, client: str) -> Wire:
    wire = Wire(port, source=PROXY)
    wire.send(header(client))
    return wire


def is_cut_off(wire: Wire) -> bool:
    """Without a word. What it said was not read, so this may be a reset."""
    try:
        return wire.line() == ""
    except ConnectionResetError:
        return True


def sentence(world: World, client: str) -> str:
    """Why the last session of this client failed."""

    def listed() -> list[dict[str, Any]]:
        key: str = world.operator  # type: ignore[attr-defined]
        answer = world.call("GET", f"/api/v1/smtp-failures?client={client}", key=key)
        return list(answer.json["data"]) if answer.status == 200 else []  # a new key is known after a moment

    return str(wait_for(listed)[0]["sentence"])


# -- behind a proxy --------------------------------------------------------------------------------------------------


def test_trust_goes_by_the_client_a_proxy_speaks_for(world: World) -> None:
    with behind_proxy(world.plain, TRUSTED) as wire:
        wire.open("me@shared.example", "proxied@dest.example")
        assert wire.say("From: me@shared.example\r\n\r\nhi\r\n.").startswith("250 ")
    world.sent_to("proxied@dest.example")
    with behind_proxy(world.plain, STRANGER) as wire:
        assert wire.reply().startswith("220 ")
        wire.say("EHLO client.test")
        assert wire.say("MAIL FROM:<me@shared.example>").startswith("530 ")


def test_a_proxy_that_checks_us_is_served_as_itself(world: World) -> None:
    with Wire(world.plain, source=PROXY) as wire:
        wire.socket.sendall(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")
        assert wire.reply().startswith("220 ")
        wire.say("EHLO client.test")
        assert wire.say("MAIL FROM:<me@shared.example>").startswith("530 ")


def test_nobody_else_may_speak_for_others(world: World) -> None:
    with Wire(world.plain, source=ELSEWHERE) as wire:
        assert wire.reply().startswith("220 ")
        assert wire.say(header(TRUSTED)).startswith("500 5.5.2 ")
        wire.say("EHLO client.test")
        assert wire.say("MAIL FROM:<me@shared.example>").startswith("530 ")


@pytest.mark.parametrize("listener", ["plain", "starttls", "tls"])
def test_a_proxy_that_does_not_say_is_cut_off(world: World, listener: str) -> None:
    with Wire(getattr(world, listener), source=PROXY) as wire:
        wire.send("EHLO client.test")
        assert is_cut_off(wire)
    assert sentence(world, PROXY) == "sent no PROXY header, though it is in proxy_from of this listener"


def test_tls_is_spoken_behind_a_proxy(world: World) -> None:
    with behind_proxy(world.tls, TRUSTED) as wire:
        wire.start_tls()
        wire.open("me@shared.example", "implicit@dest.example")
        assert wire.say("From: me@shared.example\r\n\r\nhi\r\n.").startswith("250 ")
    with behind_proxy(world.starttls, TRUSTED) as wire:
        assert wire.reply().startswith("220 ")
        wire.say("EHLO client.test")
        assert wire.say("STARTTLS").startswith("220 ")
        wire.start_tls()
        wire.envelope("me@shared.example", "starttls@dest.example", first="EHLO client.test")
        assert wire.say("From: me@shared.example\r\n\r\nhi\r\n.").startswith("250 ")
    world.sent_to("implicit@dest.example")
    world.sent_to("starttls@dest.example")


# -- what is said of handshakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
def test_a_command_right_behind_the_handshake_is_heard(world: World, version: ssl.TLSVersion) -> None:
    """A client of TLS 1.3 need not wait after its last flight: EHLO may come in the same segment."""
    with behind_proxy(world.starttls, TRUSTED) as wire:
        wire.reply()
        wire.say("EHLO client.test")
        wire.say("STARTTLS")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = client_context(version, version).wrap_bio(incoming, outgoing)
        while True:
            try:
                secure.do_handshake()
                break
            except ssl.SSLWantReadError:
                wire.socket.sendall(outgoing.read())
                incoming.write(wire.socket.recv(1 << 16))
        secure.write(b"EHLO client.test\r\n")
        wire.socket.sendall(outgoing.read())
        said = b""
        while b"250 HELP\r\n" not in said:
            try:
                said += secure.read(1 << 16)
            except ssl.SSLWantReadError:
                incoming.write(wire.socket.recv(1 << 16))
        assert b"STARTTLS" not in said


def test_an_old_client_is_named_by_what_it_offered(world: World) -> None:
    with behind_proxy(world.tls, "198.51.100.10") as wire, pytest.raises(OSError):
        client_context(V.TLSv1, V.TLSv1).wrap_socket(wire.socket)
    assert sentence(world, "198.51.100.10") == "offered only TLS 1.0; this listener takes 1.2 and up"


def test_a_failed_starttls_is_named_too(world: World) -> None:
    with behind_proxy(world.starttls, "198.51.100.11") as wire:
        wire.reply()
        wire.say("EHLO client.test")
        wire.say("STARTTLS")
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(wire.socket, server_hostname="relay.test")
    assert sentence(world, "198.51.100.11") == "does not trust our certificate (alert unknown_ca)"


def test_smtp_in_clear_where_tls_is_due(world: World) -> None:
    with behind_proxy(world.tls, "198.51.100.12") as wire:
        wire.send("EHLO client.test")
        assert is_cut_off(wire)
    assert sentence(world, "198.51.100.12") == "spoke no TLS: EHLO"


def test_tls_where_smtp_in_clear_is_due(world: World) -> None:
    with behind_proxy(world.starttls, "198.51.100.13") as wire:
        wire.reply()
        with pytest.raises(OSError):
            client_context(V.TLSv1_2, V.TLSv1_3).wrap_socket(wire.socket)
    assert sentence(world, "198.51.100.13").startswith("spoke TLS, up to TLS 1.3, on a port that begins in clear")


def test_no_connection_is_forgotten(world: World) -> None:
    """Whatever happened above, in handshakes and before."""
    wait_for(lambda: world.metric("relay_smtp_connections") == 0)


# -- old devices -----------------------------------------------------------------------------------------------------


def test_a_device_of_2009_sends_by_a_listener_for_it(tmp_path: Path) -> None:
    old = {"min_tls": 1.0}
    listeners = [ANYWHERE | old, ANYWHERE | old | {"tls": "implicit"}, ANYWHERE]
    with World(tmp_path, smtp={"listeners": listeners}) as world:
        context = client_context(V.TLSv1, V.TLSv1, "AES128-SHA:@SECLEVEL=0")  # and so an RSA certificate
        for client in (
            smtplib.SMTP("127.0.0.1", world.starttls),
            smtplib.SMTP_SSL("127.0.0.1", world.tls, context=context),
        ):
            with client:
                if not isinstance(client, smtplib.SMTP_SSL):
                    client.starttls(context=context)
                assert client.sock.version() == "TLSv1"  # type: ignore[union-attr]
                client.login("scanner", world.key)
                client.sendmail("me@shared.example", ["old@dest.example"], "From: me@shared.example\n\nhi\n")
        world.sent_to("old@dest.example", 2)
        with Wire(world.plain) as wire:  # the third listener takes no such client, though the certificate is the same
            wire.reply()
            wire.say("EHLO client.test")
            wire.say("STARTTLS")
            with pytest.raises(OSError):
                context.wrap_socket(wire.socket)


# -- certificates ----------------------------------------------------------------------------------------------------


def test_a_renewed_certificate_is_used_by_both_edges_without_a_restart(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    pair, renewed = self_signed(first, "first.test"), self_signed(second, "second.test")
    certificate = dict(zip(("certificate", "key"), map(str, pair), strict=True))
    with World(tmp_path, certificate=certificate, http={"tls": True}) as world:
        assert names(world) == ["first.test"] * 3
        with Wire(world.tls, is_tls=True) as wire:
            wire.reply()
            pair[1].write_bytes(renewed[1].read_bytes())  # of another certificate, for now
            wait_for(lambda: "certificate" in faults(world))
            assert names(world) == ["first.test"] * 3
            assert "the one before is still in use" in faults(world)["certificate"]
            pair[0].write_bytes(renewed[0].read_bytes())
            wait_for(lambda: names(world) == ["second.test"] * 3)
            assert "certificate" not in faults(world)
            assert wire.say("NOOP").startswith("250 ")  # a connection keeps what it began with


def names(world: World) -> list[str]:
    """Those on the certificates of STARTTLS, implicit TLS and HTTPS."""
    with Wire(world.starttls) as wire, Wire(world.tls, is_tls=True) as other:
        wire.reply()
        wire.say("EHLO client.test")
        wire.say("STARTTLS")
        wire.start_tls()
        with client_context(V.TLSv1_2, V.TLSv1_3).wrap_socket(
            socket.create_connection(("127.0.0.1", world.http))
        ) as web:
            return [name(each) for each in (wire.socket, other.socket, web)]


def name(secure: Any) -> str:
    [found] = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True)).subject
    return str(found.value)


def faults(world: World) -> dict[str, str]:
    """What /readyz lists."""
    web = http.client.HTTPSConnection("127.0.0.1", world.http, context=client_context(V.TLSv1_2, V.TLSv1_3))
    try:
        web.request("GET", "/readyz")
        return dict(json.load(web.getresponse()).get("faults", {}))
    finally:
        web.close()


# -- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "tls"),
    [
        ({"address": "0.0.0.0:25"}, Tls.STARTTLS),
        ({"address": "0.0.0.0:587"}, Tls.STARTTLS),
        ({"address": "0.0.0.0:2525"}, Tls.STARTTLS),
        ({"address": "0.0.0.0:465"}, Tls.IMPLICIT),
        ({"address": "[::1]:465"}, Tls.IMPLICIT),
        ({"address": "0.0.0.0:465", "tls": "starttls"}, Tls.STARTTLS),
        ({"address": "0.0.0.0:4465"}, Tls.STARTTLS),
    ],
)
def test_the_port_says_how_tls_begins(given: dict[str, Any], tls: Tls) -> None:
    assert SmtpListener.model_validate(given).tls is tls


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, ""),
        ({"min_tls": "1.3"}, ""),
        ({"tls": "none", "auth_without_tls": True}, ""),
        ({"tls": "none", "trusted_networks": ["10.0.0.0/30"]}, ""),
        ({"tls": "none"}, "refuses everybody"),
        ({"min_tls": "1.0"}, "takes TLS 1.0, which can be broken"),
        ({"min_tls": "1.1", "tls": "implicit"}, "takes TLS 1.1, which can be broken"),
        ({"min_tls": "1.0", "tls": "none", "auth_without_tls": True}, ""),
    ],
)
def test_what_is_said_of_a_listener_at_the_start(given: dict[str, Any], said: str) -> None:
    found = list(doubts(SmtpListener.model_validate({"address": "127.0.0.1:25"} | given)))
    assert len(found) == bool(said)
    assert all(each.startswith(said) for each in found)


def test_every_version_has_its_floor() -> None:
    assert [each.value for each in TlsVersion] == ["1.0", "1.1", "1.2", "1.3"]


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "room"),
    [(1024, 4096, 4096, 4032), (256, 256, 256, 192), (64, 64, 64, 16), (1024, 1024, 1024, 960)],
)
def test_connections_are_counted_against_descriptors(soft: int, hard: int, raised: int, room: int) -> None:
    """In a process of its own: a hard limit cannot be raised again."""
    program = (
        "import resource as r\n"
        f"r.setrlimit(r.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "from relay.smtp import descriptors\n"
        "descriptors.raise_limit()\n"
        "print(r.getrlimit(r.RLIMIT_NOFILE)[0], descriptors.capacity())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [str(raised), str(room)]
