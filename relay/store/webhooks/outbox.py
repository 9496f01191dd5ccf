"""What waits to be posted to webhooks, and what became of an attempt. When to try again is decided elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update

from relay.store import notices
from relay.store.clock import clock, rfc3339
from relay.store.directory import audit
from relay.store.directory.audit import RELAY
from relay.store.directory.installation import shown
from relay.store.events import Event, note
from relay.store.schema import WAITING_POSTS, tenants, webhook_attempts, webhook_posts, webhooks

DISABLED = "webhook.disabled"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One event that is due for one webhook. `failures`: attempts that failed since it began, or began anew."""

    id: int
    webhook_id: int
    event_id: int
    type: str
    message_id: int | None
    sealed: bytes = field(repr=False)
    attempts: int
    failures: int


class Fate(Enum):
    """What follows from an attempt."""

    TAKEN = "taken"
    LATER = "later"
    DEAD = "dead"
    UNTOLD = "untold"  # it was not posted: there is nothing to say


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt at a post as it was `seen`, begun `at`. `took`: milliseconds. `due_at`: when LATER is.

    `status` None: there was no answer; `sealed_answer`: how its body begins. `is_receivers`: a failure is its fault.
    """

    seen: Waiting
    fate: Fate
    at: int
    took: int = 0
    status: int | None = None
    said: str = ""
    sealed_answer: bytes | None = field(default=None, repr=False)
    due_at: int | None = None
    is_receivers: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """How a webhook fares after an attempt: since when all have failed, and how many. None and 0: the last did not."""

    since: int | None
    failures: int


# -- taking ----------------------------------------------------------------------------------------------------------


def first_due(db: Connection) -> dict[int, int]:
    """When each webhook that is enabled has something due, by its id: one look at an index for each."""
    due = (
        select(func.min(webhook_posts.c.due_at))
        .where(webhook_posts.c.webhook_id == webhooks.c.id, WAITING_POSTS)
        .scalar_subquery()
    )
    rows = db.execute(select(webhooks.c.id, due.label("due_at")).where(webhooks.c.disabled_at.is_(None)))
    return {row.id: row.due_at for row in rows if row.due_at is not None}


_first = webhook_posts.alias("first")


def _earlier(column: ColumnElement[int]) -> Select[Any]:
    """Of what waits for the same webhook, and came before it of the same message."""
    return select(column).where(
        _first.c.message_id == webhook_posts.c.message_id,
        _first.c.webhook_id == webhook_posts.c.webhook_id,
        _first.c.due_at.is_not(None),
        _first.c.id < webhook_posts.c.id,
    )


def take(db: Connection, webhook_id: int, now: int, most: int) -> list[Waiting]:
    """What is due for a webhook, longest due first. Of a message only the first that waits, which the rest wait for."""
    columns = webhook_posts.c
    rows = db.execute(
        select(
            columns.id,
            columns.webhook_id,
            columns.event_id,
            columns.type,
            columns.message_id,
            columns.sealed,
            columns.attempts,
            columns.failures,
        )
        .where(columns.webhook_id == webhook_id, WAITING_POSTS, columns.due_at <= now, ~_earlier(_first.c.id).exists())
        .order_by(columns.due_at, columns.id)
        .limit(most)
    )
    return [Waiting(*row) for row in rows]


def line_up(db: Connection, items: Sequence[tuple[int, int]]) -> Sequence[None]:
    """For webhooks, by their ids, of which nothing can be taken at a moment: what is due then is due with what it waits
    for, and so is not looked at over and over."""
    columns = webhook_posts.c
    for webhook_id, now in items:
        is_behind = (columns.webhook_id == webhook_id, WAITING_POSTS, columns.due_at <= now)
        with_it = _earlier(func.max(_first.c.due_at)).scalar_subquery()
        blocked = _earlier(_first.c.id).where(_first.c.due_at > now).exists()
        db.execute(update(webhook_posts).where(*is_behind, blocked).values(due_at=with_it))
    return [None] * len(items)


def waiting(db: Connection) -> int:
    """How many posts wait in all, those of disabled webhooks too."""
    return db.scalar(select(func.count()).select_from(webhook_posts).where(WAITING_POSTS)) or 0


# -- settling --------------------------------------------------------------------------------------------------------


def settle(db: Connection, items: Sequence[Attempted]) -> Sequence[Run | None]:
    """Write attempts down. None: the post is not as it was seen, or was not posted, and nothing follows."""
    return [_settle(db, item) for item in items]


def _settle(db: Connection, item: Attempted) -> Run | None:
    seen, columns = item.seen, webhook_posts.c
    as_seen = (columns.id == seen.id, columns.attempts == seen.attempts, WAITING_POSTS)
    if item.fate is Fate.UNTOLD:
        is_new = columns.attempts == 0
        db.execute(delete(webhook_posts).where(*as_seen, is_new))
        # What was posted once has a log, and stays in it.
        db.execute(update(webhook_posts).where(*as_seen, ~is_new).values(due_at=None, dead_at=item.at))
        return None
    has_failed = item.fate is not Fate.TAKEN
    is_dead = item.fate is Fate.DEAD
    values = {
        "attempts": seen.attempts + 1,
        "failures": seen.failures + has_failed,
        "due_at": item.due_at,
        "dead_at": item.at + item.took if is_dead else None,
        "delivered_at": None if has_failed else item.at + item.took,
    }
    if db.scalar(update(webhook_posts).where(*as_seen).values(**values).returning(columns.id)) is None:
        return None
    db.execute(
        insert(webhook_attempts).values(
            post_id=seen.id,
            number=seen.attempts + 1,
            at=item.at,
            took=item.took,
            status=item.status,
            said=item.said,
            sealed_answer=item.sealed_answer,
        )
    )
    if item.due_at is not None and seen.message_id is not None:
        # What waits for this one is not looked at before it. `take` would leave it alone in any case.
        behind = (columns.message_id == seen.message_id, columns.webhook_id == seen.webhook_id, columns.id > seen.id)
        db.execute(update(webhook_posts).where(*behind, columns.due_at < item.due_at).values(due_at=item.due_at))
    return _run(db, seen.webhook_id, item.at if has_failed else None) if item.is_receivers else None


def _run(db: Connection, webhook_id: int, failed_at: int | None) -> Run:
    columns = webhooks.c
    if failed_at is None:
        had_failed = (columns.id == webhook_id, columns.failures > 0)
        db.execute(update(webhooks).where(*had_failed).values(failing_since=None, failures=0))
        return Run(None, 0)
    row = db.execute(
        update(webhooks)
        .where(columns.id == webhook_id)
        .values(failing_since=func.coalesce(columns.failing_since, failed_at), failures=columns.failures + 1)
        .returning(columns.failing_since, columns.failures)
    ).one()
    return Run(row.failing_since, row.failures)


# -- disabling -------------------------------------------------------------------------------------------------------


def disable(db: Connection, webhook_id: int, reason: str) -> bool:
    """Post no more to it, and tell whom it concerns. What waits stays, for the day on which it is enabled again.

    False where it was disabled, or removed, by then.
    """
    now = clock(db)
    row = db.execute(
        update(webhooks)
        .where(webhooks.c.id == webhook_id, webhooks.c.disabled_at.is_(None))
        .values(disabled_at=now, disabled_reason=reason, updated_at=now)
        .returning(webhooks.c.tenant_id, webhooks.c.name, webhooks.c.failing_since)
    ).one_or_none()
    if row is None:
        return False
    which = shown(webhook_id)
    changes = {"disabled_reason": [None, reason]}
    audit.record(db, RELAY, "webhook.disable", f"webhook {which}", tenant_id=row.tenant_id, changes=changes)
    data = {"webhook": which, "name": row.name, "reason": reason, "failing_since": row.failing_since}
    note(db, [Event(DISABLED, tenant_id=row.tenant_id, data=data)])
    # This server has it in memory as enabled yet, and has just put into its outbox that it is not.
    itself = (webhook_posts.c.webhook_id == webhook_id, webhook_posts.c.type == DISABLED, WAITING_POSTS)
    db.execute(delete(webhook_posts).where(*itself, webhook_posts.c.attempts == 0, webhook_posts.c.created_at >= now))
    _tell(db, row.tenant_id, which, row.name, reason, row.failing_since)
    return True


def _tell(db: Connection, tenant_id: int, which: str, name: str, reason: str, since: int | None) -> None:
    tenant = db.execute(select(tenants.c.name, tenants.c.contact).where(tenants.c.id == tenant_id)).one()
    called = f"{name} ({which})" if name else which
    failing = f" Nothing it was sent has been taken since {rfc3339(since, 'seconds')}." if since is not None else ""
    text = (
        f"The webhook {called} of {tenant.name} is disabled: {reason}.{failing}\n\n"
        "Events are not collected for it any more. Those that waited for it are kept for some time, and are posted when"
        " it is enabled again:\n\n"
        f"    relay webhook change {which} --enable\n"
    )
    notices.write(db, tenant_id, tenant.contact, "A webhook is disabled", text)
