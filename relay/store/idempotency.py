"""What was answered under an idempotency key, kept for a day: written in the transaction of what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.clock import clock, milliseconds, now_ms
from relay.store.hot import HotRow
from relay.store.schema import idempotency

LASTS = timedelta(hours=24)
SLICE = 500  # rows a sweep deletes in one transaction, so that nobody waits long behind it


@dataclass(frozen=True, slots=True)
class Answer:
    """What the first got: `answer` is JSON, `body` the keyed hash of what it asked, None where nothing was compared."""

    body: bytes | None = field(repr=False)
    answer: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Once:
    """What is to be done once, and what it is answered. `key` is a keyed hash; `at` milliseconds since 1970."""

    tenant_id: int
    route: str
    key: bytes = field(repr=False)
    body: bytes | None = field(repr=False)
    answer: str = field(repr=False)
    at: int


# -- writing ---------------------------------------------------------------------------------------------------------


def _upsert(insert: Any) -> Any:
    statement = insert(idempotency)
    return statement.on_conflict_do_update(
        index_elements=idempotency.primary_key.columns,
        set_={name: statement.excluded[name] for name in ("body", "answer", "expires_at")},
        where=idempotency.c.expires_at <= bindparam("now"),
    ).returning(idempotency.c.tenant_id)


_upserts = {"sqlite": _upsert(sqlite.insert), "postgresql": _upsert(postgresql.insert)}


def remember(db: Connection, items: Sequence[Once | None]) -> list[Answer | None]:
    """Write each down, in the transaction of what it answers. Where another was first, that one's answer: do nothing.

    On PostgreSQL the other may be another process, whose commit is waited for; so all go in the order of their keys.
    """
    answers: list[Answer | None] = [None] * len(items)
    once = [(place, item) for place, item in enumerate(items) if item is not None]
    now = clock(db) if once else 0
    for place, item in sorted(once, key=lambda each: (each[1].tenant_id, each[1].route, each[1].key)):
        row = {
            "tenant_id": item.tenant_id,
            "route": item.route,
            "key": item.key,
            "body": item.body,
            "answer": item.answer,
            "expires_at": item.at + milliseconds(LASTS),
            "now": now,
        }
        if db.execute(_upserts[db.dialect.name], row).first() is None:
            answers[place] = _found(db, row)
    return answers


def _found(db: Connection, which: dict[str, Any]) -> Answer:
    row = db.execute(_asked, {name: which[name] for name in ("tenant_id", "route", "key")} | {"now": 0}).one()
    return Answer(row.body, row.answer)


def sweep(db: Connection, items: Sequence[None]) -> Sequence[int]:
    """Forget what is older than a day, one slice. Returns how many rows went."""
    return [_sweep(db, clock(db)) for _ in items]


def _sweep(db: Connection, now: int) -> int:
    is_over = idempotency.c.expires_at <= now
    key = (idempotency.c.tenant_id, idempotency.c.route, idempotency.c.key)
    over = db.execute(select(*key).where(is_over).order_by(idempotency.c.expires_at).limit(SLICE)).all()
    if over:
        db.execute(delete(idempotency).where(tuple_(*key).in_([tuple(row) for row in over]), is_over))
    return len(over)


# -- asking ----------------------------------------------------------------------------------------------------------

_asked = select(idempotency.c.body, idempotency.c.answer).where(
    idempotency.c.tenant_id == bindparam("tenant_id"),
    idempotency.c.route == bindparam("route"),
    idempotency.c.key == bindparam("key"),
    idempotency.c.expires_at > bindparam("now"),
)


def find(db: Connection, tenant_id: int, route: str, key: bytes) -> Answer | None:
    """What was answered under a key within the last day."""
    row = db.execute(_asked, {"tenant_id": tenant_id, "route": route, "key": key, "now": clock(db)}).one_or_none()
    return None if row is None else Answer(row.body, row.answer)


class HotAnswers(HotRow):
    """The same on the loop's own thread."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, _asked)

    def answered(self, tenant_id: int, route: str, key: bytes) -> Answer | None:
        row = self.find({"tenant_id": tenant_id, "route": route, "key": key, "now": now_ms()})
        return None if row is None else Answer(*row)
