r"""Plays the dialogues of tests/dialogues against real listeners: `->` is sent, `<-` is how the reply must begin.

`<- 250-` is one line of a longer reply, any other `<-` its last line. `->100` is sent a hundred times, with the count
for `#`. The first line may name the listener: plain (trusted, the default), starttls or tls.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dns_server import DnsServer, records
from tests.support import World
from tests.wire import Wire

DIALOGUES = sorted((Path(__file__).parent.parent / "dialogues").glob("*.txt"))
ZONE = {"one.test": records("MX 10 mx.one.test."), "null-mx.test": records("MX 0 .")}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        DnsServer(ZONE) as dns,
        World(
            tmp_path_factory.mktemp("dialogues"),
            mx={"policy": "enforce", "on_trouble": "defer"},
            dns={"nameservers": [dns.nameserver]},
            smtp={"max_recipients": 100},
        ) as world,
    ):
        world.suppress("gone@one.test")
        yield world


@pytest.mark.parametrize("file", DIALOGUES, ids=lambda file: file.stem)
def test_dialogue(world: World, file: Path) -> None:
    secrets = {"plain": f"\0user\0{world.key}", "password": world.key}
    first, _, rest = file.read_text().partition("\n")
    listener = first.removeprefix("# listener: ") if first.startswith("#") else "plain"
    with Wire(getattr(world, listener), is_tls=listener == "tls") as wire:
        for line in (rest if first.startswith("#") else f"{first}\n{rest}").splitlines():
            way, times, text = re.fullmatch(r"(->|<-)(\d*) ?(.*)", line).groups()
            for name, value in secrets.items():
                text = text.replace(f"{{{name}}}", base64.b64encode(value.encode()).decode())
            for count in range(int(times or 1)):
                if way == "->":
                    wire.send(text.replace("#", str(count)))
                else:
                    expect(wire, text)


def expect(wire: Wire, text: str) -> None:
    found = wire.line() if text[3:4] == "-" or text == "(closed)" else wire.reply()
    if text == "(closed)":
        assert not found
        return
    assert found.startswith(text)


def test_ehlo_is_answered_in_one_write(world: World) -> None:
    with Wire(world.plain) as wire:
        wire.reply()
        wire.send("EHLO client.test")
        assert wire.socket.recv(65536).endswith(b"250 HELP\r\n")


@pytest.mark.parametrize(
    "noise", [b"Z" + bytes(range(1, 10)) + bytes(range(11, 32)), "Ünï".encode(), b"\xff\xfe", b"A\0\x1b[31m"]
)
def test_replies_to_noise_are_printable_ascii(world: World, noise: bytes) -> None:
    with Wire(world.plain) as wire:
        wire.reply()
        for line in (b"EHLO " + noise, b"MAIL FROM:<" + noise + b"@shared.example>", noise):
            assert re.fullmatch(r"[ -~]+", wire.say(line))
