"""Binds the SMTP listeners, and takes them down in order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta

from relay import container, log
from relay.certificates import Certificates
from relay.config import SmtpListener, Tls
from relay.declared import TlsVersion
from relay.routing.trust import Trust
from relay.smtp.edge import Edge, Rules
from relay.smtp.protocol import Connection
from relay.smtp.tls import FLOORS

BACKLOG = 512  # connections that wait in the kernel
# Accepted before those that are too many can be told so, each with a descriptor. asyncio has one number for both, and
# stops accepting for a second where descriptors run out.
AT_ONCE = 8


def doubts(listener: SmtpListener) -> Iterator[str]:
    """What is allowed, and hardly meant."""
    if listener.tls is Tls.NONE and not (listener.auth_without_tls or listener.trusted_networks):
        yield (
            "refuses everybody: without TLS no key is taken, and no network is trusted; offer TLS, name "
            "trusted_networks, or set auth_without_tls"
        )
    if listener.tls is not Tls.NONE and listener.min_tls in (TlsVersion.V1_0, TlsVersion.V1_1):
        yield (
            f"takes TLS {listener.min_tls.value}, which can be broken (RFC 8996): keep it for old devices, and let "
            "only them reach it"
        )


class Listeners:
    """Every SMTP listener of one server."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._gateways = container.gateways()
        self.trusts: list[Trust] = []
        self._servers: list[asyncio.Server] = []

    async def open(self, listener: SmtpListener, certificates: Certificates | None) -> None:
        """Bind one listener; `certificates` are there if it speaks TLS. Raises OSError where it cannot be bound."""
        floor = FLOORS[listener.min_tls]
        trust = Trust.of(listener, self._edge.intake.senders, self._gateways)
        self.trusts.append(trust)
        rules = Rules(
            name=str(listener.address),
            tls=listener.tls,
            context=certificates.context(floor) if certificates is not None and listener.tls is not Tls.NONE else None,
            min_tls=listener.min_tls,
            auth_without_tls=listener.auth_without_tls,
            sender_rule=listener.sender_rule,
            proxies=listener.proxy_from,
            trust=trust,
        )
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._edge, rules),
            listener.address.host,
            listener.address.port,
            backlog=AT_ONCE,
        )
        for bound in server.sockets:
            with socket.fromfd(bound.fileno(), bound.family, bound.type) as listening:
                listening.listen(BACKLOG)
        self._servers.append(server)
        log.event("smtp.listening", address=str(listener.address), tls=listener.tls.value)
        for doubt in doubts(listener):
            log.trouble("smtp.doubtful_listener", address=str(listener.address), reason=doubt)

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
