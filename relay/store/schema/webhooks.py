"""Who is told of events over HTTP, what they are yet to be told, and how that went."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, text

from relay.declared import Dialect
from relay.store.schema.base import Id, metadata, one_of

WAITING_POSTS = text("due_at IS NOT NULL")
DEAD_POSTS = text("dead_at IS NOT NULL")

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("tenant_id", Id, ForeignKey("tenants.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("events", Text, nullable=False),  # JSON: names and patterns such as email.*
    Column("domains", Text),  # JSON: names of sender domains. NULL: all
    Column("retries", Integer, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("sealed_old_secret", LargeBinary),  # it signs, too, until old_until
    Column("old_until", BigInteger),
    Column("disabled_at", BigInteger),
    Column("disabled_reason", Text),
    Column("failing_since", BigInteger),  # of a row of failures without a success
    Column("failures", Integer, nullable=False, server_default="0"),  # how many that were
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # It is gone for everybody; the row stays until no server can still have it in memory, and write to its outbox.
    Column("removed_at", BigInteger),
    one_of("dialect", Dialect),
    Index("ix_webhooks_tenant_id", "tenant_id"),
)

# The outbox and the log of what was posted: one row for an event and a hook. `due_at` NULL: it is over.
webhook_posts = Table(
    "webhook_posts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("webhook_id", Id, ForeignKey("webhooks.id"), nullable=False),
    Column("event_id", Id, nullable=False),
    Column("type", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # when it happened
    Column("message_id", Id),
    Column("sealed", LargeBinary, nullable=False),  # JSON of what happened, to be rendered in the hook's dialect
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),  # since it was told last to begin anew
    Column("due_at", BigInteger),
    Column("delivered_at", BigInteger),
    Column("dead_at", BigInteger),  # given up: it can be replayed
    Column("created_at", BigInteger, nullable=False),
    Index(
        "ix_webhook_posts_due", "webhook_id", "due_at", "id", sqlite_where=WAITING_POSTS, postgresql_where=WAITING_POSTS
    ),
    # Which of a message's is first; the rest wait for it.
    Index(
        "ix_webhook_posts_order",
        "webhook_id",
        "message_id",
        "id",
        sqlite_where=WAITING_POSTS,
        postgresql_where=WAITING_POSTS,
    ),
    Index("ix_webhook_posts_dead", "webhook_id", "id", sqlite_where=DEAD_POSTS, postgresql_where=DEAD_POSTS),
    Index("ix_webhook_posts_webhook_id", "webhook_id", "id"),
    Index("ix_webhook_posts_message_id", "message_id"),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("post_id", Id, ForeignKey("webhook_posts.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("took", Integer, nullable=False),  # milliseconds
    Column("status", Integer),  # NULL: there was no answer
    Column("said", Text, nullable=False),  # what went wrong, in our words; "" where nothing did
    Column("sealed_answer", LargeBinary),  # how the answer's body begins
    sqlite_with_rowid=False,
)
