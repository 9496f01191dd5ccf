"""How long what waits in a lane will take to leave, about. Pure: of how much waited where at one moment."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate

from relay.dispatch.turns import LOWER, RANKS
from relay.message import Stream
from relay.store.queue import Queue


class _Amounts:
    """Amounts of recipients that are served in turn, the same to each, until each has had its own."""

    def __init__(self, amounts: Iterable[float]) -> None:
        self._sorted = sorted(amounts)
        self._sums = [0.0, *accumulate(self._sorted)]

    def served(self, each: float) -> float:
        """What all of them have had when none has had more than `each`."""
        smaller = bisect_right(self._sorted, each)
        return self._sums[smaller] + each * (len(self._sorted) - smaller)


class Backlog:
    """How many recipients were due in each queue, as (queue, tenant, recipients). Nobody knows what comes meanwhile."""

    def __init__(self, waiting: Iterable[tuple[Queue, int, float]]) -> None:
        self._own: dict[Queue, float] = {}
        domains: dict[tuple[Stream, int], list[float]] = defaultdict(list)
        for queue, tenant, recipients in waiting:
            self._own[queue] = recipients
            domains[queue[1], tenant].append(recipients)
        self._whole = {key: sum(amounts) for key, amounts in domains.items()}
        self._domains = {key: _Amounts(amounts) for key, amounts in domains.items()}
        self._tenants = {
            stream: _Amounts(whole for (sort, _), whole in self._whole.items() if sort is stream) for stream in Stream
        }
        self._ranks = [
            sum(whole for (sort, _), whole in self._whole.items() if sort is stream) for stream in RANKS
        ]  # recipients, the best rank first

    def work_before(self, queue: Queue, tenant: int, ahead: float) -> float:
        """How many recipients the lane serves until those `ahead` in a queue are served, them included.

        Tenants get the same, and so do a tenant's domains, each until it has had what it waits for; lower ranks have
        one slot in ten while a better one waits.
        """
        key = queue[1], tenant
        mine = ahead
        if (domains := self._domains.get(key)) is not None:
            mine += domains.served(ahead) - min(ahead, self._own.get(queue, 0.0))
        work = mine + self._tenants[queue[1]].served(mine) - min(mine, self._whole.get(key, 0.0))
        rank = RANKS[queue[1]]
        better, lower = sum(self._ranks[:rank]), sum(self._ranks[rank + 1 :])
        work += min(lower, work / LOWER)
        return min(better + work, work * (LOWER + 1)) if better else work
