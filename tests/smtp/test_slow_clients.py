"""Clients that keep a slot without using it: each is let go, told why where it reads, and others are served meanwhile."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relay.app import ANSWER_WITHIN
from tests.support import World, wait_for
from tests.wire import Wire

APP = "app@shared.example"
HEADER = b"From: app@shared.example\r\nSubject: slow\r\n\r\n"
FIVE = "5s"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    limits = {"login_timeout": FIVE, "idle_timeout": "10s"}
    with World(tmp_path_factory.mktemp("slow"), smtp=limits) as world:
        yield world


def dripping(wire: Wire, octets: bytes) -> str:
    """Send an octet now and then until the server says something, or hangs up."""
    wire.socket.settimeout(0.5)
    at = 0
    while True:
        with contextlib.suppress(TimeoutError):
            return wire.line()
        with contextlib.suppress(ConnectionError):
            wire.socket.sendall(octets[at : at + 1] or octets[-1:])
        at += 1


def says_nothing(world: World) -> str:
    with Wire(world.starttls) as wire:
        wire.reply()
        return wire.line()


def only_keeps_alive(world: World) -> str:
    with Wire(world.starttls) as wire:
        wire.reply()
        while (reply := wire.say("NOOP")).startswith("250 "):
            time.sleep(0.5)  # this is what it does
        return reply


def stalls_in_tls(world: World) -> str:
    with Wire(world.tls) as wire:
        return fate_of(wire)


def stalls_in_starttls(world: World) -> str:
    with Wire(world.starttls) as wire:
        wire.reply()
        wire.say("EHLO client.test")
        wire.say("STARTTLS")
        wire.socket.sendall(b"\x16\x03\x01\x02\x00")  # the head of a handshake
        return fate_of(wire)


def fate_of(wire: Wire) -> str:
    try:
        return "?" if wire.socket.recv(1) else "closed"
    except ConnectionResetError:  # what was sent had not been read
        return "closed"


def types_slowly(world: World) -> str:
    with Wire(world.plain) as wire:
        wire.reply()
        return dripping(wire, b"EHLO client.test" * 10)


def sends_a_message_slowly(world: World) -> str:
    with Wire(world.plain) as wire:
        wire.open(APP, "slow@one.test")
        return dripping(wire, HEADER + b"x" * 100)


def ends_with_bare_newlines(world: World) -> str:
    with Wire(world.plain) as wire:
        wire.open(APP, "bare@one.test")
        wire.socket.sendall(HEADER.replace(b"\r\n", b"\n") + b"body\n.\n")
        return wire.line()


def never_reads(world: World) -> str:
    with Wire(world.plain) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.socket.sendall(b"EHLO client.test\r\n")
        wire.socket.settimeout(None)
        try:
            wire.socket.sendall(f"MAIL FROM:<{APP}>\r\n".encode())
            while True:
                wire.socket.sendall(b"RCPT TO:<nobody>\r\n" * 1000)
        except ConnectionError:
            return "cut off"


SLOW: list[tuple[Callable[[World], str], str]] = [
    (says_nothing, "421 4.4.2 "),
    (only_keeps_alive, "421 4.4.2 "),
    (stalls_in_tls, "closed"),
    (stalls_in_starttls, "closed"),
    (types_slowly, "421 4.4.2 "),
    (ends_with_bare_newlines, "451 4.5.2 The message ended with a bare newline"),
    (never_reads, "cut off"),
]


def test_slow_clients_are_let_go_and_others_served(world: World) -> None:
    with ThreadPoolExecutor(len(SLOW)) as crowd:
        fates = [(crowd.submit(behave, world), fate) for behave, fate in SLOW]
        served = 0
        while not all(found.done() for found, _ in fates):
            with Wire(world.plain) as wire:
                wire.open(APP, "good@one.test")
                assert wire.say(HEADER + b".").startswith("250 2.0.0")
                assert wire.say("QUIT").startswith("221 ")
            served += 1
            wait_for(lambda: world.metric("relay_smtp_connections") <= len(SLOW))
        for found, fate in fates:
            assert found.result().startswith(fate)
    world.sent_to("good@one.test", served)
    wait_for(lambda: world.metric("relay_smtp_connections") == 0)
    assert world.metric("relay_message_memory_bytes") == 0


def test_when_slots_run_out_a_message_has_to_come_faster(tmp_path: Path) -> None:
    with World(tmp_path, smtp={"max_connections": 1}) as world:
        assert sends_a_message_slowly(world).startswith("421 4.4.2 ")
        wait_for(lambda: world.metric("relay_smtp_connections") == 0)
        with Wire(world.plain) as wire:
            wire.open(APP, "ann@one.test")


# -- how many --------------------------------------------------------------------------------------------------------


def test_one_address_does_not_take_all(tmp_path: Path) -> None:
    with World(tmp_path, smtp={"max_connections_per_address": 3, "max_connections": 5}) as world:
        mine = [Wire(world.plain, source="127.0.0.2") for _ in range(4)]
        greetings = [wire.reply() for wire in mine]
        assert [greeting[:9] for greeting in greetings] == ["220 relay"] * 3 + ["421 4.7.0"]
        assert mine[3].line() == ""
        with Wire(world.plain, source="127.0.0.3") as wire:
            assert wire.reply().startswith("220 ")
        mine[0].socket.close()
        wait_for(lambda: world.metric("relay_smtp_connections") == 2)
        with Wire(world.plain, source="127.0.0.2") as wire:
            assert wire.reply().startswith("220 ")
        others = [Wire(world.plain, source="127.0.0.4") for _ in range(2)]
        assert [wire.reply()[:9] for wire in others] == ["220 relay"] * 2
        with Wire(world.plain, source="127.0.0.5") as wire:
            assert wire.reply().startswith("421 4.3.2 Too many connections")
        with Wire(world.tls, source="127.0.0.5") as wire:  # in a handshake there is nobody to tell
            assert wire.socket.recv(1) == b""
        with Wire(world.plain) as wire:  # who is trusted has a place
            assert wire.reply().startswith("220 ")
        for wire in [*mine, *others]:
            wire.socket.close()


def test_a_client_that_speaks_first_is_told_to_wait(world: World) -> None:
    with Wire(world.starttls) as wire:
        wire.reply()
        assert wire.say("EHLO client.test\r\nNOOP").startswith("503 5.5.1 Wait for the reply")
        assert wire.line() == ""
    with Wire(world.plain) as wire:
        wire.reply()
        for line in ("EHLO client.test", f"MAIL FROM:<{APP}>", "RCPT TO:<ann@one.test>"):
            assert wire.say(line).startswith("250 ")
        assert wire.say(b"DATA\r\n" + HEADER + b".").startswith("503 5.5.1 Wait for the reply")
        assert wire.line() == ""


def test_a_disk_that_is_full_refuses_at_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.routing.disk.MESSAGES", 1e12)  # no disk is that large
    with World(tmp_path) as world:
        with Wire(world.plain) as wire:
            wire.reply()
            wire.say("EHLO client.test")
            assert wire.say(f"MAIL FROM:<{APP}>").startswith("452 4.3.1 ")
            assert wire.say("QUIT").startswith("221 ")
        answer = world.call("POST", "/api/v1/emails", {"from": APP, "to": "ann@one.test", "subject": "x", "text": "x"})
        assert (answer.status, answer.json["reason"]) == (503, "storage_full")


def test_a_key_that_is_wrong_is_answered_slower_each_time(tmp_path: Path) -> None:
    with World(tmp_path, smtp={"login_delay": "1s"}) as world, Wire(world.tls, is_tls=True) as wire:
        wire.reply()
        wire.say("EHLO client.test")
        begun = time.monotonic()
        assert wire.say("AUTH PLAIN AHUAd3Jvbmc=").startswith("535 ")
        assert time.monotonic() - begun >= 1
        with Wire(world.plain) as other:  # nobody else waits
            other.open(APP, "ann@one.test")
        assert wire.say("AUTH PLAIN AHUAd3Jvbmc=").startswith("535 ")
        assert time.monotonic() - begun >= 3


def test_a_stop_does_not_wait_for_handshakes(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        wires = [Wire(world.tls), Wire(world.starttls)]
        wires[1].reply()
        wires[1].say("EHLO client.test")
        wires[1].say("STARTTLS")
        begun = time.monotonic()
    assert time.monotonic() - begun < ANSWER_WITHIN.total_seconds()
    for wire in wires:
        assert fate_of(wire) == "closed"
        wire.socket.close()
