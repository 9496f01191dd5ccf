"""What is stopped in a lane, and when it is tried again. Pure: every method is given the time, in seconds.

SES stops things by what it answers, and those are probed; the directory does by what it says (a paused account, a
suspended tenant, a domain that is not verified), and those wait until it says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from relay.errors import Kind, Problem
from relay.routing.standing import ACCOUNT

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
    """Why queues are skipped. From `until` on one delivery is let through to see; `is_probed`: it is under way.

    `shared`: what several domains are stopped for alike, such as a configuration set; it ends for all at once.
    """

    kind: Kind
    said: str
    since: float
    until: float
    wait: float
    remedy: str = ""
    shared: str = ""
    is_probed: bool = False

    @property
    def detail(self) -> str:
        return f"{self.said}: {self.remedy}" if self.remedy else self.said


def first_wait(kind: Kind) -> float:
    """Seconds from the beginning of a stop to its first probe."""
    return FIRST_PROBE.get(kind, USUAL_PROBE).total_seconds()


class Stops:
    """The stops of one lane."""

    def __init__(self) -> None:
        self._stops: dict[str, Stop] = {}
        self._closed: Mapping[str, Problem] = {}
        self._failures = 0
        self._wants_account = False

    def of(self, domain: str) -> tuple[Kind, str] | None:
        """What keeps a domain's mail, and in which words: the account's stop or its own, the directory's first."""
        if (closed := self._closed.get(ACCOUNT) or self._closed.get(domain)) is not None:
            return closed.kind, closed.detail
        stop = self.stop_of(domain)
        return None if stop is None else (stop.kind, stop.detail)

    def stop_of(self, domain: str) -> Stop | None:
        return self._stops.get(ACCOUNT) or self._stops.get(domain)

    def all(self) -> dict[str, tuple[Kind, str]]:
        """Every stop there is, by its key."""
        stopped = {key: (stop.kind, stop.detail) for key, stop in self._stops.items()}
        return stopped | {key: (closed.kind, closed.detail) for key, closed in self._closed.items()}

    def is_held(self, key: str) -> bool:
        """Whether SES stopped just this, the account or a domain."""
        return key in self._stops

    def is_open(self, domain: str) -> bool:
        return not self.is_closed(domain) and self.stop_of(domain) is None

    # -- what the directory says -------------------------------------------------------------------------------------

    def close(self, holds: Mapping[str, Problem]) -> None:
        """What the directory keeps from being sent, in place of what it kept before."""
        self._closed = dict(holds)

    def is_closed(self, domain: str) -> bool:
        return ACCOUNT in self._closed or domain in self._closed

    def forget(self, domains: Mapping[str, object]) -> None:
        """Drop stops of domains that are none of these: they send another way now."""
        self._stops = {key: stop for key, stop in self._stops.items() if key == ACCOUNT or key in domains}

    @property
    def is_sick(self) -> bool:
        """Whether the account cannot be reached, so that no failure is the mail's."""
        stop = self._stops.get(ACCOUNT)
        return stop is not None and stop.kind is Kind.SES_UNAVAILABLE

    # -- what calls teach --------------------------------------------------------------------------------------------

    def hold(self, key: str, kind: Kind, said: str, now: float, *, remedy: str = "", shared: str = "") -> bool:
        """Stop the account or a domain, for longer each time a probe says the same. True if that is new."""
        before = self._stops.get(key)
        wait = first_wait(kind)
        if before is not None and before.kind is kind:
            if not before.is_probed:  # calls that were under way when it stopped say nothing new
                return False
            wait = min(before.wait * 2, max(wait, LONGEST.get(kind, USUAL_LONGEST).total_seconds()))
        since = before.since if before else now
        self._wants_account = self._wants_account or key == ACCOUNT
        self._stops[key] = Stop(kind, said, since, now + wait, wait, remedy, shared)
        return before is None

    def hold_all(
        self, keys: Sequence[str], kind: Kind, said: str, now: float, *, remedy: str = "", shared: str = ""
    ) -> bool:
        """Stop several domains for one thing. True if that is new to any of them."""
        begun = [self.hold(key, kind, said, now, remedy=remedy, shared=shared) for key in keys]
        return any(begun)

    def failed(self, said: str, now: float, *, remedy: str = "") -> bool:
        """A call did not get through. After five in a row the account is probed, not used. True when that begins."""
        self._failures += 1
        stop = self._stops.get(ACCOUNT)
        if stop is not None and stop.kind is not Kind.SES_UNAVAILABLE:
            return False  # it is stopped for something that AWS said, and only AWS can take that back
        if self._failures < SICK_AFTER and stop is None:
            return False
        return self.hold(ACCOUNT, Kind.SES_UNAVAILABLE, said, now, remedy=remedy)

    def succeeded(self, domain: str) -> list[str]:
        """SES took a message of this domain. Returns what that releases."""
        self._failures = 0
        # A call that began before the stop proves nothing, unless what was in doubt is that SES answers at all.
        proved = [
            key
            for key in (ACCOUNT, domain)
            if (stop := self._stops.get(key)) and (stop.is_probed or stop.kind is Kind.SES_UNAVAILABLE)
        ]
        shared = {stop.shared for key in proved if (stop := self._stops[key]).shared}
        proved += [key for key, stop in self._stops.items() if stop.shared in shared and key not in proved]
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

    def take_wish(self) -> bool:
        """Whether GetAccount may tell more of the account than is known: it was stopped, or stopped again, since the
        last time this was asked."""
        wish, self._wants_account = self._wants_account, False
        return wish

    # -- what is written down ----------------------------------------------------------------------------------------

    def by_ses(self) -> dict[str, Stop]:
        """What SES stopped, by its key; not what the directory closed."""
        return dict(self._stops)

    def restore(self, stops: Mapping[str, Stop], *, is_all: bool = False) -> None:
        """Take over what was stopped before a start, or, with `is_all`, exactly what another process has stopped."""
        self._stops = dict(stops) if is_all else {**stops, **self._stops}

    # -- probing -----------------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[str]:
        """Stops whose wait is over, each to be looked at with one delivery; the account's before any domain's."""
        if ACCOUNT in self._closed:
            return []
        account = self._stops.get(ACCOUNT)
        stops = {ACCOUNT: account} if account is not None else self._stops
        return [
            key for key, stop in stops.items() if stop.until <= now and not stop.is_probed and key not in self._closed
        ]

    def look_again(self, now: float) -> None:
        """The account is reached otherwise now: what was said of it may be over, so every stop is probed at once."""
        self._stops = {key: replace(stop, until=min(stop.until, now)) for key, stop in self._stops.items()}

    def begin_probe(self, key: str) -> None:
        self._stops[key] = replace(self._stops[key], is_probed=True)

    def end_probe(self, key: str, now: float) -> None:
        """A probe that neither released nor renewed its stop: look again after the same wait."""
        stop = self._stops.get(key)
        if stop is not None and stop.is_probed:
            self._stops[key] = replace(stop, is_probed=False, until=now + stop.wait)
