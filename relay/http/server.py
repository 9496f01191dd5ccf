"""Runs the HTTP edge on uvicorn, inside the application's own loop and under its own signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta

import uvicorn
from starlette.types import ASGIApp

from relay import log
from relay.http.arrival import Arrival
from relay.http.hall import MOST, MOST_OF_ONE, Hall
from relay.http.proxies import Proxies
from relay.values import Endpoint

BACKLOG = 512  # connections that wait in the kernel
# Accepted before those that are too many can be told so, each with a descriptor. asyncio has one number for both, and
# stops accepting for a second where descriptors run out.
AT_ONCE = 8


class _Server(uvicorn.Server):
    """uvicorn's, but for the signals, and for how connections come in."""

    def __init__(self, config: uvicorn.Config, hall: Hall) -> None:
        super().__init__(config)
        self.hall = hall
        self.arriving: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The application handles signals: it owns the order of shutdown."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.servers = []
        for bound in sockets or []:
            server = await loop.create_server(
                lambda: Arrival(self.config, self.server_state, self.hall, self.arriving), sock=bound, backlog=AT_ONCE
            )
            bound.listen(BACKLOG)
            self.servers.append(server)
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self.arriving:
            task.cancel()
        await super().shutdown(sockets)
        for connection in list(self.hall.connections):
            connection.transport.abort()


class HttpServer:
    """One HTTP listener."""

    def __init__(
        self, app: ASGIApp, endpoint: Endpoint, context: ssl.SSLContext | None, hall: Hall | None = None
    ) -> None:
        """`hall`: None for one of the usual size."""
        self._endpoint = endpoint
        config = uvicorn.Config(
            app,
            loop="none",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
        )
        config.load()
        config.ssl = context
        self._hall = hall or Hall(MOST, MOST_OF_ONE, Proxies(()))
        self._server = _Server(config, self._hall)
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    async def open(self) -> None:
        """Bind and serve. Raises OSError where the address cannot be had."""
        host, port = self._endpoint
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # A protocol number, or asyncio would not switch off Nagle's algorithm: 40 ms an answer.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
        except OSError:
            bound.close()
            raise
        self._socket = bound
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]), name="http-server")
        self._watch = asyncio.create_task(self._hall.watch(), name="http-watch")
        while not self._server.started:
            await asyncio.sleep(0.01)
            if self._task.done():
                await self._task
                break
        log.event("http.listening", address=str(self._endpoint), tls=self._server.config.ssl is not None)

    @property
    def port(self) -> int:
        assert self._socket is not None
        port: int = self._socket.getsockname()[1]
        return port

    async def close(self, grace: timedelta) -> None:
        """Take nothing new, answer what is in hand."""
        if self._task is None or self._watch is None:
            return
        self._server.config.timeout_graceful_shutdown = int(grace.total_seconds())
        self._server.should_exit = True
        await self._task
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch
