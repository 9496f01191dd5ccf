"""The tenants that wait in one rank: the turn is that of whoever had least. Pure."""

from __future__ import annotations

from collections import OrderedDict
from heapq import heapify, heappop, heappush


class Ring:
    """What a tenant had is counted from when it came, and one that comes has had what the last whose turn it was had.

    So all who wait get the same number of recipients, to within one call of each, and a newcomer waits for one turn of
    each at most. True while somebody waits.
    """

    def __init__(self) -> None:
        self._domains: dict[int, OrderedDict[str, None]] = {}
        self._had: dict[int, float] = {}  # also of tenants that are gone, as long as they have had more than others
        self._order: list[tuple[float, int, int]] = []  # (had, serial, tenant); an entry is old if its serial is
        self._serials: dict[int, int] = {}
        self._serial = 0
        self._least = 0.0

    def __bool__(self) -> bool:
        return bool(self._domains)

    def join(self, tenant: int, domain: str) -> None:
        """A domain of the tenant has something to send."""
        if tenant in self._domains:
            self._domains[tenant][domain] = None
            return
        self._domains[tenant] = OrderedDict({domain: None})
        self._had[tenant] = max(self._least, self._had.get(tenant, 0.0))
        self._enter(tenant)

    def leave(self, tenant: int, domain: str) -> None:
        """It has nothing any more, or may not send it."""
        domains = self._domains.get(tenant)
        if domains is None or domain not in domains:
            return
        del domains[domain]
        if not domains:
            del self._domains[tenant], self._serials[tenant]
            if len(self._had) > 2 * len(self._domains) + 64:
                self._had = {each: had for each, had in self._had.items() if each in self._domains or had > self._least}

    def turn(self) -> tuple[int, str]:
        """The tenant whose turn it is, and its domain that is next. Asked only while somebody waits."""
        while self._serials.get(self._order[0][2]) != self._order[0][1]:
            heappop(self._order)
        had, _, tenant = self._order[0]
        self._least = max(self._least, had)
        domains = self._domains[tenant]
        domain = next(iter(domains))
        domains.move_to_end(domain)
        return tenant, domain

    def gave(self, tenant: int, recipients: float) -> None:
        """The tenant had so many more; fewer, where it was taken for having had too many."""
        self._had[tenant] = self._had.get(tenant, self._least) + recipients
        if tenant in self._domains:
            self._enter(tenant)

    def _enter(self, tenant: int) -> None:
        self._serial += 1
        self._serials[tenant] = self._serial
        if len(self._order) > 4 * len(self._domains) + 64:
            self._order = [each for each in self._order if self._serials.get(each[2]) == each[1]]
            heapify(self._order)
        heappush(self._order, (self._had[tenant], self._serial, tenant))
