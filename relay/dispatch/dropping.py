"""Drops the attachments of kept mail when their time is over: reads what is kept, and writes it anew without them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay import log
from relay.errors import Problem
from relay.routing.slimming import Slimming
from relay.sealing import Sealer
from relay.store import listing, resting, retention
from relay.store.retention import Slim, Slimmed
from relay.store.store import Store
from relay.store.writer import Rank

EVERY = 1.0  # seconds between looks where nothing is due
BATCH = 64  # messages that are read and written together
SMALL = 256 << 10  # octets of a message that is: a larger one is worked on alone, and a part at a time


@dataclass(frozen=True, slots=True)
class Failed:
    """Content that could not be read, and why."""

    due: Slim
    exc: Exception


class Dropping:
    """One per server: a task beside the lanes, which wait for it as little as it for them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            found = 0
            try:
                found = await self.look()
            except Exception as exc:  # whatever it is, the next round tries again
                log.trouble("attachments.not_dropped", exc)
            if found < BATCH:
                await asyncio.sleep(EVERY)

    async def look(self) -> int:
        """Drop what is due, BATCH messages at most. Returns how many were looked at."""
        due = await self._store.read(lambda db: retention.due_to_slim(db, BATCH))
        small = [each for each in due if each.size <= SMALL]
        if small:
            sealed = await self._store.read(lambda db: resting.sealed_parts(db, [each.id for each in small]))
            # In a thread however small they are: strangers wrote them.
            await self._write(await asyncio.to_thread(_slim_all, self._store.sealer, small, sealed))
        for each in due:
            if each.size > SMALL:
                await self._drop_large(each)
        return len(due)

    async def _write(self, done: Sequence[Slimmed | Failed]) -> None:
        slimmed = [each for each in done if isinstance(each, Slimmed)]
        writes = [self._store.write(retention.slim, each, Rank.SWEEP, sum(map(len, each.parts))) for each in slimmed]
        await asyncio.gather(*writes)
        for each in done:
            if isinstance(each, Failed):
                await self._postpone(each)

    async def _drop_large(self, due: Slim) -> None:
        """A part in clear at a time; what is kept of it is held until it is written."""
        slimming, kept = Slimming(), []
        try:
            async for part in self._store.content_parts(due.id, due.wrapped_key):
                kept.append(await asyncio.to_thread(slimming.feed, part))
            kept.append(await asyncio.to_thread(slimming.end))
            done = await asyncio.to_thread(_sealed, self._store.sealer, due, slimming, kept)
        except Problem:  # the store's: the next round tries again
            raise
        except Exception as exc:  # as with small ones
            await self._postpone(Failed(due, exc))
            return
        await self._write([done])

    async def _postpone(self, failed: Failed) -> None:
        """It cannot be read. Unless it was destroyed or sealed anew meanwhile, that is said, once a day."""
        due = failed.due
        if await self._store.read(lambda db: listing.wrapped_key(db, due.id)) == due.wrapped_key:
            log.trouble("attachments.unreadable", failed.exc, id=due.public_id)
            await self._store.write(retention.postpone, due.id, Rank.SWEEP)


def _slim_all(sealer: Sealer, due: Sequence[Slim], sealed: Mapping[int, Sequence[bytes]]) -> list[Slimmed | Failed]:
    return [_slim_one(sealer, each, sealed[each.id]) for each in due]


def _slim_one(sealer: Sealer, due: Slim, sealed: Sequence[bytes]) -> Slimmed | Failed:
    slimming = Slimming()
    try:
        kept = [slimming.feed(part) for part in sealer.open(due.id, due.wrapped_key, sealed)]
    except Exception as exc:  # one that is damaged, or that nobody thought of, keeps none of the others
        return Failed(due, exc)
    return _sealed(sealer, due, slimming, [b"".join([*kept, slimming.end()])])


def _sealed(sealer: Sealer, due: Slim, slimming: Slimming, kept: list[bytes]) -> Slimmed:
    if not slimming.is_changed:
        return Slimmed(due.id, due.wrapped_key)
    key, parts = sealer.seal_pieces(due.id, kept)
    return Slimmed(due.id, due.wrapped_key, key, tuple(parts))
