"""Listings a page at a time: what comes after a cursor, in order of a name or an id."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Connection, Row, Select, func, select

from relay.errors import Fault, Kind, Problem

NO_CURSOR = "is not one of ours; start again without it"
LAST_ID = (1 << 63) - 1  # of those that a database takes
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """`total` counts all that match, None where that would take too long; `next_cursor` is None at the end."""

    items: Sequence[Item]
    total: int | None
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page: at most `limit` after `cursor`."""

    limit: int = 50
    cursor: str | None = None


def cursor_of(key: str | int) -> str:
    return base64.urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def place(cursor: str) -> str:
    """The key a cursor stands for. Raises ValueError for what is no cursor of ours: it must not reach a database."""
    try:
        key = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        key = ""
    if not key or not key.isprintable():
        raise ValueError(NO_CURSOR)
    return key


def place_of(cursor: str, kind: type) -> str | int:
    """The same, of the kind that a list is ordered by. Raises Problem(BAD_REQUEST)."""
    try:
        key = place(cursor)
        if kind is not int:
            return key
        if not key.isdecimal() or int(key[:20]) > LAST_ID:
            raise ValueError(NO_CURSOR)
        return int(key)
    except ValueError as exc:
        raise Problem(Kind.BAD_REQUEST, faults=(Fault("cursor", NO_CURSOR),)) from exc


def page(
    db: Connection, which: Select[Any], key: Column[Any], asked: Asked, read: Callable[[Row[Any]], Item]
) -> Page[Item]:
    """One page of `which`, in the order of `key`, which is unique in it. Raises Problem(BAD_REQUEST)."""
    total: int = db.scalar(select(func.count()).select_from(which.subquery())) or 0
    rest = which
    if asked.cursor is not None:
        rest = rest.where(key > place_of(asked.cursor, key.type.python_type))
    rows = db.execute(rest.order_by(key).limit(asked.limit + 1)).all()
    shown = rows[: asked.limit]
    more = cursor_of(getattr(shown[-1], key.name)) if len(rows) > asked.limit else None
    return Page([read(row) for row in shown], total, more)
