"""How much each tenant sent, by UTC day: counted with what is accepted, in rows that no two processes share."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from relay.store.schema import usage

DAY = 86_400_000  # milliseconds
EPOCH = date(1970, 1, 1).toordinal()
process = secrets.randbits(31)


def day_of(at: int) -> int:
    """The UTC day of a moment in milliseconds, counted from 1970."""
    return at // DAY


def month_of(at: int) -> tuple[int, int]:
    """The first day of a moment's UTC month, and of the next."""
    first = date_of(day_of(at)).replace(day=1)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return first.toordinal() - EPOCH, following.toordinal() - EPOCH


def date_of(day: int) -> date:
    return date.fromordinal(day + EPOCH)


_add = (
    update(usage)
    .where(
        usage.c.tenant_id == bindparam("_tenant"),
        usage.c.day == bindparam("_day"),
        usage.c.process == bindparam("_process"),
    )
    .values(
        messages=usage.c.messages + bindparam("_messages"), recipients=usage.c.recipients + bindparam("_recipients")
    )
    .returning(usage.c.tenant_id)
)


def count(db: Connection, accepted: Iterable[tuple[int, int, int]]) -> None:
    """Add accepted messages, each a (tenant, moment in milliseconds, recipients)."""
    messages: Counter[tuple[int, int]] = Counter()
    recipients: Counter[tuple[int, int]] = Counter()
    for tenant_id, at, people in accepted:
        key = (tenant_id, day_of(at))
        messages[key] += 1
        recipients[key] += people
    for tenant_id, day in sorted(messages):
        added = {
            "_tenant": tenant_id,
            "_day": day,
            "_process": process,
            "_messages": messages[tenant_id, day],
            "_recipients": recipients[tenant_id, day],
        }
        if db.execute(_add, added).first() is None:
            db.execute(
                insert(usage).values(
                    tenant_id=tenant_id,
                    day=day,
                    process=process,
                    messages=added["_messages"],
                    recipients=added["_recipients"],
                )
            )


@dataclass(frozen=True, slots=True)
class Used:
    """Recipients of one tenant, and how many of them this process accepted."""

    recipients: int
    here: int


def of_month(db: Connection, at: int) -> dict[int, Used]:
    """What was accepted in the UTC month of a moment in milliseconds, by tenant."""
    first, following = month_of(at)
    here = case((usage.c.process == process, usage.c.recipients), else_=0)
    rows = db.execute(
        select(usage.c.tenant_id)
        .add_columns(func.sum(usage.c.recipients).label("recipients"), func.sum(here).label("here"))
        .where(usage.c.day >= first, usage.c.day < following)
        .group_by(usage.c.tenant_id)
    )
    return {row.tenant_id: Used(int(row.recipients), int(row.here)) for row in rows}


@dataclass(frozen=True, slots=True)
class Day:
    """What one tenant sent on one day."""

    tenant_id: int
    day: int
    messages: int
    recipients: int


def daily(db: Connection, first: int, last: int, tenant_id: int | None = None) -> list[Day]:
    """By day, from the first to the last, of one tenant if named."""
    which = (
        select(usage.c.tenant_id, usage.c.day)
        .add_columns(func.sum(usage.c.messages).label("messages"), func.sum(usage.c.recipients).label("recipients"))
        .where(usage.c.day >= first, usage.c.day <= last)
        .group_by(usage.c.tenant_id, usage.c.day)
        .order_by(usage.c.day, usage.c.tenant_id)
    )
    if tenant_id is not None:
        which = which.where(usage.c.tenant_id == tenant_id)
    return [Day(row.tenant_id, row.day, int(row.messages), int(row.recipients)) for row in db.execute(which)]
