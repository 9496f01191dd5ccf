"""Keeps the database in shape beside the mail: its size, its write-ahead log, and the keys that another master key
wrapped. Each round does a little."""

from __future__ import annotations

import time

from relay import log
from relay.metrics import Metrics
from relay.sealing import SealingError
from relay.store import rewrapping, room
from relay.store.clock import now_ms
from relay.store.room import Room
from relay.store.store import Store
from relay.store.writer import Rank

ROUND = 0.25  # seconds that a round may take of its task's time
TOLD_EVERY = 600.0  # seconds


class Upkeep:
    """Built by the sweeps; each method is the work of a chore, and says whether it is done for now."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._rewrapping = Rewrapping(store)
        self._told_at = float("-inf")

    async def tidy(self) -> bool:
        """Measure; then give the disk back what is spare, while nobody waits for the writer, and keep the log short."""
        found = await self._store.read(room.room)
        self._show(found)
        if found.log > room.LOG_LIMIT and not await self._store.truncate_log():
            self._tell(found)
        return await self._give_back(found)

    async def rewrap(self) -> bool:
        """Go on with what another master key wrapped."""
        return await self._rewrapping.go_on()

    def _show(self, found: Room) -> None:
        self._metrics.database_bytes.set(found.database)
        self._metrics.database_free_bytes.set(found.free)
        self._metrics.wal_bytes.set(found.log)

    async def _give_back(self, found: Room) -> bool:
        """Whether nothing more is to be given back."""
        until = time.monotonic() + ROUND
        spare = found.spare
        # A file that is mostly empty is cut however busy the writer is.
        while spare > 0 and time.monotonic() < until and (self._store.is_idle or found.free > found.database / 2):
            given = await self._store.write(room.give_back, min(spare, room.STEP), Rank.SWEEP)
            if not given:  # an old file that was never vacuumed
                return True
            spare -= given
        return spare <= 0

    def _tell(self, found: Room) -> None:
        if found.log > room.LOG_TROUBLE and time.monotonic() - self._told_at > TOLD_EVERY:
            self._told_at = time.monotonic()
            log.trouble(
                "store.log_long", octets=found.log, reason="something has been reading the database for long: a backup?"
            )


class Rewrapping:
    """Goes over all messages once for each master key that was taken over, and once more over the newest: what was
    sealed just before may have been committed after."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._done = "" if store.sealer.master.has_older else store.sealer.master.fingerprint
        self._under_way = ""
        self._began = 0  # milliseconds since 1970
        self._after = 0
        self._count = 0
        self._lost = 0
        self._is_last = False

    async def go_on(self) -> bool:
        """Whether there is nothing left to do for now. On PostgreSQL one process does it."""
        current = self._store.sealer.master.fingerprint
        if current == self._done or not await self._store.own("rewrapping"):
            return True
        try:
            if current != self._under_way:
                await self._begin(current)
            await self._look()
        except SealingError as exc:
            log.trouble("master_key.unfit", exc, reason=str(exc))
            self._done = current
        return self._done == current

    async def _begin(self, current: str) -> None:
        self._began = now_ms()
        self._after = self._count = self._lost = 0
        self._is_last = False
        if await self._store.write(rewrapping.rewrap_installation, self._store.sealer.master, Rank.SWEEP):
            log.event("master_key.taken_over", fingerprint=current)
        self._under_way = current

    async def _look(self) -> None:
        until = time.monotonic() + ROUND
        while time.monotonic() < until:
            master, after = self._store.sealer.master, self._after
            found = await self._store.read(lambda db: rewrapping.look(db, master, after))  # noqa: B023 - run at once
            for start in range(0, len(found.old), rewrapping.SLICE):
                seen = found.old[start : start + rewrapping.SLICE]
                await self._store.write(rewrapping.rewrap, rewrapping.Anew(master, seen), Rank.SWEEP)
            self._count += len(found.old)
            self._lost += 0 if self._is_last else found.lost
            if found.last is None:
                self._end()
                return
            self._after = found.last

    def _end(self) -> None:
        """At the newest message: look again at those that came in meanwhile, until none can be on its way any more."""
        if self._is_last:
            self._done = self._under_way
            log.event("master_key.rewrapped", fingerprint=self._done, messages=self._count, unreadable=self._lost)
            return
        self._is_last = now_ms() - self._began > rewrapping.SETTLED * 1000
        self._after = rewrapping.before(self._began)
