"""Whose turn it is in a lane: the better rank's, within it the tenant's that had least, its domains one by one.

Pure: moments are given, in milliseconds since 1970. What is counted is recipients, for that is what SES counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from relay.dispatch.ring import Ring
from relay.message import Stream
from relay.store.queue import Queue

RANKS = {stream: rank for rank, stream in enumerate(Stream)}
LOWER = 9  # recipients of a better rank for one of those below it: they keep one slot in ten


@dataclass(slots=True)
class Waiting:
    """What waits in one queue: when its first is due, how many deliveries there are, about, and of how many recipients.

    `is_known`: that many, or more; else nobody has counted yet. `notes` counts what was heard of it. `is_ready`: it
    takes part in the turns.
    """

    due_at: int
    count: int = 0
    size: float = 1.0
    notes: int = 0
    is_known: bool = True
    is_ready: bool = False

    @property
    def recipients(self) -> float:
        return self.count * self.size


@dataclass(frozen=True, slots=True)
class Share:
    """So many deliveries of a queue may go. `recipients`: as many as they are taken for. `notes`: as it was seen."""

    queue: Queue
    deliveries: int
    recipients: float
    notes: int


@dataclass(frozen=True, slots=True)
class Room:
    """What may start now: calls, and recipients; of a rank below the best only until `lower` are, of whatever rank."""

    calls: int
    recipients: float
    lower: float = float("inf")


class Turns:
    """The queues of one lane. However many there are, a plan looks at no more of them than calls may start."""

    def __init__(self) -> None:
        self._now = 0
        self._tenants: Mapping[str, int] = {}
        self._stopped: frozenset[str] = frozenset()
        self._slowed: frozenset[str] = frozenset()
        self._queues: dict[Queue, Waiting] = {}
        self._rings = [Ring() for _ in RANKS]
        self._owed = [
            0.0 for _ in RANKS
        ]  # to the lower ranks, while they wait: what each had before its next turn ends
        self._later: list[tuple[int, int, str]] = []  # (due, rank, domain); entries that are not so any more stay

    def __len__(self) -> int:
        return len(self._queues)

    def waiting(self, queue: Queue) -> Waiting | None:
        return self._queues.get(queue)

    def tenant(self, domain: str) -> int:
        return self._tenants.get(domain, 0)

    # -- what is heard of the queues ---------------------------------------------------------------------------------

    def assign(self, tenants: Mapping[str, int]) -> None:
        """The lane's domains, each with its tenant, in place of those before. Queues of others are forgotten."""
        if tenants == self._tenants:
            return
        self._tenants = tenants
        kept = {queue: waiting for queue, waiting in self._queues.items() if queue[0] in tenants}
        self._queues, self._later = kept, []
        self._rings = [Ring() for _ in RANKS]
        for queue, waiting in kept.items():
            waiting.is_ready = False
            self._place(queue, waiting)

    def note(self, queue: Queue, due_at: int, deliveries: int = 1) -> None:
        """So many more deliveries wait in a queue; none more: it is only known that something does."""
        waiting = self._queues.get(queue)
        is_first = waiting is None or due_at < waiting.due_at
        if waiting is None:
            waiting = self._queues[queue] = Waiting(due_at, is_known=deliveries > 0)
        waiting.due_at = min(due_at, waiting.due_at)
        waiting.notes += 1
        if due_at <= self._now:
            waiting.count += deliveries
        if is_first:
            self._place(queue, waiting)

    def counted(self, counts: Mapping[Queue, int]) -> None:
        """How many are due in each queue, as they were just counted."""
        for queue, waiting in self._queues.items():
            waiting.count = counts.get(queue, 0)
            waiting.is_known = waiting.count > 0

    def took(self, share: Share, deliveries: int, recipients: int, next_due: int | None, *, is_drained: bool) -> None:
        """What a share came to. A drained queue has nothing more due; `next_due` is when it has, None for never."""
        self._correct(share, recipients)
        waiting = self._queues.get(share.queue)
        if waiting is None:
            return
        if deliveries:
            waiting.size += (recipients / deliveries - waiting.size) / 4
        waiting.count = 0 if is_drained else max(0, waiting.count - deliveries)
        waiting.is_known = is_drained or waiting.count > 0
        if not is_drained or waiting.notes != share.notes:  # what came meanwhile may not have been seen
            return
        self._withdraw(share.queue, waiting)
        if next_due is None:
            del self._queues[share.queue]
        else:
            waiting.due_at = next_due
            self._place(share.queue, waiting)

    def stop(self, domains: Set[str]) -> None:
        """The domains that may not send now, in place of those before."""
        if domains == self._stopped:
            return
        before, self._stopped = self._stopped, frozenset(domains)
        for domain in before ^ self._stopped:
            for stream in Stream:
                if (waiting := self._queues.get((domain, stream))) is not None:
                    self._withdraw((domain, stream), waiting)
                    self._place((domain, stream), waiting)

    def slow(self, domains: Set[str]) -> None:
        """The domains of which one delivery is taken at a time, in place of those before."""
        self._slowed = frozenset(domains)

    # -- what is asked -----------------------------------------------------------------------------------------------

    def is_behind(self, stream: Stream, now: int) -> bool:
        """Whether something of this rank or a better one is due."""
        self.advance(now)
        return any(self._rings[rank] for rank in range(RANKS[stream] + 1))

    def is_owed(self, stream: Stream) -> bool:
        """Whether a rank below this one waits, and its turn has come."""
        rank = RANKS[stream]
        return self._owed[rank] >= LOWER and any(self._rings[rank + 1 :])

    def passed(self, stream: Stream, recipients: int) -> None:
        """Recipients of this rank went without having waited."""
        self._served(RANKS[stream], recipients)

    def plan(self, now: int, room: Room) -> list[Share]:
        """Whose turn it is, for as much as may start. What comes of each share is to be told by `took`."""
        self.advance(now)
        planned: dict[Queue, int] = {}
        aside: list[tuple[Ring, int, str]] = []
        spent = 0.0
        for _ in range(room.calls):
            if spent >= room.recipients or (rank := self._next(spent < room.lower)) is None:
                break
            tenant, domain = self._rings[rank].turn()
            queue = (domain, _STREAMS[rank])
            size = self._queues[queue].size
            self._rings[rank].gave(tenant, size)
            self._served(rank, size)
            planned[queue] = planned.get(queue, 0) + 1
            spent += size
            is_all = self._queues[queue].is_known and self._queues[queue].count <= planned[queue]
            if is_all or domain in self._slowed:
                self._rings[rank].leave(tenant, domain)
                aside.append((self._rings[rank], tenant, domain))
        for ring, tenant, domain in aside:
            ring.join(tenant, domain)
        return [self._share(queue, deliveries) for queue, deliveries in planned.items()]

    def due_of(self, domain: str, now: int) -> list[Share]:
        """A delivery of each queue of a domain that is due, though the domain is stopped; the best rank first."""
        found = ((domain, stream) for stream in Stream)
        return [self._share(queue, 1) for queue in found if (it := self._queues.get(queue)) and it.due_at <= now]

    def first_due(self, domain: str) -> int | None:
        """When the first of a domain's queues is due, though it is stopped."""
        found = (self._queues.get((domain, stream)) for stream in Stream)
        return min((waiting.due_at for waiting in found if waiting is not None), default=None)

    def due_where(self, now: int, is_so: Callable[[str], bool]) -> list[Share]:
        """A delivery of some queue that is due, of a domain of which that is so: looks at all of them."""
        for queue, waiting in self._queues.items():
            if waiting.due_at <= now and is_so(queue[0]):
                return [self._share(queue, 1)]
        return []

    def first_due_where(self, is_so: Callable[[str], bool]) -> int | None:
        """When the first queue is due of a domain of which that is so: looks at all of them."""
        return min((waiting.due_at for queue, waiting in self._queues.items() if is_so(queue[0])), default=None)

    def next_due(self, now: int) -> int | None:
        """When the next queue that is not stopped is due; now, where one is."""
        self.advance(now)
        if any(self._rings):
            return now
        return self._later[0][0] if self._later else None

    def advance(self, now: int) -> None:
        """Let time pass, or go back as a clock does: queues that have become due take part in the turns."""
        self._now = now
        while self._later:
            due_at, rank, domain = self._later[0]
            queue = (domain, _STREAMS[rank])
            waiting = self._queues.get(queue)
            is_so = waiting is not None and waiting.due_at == due_at and not waiting.is_ready
            if is_so and domain not in self._stopped:
                if due_at > self._now:
                    return
                self._place(queue, self._queues[queue])
            heappop(self._later)

    def ready(self) -> Iterator[tuple[Queue, Waiting]]:
        """The queues that take part in the turns."""
        return ((queue, waiting) for queue, waiting in self._queues.items() if waiting.is_ready)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _share(self, queue: Queue, deliveries: int) -> Share:
        waiting = self._queues[queue]
        return Share(queue, deliveries, deliveries * waiting.size, waiting.notes)

    def _next(self, with_lower: bool) -> int | None:
        """The rank whose turn it is: the best that waits, unless those below it are owed theirs."""
        ranks = [rank for rank, ring in enumerate(self._rings) if ring and (with_lower or rank == 0)]
        if not ranks:
            return None
        return next((rank for rank in ranks[:-1] if self._owed[rank] < LOWER), ranks[-1])

    def _served(self, rank: int, recipients: float) -> None:
        self._owed[rank] = self._owed[rank] + recipients if any(self._rings[rank + 1 :]) else 0.0
        for better in range(rank):
            # What could go while nothing better waited was no favour of it.
            self._owed[better] = self._owed[better] - LOWER * recipients if self._rings[better] else 0.0

    def _correct(self, share: Share, recipients: int) -> None:
        """The plan took the share for so many recipients; it was so many."""
        domain, stream = share.queue
        if difference := recipients - share.recipients:
            self._rings[RANKS[stream]].gave(self.tenant(domain), difference)
            self._served(RANKS[stream], difference)

    def _place(self, queue: Queue, waiting: Waiting) -> None:
        domain, stream = queue
        if waiting.is_ready or domain in self._stopped:
            return
        if waiting.due_at <= self._now:
            waiting.is_ready = True
            waiting.count = max(waiting.count, 1)
            self._rings[RANKS[stream]].join(self.tenant(domain), domain)
            return
        if len(self._later) > 2 * len(self._queues) + 64:
            self._later = [each for each in self._later if self._is_later(each)]
            heapify(self._later)
        heappush(self._later, (waiting.due_at, RANKS[stream], domain))

    def _is_later(self, entry: tuple[int, int, str]) -> bool:
        due_at, rank, domain = entry
        waiting = self._queues.get((domain, _STREAMS[rank]))
        return waiting is not None and waiting.due_at == due_at and not waiting.is_ready

    def _withdraw(self, queue: Queue, waiting: Waiting) -> None:
        domain, stream = queue
        if waiting.is_ready:
            waiting.is_ready = False
            self._rings[RANKS[stream]].leave(self.tenant(domain), domain)


_STREAMS = list(Stream)
