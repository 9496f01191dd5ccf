"""What is stopped in a lane, and when it is tried again. Pure: every method is given the time, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    """Why queues are skipped. From `until` on one delivery is let through to see; `is_probed`: it is under way."""

    kind: Kind
    detail: str
    since: float
    until: float
    wait: float
    is_probed: bool = False


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

    @property
    def is_sick(self) -> bool:
        """Whether the account cannot be reached, so that no failure is the mail's."""
        stop = self._stops.get(ACCOUNT)
        return stop is not None and stop.kind is Kind.SES_UNAVAILABLE

    # -- what calls teach --------------------------------------------------------------------------------------------

    def hold(self, key: str, kind: Kind, detail: str, now: float) -> bool:
        """Stop the account or a domain, for longer each time a probe says the same. True if that is new."""
        before = self._stops.get(key)
        wait = FIRST_PROBE.get(kind, USUAL_PROBE).total_seconds()
        if before is not None and before.kind is kind:
            if not before.is_probed:  # calls that were under way when it stopped say nothing new
                return False
            wait = min(before.wait * 2, max(wait, LONGEST.get(kind, USUAL_LONGEST).total_seconds()))
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
        """SES took a message of this domain. Returns what that releases."""
        self._failures = 0
        # A call that began before the stop proves nothing, unless what was in doubt is that SES answers at all.
        proved = [
            key
            for key in (ACCOUNT, domain)
            if (stop := self._stops.get(key)) and (stop.is_probed or stop.kind is Kind.SES_UNAVAILABLE)
        ]
        for key in proved:
            del self._stops[key]
        return proved

    def answered(self) -> bool:
        """SES answered, if only to refuse a message: it can be reached. True if that ends a stop."""
        self._failures = 0
        if not self.is_sick:
            return False
        del self._stops[ACCOUNT]
        return True

    # -- probing -----------------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[str]:
        """Stops whose wait is over, each to be looked at with one delivery; the account's before any domain's."""
        account = self._stops.get(ACCOUNT)
        stops = {ACCOUNT: account} if account is not None else self._stops
        return [key for key, stop in stops.items() if stop.until <= now and not stop.is_probed]

    def begin_probe(self, key: str) -> None:
        self._stops[key] = replace(self._stops[key], is_probed=True)

    def end_probe(self, key: str, now: float) -> None:
        """A probe that neither released nor renewed its stop: look again after the same wait."""
        stop = self._stops.get(key)
        if stop is not None and stop.is_probed:
            self._stops[key] = replace(stop, is_probed=False, until=now + stop.wait)

    def opens(self, domain: str) -> float | None:
        """When a stopped domain's mail may next be probed; None while a probe is under way."""
        stop = self.of(domain)
        return None if stop is None or stop.is_probed else stop.until
