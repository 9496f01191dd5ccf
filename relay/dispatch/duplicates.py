"""Shows how many deliveries SES may have got twice, whoever counted them: servers, sweeps, and commands beside them."""

from __future__ import annotations

from collections.abc import Iterable

from relay.metrics import Metrics
from relay.store.duplicates import Duplicates


class Doubts:
    """Follows the table of days. `begin` says what had been counted before, which is not this server's to tell."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._seen: dict[tuple[int, str], int] = {}

    def begin(self, counted: Iterable[Duplicates]) -> None:
        self._seen = {(each.day, each.account): each.deliveries for each in counted}

    def show(self, counted: Iterable[Duplicates], accounts: Iterable[str], today: int) -> None:
        """Add what is new to the counter, and set the gauges of the UTC day, which begins with 0."""
        of_today = dict.fromkeys(accounts, 0)
        for each in counted:
            key = (each.day, each.account)
            self._metrics.possible_duplicates.inc(max(0, each.deliveries - self._seen.get(key, 0)))
            self._seen[key] = each.deliveries
            if each.day == today:
                of_today[each.account] = each.deliveries
        for account, deliveries in of_today.items():
            self._metrics.possible_duplicates_today.labels(account).set(deliveries)
