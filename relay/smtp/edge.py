"""What every SMTP connection shares: the core, the limits, and the rules of its listener."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

from relay import log
from relay.config import Settings
from relay.errors import Kind, Problem
from relay.metrics import Metrics
from relay.routing.door import Door
from relay.routing.intake import Intake
from relay.routing.limits import MemoryBudget
from relay.routing.senders import Credential

if TYPE_CHECKING:
    from relay.smtp.protocol import Connection


class Edge:
    """One per server."""

    def __init__(self, settings: Settings, intake: Intake, door: Door, memory: MemoryBudget, metrics: Metrics) -> None:
        self.intake = intake
        self.door = door
        self.memory = memory
        self.hostname = settings.hostname
        self.max_message_size = settings.limits.max_message_size
        self.max_recipients = settings.smtp.max_recipients
        self.max_connections = settings.smtp.max_connections
        self.idle_timeout = settings.smtp.idle_timeout.total_seconds()
        self.connections: set[Connection] = set()
        self.is_stopping = False
        self._metrics = metrics
        metrics.smtp_connections.set_function(lambda: len(self.connections))

    def refused(self, problem: Problem, client: str) -> None:
        """Count and log a refusal, in our own words."""
        self._metrics.refused.labels("smtp", problem.kind.slug).inc()
        log.event("smtp.refused", reason=problem.kind.slug, client=client)

    def fault(self, exception: Exception) -> Problem:
        """A fault of ours: temporary to the client, with a reference that finds it in the log."""
        reference = secrets.token_hex(4)
        log.trouble("smtp.fault", exception, reference=reference)
        self._metrics.refused.labels("smtp", Kind.INTERNAL.slug).inc()
        return Problem(Kind.INTERNAL, reference=reference)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds on one listener. `starttls` is None where TLS is not offered, or spoken from the start."""

    name: str
    starttls: ssl.SSLContext | None
    auth_without_tls: bool
    trusted_networks: Sequence[IPv4Network | IPv6Network]
    trusted_credential: Credential

    def trusted(self, client: str) -> Credential | None:
        """What a client may do by its address alone."""
        if not client or not self.trusted_networks:
            return None
        address = ip_address(client.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        if any((mapped or address) in network for network in self.trusted_networks):
            return self.trusted_credential
        return None
