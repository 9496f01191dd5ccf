"""Writes down what is stopped in one lane: rows, one event and one loud line at its beginning and at its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from relay import log
from relay.dispatch.stops import Stop, Stops, first_wait
from relay.errors import Kind, Problem
from relay.metrics import Metrics
from relay.routing.standing import ACCOUNT
from relay.store import stops as rows
from relay.store.clock import now_ms
from relay.store.events import Event
from relay.store.stops import Change, Stopped
from relay.store.store import Store
from relay.store.writer import Rank

KINDS = {kind.slug: kind for kind in reversed(Kind)}


class Record:
    """Of the lane of one account. Looks at what is stopped, and writes what is new of it.

    `domains` are those that send through the account now: a row about another is over.
    """

    def __init__(
        self, account: str, stops: Stops, domains: Callable[[], Collection[str]], store: Store, metrics: Metrics
    ) -> None:
        self._account = account
        self._stops = stops
        self._domains = domains
        self._store = store
        self._metrics = metrics
        self._written: dict[str, Stopped] | None = None  # None: what the rows say is not known yet
        self._turn = asyncio.Lock()
        self._shown: set[tuple[str, str, str]] = set()

    async def look(self, *, is_owned: bool) -> None:
        """From time to time. A lane that another process owns is stopped as that one wrote it down. Raises Problem."""
        async with self._turn:
            if not is_owned or self._written is None:
                await self._read(is_owned=is_owned)
            if is_owned:
                await self._write()
        self._show(is_owned=is_owned)

    async def write(self) -> None:
        """At once, if the database lets us; else the next look does it."""
        try:
            async with self._turn:
                if self._written is not None:
                    await self._write()
                    self._show(is_owned=True)
        except Problem:  # the store's trouble, logged there
            return

    async def _read(self, *, is_owned: bool) -> None:
        found = await self._store.read(lambda db: rows.of_account(db, self._account))
        theirs = {ACCOUNT, *self._domains()}
        stopped = {each.domain: stop for each in found if each.domain in theirs and (stop := _stop(each))}
        self._stops.restore(stopped, is_all=not is_owned)
        self._written = {each.domain: each for each in found} if is_owned else None

    async def _write(self) -> None:
        assert self._written is not None
        now = {key: self._row(key, stop) for key, stop in self._stops.by_ses().items()}
        if now == self._written:
            return
        begun = [row for key, row in now.items() if key not in self._written]
        over = [row for key, row in self._written.items() if key not in now]
        written = tuple(row for key, row in now.items() if row != self._written.get(key))
        told = [*(_event("held", row) for row in begun), *(_event("released", row) for row in over)]
        item = Change(self._account, written, tuple(row.domain for row in over), tuple(told))
        await self._store.write(rows.change, item, Rank.SETTLE)
        self._written = now
        for row in begun:
            log.trouble(_word("held", row), reason=row.kind, said=row.said, remedy=row.remedy, **_named(row))
        for row in over:
            log.event(_word("released", row), reason=row.kind, held_for=_held_for(row), **_named(row))

    def _row(self, key: str, stop: Stop) -> Stopped:
        """`since` stays as it was written: the two clocks need not go alike."""
        before = (self._written or {}).get(key)
        since = before.since if before else now_ms() - round(1000 * (time.monotonic() - stop.since))
        return Stopped(self._account, key, stop.kind.slug, stop.said, stop.remedy, since)

    def _show(self, *, is_owned: bool) -> None:
        stopped = self._stops.by_ses() if is_owned else {}
        shown = {(key, self._account, stop.kind.slug) for key, stop in stopped.items() if key != ACCOUNT}
        for labels in self._shown - shown:
            self._metrics.domain_held.remove(*labels)
        for labels in shown - self._shown:
            self._metrics.domain_held.labels(*labels).set(1)
        self._shown = shown

    def close(self) -> None:
        """The account has gone."""
        for labels in self._shown:
            self._metrics.domain_held.remove(*labels)
        self._shown = set()


def _stop(row: Stopped) -> Stop | None:
    """As it is taken up again: looked at as soon as possible. None for what another version wrote."""
    kind = KINDS.get(row.kind)
    if kind is None:
        return None
    now = time.monotonic()
    return Stop(kind, row.said, now - max(0, now_ms() - row.since) / 1000, now, first_wait(kind), row.remedy)


def _word(what: str, row: Stopped) -> str:
    return f"{'account' if row.domain == ACCOUNT else 'domain'}.{what}"


def _named(row: Stopped) -> dict[str, Any]:
    return {"account": row.account} | ({"domain": row.domain} if row.domain != ACCOUNT else {})


def _held_for(row: Stopped) -> float:
    return max(0, now_ms() - row.since) / 1000


def _event(what: str, row: Stopped) -> Event:
    told: dict[str, object] = {"reason": row.kind, "said": row.said, "remedy": row.remedy}
    if what == "released":
        told["held_for"] = _held_for(row)  # seconds
    domain = None if row.domain == ACCOUNT else row.domain
    return Event(_word(what, row), account=row.account, domain=domain, data=told)
