"""The monthly quota: how many recipients a tenant may still send to in this UTC month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from relay.errors import Kind, Problem
from relay.routing.counting import Reserved, Tally
from relay.store.clock import rfc3339
from relay.store.limits import Reached
from relay.store.usage import Used, date_of, day_of, month_of


class Quota:
    """One per server, told by `load` what the database says: once before the first message, then every few seconds."""

    def __init__(self) -> None:
        self._months = Tally(month_of)
        self._told: set[tuple[int, int]] = set()  # tenants whose month is used up, and its first day

    def load(self, used: Mapping[int, Used], at: int) -> None:
        """Take over `usage.of_month(db, at)`: every tenant's numbers, for the month of that moment in milliseconds."""
        self._months.load(used, at)

    def used(self, tenant_id: int, now: int) -> int:
        """Recipients accepted, or about to be, in the month of a moment in milliseconds."""
        return self._months.period(now).used(tenant_id)

    def check(self, tenant_id: int, recipients: int, monthly: int | None, now: int) -> None:
        """Raises Problem(QUOTA_EXCEEDED) where so many more do not fit. Counts nothing. None: there is no cap."""
        if monthly is None:
            return
        month = self._months.period(now)
        used = month.used(tenant_id)
        if used + recipients > monthly:
            raise Problem(
                Kind.QUOTA_EXCEEDED,
                f"the plan has {monthly} recipients a month: {used} are used in {date_of(month.first):%Y-%m}, and "
                f"{recipients} more {'does' if recipients == 1 else 'do'} not fit; it starts anew at "
                f"{rfc3339(month.end, 'seconds')}",
                retry_after=timedelta(milliseconds=month.end - now),
            )

    def reached(self, monthly: Mapping[int, int | None], now: int) -> list[Reached]:
        """Who has used up all of its month, of tenants by their caps, and is not `told` of yet."""
        month = self._months.period(now)
        bounds = month.first, day_of(month.end)
        used = {tenant_id: month.used(tenant_id) for tenant_id in monthly if (tenant_id, bounds[0]) not in self._told}
        return [
            Reached(tenant_id, each, cap, bounds)
            for tenant_id, each in used.items()
            if each and (cap := monthly[tenant_id]) is not None and each >= cap
        ]

    def told(self, found: Sequence[Reached]) -> None:
        """It is written down that these have."""
        self._told |= {(each.tenant_id, each.month[0]) for each in found}

    def reserve(self, tenant_id: int, recipients: int, monthly: int | None, now: int) -> Reserved:
        """Check, and count at once. `now` is the moment the message is written down with.

        Every message is reserved, with or without a cap: a plan may come later. Raises Problem(QUOTA_EXCEEDED).
        """
        self.check(tenant_id, recipients, monthly, now)
        return self._months.period(now).reserve(tenant_id, recipients)
