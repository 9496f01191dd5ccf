"""Tenants that are slowed down: each has a part of the lane, and waits when it has had that. Pure.

Every method is given the time, in seconds of any steady clock. What is counted is recipients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LEAST = 1.0  # recipients a second that nobody is slowed below


@dataclass(slots=True)
class _Bucket:
    """Holds a second of tokens at most. A delivery of more recipients leaves it in debt."""

    tokens: float
    at: float

    def advance(self, rate: float, now: float) -> None:
        self.tokens = min(max(1.0, rate), self.tokens + max(0.0, now - self.at) * rate)
        self.at = max(now, self.at)


class Slowing:
    """Of one lane. `part`: so much of its rate is left to each of them."""

    def __init__(self, part: float) -> None:
        self._part = part
        self._rate = LEAST
        self._tenants: Mapping[str, int] = {}
        self._buckets: dict[int, _Bucket] = {}

    def replace(self, tenants: Mapping[str, int]) -> None:
        """The domains that are slowed down, each with its tenant, in place of those before."""
        self._tenants = dict(tenants)
        self._buckets = {tenant: each for tenant, each in self._buckets.items() if tenant in tenants.values()}

    def __contains__(self, domain: object) -> bool:
        return domain in self._tenants

    @property
    def domains(self) -> frozenset[str]:
        return frozenset(self._tenants)

    def advance(self, lane: float, now: float) -> None:
        """Let time pass in a lane of so many recipients a second."""
        self._rate = max(LEAST, self._part * lane)
        for tenant in set(self._tenants.values()):
            self._buckets.setdefault(tenant, _Bucket(1.0, now)).advance(self._rate, now)

    def spend(self, domain: str, recipients: int) -> None:
        """So many of a domain's have started, slowed down or not."""
        if domain in self._tenants:
            self._buckets.setdefault(self._tenants[domain], _Bucket(1.0, 0.0)).tokens -= recipients

    def waiting(self) -> dict[str, float]:
        """The domains that may start nothing now, and for how many seconds."""
        if not self._tenants:
            return {}
        waits = {tenant: (1.0 - each.tokens) / self._rate for tenant, each in self._buckets.items() if each.tokens < 1}
        return {domain: waits[tenant] for domain, tenant in self._tenants.items() if tenant in waits}

    def seconds(self, domain: str, recipients: float) -> float:
        """How long so many of a domain's take at least."""
        if domain not in self._tenants:
            return 0.0
        bucket = self._buckets.get(self._tenants[domain])
        tokens = 1.0 if bucket is None else bucket.tokens
        return max(0.0, recipients - tokens) / self._rate
