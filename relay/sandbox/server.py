"""Runs the sandbox on an address: as the main job of a process, or inside another program's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from relay import log
from relay.sandbox.accounts import Account
from relay.sandbox.app import create_app
from relay.sandbox.cloud import Cloud

HOST = "127.0.0.1"
PORT = 8025
_NO_LINGER = struct.pack("ii", 1, 0)
_PATIENCE = 0.25  # seconds that calls in hand have when the server stops; the hanging ones would stay for ever
_BACKLOG = 2048  # connections that wait to be accepted
_KEEP_ALIVE = 75  # seconds; longer than clients keep idle connections (aiohttp 12), so that none is closed under a call


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that listens. `url` has no slash at its end; `state` may be read and changed by tests."""

    url: str
    state: Cloud


async def serve(accounts: Sequence[Account], host: str = HOST, port: int = PORT, nameserver: str | None = None) -> None:
    """Run until SIGINT or SIGTERM. OSError when the address is not to be had, ValueError as `Cloud`."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with running(accounts, host, port, nameserver) as sandbox:
            log.event("sandbox.started", url=sandbox.url)
            await stop.wait()
        log.event("sandbox.stopped")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def running(
    accounts: Sequence[Account], host: str = HOST, port: int = 0, nameserver: str | None = None
) -> AsyncIterator[Running]:
    """A sandbox in this event loop; port 0 takes a free one. Leaves signals alone. Errors as `serve`."""
    app = create_app(accounts, nameserver)
    listener = _bind(host, port)
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        date_header=False,  # it tells the time of AWS, which need not be ours
    )
    server = _Server(config, listener.getsockname()[:2])
    app.state.shut = server.shut
    serving = asyncio.create_task(server.serve([listener]))
    serving.add_done_callback(lambda _: server.ready.set())  # a failed start is not waited for
    try:
        await server.ready.wait()
        if serving.done():
            await serving
        shown = f"[{host}]" if ":" in host else host
        yield Running(f"http://{shown}:{listener.getsockname()[1]}", app.state.cloud)
    finally:
        server.stop.set()
        await serving
        await app.state.cloud.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        raise OSError(exc.errno, f"The sandbox cannot listen on {host} port {port}: {exc.strerror}") from exc
    # Connections inherit it. asyncio sets it only on sockets made with proto=IPPROTO_TCP, which create_server does not
    # do, and without it every answer waits 40 ms for the client's delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class _Protocol(HttpToolsProtocol):
    """Lets a request close its connection unanswered, which ASGI has no word for."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"] |= {"hang_up": self.transport.close, "reset": self._reset, "say_last": self._say_last}

    def _reset(self) -> None:
        """Close without the usual farewell: the other side is told that the connection is reset."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def _say_last(self, octets: bytes) -> None:
        self.transport.write(octets)
        self.transport.write_eof()


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers and its polling: it stops when told, at once."""

    def __init__(self, config: uvicorn.Config, address: tuple[str, int]) -> None:
        super().__init__(config)
        self._address = address
        self.ready = asyncio.Event()
        self.stop = asyncio.Event()
        self._opening: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        while not self.stop.is_set():
            await self.on_tick(0)  # keeps the Date header fresh
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), 1.0)

    async def shut(self, seconds: float) -> None:
        """Refuse every connection for so long, from now on, and end those there are."""
        if self._opening is not None:
            self._opening.cancel()
        for server in self.servers:
            server.close()
        self.servers.clear()
        for connection in list(self.server_state.connections):
            connection.transport.close()
        self._opening = asyncio.create_task(self._open_again(seconds))

    async def _open_again(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        loop = asyncio.get_running_loop()
        self.servers.append(await loop.create_server(self._protocol, sock=_bind(*self._address), backlog=_BACKLOG))

    def _protocol(self) -> _Protocol:
        return _Protocol(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=_PATIENCE)
        for connection in list(self.server_state.connections):
            connection.transport.close()
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks))
        while self.server_state.connections:  # noqa: ASYNC110 - closed above; uvicorn hears of it on the next turns
            await asyncio.sleep(0)
