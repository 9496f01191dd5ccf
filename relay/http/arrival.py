"""The first moments of an HTTP connection: it is counted, then TLS is begun where that is spoken, then HTTP."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from uvicorn.config import Config
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from relay.http.connection import Connection
from relay.http.hall import Hall, Place

HANDSHAKE = 10.0  # seconds
GOODBYE = 5.0  # seconds for the client's half of TLS's end


class Arrival(asyncio.Protocol):
    """Counts before the handshake, which is what costs."""

    def __init__(self, config: Config, state: ServerState, hall: Hall, tasks: set[asyncio.Task[None]]) -> None:
        """`tasks`: where its handshake is held while it is under way."""
        self._config = config
        self._state = state
        self._hall = hall
        self._tasks = tasks
        self._place: Place | None = None
        self._early: list[bytes] = []
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        peer = get_remote_addr(transport)
        self._place = self._hall.enter(peer[0] if peer else "")
        if self._place is None:
            transport.abort()
        elif isinstance(self._config.ssl, ssl.SSLContext):
            transport.pause_reading()
            task = asyncio.get_running_loop().create_task(self._shake_hands(transport, self._config.ssl, self._place))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._begin(transport, self._place)

    def data_received(self, data: bytes) -> None:
        """What came together with the end of the handshake."""
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._place is not None:
            self._place.leave()

    async def _shake_hands(self, transport: asyncio.Transport, context: ssl.SSLContext, place: Place) -> None:
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE,
                ssl_shutdown_timeout=GOODBYE,
            )
        except OSError:  # SSLError is one, too, and who takes too long is a ConnectionAbortedError
            place.leave()
            transport.abort()
            return
        if secured is None or self._is_lost:
            place.leave()
            return
        self._begin(secured, place)

    def _begin(self, transport: asyncio.Transport, place: Place) -> None:
        connection = Connection(self._config, self._state, self._hall, place)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if self._early:
            connection.data_received(b"".join(self._early))
