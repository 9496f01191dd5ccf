"""Counts recipients by tenant or key in each month or day: exact for this process, late by seconds for the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from relay.store.usage import DAY, Used


class Tally:
    """Told by `load` what the database says: once before the first message, then every few seconds.

    What this process accepted is known here at once and exactly, so of the database's numbers only the others' part is
    taken over. It does not matter whether a commit was in time to be seen: nothing is lost, and nothing counts twice.
    What other processes accepted since the last `load` is not known yet.
    """

    def __init__(self, bounds: Callable[[int], tuple[int, int]]) -> None:
        """`bounds`: the first UTC day of the period of a moment in milliseconds, and of the next one."""
        self._bounds = bounds
        self._periods: tuple[Period, ...] = ()  # this one and the last: a message may be late at the turn
        self._is_loaded = False

    def load(self, used: Mapping[int, Used], at: int) -> None:
        """Take over everybody's numbers, for the period of that moment in milliseconds.

        The first one also says what this process had accepted before this tally was there.
        """
        period = self.period(at)
        if not self._is_loaded:
            period.before = {whose: each.here for whose, each in used.items() if each.here}
            self._is_loaded = True
        period.loaded = used

    def period(self, at: int) -> Period:
        """That of a moment in milliseconds."""
        for period in self._periods:
            if period.start <= at < period.end:
                return period
        fresh = Period(*self._bounds(at))
        self._periods = (fresh, *self._periods[:1])
        return fresh


class Period:
    """One period's numbers, by tenant or key. `start` and `end` in milliseconds."""

    def __init__(self, first: int, following: int) -> None:
        self.first = first  # day
        self.start, self.end = first * DAY, following * DAY
        self.loaded: Mapping[int, Used] = {}
        self.before: Mapping[int, int] = {}
        self.ours: Counter[int] = Counter()

    def used(self, whose: int) -> int:
        """Recipients accepted, or about to be."""
        ours = self.before.get(whose, 0) + self.ours[whose]
        loaded = self.loaded.get(whose)
        if loaded is None:
            return ours
        # The larger of the two: a commit may have succeeded although its answer was lost, and was given back.
        return loaded.recipients - loaded.here + max(ours, loaded.here)

    def reserve(self, whose: int, recipients: int) -> Reserved:
        """Count at once what is about to be accepted."""
        self.ours[whose] += recipients
        return Reserved(self, whose, recipients)


class Reserved:
    """What one message holds. Keep it where the commit succeeded, release it where it failed."""

    __slots__ = ("_joined", "_period", "_recipients", "_whose")

    def __init__(self, period: Period, whose: int, recipients: int) -> None:
        self._period = period
        self._whose = whose
        self._recipients = recipients
        self._joined: Reserved | None = None

    def join(self, other: Reserved) -> None:
        """What the same message holds elsewhere: from now on both are released together."""
        self._joined = other

    def release(self) -> None:
        """Give it back; a second time gives back nothing."""
        self._period.ours[self._whose] -= self._recipients
        self._recipients = 0
        if self._joined is not None:
            self._joined.release()
