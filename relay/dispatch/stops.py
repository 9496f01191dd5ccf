"""What is stopped in a lane, and when it is tried again. Pure: every method is given the time, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from relay.errors import Kind

ACCOUNT = ""  # the key under which the whole account stops; any other key is a sender domain

FIRST_PROBE = {
    Kind.SES_UNAVAILABLE: timedelta(seconds=1),
    Kind.SES_QUOTA: timedelta(minutes=15),
}
USUAL_PROBE = timedelta(seconds=30)
LONGEST = {Kind.SES_UNAVAILABLE: timedelta(seconds=60)}
USUAL_LONGEST = timedelta(minutes=15)
SICK_AFTER = 5  # failures in a row


@dataclass(frozen=True, slots=True)
class Stop:
    """Why queues are skipped. From `until` on one delivery at a time is let through to see."""

    kind: Kind
    detail: str
    since: float
    until: float
    wait: float


class Stops:
    """The stops of one lane."""

    def __init__(self) -> None:
        self._stops: dict[str, Stop] = {}
        self._failures = 0

    def of(self, domain: str) -> Stop | None:
        """What keeps a domain's mail: the account's stop or its own."""
        return self._stops.get(ACCOUNT) or self._stops.get(domain)

    def all(self) -> dict[str, Stop]:
        return dict(self._stops)

    def is_open(self, domain: str) -> bool:
        return self.of(domain) is None

    def hold(self, key: str, kind: Kind, detail: str, now: float) -> bool:
        """Stop the account or a domain, for longer each time a probe fails. True if it was not stopped before."""
        before = self._stops.get(key)
        first = FIRST_PROBE.get(kind, USUAL_PROBE).total_seconds()
        longest = max(first, LONGEST.get(kind, USUAL_LONGEST).total_seconds())
        wait = first
        if before is not None and before.kind is kind:
            if now < before.until:  # calls that were under way when it stopped say nothing new
                return False
            wait = min(before.wait * 2, longest)
        since = before.since if before else now
        self._stops[key] = Stop(kind, detail, since, now + wait, wait)
        return before is None

    def failed(self, detail: str, now: float) -> bool:
        """A call did not get through. After five in a row the account is probed, not used. True when that begins."""
        self._failures += 1
        if self._failures < SICK_AFTER and ACCOUNT not in self._stops:
            return False
        return self.hold(ACCOUNT, Kind.SES_UNAVAILABLE, detail, now)

    def succeeded(self, domain: str) -> list[str]:
        """SES took a message of this domain: nothing of its is stopped any more. Returns what was released."""
        self._failures = 0
        return [key for key in (ACCOUNT, domain) if self._stops.pop(key, None) is not None]

    def answered(self) -> bool:
        """SES answered, if only to refuse a message: it can be reached. True if that ends a stop."""
        self._failures = 0
        stop = self._stops.get(ACCOUNT)
        if stop is not None and stop.kind is Kind.SES_UNAVAILABLE:
            del self._stops[ACCOUNT]
            return True
        return False

    @property
    def is_sick(self) -> bool:
        """Whether the account cannot be reached, so that no failure is the mail's."""
        stop = self._stops.get(ACCOUNT)
        return stop is not None and stop.kind is Kind.SES_UNAVAILABLE

    def probe(self, now: float) -> str | None:
        """A stop whose wait is over, to be looked at with one delivery."""
        account = self._stops.get(ACCOUNT)
        if account is not None:
            return ACCOUNT if account.until <= now else None
        return next((key for key, stop in self._stops.items() if stop.until <= now), None)

    def next_probe(self) -> float | None:
        account = self._stops.get(ACCOUNT)
        if account is not None:
            return account.until
        return min((stop.until for stop in self._stops.values()), default=None)
