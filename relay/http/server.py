"""Runs the HTTP edge on uvicorn, inside the application's own loop and under its own signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta

import uvicorn
from starlette.applications import Starlette

from relay import log
from relay.values import Endpoint

BACKLOG = 512
KEEP_ALIVE = 75  # seconds
MAX_CONCURRENT = 1000
HEADER_LIMIT = 64 << 10  # octets


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The application handles signals: it owns the order of shutdown."""
        yield


class HttpServer:
    """One HTTP listener."""

    def __init__(self, app: Starlette, endpoint: Endpoint, context: ssl.SSLContext | None) -> None:
        self._endpoint = endpoint
        config = uvicorn.Config(
            app,
            http="httptools",
            loop="none",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            limit_concurrency=MAX_CONCURRENT,
            h11_max_incomplete_event_size=HEADER_LIMIT,
            backlog=BACKLOG,
        )
        config.load()
        config.ssl = context
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None
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
        if self._task is None:
            return
        self._server.config.timeout_graceful_shutdown = int(grace.total_seconds())
        self._server.should_exit = True
        await self._task
