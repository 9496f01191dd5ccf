"""The same sessions against stock aiosmtpd: the same classes of replies, the same envelopes, the same octets.

Where ours differs on purpose is in corpus/differences.txt, with the reason; what it says of both is tested, too.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.smtp.corpus.reading import Difference, differences
from tests.support import World
from tests.wire import PATIENCE, Wire

APP = "app@shared.example"
HEADER = f"From: {APP}\r\n".encode()


@dataclass
class Stock:
    """aiosmtpd as it comes, on a loop of its own, with a handler that keeps what it is given."""

    kept: list[Envelope] = field(default_factory=list)
    port: int = 0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        self.kept.append(envelope)
        return "250 OK"

    async def live(self, is_ready: threading.Event, end: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(self, hostname="stock.test", loop=loop), "127.0.0.1", 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            is_ready.set()
            await end.wait()


class StockWire(Wire):
    """Its replies are not held to what ours are."""

    def line(self) -> str:
        while b"\n" not in self._received:
            if not (chunk := self.socket.recv(65536)):
                return ""
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line.decode("ascii").rstrip("\r")


@pytest.fixture(scope="module")
def stock() -> Iterator[Stock]:
    stock, is_ready, end = Stock(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(stock.live(is_ready, end))

    thread = threading.Thread(target=run)
    thread.start()
    assert is_ready.wait(PATIENCE)
    yield stock
    loop.call_soon_threadsafe(end.set)
    thread.join()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("differential")) as world:
        yield world


# -- where they agree ------------------------------------------------------------------------------------------------

ATOM = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=12)
LOCAL = st.lists(ATOM, min_size=1, max_size=3).map(".".join)
SENDER = st.builds("{}@shared.example".format, LOCAL)
RECIPIENT = st.builds("{}@{}".format, LOCAL, st.sampled_from(["one.test", "two.test", "xn--bcher-kva.test"]))
MAIL_WORDS = st.sampled_from(["", " SIZE=100", " BODY=8BITMIME", " body=7bit", " SIZE=1 BODY=8BITMIME"])
LINE = st.binary(max_size=70).map(lambda octets: octets.translate(None, b"\r\n")) | st.sampled_from(
    [b"", b".", b"..", b".x", b"x" * 998, b" folded?", b"From: nobody", b"MAIL FROM:<evil@shared.example>", b"QUIT"]
)
MESSAGE = st.builds(
    lambda lines: HEADER + b"\r\n" + b"".join(line + b"\r\n" for line in lines), st.lists(LINE, max_size=8)
)
ASIDE = st.sampled_from(["NOOP", "noop x", "VRFY ann@one.test", "EXPN all", "HELP", "DATA x"])
WRONG = st.sampled_from(["MAIL FROM:<a@b@shared.example>", "MAIL", "MAIL FROM:", "MAIL TO:<a@one.test>"])
EARLY = st.sampled_from(["DATA", "RCPT TO:<ann@one.test>", "MAIL FROM:<app@shared.example>"])


@dataclass(frozen=True)
class Mail:
    """One message of a session, with what is said on the way to it."""

    sender: str
    words: str
    recipients: Sequence[str]
    message: bytes
    aside: Sequence[str]
    is_given_up: bool

    def lines(self, tag: str, hello: str) -> Iterator[str | bytes]:
        """`tag`: a recipient that names it."""
        yield from self.aside
        yield f"MAIL FROM:<{self.sender}>{self.words if hello.startswith('EHLO') else ''}"
        yield f"MAIL FROM:<{self.sender}>"  # one at a time
        for each in (tag, *self.recipients):
            yield f"RCPT TO:<{each}>"
            yield from self.aside[:1]
        if self.is_given_up:
            yield "RSET"
            yield "DATA"
        else:
            yield "DATA"
            yield re.sub(rb"(\A|\r\n)\.", rb"\1..", self.message) + b"."


MAIL = st.builds(
    Mail,
    SENDER,
    MAIL_WORDS,
    st.lists(RECIPIENT, max_size=3, unique_by=str.lower),
    MESSAGE,
    st.lists(ASIDE | WRONG, max_size=2),
    st.integers(0, 4).map(lambda number: number == 0),
)
TAGS = count()


def kept_by_ours(world: World, tag: str) -> tuple[str, list[str], bytes]:
    """Sender, recipients and octets without what we add."""
    [message] = world.sent_to(tag)
    added = re.match(rb"Received: .*\r\n(?:\t.*\r\n)*Message-ID: .*\r\nDate: .*\r\n", message["raw"])
    assert added is not None
    with closing(sqlite3.connect(world.folder / "relay.db")) as beside:
        query = (
            "select mail_from from messages where id ="
            " (select message_id from deliveries join recipients on recipients.delivery_id = deliveries.id"
            " where recipients.address = ?)"
        )
        [(sender,)] = beside.execute(query, [tag]).fetchall()
    return sender, message["recipients"], message["raw"][added.end() :]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["EHLO c.test", "HELO c.test"]), st.lists(EARLY, max_size=2), st.lists(MAIL, min_size=1, max_size=2)
)
def test_ours_and_stock_agree(world: World, stock: Stock, hello: str, early: list[str], mails: list[Mail]) -> None:
    tags = [f"tag{next(TAGS)}@one.test" for _ in mails]
    # At most 19 of these are refused: ours lets go of a client at the twentieth.
    lines = [*early, hello, *early[:1], "RSET"]
    lines += [line for mail, tag in zip(mails, tags, strict=True) for line in mail.lines(tag, hello)] + ["QUIT"]
    stock.kept.clear()
    with Wire(world.plain) as ours, StockWire(stock.port) as theirs:
        assert ours.reply()[0] == theirs.reply()[0] == "2"
        for line in lines:
            assert ours.say(line)[0] == theirs.say(line)[0], line
    sent = [tag for mail, tag in zip(mails, tags, strict=True) if not mail.is_given_up]
    assert [envelope.rcpt_tos[0] for envelope in stock.kept] == sent
    for envelope, tag in zip(stock.kept, sent, strict=True):
        assert kept_by_ours(world, tag) == (envelope.mail_from, envelope.rcpt_tos, envelope.content)


# -- where they differ -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("difference", differences(), ids=lambda each: repr(each.commands[-1][:40]))
def test_ours_and_stock_differ_on_purpose(world: World, stock: Stock, difference: Difference) -> None:
    before = [] if difference.commands[0].startswith((b"EHLO", b"HELO")) else [b"EHLO c.test"]
    if difference.commands[0].startswith((b"RCPT", b"DATA")):
        before.append(b"MAIL FROM:<app@shared.example>")
    if difference.commands[0] == b"DATA":
        before.append(b"RCPT TO:<ann@one.test>")
    *first, last = (*before, *difference.commands)
    for wire, code in ((Wire(world.plain), difference.ours), (StockWire(stock.port), difference.stock)):
        with wire:
            wire.reply()
            assert all(wire.say(line)[0] in "23" for line in first)
            assert wire.say(last)[:3] == code


def test_ours_differs_in_what_it_keeps(world: World, stock: Stock) -> None:
    """Who is named twice is sent to once; and every line ends in CR LF, for what else it may be is read in two ways."""
    tag, message = "differs@one.test", HEADER + b"\r\na\nb\r.\n"
    stock.kept.clear()
    for wire in (Wire(world.plain), StockWire(stock.port)):
        with wire:
            wire.open(APP, tag, tag)
            assert wire.say(message + b"\r\n.")[:3] == "250"
    assert kept_by_ours(world, tag) == (APP, [tag], HEADER + b"\r\na\r\nb\r\n.\r\n\r\n")
    assert [(each.rcpt_tos, each.content) for each in stock.kept] == [([tag, tag], message + b"\r\n")]
