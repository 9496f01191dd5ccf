"""Deletes what was posted long ago, and webhooks that were removed. In slices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, delete, or_, select

from relay.store.clock import clock, milliseconds
from relay.store.retention import SLICE, id_of
from relay.store.schema import webhook_attempts, webhook_posts, webhooks

REMOVED_FOR = timedelta(days=1)  # long enough for every server to have noticed


def sweep(db: Connection, items: Sequence[timedelta]) -> Sequence[int]:
    """Delete posts that are older than each span, with their attempts, and all of webhooks that were removed; a slice.

    What waits for a webhook that is enabled stays. Returns how many rows that were, without attempts.
    """
    return [_sweep(db, keep_for) for keep_for in items]


def _sweep(db: Connection, keep_for: timedelta) -> int:
    now = clock(db)
    disabled = select(webhooks.c.id).where(webhooks.c.disabled_at.is_not(None))
    is_over = or_(webhook_posts.c.due_at.is_(None), webhook_posts.c.webhook_id.in_(disabled))
    is_old = webhook_posts.c.id < id_of(now - milliseconds(keep_for))
    # Of the installation, not of each row: few are, and the index leads to theirs.
    removed = db.scalars(select(webhooks.c.id).where(webhooks.c.removed_at.is_not(None))).all()
    count = _delete(db, is_old & is_over) + _delete(db, webhook_posts.c.webhook_id.in_(removed))
    return count + _forget(db, now - milliseconds(REMOVED_FOR))


def _delete(db: Connection, which: ColumnElement[bool]) -> int:
    ids = db.scalars(select(webhook_posts.c.id).where(which).order_by(webhook_posts.c.id).limit(SLICE)).all()
    if ids:
        db.execute(delete(webhook_attempts).where(webhook_attempts.c.post_id.in_(ids)))
        db.execute(delete(webhook_posts).where(webhook_posts.c.id.in_(ids)))
    return len(ids)


def _forget(db: Connection, before: int) -> int:
    """Of nobody who posts or writes: the last that remains of a webhook."""
    has_posts = select(webhook_posts.c.id).where(webhook_posts.c.webhook_id == webhooks.c.id).exists()
    over = delete(webhooks).where(webhooks.c.removed_at < before, ~has_posts)
    return len(db.execute(over.returning(webhooks.c.id)).all())
