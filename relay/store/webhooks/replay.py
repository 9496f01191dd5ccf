"""Posts that are to go out anew, and the one that only tries a webhook."""

from __future__ import annotations

import json

from sqlalchemy import Connection, insert, select, update

from relay.errors import Kind, Problem, printable
from relay.message import Ids
from relay.sealing import Sealer
from relay.store.clock import clock
from relay.store.directory import audit
from relay.store.directory.audit import Actor
from relay.store.directory.installation import row_id, shown
from relay.store.hooks import PURPOSE
from relay.store.schema import webhook_posts
from relay.store.webhooks import rows
from relay.store.webhooks.rows import Webhook
from relay.telling import TEST

MOST_AT_ONCE = 10_000  # posts: one transaction must not keep mail waiting
_event_ids, _post_ids = Ids(), Ids()


def replay(
    db: Connection,
    actor: Actor,
    name: str,
    *,
    within: int | None = None,
    post: str | None = None,
    since: int | None = None,
    until: int | None = None,
    only_dead: bool = True,
) -> int:
    """Let what is over be posted again, with all its attempts before it. Returns how many posts that are.

    `post`: that one, by its id as shown, delivered or dead. Else those of a span of time in which they came to the
    outbox, `since` <= it < `until` in milliseconds since 1970, the oldest MOST_AT_ONCE. They keep the id by which a
    receiver knows what it has. Raises Problem(NOT_FOUND | CONFLICT).
    """
    webhook = _enabled(db, name, within)
    columns = webhook_posts.c
    which = select(columns.id).where(columns.webhook_id == webhook.id, columns.due_at.is_(None))
    if post is not None:
        which = which.where(columns.id == (row_id(post) or -1))
    elif only_dead:
        which = which.where(columns.dead_at.is_not(None))
    if since is not None:
        which = which.where(columns.created_at >= since)
    if until is not None:
        which = which.where(columns.created_at < until)
    chosen = which.order_by(columns.id).limit(MOST_AT_ONCE).subquery()
    again = (
        update(webhook_posts)
        .where(columns.id.in_(select(chosen.c.id)))
        .values(due_at=clock(db), delivered_at=None, dead_at=None, failures=0)
    )
    count = len(db.execute(again.returning(columns.id)).all())
    if post is not None and not count:
        _refuse(db, webhook, post)
    if count:
        asked = {"posts": count, "since": since, "until": until, "post": post}
        said = {field: [None, value] for field, value in asked.items() if value is not None}
        target = f"webhook {shown(webhook.id)}"
        audit.record(db, actor, "webhook.replay", target, tenant_id=webhook.tenant_id, changes=said, is_seen=False)
    return count


def _refuse(db: Connection, webhook: Webhook, post: str) -> None:
    waits = db.scalar(
        select(webhook_posts.c.id).where(
            webhook_posts.c.webhook_id == webhook.id, webhook_posts.c.id == (row_id(post) or -1)
        )
    )
    if waits is None:
        raise Problem(Kind.NOT_FOUND, f"there is no delivery {printable(post)!r} of this webhook here")
    raise Problem(Kind.CONFLICT, "this delivery is waiting for its next attempt already")


def _enabled(db: Connection, name: str, within: int | None) -> Webhook:
    webhook = rows.find(db, name, within=within)
    if not webhook.is_enabled:
        raise Problem(Kind.CONFLICT, f"the webhook is disabled ({webhook.disabled_reason}): enable it first")
    return webhook


def try_out(db: Connection, sealer: Sealer, actor: Actor, name: str, *, within: int | None = None) -> int:
    """An event that says nothing, to this webhook alone. Returns the id of its post.

    Raises Problem(NOT_FOUND | CONFLICT).
    """
    webhook = _enabled(db, name, within)
    now, event_id, post_id = clock(db), _event_ids.next(), _post_ids.next()
    facts = {
        "id": event_id,
        "type": TEST,
        "at": now,
        "account": None,
        "domain": None,
        "data": {"webhook": shown(webhook.id), "name": webhook.name},
    }
    db.execute(
        insert(webhook_posts).values(
            id=post_id,
            webhook_id=webhook.id,
            event_id=event_id,
            type=TEST,
            at=now,
            sealed=sealer.seal_secret(json.dumps(facts, separators=(",", ":")), PURPOSE),
            attempts=0,
            due_at=now,
            created_at=now,
        )
    )
    target = f"webhook {shown(webhook.id)}"
    audit.record(db, actor, "webhook.test", target, tenant_id=webhook.tenant_id, is_seen=False)
    return post_id
