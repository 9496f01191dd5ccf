"""The monthly quota: how many recipients a tenant may still send to in this UTC month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from relay.errors import Kind, Problem
from relay.store.clock import rfc3339
from relay.store.usage import DAY, Used, date_of, month_of


class Quota:
    """One per server, told by `load` what the database says: once before the first message, then every few seconds.

    What this process accepted is known here at once and exactly, so of the database's numbers only the others' part is
    taken over. It does not matter whether a commit was in time to be seen: nothing is lost, and nothing counts twice.
    What other processes accepted since the last `load` is not known yet.
    """

    def __init__(self) -> None:
        self._months: tuple[_Month, ...] = ()  # this one and the last: a message may be late at the turn
        self._is_loaded = False

    def load(self, used: Mapping[int, Used], at: int) -> None:
        """Take over `usage.of_month(db, at)`: every tenant's numbers, for the month of that moment in milliseconds.

        The first one also says what this process had accepted before this quota was there.
        """
        month = self._month(at)
        if not self._is_loaded:
            month.before = {tenant_id: each.here for tenant_id, each in used.items() if each.here}
            self._is_loaded = True
        month.loaded = used

    def used(self, tenant_id: int, now: int) -> int:
        """Recipients accepted, or about to be, in the month of a moment in milliseconds."""
        return self._month(now).used(tenant_id)

    def check(self, tenant_id: int, recipients: int, monthly: int | None, now: int) -> None:
        """Raises Problem(QUOTA_EXCEEDED) where so many more do not fit. Counts nothing. None: there is no cap."""
        if monthly is None:
            return
        month = self._month(now)
        used = month.used(tenant_id)
        if used + recipients > monthly:
            raise Problem(
                Kind.QUOTA_EXCEEDED,
                f"the plan has {monthly} recipients a month: {used} are used in {month.name}, and {recipients} more "
                f"{'does' if recipients == 1 else 'do'} not fit; it starts anew at {rfc3339(month.end, 'seconds')}",
                retry_after=timedelta(milliseconds=month.end - now),
            )

    def reserve(self, tenant_id: int, recipients: int, monthly: int | None, now: int) -> Reserved:
        """Check, and count at once. `now` is the moment the message is written down with.

        Every message is reserved, with or without a cap: a plan may come later. Raises Problem(QUOTA_EXCEEDED).
        """
        self.check(tenant_id, recipients, monthly, now)
        month = self._month(now)
        month.ours[tenant_id] += recipients
        return Reserved(month, tenant_id, recipients)

    def _month(self, at: int) -> _Month:
        for month in self._months:
            if month.start <= at < month.end:
                return month
        fresh = _Month(*month_of(at))
        self._months = (fresh, *self._months[:1])
        return fresh


class _Month:
    """One month's numbers, by tenant. `start` and `end` in milliseconds."""

    def __init__(self, first: int, following: int) -> None:
        self.start, self.end = first * DAY, following * DAY
        self.name = f"{date_of(first):%Y-%m}"
        self.loaded: Mapping[int, Used] = {}
        self.before: Mapping[int, int] = {}
        self.ours: Counter[int] = Counter()

    def used(self, tenant_id: int) -> int:
        ours = self.before.get(tenant_id, 0) + self.ours[tenant_id]
        loaded = self.loaded.get(tenant_id)
        if loaded is None:
            return ours
        # The larger of the two: a commit may have succeeded although its answer was lost, and was given back.
        return loaded.recipients - loaded.here + max(ours, loaded.here)


class Reserved:
    """What one message holds of the quota. Keep it where the commit succeeded, release it where it failed."""

    __slots__ = ("_month", "_recipients", "_tenant_id")

    def __init__(self, month: _Month, tenant_id: int, recipients: int) -> None:
        self._month = month
        self._tenant_id = tenant_id
        self._recipients = recipients

    def release(self) -> None:
        """Give it back; a second time gives back nothing."""
        self._month.ours[self._tenant_id] -= self._recipients
        self._recipients = 0
