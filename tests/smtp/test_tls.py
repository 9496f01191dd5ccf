"""Handshakes over real sockets: what each client that fails is said to have done, and that nobody is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from relay.certificates import Certificates, self_signed
from relay.declared import TlsVersion
from relay.smtp import tls

PATIENCE = 10.0  # seconds
Client = Callable[[int], Coroutine[None, None, None]]  # of a port


class Host(asyncio.StreamReaderProtocol):
    """A connection whose first act is a handshake, as on a listener with implicit TLS. Answers one line."""

    def __init__(self, context: ssl.SSLContext, floor: TlsVersion, timeout: float) -> None:
        super().__init__(asyncio.StreamReader(), self._met)
        self.lost = 0
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._expected = context, floor, timeout

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        super().connection_made(transport)
        self.task = asyncio.create_task(self._serve())

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1
        super().connection_lost(exc)
        self.task.cancel()

    async def _serve(self) -> None:
        try:
            self.outcome.set_result(await tls.start(self.writer, *self._expected))
        except tls.TlsFailed as failed:
            self.outcome.set_result(str(failed))
            return
        except asyncio.CancelledError:
            self.outcome.set_result("cancelled")
            raise
        self.writer.write((await self.reader.readline()).upper())
        self.writer.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@asynccontextmanager
async def host(
    folder: Path, floor: TlsVersion = TlsVersion.V1_2, *, timeout: float = PATIENCE, is_rsa: bool = False
) -> AsyncIterator[tuple[int, asyncio.Queue[Host]]]:
    """A server, and those who connected to it."""
    context = Certificates([self_signed(folder, "relay.test", is_rsa=is_rsa)]).context(tls.FLOORS[floor])
    hosts: asyncio.Queue[Host] = asyncio.Queue()

    def met() -> Host:
        hosts.put_nowait(one := Host(context, floor, timeout))
        return one

    server = await asyncio.get_running_loop().create_server(met, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], hosts
    finally:
        server.close()
        await server.wait_closed()


async def outcome(folder: Path, client: Client, **options: Any) -> str:
    """What the server says of this client. Its connection has ended, once, when this returns."""
    async with host(folder, **options) as (port, hosts), asyncio.timeout(PATIENCE):
        speaking = asyncio.create_task(client(port))
        one = await hosts.get()
        said = await one.outcome
        await speaking
        while not one.lost:
            await asyncio.sleep(0)
        await settled()
        assert one.lost == 1
    return said


async def settled() -> None:
    """All that is due on the loop has been done."""
    for _ in range(10):
        await asyncio.sleep(0)


def sends(*pieces: bytes, hangs_up: bool = False) -> Client:
    """A client that says this, piece by piece, and then waits for the end, or does not."""

    async def client(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            if not hangs_up:
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    return client


def resets(*pieces: bytes) -> Client:
    """A client that says this, and has its connection cut."""

    def speak(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as wire:
            for piece in pieces:
                wire.sendall(piece)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def client(port: int) -> None:
        await asyncio.to_thread(speak, port)

    return client


def client_hello(minimum: ssl.TLSVersion, maximum: ssl.TLSVersion, ciphers: str = "") -> bytes:
    """The first flight of OpenSSL itself."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = client_context(minimum, maximum, ciphers).wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    return outgoing.read()


def client_context(minimum: ssl.TLSVersion, maximum: ssl.TLSVersion, ciphers: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():  # that old versions are deprecated is the point
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = minimum, maximum
    context.set_ciphers(ciphers or "ALL:@SECLEVEL=0")
    return context


def speaks(context: ssl.SSLContext) -> Client:
    """A client that goes by the book, and has its line answered if there is TLS."""

    def speak(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as wire, contextlib.suppress(OSError):
            with context.wrap_socket(wire, server_hostname="relay.test") as secure:
                secure.sendall(b"ping\n")
                assert secure.recv(100) == b"PING\n"

    async def client(port: int) -> None:
        await asyncio.to_thread(speak, port)

    return client


def strict(maximum: ssl.TLSVersion) -> ssl.SSLContext:
    """As clients check by default: a self-signed certificate is nobody's."""
    context = ssl.create_default_context()
    context.maximum_version = maximum
    return context


V = ssl.TLSVersion
HELLO = client_hello(V.TLSv1_2, V.TLSv1_3)
OCTETS = [HELLO[at : at + 1] for at in range(len(HELLO))]
WITHOUT_ECDSA = "AES128-SHA:@SECLEVEL=0"

# fmt: off
CLIENTS = {
    "new": (speaks(client_context(V.TLSv1_2, V.TLSv1_3)), "TLSv1.3"),
    "of TLS 1.2": (speaks(client_context(V.TLSv1_2, V.TLSv1_2)), "TLSv1.2"),
    "of TLS 1.1": (speaks(client_context(V.TLSv1, V.TLSv1_1)), "offered only TLS 1.1; this listener takes 1.2 and up"),
    "of TLS 1.0": (speaks(client_context(V.TLSv1, V.TLSv1)), "offered only TLS 1.0; this listener takes 1.2 and up"),
    "of SSL 2.0": (sends(bytes.fromhex("802e0100020015") + bytes(40)), "began as SSL 2.0 does, which is not taken"),
    "distrustful": (speaks(strict(V.TLSv1_3)), "does not trust our certificate (alert unknown_ca)"),
    "distrustful, of TLS 1.2": (speaks(strict(V.TLSv1_2)), "does not trust our certificate (alert unknown_ca)"),
    "without our cipher": (
        speaks(client_context(V.TLSv1_2, V.TLSv1_2, WITHOUT_ECDSA)),
        "no cipher in common; old devices know RSA certificates alone",
    ),
    "without TLS": (sends(b"EHLO client.test\r\n"), "spoke no TLS: EHLO"),
    "a browser": (sends(b"GET / HTTP/1.1\r\n\r\n"), "spoke no TLS: GET"),
    "wordless": (sends(b"\r\n"), "spoke no TLS"),
    "hostile to logs": (sends(b"\xff\n\x1b[2J" + b"x" * 99), "spoke no TLS: \\ufffd"),
    "a password first": (sends(b"hunter2-and-a-long-password-without-space"), "spoke no TLS: hunter2-and-a-long-p"),
    "broken": (sends(HELLO[:60] + b"\xff" * (len(HELLO) - 60)), "the handshake failed (length_mismatch)"),
    "gone at once": (sends(hangs_up=True), "hung up before the handshake"),
    "gone after 3 octets": (sends(HELLO[:3], hangs_up=True), "hung up in the handshake"),
    "gone after 99 octets": (sends(HELLO[:99], hangs_up=True), "hung up in the handshake"),
    "gone after its hello": (sends(HELLO, hangs_up=True), "hung up in the handshake"),
    "gone after its hello, octet by octet": (sends(*OCTETS, hangs_up=True), "hung up in the handshake"),
    "reset at once": (resets(), "hung up before the handshake"),
    "reset after 99 octets": (resets(HELLO[:99]), "hung up in the handshake"),
    "reset after its hello": (resets(HELLO), "hung up in the handshake"),
}
# fmt: on


@pytest.mark.parametrize(("client", "said"), CLIENTS.values(), ids=CLIENTS.keys())
def test_what_a_client_does_is_said_in_one_sentence(client: Client, said: str, folder: Path) -> None:
    before = psutil.Process().num_fds()
    assert asyncio.run(outcome(folder, client)) == said
    assert psutil.Process().num_fds() == before


def test_a_newer_floor_is_named(folder: Path) -> None:
    client = speaks(client_context(V.TLSv1_2, V.TLSv1_2))
    said = asyncio.run(outcome(folder, client, floor=TlsVersion.V1_3))
    assert said == "offered only TLS 1.2; this listener takes 1.3 and up"


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([], "sent nothing for 0 s where TLS was due"),
        ([HELLO[:99]], "the handshake did not finish in 0 s"),
        ([HELLO], "the handshake did not finish in 0 s"),
    ],
    ids=["silent", "stalled in its hello", "stalled after its hello"],
)
def test_a_client_that_stalls_is_let_go(pieces: list[bytes], said: str, folder: Path) -> None:
    assert asyncio.run(outcome(folder, sends(*pieces), timeout=0.2)) == said


@pytest.mark.parametrize("version", [V.TLSv1, V.TLSv1_1])
@pytest.mark.parametrize("is_rsa", [False, True])
def test_old_versions_are_spoken_where_asked_for(version: ssl.TLSVersion, is_rsa: bool, folder: Path) -> None:
    client = speaks(client_context(version, version))
    said = asyncio.run(outcome(folder, client, floor=TlsVersion.V1_0, is_rsa=is_rsa))
    assert said == {V.TLSv1: "TLSv1", V.TLSv1_1: "TLSv1.1"}[version]


@pytest.mark.parametrize("pieces", [[], [HELLO[:99]], [HELLO]], ids=["before", "in its hello", "after its hello"])
@pytest.mark.parametrize("end", ["aborted", "cancelled"])
def test_a_server_that_stops_leaves_nobody_behind(end: str, pieces: list[bytes], folder: Path) -> None:
    async def story() -> Host:
        async with host(folder) as (port, hosts), asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.writelines(pieces)
            one = await hosts.get()
            await settled()
            if pieces == [HELLO]:
                assert await reader.read(1)  # the handshake is under way
            if end == "aborted":
                one.writer.transport.abort()
            else:
                one.task.cancel()
            await one.outcome
            with contextlib.suppress(ConnectionError):
                assert not (await reader.read())[5000:]
            writer.close()
            await settled()
            return one

    one = asyncio.run(story())
    assert one.outcome.result() in {"cancelled", "hung up in the handshake"}
    assert one.lost == 1
