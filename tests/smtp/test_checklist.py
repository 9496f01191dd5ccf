"""Rows of the checklist in docs/smtp.md that are seen in the mail itself, or at another listener than dialogues use."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import World, wait_for
from tests.wire import Wire

APP = "app@shared.example"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("checklist")) as world:
        yield world


def send(world: World, message: bytes, *to: str) -> None:
    with Wire(world.plain) as wire:
        wire.open(APP, *to)
        assert wire.say(message.replace(b"\r\n.", b"\r\n..") + b"\r\n.").startswith("250 2.0.0 Accepted as ")


def test_octets_of_eight_bits_arrive_as_they_were(world: World) -> None:
    body = "Grüße, 你好\r\n\r\n..two dots\r\n".encode() + bytes(range(128, 256))
    head = f"From: {APP}\r\nTo: eight@one.test\r\nSubject: x\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
    head += "Message-ID: <1@shared.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    head += "Content-Transfer-Encoding: 8bit\r\n\r\n"
    send(world, head.encode() + body, "eight@one.test")
    [sent] = world.sent_to("eight@one.test")
    received, rest = re.fullmatch(rb"(Received: .*?;\r\n\t[^\r]*\r\n)(.*)", sent["raw"], re.DOTALL).groups()
    assert rest == head.encode() + body + b"\r\n"
    assert b"eight@one.test" not in received  # no `for`: it would show a Bcc


def test_what_lists_and_one_click_need_passes_untouched(world: World) -> None:
    fields = b"List-Unsubscribe: <https://shared.example/u/1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    send(world, f"From: {APP}\r\n".encode() + fields + b"\r\nx", "list@one.test")
    [sent] = world.sent_to("list@one.test")
    assert fields in sent["raw"]


def test_bcc_is_seen_by_nobody_and_the_envelope_decides(world: World) -> None:
    message = f"From: {APP}\r\nTo: a@one.test\r\nBcc: hidden@one.test,\r\n other@one.test\r\nSubject: x\r\n\r\nx"
    send(world, message.encode(), "bcc@one.test")
    [sent] = world.sent_to("bcc@one.test")
    assert sent["recipients"] == ["bcc@one.test"]
    assert b"hidden@" not in sent["raw"]
    assert b"other@" not in sent["raw"]


def test_many_recipients_are_split_into_calls_of_fifty(world: World) -> None:
    to = [f"many{number}@one.test" for number in range(120)]
    send(world, f"From: {APP}\r\nSubject: x\r\n\r\nx".encode(), *to)

    def arrived() -> list[list[str]]:
        calls = [each["recipients"] for each in world.messages() if set(each["recipients"]) & set(to)]
        return calls if sum(map(len, calls)) >= len(to) else []

    calls = wait_for(arrived)
    assert sorted(len(call) for call in calls) == [20, 50, 50]
    assert sorted(each for call in calls for each in call) == sorted(to)


def test_bare_line_ends_are_mended_and_counted(world: World) -> None:
    before = world.metric("relay_newlines_repaired_total")
    send(world, f"From: {APP}\nSubject: x\n\none\rtwo\r\r\nthree\n".encode(), "bare@one.test")
    [sent] = world.sent_to("bare@one.test")
    assert sent["raw"].endswith(b"\r\n\r\none\r\ntwo\r\nthree\r\n\r\n")
    assert world.metric("relay_newlines_repaired_total") == before + 1


def test_nobody_relays_who_is_not_known(world: World) -> None:
    """Not even from loopback, at a listener that trusts nobody; and a trusted network is no wider than it says."""
    for port, source in ((world.plain, "127.0.0.2"), (world.tls, "127.0.0.1")):
        with Wire(port, is_tls=port == world.tls, source=source) as wire:
            wire.reply()
            wire.say("EHLO client.test")
            for line in (f"MAIL FROM:<{APP}>", "MAIL FROM:<>", "MAIL FROM:<postmaster>"):
                assert wire.say(line).startswith("530 5.7.0 ")
            assert wire.say("RCPT TO:<ann@one.test>").startswith("503 5.5.1 ")
            assert wire.say("NOOP").startswith("250 ")
            assert wire.say("HELP").startswith("214 ")


def test_the_received_field_says_how_it_came(world: World) -> None:
    with Wire(world.tls, is_tls=True) as wire:
        wire.reply()
        wire.say("EHLO client\t\x1b[31m.test")
        assert wire.say("AUTH LOGIN").startswith("334 ")
        wire.say(b64encode(b"anyone"))
        assert wire.say(b64encode(world.key.encode())).startswith("235 ")
        wire.envelope(APP, "how@one.test")
        assert wire.say(f"From: {APP}\r\n\r\nx\r\n.").startswith("250 ")
    [sent] = world.sent_to("how@one.test")
    assert re.match(
        rb"Received: from client\?\?\[31m\.test by relay\.test with ESMTPSA id [0-9a-f]{24};\r\n\t", sent["raw"]
    )


def test_every_row_of_the_checklist_names_tests_that_are_there() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \|.*\|([^|]*)\|$", (ROOT / "docs/smtp.md").read_text())
    assert [int(number) for number, _ in rows] == list(range(1, 33))
    for number, tests in rows:
        named = re.findall(r"`([^`]+)`", tests)
        assert named or "none" in tests, number
        for each in named:
            file, _, function = each.partition("::")
            path = ROOT / "tests" / file
            assert path.is_file() or list(path.parent.glob(path.name)), each
            assert not function or f"def {function}(" in path.read_text(), each
