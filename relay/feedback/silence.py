"""Raises the alarm when the events of an SES account are missed, and calls it off: in the log, as an event, in rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from relay import log
from relay.declared import Via
from relay.dispatch.dispatcher import Dispatcher
from relay.errors import Problem
from relay.feedback.gaps import Gap, Limits, Sight, judge, words
from relay.following import Feedback
from relay.metrics import Metrics
from relay.store import silences
from relay.store.clock import milliseconds, now_ms, rfc3339
from relay.store.directory.snapshot import Snapshot
from relay.store.events import Event
from relay.store.silences import Change, Seen
from relay.store.store import Store
from relay.store.writer import Rank

EVERY = 60.0  # seconds
OVERLAP = timedelta(minutes=5)  # that a look goes back behind the one before: transactions end in any order


class Silence:
    """One per server. The process that has an account's lane judges it; the others show what that one wrote down.

    `clock`: seconds, steady.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        settings: Feedback,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._limits = Limits(settings.silence, settings.backlog)
        self._metrics = metrics
        self._clock = clock
        self._began = clock()
        self._vias: Mapping[str, Via] = {}
        self._told: dict[str, int] = {}
        self._looked_at: int | None = None
        self._alarms: dict[str, str] = {}
        self._shown: set[str] = set()

    def replace(self, snapshot: Snapshot) -> None:
        """Take over the accounts as they are now."""
        self._vias = {name: account.feedback.via for name, account in snapshot.accounts.items()}
        for name in self._shown - self._vias.keys():
            self._told.pop(name, None)
            self._alarms.pop(name, None)
            self._metrics.feedback_silent.remove(name)
        self._shown &= self._vias.keys()

    def faults(self) -> dict[str, str]:
        """What `/readyz` says of it, each with what to do."""
        remedy = "`relay doctor --account {}` finds out where they are lost"
        return {f"events of {name}": f"{said}: {remedy.format(name)}" for name, said in sorted(self._alarms.items())}

    async def run(self) -> None:
        """For ever. What goes wrong is logged, and the next look tries again."""
        while True:
            try:
                await self.look()
            except Problem:  # the store has said so
                pass
            except Exception as exc:
                log.trouble("silence.failed", exc)
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Once at every account. Raises Problem."""
        back = OVERLAP if self._looked_at is not None else 2 * self._limits.silence
        since = (now_ms() if self._looked_at is None else self._looked_at) - milliseconds(back)
        names = list(self._vias)
        now, found = await self._store.read(lambda db: silences.look(db, names, since))
        self._looked_at = now
        for seen in found:
            if seen.account in self._vias:  # they may have changed meanwhile
                await self._look_at(seen, now)

    async def _look_at(self, seen: Seen, now: int) -> None:
        lane = self._dispatcher.lanes.get(seen.account)
        sight = self._sight(seen, now, None if lane is None else lane.allowance.sent_at)
        gap = judge(sight, self._limits, now, timedelta(seconds=self._clock() - self._began))
        if lane is not None and not lane.is_owned:
            gap = Gap(seen.owed_since, seen.silent_since, gap.cause if seen.silent_since is not None else None)
        elif (gap.owed_since, gap.silent_since) != (seen.owed_since, seen.silent_since):
            event = _event(seen, sight, gap, now)
            changed = Change(seen.account, gap.owed_since, gap.silent_since, event)
            await self._store.write(silences.change, changed, Rank.SWEEP)
            _tell(seen, sight, gap, now)
        self._show(seen.account, sight, gap)

    def _sight(self, seen: Seen, now: int, sent_at: float | None) -> Sight:
        if seen.told_at is not None:
            self._told[seen.account] = max(seen.told_at, self._told.get(seen.account, 0))
        return Sight(
            self._vias[seen.account],
            sent_at=None if sent_at is None else now - round((time.monotonic() - sent_at) * 1000),
            told_at=self._told.get(seen.account),
            owed_since=seen.owed_since,
            asked_at=seen.asked_at,
            waiting=seen.waiting,
            fault=seen.fault,
            silent_since=seen.silent_since,
        )

    def _show(self, account: str, sight: Sight, gap: Gap) -> None:
        self._shown.add(account)
        self._metrics.feedback_silent.labels(account).set(int(gap.silent_since is not None))
        if gap.silent_since is None:
            self._alarms.pop(account, None)
        else:
            self._alarms[account] = words(account, sight, gap)


def _event(seen: Seen, sight: Sight, gap: Gap, now: int) -> Event | None:
    """Of an alarm that begins, or is over."""
    before, after = seen.silent_since, gap.silent_since
    if before is None and after is not None and gap.cause is not None:
        said = words(seen.account, sight, gap)
        data = {"since": after, "reason": gap.cause.value, "said": said, "waiting": sight.waiting}
        return Event("feedback.silent", account=seen.account, data=data)
    if before is not None and after is None:
        return Event("feedback.resumed", account=seen.account, data={"since": before, "silent_for": now - before})
    return None


def _tell(seen: Seen, sight: Sight, gap: Gap, now: int) -> None:
    before, after = seen.silent_since, gap.silent_since
    if before is None and after is not None:
        said = words(seen.account, sight, gap)
        remedy = f"relay doctor --account {seen.account}"
        log.trouble(
            "feedback.silent", account=seen.account, since=rfc3339(after, "seconds"), reason=said, remedy=remedy
        )
    elif before is not None and after is None:
        log.event("feedback.resumed", account=seen.account, seconds=(now - before) // 1000)
