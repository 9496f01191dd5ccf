"""What nobody should send over SMTP: each is answered, nothing is lost, leaked or kept, and the server goes on."""

from __future__ import annotations

import re
import select
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pytest

from tests.dns_server import SILENT, DnsServer
from tests.support import World, relay_settings, wait_for
from tests.wire import Wire

MB = 1 << 20
LIMIT = 40 * MB
APP = "app@shared.example"
HEADER = b"From: app@shared.example\r\nSubject: outer\r\n\r\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("hostile"), limits={"message_memory": "64MB"}) as world:
        yield world


def send_one(world: World, to: str) -> None:
    """The server still does its job."""
    with Wire(world.plain) as wire:
        wire.open(APP, to)
        assert wire.say(HEADER + b".").startswith("250 2.0.0")
    world.sent_to(to)


# -- size ------------------------------------------------------------------------------------------------------------


def test_a_message_over_the_limit_is_refused_at_its_end(world: World) -> None:
    with Wire(world.plain) as wire:
        wire.open(APP, "big@one.test")
        wire.socket.sendall(HEADER)
        line = b"x" * 76 + b"\r\n"
        for _ in range(41):
            wire.socket.sendall(line * (MB // len(line) + 1))
        assert wire.say(".").startswith("552 5.3.4 the message is over 41943040 octets")
        wire.envelope(APP, "small@one.test")
        assert wire.say(HEADER + b".").startswith("250 2.0.0")
    world.sent_to("small@one.test")
    assert world.metric("relay_message_memory_bytes") == 0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[psutil.Process, int]]:
    """`relay serve` as a process of its own, and the port of its trusted listener. No SES account is needed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listener = {"address": f"127.0.0.1:{port}", "tls": "none", "trusted_networks": ["127.0.0.1/32"]}
    relay_settings(tmp_path, "http://127.0.0.1:9", smtp={"listeners": [listener]})
    command = [sys.executable, "-m", "relay", "serve", "--config", str(tmp_path / "config.yaml")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: is_open(port) or process.poll() is not None)
            assert process.poll() is None
            yield psutil.Process(process.pid), port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(15)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pour(wire: Wire, chunk: bytes, most: int) -> tuple[int, bytes]:
    """Send until the other side cuts us off. Returns how many octets went out, and what was said to us."""
    sent, said = 0, b""
    is_listening = True
    try:
        while sent < most:
            readable, writable, _ = select.select([wire.socket] if is_listening else [], [wire.socket], [], 15)
            assert readable or writable, f"stuck after {sent} octets"
            if readable:
                heard = wire.socket.recv(65536)
                said += heard
                is_listening = bool(heard)
            if writable:
                sent += wire.socket.send(chunk)
    except ConnectionError:
        pass
    return sent, said


def test_a_line_without_end_takes_no_memory(served: tuple[psutil.Process, int]) -> None:
    process, port = served
    with Wire(port) as wire:
        wire.open(APP, "ann@one.test")
        before = process.memory_info().rss
        wire.socket.sendall(HEADER)
        peak, total, said, chunk = before, 0, b"", b"x" * MB
        while total < 1024 * MB and not said:
            sent, heard = pour(wire, chunk, 16 * MB)
            total, said = total + sent, said + heard
            peak = max(peak, process.memory_info().rss)
        assert said.startswith(b"552 5.3.4 ")
        assert total < 300 * MB
        assert wire.socket.recv(1) == b""
    assert peak - before < 150 * MB
    with Wire(port) as wire:
        wire.open(APP, "ann@one.test")


def test_a_command_line_without_end_is_cut_off(world: World) -> None:
    with Wire(world.plain) as wire:
        wire.reply()
        _, said = pour(wire, b"A" * 4096, 64 * MB)
    assert said.startswith(b"500 5.5.6 ")
    send_one(world, "after-endless@one.test")


def test_a_long_command_line_is_passed_over(world: World) -> None:
    with Wire(world.plain) as wire:
        wire.reply()
        for length in (2049, 5000, 100_000):
            assert wire.say(b"NOOP " + b"x" * length).startswith("500 5.5.6")
            assert wire.say("NOOP").startswith("250 2.0.0")
        assert wire.say(b"NOOP " + b"x" * 2000).startswith("250 2.0.0")


def test_memory_is_bounded_over_all_connections(world: World) -> None:
    part = b"x" * (33 * MB)
    with Wire(world.plain) as one, Wire(world.plain) as two:
        one.open(APP, "first@one.test")
        two.open(APP, "second@one.test")
        one.socket.sendall(HEADER + part)
        wait_for(lambda: world.metric("relay_message_memory_bytes") >= len(part))
        two.socket.sendall(HEADER + part)
        assert two.say(b"\r\n.").startswith("421 4.3.2 too many large messages")
        assert two.line() == ""  # RFC 5321 section 3.8: 421 is followed by the end
        one.socket.sendall(b"\r\n.\r\n")
        assert one.reply().startswith("250 2.0.0")
    assert world.metric("relay_message_memory_bytes") == 0
    world.sent_to("first@one.test")
    urlopen(Request(f"{world.sandbox_url}/messages", method="DELETE")).close()  # or it is fetched again and again


# -- the end of data -------------------------------------------------------------------------------------------------

NO_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\n.\r",
    b"\r.\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
]


@pytest.mark.parametrize("number", range(len(NO_ENDS)))
def test_no_message_hides_in_a_message(world: World, number: int) -> None:
    """SMTP smuggling (SMTP facts, appendix): what looks like an end of data to some is none."""
    outer, inner = f"outer{number}@one.test", f"inner{number}@one.test"
    hidden = f"MAIL FROM:<evil@shared.example>\r\nRCPT TO:<{inner}>\r\nDATA\r\n".encode() + HEADER + b"x"
    with Wire(world.plain) as wire:
        wire.open(APP, outer)
        wire.socket.sendall(HEADER + b"body" + NO_ENDS[number] + hidden)
        assert wire.say(b"\r\n.").startswith("250 2.0.0")
        assert wire.say("NOOP").startswith("250 2.0.0")  # and no other reply
        wire.envelope(APP, f"next{number}@one.test")
        assert wire.say(HEADER + b".").startswith("250 2.0.0")
    world.sent_to(f"next{number}@one.test")
    [sent] = world.sent_to(outer)
    assert b"evil@shared.example" in sent["raw"]
    assert b"\r\n.\r\n" not in sent["raw"] or number < 8  # made of bare CR or LF, in HTTP it ends nothing
    assert not [message for message in world.messages() if inner in message["recipients"]]


@pytest.mark.parametrize("way", ["one by one", "pipelined", "under TLS", "pipelined under TLS"])
def test_as_many_messages_arrive_as_were_sent(world: World, way: str) -> None:
    """The same twelve in one session, counted where they arrive."""
    whose = way.replace(" ", "-")
    before = len(world.messages())
    with Wire(world.tls if "TLS" in way else world.plain, is_tls="TLS" in way) as wire:
        wire.reply()
        assert "PIPELINING" in heard(wire, "EHLO client.test")
        if "TLS" in way:
            assert wire.say(f"AUTH PLAIN {b64encode(f'{chr(0)}user{chr(0)}{world.key}'.encode()).decode()}")[0] == "2"
        for number, no_end in enumerate([*NO_ENDS, b""]):
            lines = [f"MAIL FROM:<{APP}>", f"RCPT TO:<{number}-{whose}@one.test>", "DATA"]
            if "pipelined" in way:
                wire.send("\r\n".join(lines))
                assert [wire.reply()[:3] for _ in lines] == ["250", "250", "354"]
            else:
                assert [wire.say(line)[:3] for line in lines] == ["250", "250", "354"]
            hidden = f"MAIL FROM:<{APP}>\r\nRCPT TO:<inner-{whose}@one.test>\r\nDATA\r\n".encode() + HEADER + b"x"
            assert wire.say(HEADER + b"body" + no_end + hidden + b"\r\n.").startswith("250 2.0.0 Accepted as")
        assert wire.say("QUIT").startswith("221 2.0.0")  # and no other reply
        assert wire.line() == ""
    world.sent_to(f"{len(NO_ENDS)}-{whose}@one.test")
    arrived = wait_for(lambda: (found := world.messages()[before:])[len(NO_ENDS) :] and found)
    assert sorted(message["recipients"] for message in arrived) == sorted(
        [f"{number}-{whose}@one.test"] for number in range(len(NO_ENDS) + 1)
    )


def heard(wire: Wire, line: str) -> str:
    """The whole of a reply."""
    wire.send(line)
    lines = [wire.line()]
    while lines[-1][3:4] == "-":
        lines.append(wire.line())
    return "\n".join(lines)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_end_is_found_however_it_is_cut(world: World, size: int) -> None:
    to = f"pieces{size}@one.test"
    message = HEADER + b"..\r\n..dot\r\n\r\n.\r\nNOOP\r\n"
    with Wire(world.plain) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.open(APP, to)
        for at in range(0, len(message), size):
            wire.socket.sendall(message[at : at + size])
        assert wire.reply().startswith("250 2.0.0 Accepted as")
        assert wire.reply().startswith("250 2.0.0 OK")
    assert world.sent_to(to)[0]["raw"].endswith(b"\r\n\r\n.\r\n.dot\r\n\r\n")


def everything(wire: Wire) -> bytes:
    """What comes up to the end of the connection."""
    said = b""
    try:
        while chunk := wire.socket.recv(65536):
            said += chunk
    except ConnectionError:
        pass
    return said


# -- connections -----------------------------------------------------------------------------------------------------


def test_what_came_before_tls_is_forgotten(world: World) -> None:
    with Wire(world.starttls) as wire:
        wire.reply()
        wire.say("EHLO client.test")
        assert wire.say("STARTTLS\r\nEHLO evil.test\r\nNOOP").startswith("220 2.0.0")
        wire.start_tls()
        assert wire.say("MAIL FROM:<app@shared.example>").startswith("503 5.5.1 Send EHLO first")
        assert wire.say("STARTTLS").startswith("503 5.5.1")
        assert wire.say("EHLO client.test") == "250 HELP"


@pytest.mark.parametrize("command", ["EHLO evil.test", "MAIL FROM:<app@shared.example>", "QUIT"])
def test_what_comes_between_starttls_and_the_handshake_is_never_obeyed(world: World, command: str) -> None:
    """In a segment of its own it can only be a handshake: the connection is closed without a word."""
    with Wire(world.starttls) as wire:
        wire.reply()
        wire.say("EHLO client.test")
        assert wire.say("STARTTLS").startswith("220 2.0.0")
        wire.send(command)
        assert everything(wire) == b""
    send_one(world, f"after-injected-{command[:4].lower()}@one.test")


def test_a_broken_handshake_costs_only_its_connection(world: World) -> None:
    for port in (world.starttls, world.tls):
        with Wire(port) as wire:
            if port == world.starttls:
                wire.reply()
                assert wire.say("STARTTLS").startswith("220 2.0.0")
            wire.socket.sendall(b"this is no handshake\r\n")
            everything(wire)
    with Wire(world.plain) as wire:  # TLS where none is spoken: cut off at once, for it would wait for ever
        wire.reply()
        wire.socket.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert wire.line() == ""
    send_one(world, "after-handshakes@one.test")


def test_who_has_said_all_is_answered(world: World) -> None:
    with Wire(world.plain) as wire:
        wire.open(APP, "half@one.test")
        wire.socket.sendall(HEADER + b".\r\n")
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.reply().startswith("250 2.0.0")
        assert wire.line() == ""
    world.sent_to("half@one.test")


@pytest.mark.parametrize("is_reset", [True, False])
def test_who_leaves_after_the_dot_leaves_nothing_behind(world: World, is_reset: bool) -> None:
    to = f"left{is_reset:d}@one.test"
    for _ in range(20):
        with Wire(world.plain) as wire:
            wire.open(APP, to)
            wire.socket.sendall(HEADER + b".\r\n")
            if is_reset:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for(lambda: world.metric("relay_smtp_connections") == 0)
    wait_for(lambda: world.metric("relay_message_memory_bytes") == 0)
    send_one(world, f"after-{to}")
    ids = [message["id"] for message in world.messages() if to in message["recipients"]]
    assert len(ids) == len(set(ids)) <= 20


def test_who_leaves_at_any_octet_leaves_nothing_behind(world: World) -> None:
    script = (
        b"EHLO client.test\r\nMAIL FROM:<app@shared.example>\r\nRCPT TO:<cut@one.test>\r\nDATA\r\n" + HEADER + b"x\r\n."
    )
    for at in range(0, len(script), 3):
        with Wire(world.plain) as wire:
            wire.socket.sendall(script[:at])
    wait_for(lambda: world.metric("relay_smtp_connections") == 0)
    assert world.metric("relay_message_memory_bytes") == 0
    send_one(world, "after-cuts@one.test")
    assert not [message for message in world.messages() if "cut@one.test" in message["recipients"]]


# -- our own faults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_trouble", "reply"), [("accept", "250 2.1.5"), ("defer", "451 4.4.3")])
def test_a_dead_resolver_is_not_the_senders_fault(tmp_path: Path, on_trouble: str, reply: str) -> None:
    mx = {"policy": "enforce", "on_trouble": on_trouble}
    with DnsServer(otherwise=SILENT) as dns, World(tmp_path, mx=mx, dns={"nameservers": [dns.nameserver]}) as world:
        with Wire(world.plain) as wire:
            wire.reply()
            wire.say("EHLO client.test")
            wire.say(f"MAIL FROM:<{APP}>")
            started = time.monotonic()
            assert wire.say("RCPT TO:<ann@one.test>").startswith(reply)
            assert time.monotonic() - started < 4


@pytest.mark.parametrize("table", ["suppressions", "contents"])
def test_a_fault_of_ours_is_temporary_and_says_nothing(
    tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A table that is gone: one is read at RCPT, the other written at the end of data."""
    with World(tmp_path) as world, Wire(world.plain) as wire:
        wire.open(APP, "before@one.test")
        assert wire.say(HEADER + b".").startswith("250 2.0.0")
        world.sent_to("before@one.test")
        with closing(sqlite3.connect(tmp_path / "relay.db", isolation_level=None)) as beside:
            beside.execute(f"ALTER TABLE {table} RENAME TO gone")
            wire.say(f"MAIL FROM:<{APP}>")
            reply = wire.say("RCPT TO:<ann@one.test>")
            if table == "contents":
                assert reply.startswith("250 2.1.5")
                assert wire.say("DATA").startswith("354")
                reply = wire.say(HEADER + b".")
            assert (
                found := re.fullmatch(r"451 4\.3\.0 Something went wrong here.* \(reference ([0-9a-f]{8})\)", reply)
            )
            assert not re.search(r"sql|table|Error|/|gone", reply, re.IGNORECASE)
            assert found[1] in [getattr(record, "fields", {}).get("reference") for record in caplog.records]
            beside.execute(f"ALTER TABLE gone RENAME TO {table}")
        wire.envelope(APP, "after@one.test")
        assert wire.say(HEADER + b".").startswith("250 2.0.0")
        world.sent_to("after@one.test")
