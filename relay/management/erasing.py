"""Removes a person everywhere: step by step, in small transactions, beside a running server if there is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from relay.errors import Problem
from relay.routing import answers
from relay.sealing import Sealer, SealingError
from relay.store import Connection, erasing, mentions, retelling
from relay.store.beside import Changes
from relay.store.directory import audit
from relay.store.directory.audit import Actor
from relay.store.erasing import SLICE, Person, Received
from relay.store.mentions import Kept, Record
from relay.store.retelling import Told
from relay.store.words import Words

Answer = TypeVar("Answer")
TRIES = 5  # at a change that the database could not make just then
PAUSE = 0.2  # seconds between looks at calls under way
CALLS_END = timedelta(seconds=90)  # longer than a call to SES takes
LEFT = {"under_way", "waiting", "listed", "shared"}  # of `Erased`: what stays


@dataclass(frozen=True, slots=True)
class Erased:
    """What was removed, or would be. All are counts, but for the last two.

    `recipients`: rows of mail to the person. `cancelled`: deliveries that waited for nobody else. `sent`: messages from
    it. `contents`: destroyed, of mail to it alone. `described`: messages whose sender named it in what it said of them,
    ORCPT included. `sessions`, `answers`, `notices`: deleted. `records`: rows of the audit and of events that now have
    a mark in the place of the address. `told`: what webhooks are told, or answered, likewise. `suppressions`: entries
    removed.

    Left: `under_way`, recipients whose call to SES did not end; `waiting`, mail from the person that is still to be
    sent, and forgets it then; `listed`, entries of suppression lists; `shared`, contents of mail that others got, too,
    which may name it, the last until `kept_until` (milliseconds since 1970); `directory`, where it is set up by name.
    """

    recipients: int = 0
    cancelled: int = 0
    contents: int = 0
    sent: int = 0
    described: int = 0
    notices: int = 0
    sessions: int = 0
    answers: int = 0
    records: int = 0
    told: int = 0
    suppressions: int = 0
    under_way: int = 0
    waiting: int = 0
    listed: int = 0
    shared: int = 0
    kept_until: int | None = None
    directory: tuple[str, ...] = field(default=())

    @property
    def removed(self) -> int:
        """Whether there was anything at all."""
        counts = (self.recipients, self.sent, self.described, self.notices, self.sessions, self.answers, self.records)
        return sum(counts) + self.told + self.suppressions


class Erasing:
    """Of one person. `with_suppressions`: from the lists, too, so that mail to it is accepted again."""

    def __init__(self, store: Changes, person: Person, *, with_suppressions: bool = False) -> None:
        self._store = store
        self._person = person
        self._words = Words.of(person)
        self._with_suppressions = with_suppressions

    async def look(self) -> Erased:
        """What there is, and nothing changed."""
        return await self._everywhere(is_real=False)

    async def erase(self, actor: Actor, patience: timedelta | None = None) -> Erased:
        """Remove it, and write down who did, without the address. Calls under way are waited for."""
        await self._record(actor, "person.erase", {})
        deadline = time.monotonic() + (CALLS_END if patience is None else patience).total_seconds()
        done = await self._everywhere(is_real=True)
        while done.under_way and time.monotonic() < deadline:
            await asyncio.sleep(PAUSE)
            more = await self._received(is_real=True)
            done = _with(
                done, Received(done.recipients, done.cancelled, done.contents, done.shared, done.kept_until) + more
            )
            done = replace(done, under_way=await self._store.read(partial(erasing.under_way, person=self._person)))
        await self._record(actor, "person.erased", _changes(done))
        return done

    async def _record(self, actor: Actor, action: str, changes: dict[str, Any]) -> None:
        target = f"person {self._person.mark}"
        await self._change(
            lambda db: audit.record(db, actor, action, target, tenant_id=self._person.tenant_id, changes=changes)
        )

    async def _everywhere(self, *, is_real: bool) -> Erased:
        person, words, read = self._person, self._words, self._store.read
        # The sender's and others' words first: they are found by the address, which the rest takes away.
        described = await self._described(is_real)
        sent, waiting, contents = await self._sent(is_real)
        received = await self._received(is_real=is_real)
        listed = await read(partial(mentions.suppressed, words=words))
        if is_real:
            await self._change(
                partial(mentions.unsuppress if self._with_suppressions else mentions.forget_notes, words=words)
            )
        done = Erased(
            sent=sent,
            waiting=waiting,
            described=described,
            notices=await self._notices(is_real),
            sessions=await self._sessions(is_real),
            answers=await self._answers(is_real),
            records=await self._records(is_real),
            told=await self._told(is_real),
            suppressions=listed if self._with_suppressions else 0,
            listed=0 if self._with_suppressions else listed,
            under_way=await read(partial(erasing.under_way, person=person)),
            directory=tuple(await read(partial(mentions.in_directory, words=words))),
        )
        return _with(done, received + Received(contents=contents))

    # -- step by step ------------------------------------------------------------------------------------------------

    async def _received(self, *, is_real: bool) -> Received:
        if not is_real:
            return await self._store.read(partial(erasing.received, person=self._person))
        total = Received()
        while (slice_ := await self._change(partial(erasing.forget_received, person=self._person))).recipients:
            total += slice_
        return total

    async def _sent(self, is_real: bool) -> tuple[int, int, int]:
        """How many messages, how many of them wait to be sent, and how many contents."""
        total = waiting = contents = 0
        after: int | None = 0
        while after is not None:
            found = await self._store.read(partial(erasing.sent, person=self._person, after=after))
            for at in range(0, len(found.ids), SLICE):
                ids = found.ids[at : at + SLICE]
                counted = await self._store.read(partial(erasing.count_sent, ids=ids))
                total, waiting, contents = total + len(ids), waiting + counted.waiting, contents + counted.contents
                if is_real:
                    await self._change(partial(erasing.forget_sent, ids=ids))
            after = found.after
        return total, waiting, contents

    async def _described(self, is_real: bool) -> int:
        described = partial(mentions.described, words=self._words)
        aliased = partial(mentions.aliased, words=self._words)
        forget = partial(mentions.forget_described, words=self._words)
        return await self._named(described, forget, is_real) + await self._named(
            aliased, mentions.forget_aliases, is_real
        )

    async def _named(self, look: Callable[..., mentions.Found], forget: Callable[..., object], is_real: bool) -> int:
        """Through a whole table, a stretch at a time. Returns how many rows name the person."""
        total = 0
        after: int | None = 0
        while after is not None:
            found = await self._store.read(partial(look, after=after))
            ids = [key for (key,) in found.keys]
            for at in range(0, len(ids) if is_real else 0, SLICE):
                await self._change(partial(forget, ids=ids[at : at + SLICE]))
            total, after = total + len(ids), found.after
        return total

    async def _notices(self, is_real: bool) -> int:
        found = await self._store.read(partial(mentions.noticed, words=self._words))
        await self._delete(Kept.NOTICES, [(each,) for each in found], is_real)
        return len(found)

    async def _sessions(self, is_real: bool) -> int:
        total, after = 0, 0
        look = partial(mentions.sessions, sealer=self._store.sealer, words=self._words)
        while (found := await self._store.read(partial(look, after=after))).after is not None:
            await self._delete(Kept.SESSIONS, found.keys, is_real)
            total, after = total + len(found.keys), found.after
        return total

    async def _answers(self, is_real: bool) -> int:
        opened = partial(_opened, sealer=self._store.sealer)
        found = await self._store.read(partial(mentions.answers, words=self._words, opened=opened))
        await self._delete(Kept.ANSWERS, found, is_real)
        return len(found)

    async def _delete(self, kept: Kept, keys: Sequence[tuple[Any, ...]], is_real: bool) -> None:
        for at in range(0, len(keys) if is_real else 0, SLICE):
            await self._change(partial(mentions.delete_rows, kept=kept, found=keys[at : at + SLICE]))

    async def _records(self, is_real: bool) -> int:
        total = 0
        for record in Record:
            after: int | None = 0
            while after is not None:
                look = partial(mentions.recorded, words=self._words, record=record, after=after)
                found = await self._store.read(look)
                total += await self._blot_out(record, [key for (key,) in found.keys], is_real)
                after = found.after
        return total

    async def _told(self, is_real: bool) -> int:
        total, sealer, words = 0, self._store.sealer, self._words
        for told in Told:
            after: int | None = 0
            while after is not None:
                found = await self._store.read(
                    partial(retelling.named, sealer=sealer, words=words, told=told, after=after)
                )
                ids = [key for (key,) in found.keys]
                if ids and is_real:
                    await self._change(partial(retelling.forget, sealer=sealer, words=words, told=told, ids=ids))
                total, after = total + len(ids), found.after
        return total

    async def _blot_out(self, record: Record, ids: Sequence[int], is_real: bool) -> int:
        if not is_real:
            return len(ids)
        total = 0
        for at in range(0, len(ids), SLICE):
            blot_out = partial(mentions.blot_out, words=self._words, record=record, ids=ids[at : at + SLICE])
            total += await self._change(blot_out)
        return total

    async def _change(self, change: Callable[[Connection], Answer]) -> Answer:
        """Again where a server was in the way: what is written with it is rolled back whole."""
        for left in reversed(range(TRIES)):
            try:
                return await self._store.change(change)
            except Problem as problem:
                if not (left and problem.kind.is_temporary):
                    raise
                await asyncio.sleep(PAUSE)
        raise AssertionError("the last try returns or raises")


def _changes(done: Erased) -> dict[str, list[int]]:
    """How many there were, and are."""
    counts = {name: count for name, count in asdict(done).items() if name not in {"kept_until", "directory"} and count}
    return {name: [count, count if name in LEFT else 0] for name, count in counts.items()}


def _with(done: Erased, received: Received) -> Erased:
    return replace(done, **asdict(received))


def _opened(answer: str, sealer: Sealer) -> str:
    """As JSON; "{}" for one that nobody can open any more."""
    try:
        return answers.opened(answer, sealer)
    except SealingError:
        return "{}"
