"""A connection that is cut after any octet of a session, in either direction: nothing stays behind, nothing is lost."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pytest

from relay.sandbox.accounts import Account
from tests.support import ACCOUNTS, PATIENCE, World, wait_for
from tests.wire import Wire

APP = "app@shared.example"
HEADER = f"From: {APP}\r\n\r\n".encode()
CONNECTIONS = 60  # at once, and as many as the server takes
ANYONE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ANYONE.check_hostname, ANYONE.verify_mode = False, ssl.CERT_NONE
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with an RST


@dataclass(frozen=True)
class Cut:
    """Where a session ends: after so many octets `sent` by the client, or `heard` by it. None: not there."""

    number: int
    sent: int | None = None
    heard: int | None = None
    is_reset: bool = False

    @property
    def recipients(self) -> tuple[tuple[str, ...], ...]:
        """Those of the first message, and those of the second. Every cut has its own, all of one length."""
        return tuple(tuple(f"{who}{self.number:05}@one.test" for who in whom) for whom in ("ab", "c"))

    def script(self, key: str) -> list[bytes]:
        """What is said, in pieces that are each answered before the next."""
        first, second = self.recipients
        plain = base64.b64encode(f"\0u\0{key}".encode()).decode()
        return [
            b"EHLO c.test\r\n",
            f"AUTH PLAIN {plain}\r\n".encode(),
            f"MAIL FROM:<{APP}>\r\n".encode(),
            *(f"RCPT TO:<{each}>\r\n".encode() for each in first),
            b"DATA\r\n",
            HEADER + b"one\r\n.\r\n",
            f"MAIL FROM:<{APP}>\r\n".encode(),
            *(f"RCPT TO:<{each}>\r\n".encode() for each in second),
            b"DATA\r\n",
            HEADER + b"two\r\n.\r\n",
            b"QUIT\r\n",
        ]


@dataclass
class Outcome:
    """What a client knows at the end: the octets that got through in both directions."""

    cut: Cut
    script: list[bytes]
    sent: int = 0
    heard: bytes = b""

    @property
    def acknowledged(self) -> int:
        """Messages, by whole replies."""
        return sum(line.startswith(b"250 2.0.0 Accepted as ") for line in self.heard.split(b"\r\n")[:-1])

    @property
    def finished(self) -> int:
        """Messages whose end was sent."""
        ends = [at for at, piece in enumerate(self.script) if piece.endswith(b"\r\n.\r\n")]
        return sum(len(b"".join(self.script[: end + 1])) <= self.sent for end in ends)


class Way:
    """A connection that carries so many octets in either direction, and then is cut."""

    def __init__(self, connected: socket.socket, outcome: Outcome) -> None:
        self._socket = connected
        self._outcome = outcome
        self._loop = asyncio.get_running_loop()

    @property
    def is_cut(self) -> bool:
        cut, outcome = self._outcome.cut, self._outcome
        return outcome.sent == cut.sent or len(outcome.heard) == cut.heard

    async def send(self, octets: bytes) -> None:
        cut, outcome = self._outcome.cut, self._outcome
        if cut.sent is not None:
            octets = octets[: cut.sent - outcome.sent]
        await self._loop.sock_sendall(self._socket, octets)
        outcome.sent += len(octets)

    async def hear(self) -> bytes:
        cut, outcome = self._outcome.cut, self._outcome
        chunk = await self._loop.sock_recv(self._socket, 65536)
        if not chunk:
            raise EOFError(f"closed by the server after {outcome.heard!r}")
        outcome.heard = (outcome.heard + chunk)[: cut.heard]
        return chunk

    async def reply(self) -> None:
        """Hear one, to its last line, or to the cut."""
        start = len(self._outcome.heard)
        while not self.is_cut:
            lines = self._outcome.heard[start:].split(b"\r\n")
            if len(lines) > 1 and lines[-1] == b"" and lines[-2][3:4] == b" ":
                return
            await self.hear()

    async def under_tls(self) -> None:
        """A handshake, the greeting and QUIT, to the answer or to the cut."""
        arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        spoken = ANYONE.wrap_bio(arrived, leaving)

        async def until_done(step: Callable[[], object]) -> None:
            is_done = False
            while not (is_done or self.is_cut):
                with contextlib.suppress(ssl.SSLWantReadError):
                    step()
                    is_done = True
                await self.send(leaving.read())
                if not (is_done or self.is_cut):
                    arrived.write(await self.hear())

        for step in (spoken.do_handshake, spoken.read, lambda: spoken.write(b"QUIT\r\n"), spoken.read):
            await until_done(step)

    async def end(self) -> None:
        """By a FIN the server may still say what it has to say: nobody hears it."""
        if self._outcome.cut.is_reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return
        with contextlib.suppress(OSError):  # the server may have gone at once
            self._socket.shutdown(socket.SHUT_WR)
            while await self._loop.sock_recv(self._socket, 65536):
                pass


async def play(port: int, key: str, cut: Cut) -> Outcome:
    outcome = Outcome(cut, cut.script(key) if key else [])
    with socket.socket() as connected:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", port))
        way = Way(connected, outcome)
        if not outcome.script:
            await way.under_tls()
        else:
            await way.reply()
        for piece in outcome.script:
            if way.is_cut:
                break
            await way.send(piece)
            if not way.is_cut:
                await way.reply()
        await way.end()
    return outcome


async def play_all(port: int, key: str, cuts: Iterable[Cut]) -> list[Outcome]:
    """Side by side. Without a key a TLS session is played."""
    waiting = iter(cuts)
    outcomes: list[Outcome] = []

    async def player() -> None:
        for cut in waiting:
            async with asyncio.timeout(PATIENCE):
                outcomes.append(await play(port, key, cut))

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS // 2):
            group.create_task(player())
    return outcomes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    anywhere = {"address": "127.0.0.1:0"}
    listeners = [anywhere, anywhere | {"tls": "implicit"}, anywhere | {"tls": "none", "auth_without_tls": True}]
    smtp = {"listeners": listeners, "max_connections": CONNECTIONS, "max_connections_per_address": CONNECTIONS}
    accounts = [Account(each.name, each.identities, rate=1e6, daily_quota=-1) for each in ACCOUNTS]
    with World(tmp_path_factory.mktemp("cuts"), accounts=accounts, smtp=smtp) as world:
        yield world


def tasks(world: World) -> Counter[str]:
    """What runs on the server's loop, by name."""

    async def running() -> Counter[str]:
        return Counter(str(getattr(task.get_coro(), "__qualname__", "")) for task in asyncio.all_tasks())

    return asyncio.run_coroutine_threadsafe(running(), world._loop).result(PATIENCE)


def accepted(world: World) -> float:
    return sum(
        float(count)
        for count in re.findall(r"(?m)^relay_accepted_total\{.*\} (\S+)$", world.call("GET", "/metrics").body.decode())
    )


def require_clean(world: World, before: Counter[str], caplog: pytest.LogCaptureFixture) -> None:
    """No connection, memory, slot or task is left of what went before, and nobody took it for a fault."""
    wait_for(lambda: world.metric("relay_smtp_connections") == 0)
    wait_for(lambda: world.metric("relay_message_memory_bytes") == 0)
    wait_for(lambda: tasks(world) <= before)
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            assert stack.enter_context(Wire(world.plain)).reply().startswith("220 ")
        assert stack.enter_context(Wire(world.plain)).reply().startswith("421 4.3.2 Too many connections")
    wait_for(lambda: world.metric("relay_smtp_connections") == 0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_session_that_is_cut_anywhere(world: World, caplog: pytest.LogCaptureFixture) -> None:
    [whole] = asyncio.run(play_all(world.plain, world.key, [Cut(0)]))
    assert (whole.finished, whole.acknowledged) == (2, 2)
    places = [{"sent": at} for at in range(whole.sent + 1)] + [{"heard": at} for at in range(len(whole.heard) + 1)]
    before = tasks(world)
    outcomes = [whole]
    for is_reset in (False, True):
        cuts = [Cut(at, is_reset=is_reset, **place) for at, place in enumerate(places, len(outcomes))]
        outcomes += asyncio.run(play_all(world.plain, world.key, cuts))
        require_clean(world, before, caplog)
    wait_for(lambda: len(world.messages()) == accepted(world))
    arrived = Counter(tuple(sorted(message["recipients"])) for message in world.messages())
    assert set(arrived.values()) == {1}  # nothing twice
    for outcome in outcomes:
        found = [recipients in arrived for recipients in outcome.cut.recipients]
        assert outcome.acknowledged <= sum(found) <= outcome.finished
        assert found == sorted(found, reverse=True)  # the second never without the first
    assert len(arrived) == sum(recipients in arrived for each in outcomes for recipients in each.cut.recipients)


def test_a_handshake_that_is_cut_anywhere(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What the server says comes in few pieces, so that it is enough to cut that now and then."""
    [whole] = asyncio.run(play_all(world.tls, "", [Cut(0)]))
    places = [{"sent": at} for at in range(whole.sent + 1)] + [{"heard": at} for at in range(0, len(whole.heard), 8)]
    before = tasks(world)
    for is_reset in (False, True):
        asyncio.run(play_all(world.tls, "", [Cut(0, is_reset=is_reset, **place) for place in places]))
        require_clean(world, before, caplog)
