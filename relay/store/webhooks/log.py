"""What was posted to a webhook, and how that went. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Row, select

from relay.errors import Kind, Problem, printable
from relay.sealing import Sealer, SealingError
from relay.store.directory.installation import row_id
from relay.store.directory.paging import Asked, Page, cursor_of, place_of
from relay.store.schema import messages, webhook_attempts, webhook_posts

ANSWER = "webhook answer"  # what the beginning of an answer is sealed for


class PostState(Enum):
    """Where a post is."""

    WAITING = "waiting"  # for its first attempt, or for another
    DELIVERED = "delivered"
    DEAD = "dead"  # given up; it can be replayed


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `took`: milliseconds. `status` None: there was no answer. `said`: what went wrong, in our words.

    `answer`: how the body of the answer begins; None where it is not asked for, or there was none.
    """

    number: int
    at: int
    took: int
    status: int | None
    said: str
    answer: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Post:
    """One event for one webhook; times in milliseconds since 1970, `at` when it happened. `message`: its public id.

    `type` is our name of the event. `attempts`: the first one first.
    """

    id: int
    webhook_id: int
    event_id: int
    type: str
    at: int
    message: str | None
    due_at: int | None
    delivered_at: int | None
    dead_at: int | None
    created_at: int
    attempts: tuple[Attempt, ...]

    @property
    def state(self) -> PostState:
        if self.delivered_at is not None:
            return PostState.DELIVERED
        return PostState.WAITING if self.due_at is not None else PostState.DEAD


_STATES = {
    PostState.WAITING: webhook_posts.c.due_at.is_not(None),
    PostState.DELIVERED: webhook_posts.c.delivered_at.is_not(None),
    PostState.DEAD: webhook_posts.c.dead_at.is_not(None),
}
_select = select(webhook_posts, messages.c.public_id).join(
    messages, messages.c.id == webhook_posts.c.message_id, isouter=True
)


def posts(db: Connection, asked: Asked, webhook_id: int, state: PostState | None = None) -> Page[Post]:
    """The newest first, without what was answered. Raises Problem(BAD_REQUEST) for a cursor that is none of ours."""
    which = _select.where(webhook_posts.c.webhook_id == webhook_id)
    if state is not None:
        which = which.where(_STATES[state])
    if asked.cursor is not None:
        which = which.where(webhook_posts.c.id < place_of(asked.cursor, int))
    rows = db.execute(which.order_by(webhook_posts.c.id.desc()).limit(asked.limit + 1)).all()
    seen = rows[: asked.limit]
    tried = _attempts(db, [row.id for row in seen], None)
    more = cursor_of(seen[-1].id) if len(rows) > asked.limit else None
    return Page([_post(row, tried) for row in seen], None, more)


def post(db: Connection, sealer: Sealer, webhook_id: int, name: str) -> Post:
    """One of a webhook, by its id as shown, with what was answered. Raises Problem(NOT_FOUND)."""
    which = _select.where(webhook_posts.c.webhook_id == webhook_id, webhook_posts.c.id == (row_id(name) or -1))
    row = db.execute(which).one_or_none()
    if row is None:
        raise Problem(Kind.NOT_FOUND, f"there is no delivery {printable(name)!r} of this webhook here")
    return _post(row, _attempts(db, [row.id], sealer))


def _post(row: Row[Any], tried: Mapping[int, Sequence[Attempt]]) -> Post:
    return Post(
        id=row.id,
        webhook_id=row.webhook_id,
        event_id=row.event_id,
        type=row.type,
        at=row.at,
        message=row.public_id,
        due_at=row.due_at,
        delivered_at=row.delivered_at,
        dead_at=row.dead_at,
        created_at=row.created_at,
        attempts=tuple(tried.get(row.id, ())),
    )


def _attempts(db: Connection, ids: Sequence[int], sealer: Sealer | None) -> dict[int, list[Attempt]]:
    of = webhook_attempts.c
    which = select(webhook_attempts).where(of.post_id.in_(ids)).order_by(of.post_id, of.number)
    found: dict[int, list[Attempt]] = defaultdict(list)
    for row in db.execute(which):
        answer = None if sealer is None else _opened(sealer, row.sealed_answer)
        found[row.post_id].append(Attempt(row.number, row.at, row.took, row.status, row.said, answer))
    return found


def _opened(sealer: Sealer, sealed: bytes | None) -> str | None:
    if sealed is None:
        return None
    try:
        return sealer.open_secret(sealed, ANSWER)
    except SealingError:  # of another installation's key: the rest is worth showing
        return None
