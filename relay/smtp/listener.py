"""Binds the SMTP listeners, and takes them down in order."""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta

from relay import log
from relay.config import SmtpListener, Tls
from relay.smtp.edge import Edge, Rules
from relay.smtp.protocol import Connection
from relay.smtp.verbs import TLS_HANDSHAKE

BACKLOG = 512


class Listeners:
    """Every SMTP listener of one server."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._servers: list[asyncio.Server] = []

    async def open(self, listener: SmtpListener, context: ssl.SSLContext | None) -> None:
        """Bind one listener. Raises OSError where the address cannot be had."""
        is_implicit = listener.tls is Tls.IMPLICIT
        rules = Rules(
            name=str(listener.address),
            starttls=context if listener.tls is Tls.STARTTLS else None,
            auth_without_tls=listener.auth_without_tls,
            trusted_networks=listener.trusted_networks,
            trusted_credential=self._edge.intake.senders.trusted(),
        )
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._edge, rules),
            listener.address.host,
            listener.address.port,
            ssl=context if is_implicit else None,
            ssl_handshake_timeout=TLS_HANDSHAKE if is_implicit else None,
            backlog=BACKLOG,
        )
        self._servers.append(server)
        log.event("smtp.listening", address=str(listener.address), tls=listener.tls.value)

    @property
    def ports(self) -> list[int]:
        """The bound ports, in the order they were opened."""
        return [server.sockets[0].getsockname()[1] for server in self._servers]

    async def close(self, grace: timedelta) -> None:
        """Take no new connection, tell the waiting ones, and let those in hand be answered."""
        self._edge.is_stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self._edge.connections):
            connection.stop()
        deadline = asyncio.get_running_loop().time() + grace.total_seconds()
        while self._edge.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # a few rounds at the very end
        for connection in list(self._edge.connections):
            if connection.transport is not None:
                connection.transport.abort()  # type: ignore[attr-defined]
