"""What every SMTP connection shares: the core, the limits, and the rules of its listener."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from relay import log
from relay.config import Settings, Tls
from relay.declared import SenderRule, TlsVersion
from relay.errors import Kind, Problem
from relay.metrics import Metrics
from relay.routing.admission import Admission, Crowded
from relay.routing.disk import Disk
from relay.routing.door import Door
from relay.routing.intake import Intake
from relay.routing.limits import MemoryBudget
from relay.routing.senders import Credential
from relay.routing.trust import Trust
from relay.smtp import descriptors
from relay.smtp.patience import Patience
from relay.smtp.record import FailureLog
from relay.smtp.replies import Reply

if TYPE_CHECKING:
    from relay.smtp.protocol import Connection


WATCH_EVERY = 1.0  # seconds: how exact deadlines are
PASSED_OVER = 4  # clients whose refused messages are read to their end at the same time
TOO_MANY = {Crowded.TOO_MANY: Reply.TOO_MANY, Crowded.TOO_MANY_OF_YOURS: Reply.TOO_MANY_OF_YOURS}
NEARLY = 0.75  # of the message memory: beyond it clients that keep some without sending are let go sooner


class Edge:
    """One per server."""

    def __init__(
        self,
        settings: Settings,
        intake: Intake,
        door: Door,
        memory: MemoryBudget,
        metrics: Metrics,
        failures: FailureLog,
        disk: Disk,
    ) -> None:
        self.intake = intake
        self.door = door
        self.memory = memory
        self.failures = failures
        self.hostname = settings.hostname
        self.max_message_size = settings.limits.max_message_size
        self.max_recipients = settings.smtp.max_recipients
        smtp = settings.smtp
        most = min(smtp.max_connections, descriptors.capacity())
        self.admission = Admission(most, smtp.max_connections_per_address)
        self.patience = Patience(
            smtp.idle_timeout.total_seconds(),
            smtp.login_timeout.total_seconds(),
            smtp.data_timeout.total_seconds(),
            smtp.min_data_rate,
        )
        self.login_delay = smtp.login_delay.total_seconds()
        self.disk = disk
        self.connections: set[Connection] = set()
        self.passing_over = asyncio.Semaphore(PASSED_OVER)
        self.is_stopping = False
        self.is_stressed = False
        self._metrics = metrics
        metrics.smtp_connections.set_function(lambda: len(self.connections))

    def admit(self, client: str, *, is_trusted: bool) -> Reply | None:
        """Count a connection. What to tell one that cannot stay."""
        crowded = self.admission.enter(client, is_trusted=is_trusted)
        if self.is_stopping:
            return Reply.SHUTTING_DOWN
        return None if crowded is None else TOO_MANY[crowded]

    async def watch(self) -> None:
        """For ever: let go of clients that take too long, sooner when there is little room for others."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_EVERY)
            self.look(loop.time())

    def look(self, now: float) -> None:
        is_stressed = self.admission.is_nearly_full or self.memory.is_over(NEARLY) or bool(self.disk.lack)
        if is_stressed != self.is_stressed:
            self.is_stressed = is_stressed
            log.event("smtp.stressed" if is_stressed else "smtp.relieved", connections=self.admission.count)
        for connection in list(self.connections):
            connection.expire(now, is_stressed=is_stressed)

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
    """What holds on one listener. `context` is None where no TLS is spoken."""

    name: str
    tls: Tls
    context: ssl.SSLContext | None
    min_tls: TlsVersion
    auth_without_tls: bool
    sender_rule: SenderRule | None
    proxies: Sequence[IPv4Network | IPv6Network]
    trust: Trust

    @property
    def starttls(self) -> ssl.SSLContext | None:
        """What STARTTLS begins."""
        return self.context if self.tls is Tls.STARTTLS else None

    @property
    def implicit_tls(self) -> ssl.SSLContext | None:
        """What every connection begins with."""
        return self.context if self.tls is Tls.IMPLICIT else None

    def trusted(self, client: str, tls: str | None = None) -> Credential | None:
        """What a client may do by its address alone. `tls`: the version, once it is spoken."""
        return self.trust.credential(client, tls)
