"""What became of tenants' mail in the last days: hour by hour, and the running sums of the window that standings go by.

An event costs the same however long the window is: it is added to its hour and to the sums, and an hour that leaves the
window is taken off them once. Sums depend on what was counted alone, not on its order or its batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, Self

from sqlalchemy import BindParameter, Connection, Row, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.judging import Counts, Level
from relay.message import Mode
from relay.store.clock import clock
from relay.store.schema import standing_hours, standings, tenants

HOUR = 3_600_000  # milliseconds
SUMS = ("sends", "bounces", "complaints")  # columns
Key = tuple[int, str]  # a tenant and a mode: columns


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of so many recipients of one tenant's mail. `at`: when, in milliseconds since 1970.

    `sends`: SES accepted them; `bounces`: permanent ones.
    """

    tenant_id: int
    mode: Mode
    at: int
    sends: int = 0
    bounces: int = 0
    complaints: int = 0


@dataclass(slots=True)
class Window:
    """The window of one tenant and one mode, with whose it is. `first_hour`: the oldest that is in the sums."""

    tenant_id: int
    mode: Mode
    since: int
    first_hour: int
    sends: int
    bounces: int
    complaints: int
    level: Level
    level_at: int
    tenant: str
    is_active: bool

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        return cls(
            tenant_id=row.tenant_id,
            mode=Mode(row.mode),
            since=row.since,
            first_hour=row.first_hour,
            sends=row.sends,
            bounces=row.bounces,
            complaints=row.complaints,
            level=Level(row.level),
            level_at=row.level_at,
            tenant=row.name,
            is_active=row.status == "active",
        )

    @property
    def counts(self) -> Counts:
        return Counts(self.sends, self.bounces, self.complaints)

    def add(self, sends: int, bounces: int, complaints: int) -> None:
        self.sends += sends
        self.bounces += bounces
        self.complaints += complaints


# Made once: to make a statement anew costs several times what it does.
_IDS: BindParameter[Any] = bindparam("_ids", expanding=True)
_of_tenants = (
    select(standings, tenants.c.name, tenants.c.status)
    .join(tenants, tenants.c.id == standings.c.tenant_id)
    .where(standings.c.tenant_id.in_(_IDS))
    .order_by(standings.c.tenant_id, standings.c.mode)
    .with_for_update(of=standings)  # in one order: two writers never wait for each other
)
_this = (standings.c.tenant_id == bindparam("_tenant"), standings.c.mode == bindparam("_mode"))
_summed = update(standings).where(*_this).values({name: bindparam(f"_{name}") for name in ("first_hour", *SUMS)})
_levelled = update(standings).where(*_this).values(level=bindparam("_level"), level_at=bindparam("_at"))
_left = (
    delete(standing_hours)
    .where(
        standing_hours.c.tenant_id == bindparam("_tenant"),
        standing_hours.c.mode == bindparam("_mode"),
        standing_hours.c.hour < bindparam("_hour"),
    )
    .returning(*(standing_hours.c[name] for name in SUMS))
)


def first_hour(now: int, span: timedelta) -> int:
    """The oldest hour of a window of so many that ends with this one, counted from 1970."""
    return now // HOUR - max(1, round(span / timedelta(hours=1))) + 1


def add(db: Connection, items: Sequence[Counted], span: timedelta, now: int) -> list[Window]:
    """Count, and let what is older than the window go. Returns the windows as they are now.

    What is too late for its window, or from before it began, counts no more.
    """
    wanted = {(each.tenant_id, each.mode.value) for each in items}
    found = {(each.tenant_id, each.mode.value): each for each in _locked(db, wanted, first_hour(now, span))}
    hours: dict[tuple[Key, int], list[int]] = {}
    slide(db, found.values(), span, now)
    for each in items:
        key = (each.tenant_id, each.mode.value)
        window, hour = found[key], min(each.at, now) // HOUR
        is_inside = hour >= window.first_hour and each.at >= window.since
        if is_inside and (each.sends or each.bounces or each.complaints):
            window.add(each.sends, each.bounces, each.complaints)
            sums = hours.setdefault((key, hour), [0, 0, 0])
            sums[0] += each.sends
            sums[1] += each.bounces
            sums[2] += each.complaints
    if hours:
        _add_hours(db, hours)
        write(db, [found[key] for key in sorted({key for key, _ in hours})])
    return [found[key] for key in sorted(wanted)]


def slide(db: Connection, windows: Iterable[Window], span: timedelta, now: int) -> None:
    """Let what is older than the window go, of windows that are locked."""
    first, slid = first_hour(now, span), []
    for window in windows:
        if window.first_hour < first:
            window.first_hour = first
            where = {"_tenant": window.tenant_id, "_mode": window.mode.value, "_hour": first}
            for row in db.execute(_left, where).all():
                window.add(-row.sends, -row.bounces, -row.complaints)
            slid.append(window)
    write(db, slid)


def write(db: Connection, windows: Sequence[Window]) -> None:
    """The sums of windows that are locked."""
    if windows:
        db.execute(
            _summed,
            [
                {
                    "_tenant": each.tenant_id,
                    "_mode": each.mode.value,
                    "_first_hour": each.first_hour,
                    "_sends": each.sends,
                    "_bounces": each.bounces,
                    "_complaints": each.complaints,
                }
                for each in windows
            ],
        )


def level(db: Connection, window: Window, level: Level, now: int) -> None:
    """Move a window that is locked to another level."""
    window.level, window.level_at = level, now
    db.execute(_levelled, {"_tenant": window.tenant_id, "_mode": window.mode.value, "_level": level.value, "_at": now})


def _locked(db: Connection, wanted: set[Key], first: int) -> list[Window]:
    """The windows that are wanted; those that are not there yet begin."""
    ids = {"_ids": sorted({tenant_id for tenant_id, _ in wanted})}
    found = _wanted(db.execute(_of_tenants, ids).all(), wanted)
    missing = wanted - {(each.tenant_id, each.mode.value) for each in found}
    if not missing:
        return found
    new = _insert(db.dialect.name)(standings).on_conflict_do_nothing()
    zero = {"since": 0, "first_hour": first, "sends": 0, "bounces": 0, "complaints": 0}
    good = {"level": Level.GOOD.value, "level_at": 0}
    db.execute(new, [{"tenant_id": tenant, "mode": mode, **zero, **good} for tenant, mode in sorted(missing)])
    return _wanted(db.execute(_of_tenants, ids).all(), wanted)


def _wanted(rows: Iterable[Row[Any]], wanted: set[Key]) -> list[Window]:
    return [Window.of(row) for row in rows if (row.tenant_id, row.mode) in wanted]


def _add_hours(db: Connection, hours: dict[tuple[Key, int], list[int]]) -> None:
    db.execute(
        _added(db.dialect.name),
        [
            {"tenant_id": tenant, "mode": mode, "hour": hour, **dict(zip(SUMS, sums, strict=True))}
            for ((tenant, mode), hour), sums in sorted(hours.items())
        ],
    )


@cache
def _added(dialect: str) -> Any:
    new = _insert(dialect)(standing_hours)
    added = {name: standing_hours.c[name] + new.excluded[name] for name in SUMS}
    return new.on_conflict_do_update(index_elements=["tenant_id", "mode", "hour"], set_=added)


def _insert(dialect: str) -> Any:
    return sqlite.insert if dialect == "sqlite" else postgresql.insert


# -- beginning anew, and looking -------------------------------------------------------------------------------------


def begin_anew(db: Connection, tenant_id: int) -> None:
    """Forget all that was counted of a tenant: from now on it stands as well as anybody."""
    now = clock(db)
    rows = db.execute(_of_tenants, {"_ids": [tenant_id]}).all()
    if not rows:
        return
    db.execute(delete(standing_hours).where(standing_hours.c.tenant_id == tenant_id))
    zero = {"first_hour": now // HOUR, "sends": 0, "bounces": 0, "complaints": 0}
    anew = update(standings).where(standings.c.tenant_id == tenant_id)
    db.execute(anew.values(since=now, level=Level.GOOD.value, level_at=now, **zero))


def behind(db: Connection, first: int, most: int) -> list[Window]:
    """So many windows, locked, that have not let go of hours before `first`, or of their level since."""
    is_empty = standings.c.sends + standings.c.bounces + standings.c.complaints == 0
    is_empty &= standings.c.level.in_([Level.GOOD.value, Level.SUSPENDED.value])
    which = (
        select(standings, tenants.c.name, tenants.c.status)
        .join(tenants, tenants.c.id == standings.c.tenant_id)
        .where(standings.c.first_hour < first, ~is_empty)
        .order_by(standings.c.tenant_id, standings.c.mode)
        .limit(most)
        .with_for_update(of=standings)
    )
    return [Window.of(row) for row in db.execute(which)]


@dataclass(frozen=True, slots=True)
class Seen:
    """How a window looks now. `since`: nothing from before counts, for it was begun anew then; 0: never."""

    counts: Counts = field(default_factory=Counts)
    level: Level = Level.GOOD
    level_at: int = 0
    since: int = 0


def look(db: Connection, tenant_ids: Sequence[int], span: timedelta) -> dict[int, dict[Mode, Seen]]:
    """The windows of these tenants as they are now, without changing them. None where nothing was ever counted."""
    first = first_hour(clock(db), span)
    hours = standing_hours.c
    sums = (
        select(hours.tenant_id, hours.mode, *(func.sum(hours[name]).label(name) for name in SUMS))
        .where(hours.tenant_id.in_(tenant_ids), hours.hour >= first)
        .group_by(hours.tenant_id, hours.mode)
    )
    counted = {
        (row.tenant_id, row.mode): Counts(int(row.sends), int(row.bounces), int(row.complaints))
        for row in db.execute(sums)
    }
    found: dict[int, dict[Mode, Seen]] = {tenant_id: {} for tenant_id in tenant_ids}
    for row in db.execute(select(standings).where(standings.c.tenant_id.in_(tenant_ids))):
        counts = counted.get((row.tenant_id, row.mode), Counts())
        found[row.tenant_id][Mode(row.mode)] = Seen(counts, Level(row.level), row.level_at, row.since)
    return found


def levels(db: Connection) -> dict[int, Level]:
    """Of tenants whose shared sending does not stand well: how it stands."""
    which = select(standings.c.tenant_id, standings.c.level).where(
        standings.c.mode == Mode.SHARED.value, standings.c.level != Level.GOOD.value
    )
    return {row.tenant_id: Level(row.level) for row in db.execute(which)}
