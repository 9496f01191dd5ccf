"""How much devices with a daily cap sent, by UTC day: counted with what is accepted, as `usage` counts tenants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from relay.store import usage
from relay.store.schema import device_usage
from relay.store.usage import Used, day_of

KEPT = 7  # days

_add = (
    update(device_usage)
    .where(
        device_usage.c.key_id == bindparam("_key"),
        device_usage.c.day == bindparam("_day"),
        device_usage.c.process == bindparam("_process"),
    )
    .values(recipients=device_usage.c.recipients + bindparam("_recipients"))
    .returning(device_usage.c.key_id)
)


def count(db: Connection, accepted: Iterable[tuple[int, int, int]]) -> None:
    """Add accepted messages, each a (key, moment in milliseconds, recipients)."""
    recipients: Counter[tuple[int, int]] = Counter()
    for key_id, at, people in accepted:
        recipients[key_id, day_of(at)] += people
    for (key_id, day), people in sorted(recipients.items()):
        added = {"_key": key_id, "_day": day, "_process": usage.process, "_recipients": people}
        if db.execute(_add, added).first() is None:
            _begin(db, key_id, day, people)


def _begin(db: Connection, key_id: int, day: int, people: int) -> None:
    """The first of a device's day here. What is long over goes: a device may live longer than anybody looks."""
    over = (device_usage.c.key_id == key_id, device_usage.c.day < day - KEPT)
    db.execute(delete(device_usage).where(*over))
    db.execute(insert(device_usage).values(key_id=key_id, day=day, process=usage.process, recipients=people))


def of_day(db: Connection, at: int) -> dict[int, Used]:
    """What was accepted in the UTC day of a moment in milliseconds, by key."""
    here = case((device_usage.c.process == usage.process, device_usage.c.recipients), else_=0)
    rows = db.execute(
        select(device_usage.c.key_id)
        .add_columns(func.sum(device_usage.c.recipients).label("recipients"), func.sum(here).label("here"))
        .where(device_usage.c.day == day_of(at))
        .group_by(device_usage.c.key_id)
    )
    return {row.key_id: Used(int(row.recipients), int(row.here)) for row in rows}
