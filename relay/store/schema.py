"""The tables. Times are BIGINT milliseconds since 1970; ids are 63-bit and sort by time; states are CHECKed."""

from __future__ import annotations

from enum import Enum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from relay.delivery import RecipientState, State
from relay.message import Field, Mode, Stream

# Every revision in store/migrations, oldest first. A database at another one was written by a newer Relay.
REVISIONS = ("0001",)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# On SQLite only INTEGER PRIMARY KEY is the row's own key; it holds 64 bits all the same.
Id = BigInteger().with_variant(Integer(), "sqlite")


def one_of(column: str, values: type[Enum]) -> CheckConstraint:
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    # Commands that write beside a server bump it; servers read it each second and reload what they hold in memory.
    Column("generation", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("name"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("tenant_id", Id, ForeignKey("tenants.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("permission", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    UniqueConstraint("hash"),
    CheckConstraint("permission IN ('send_only', 'full', 'admin')", name="permission"),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("tenant_id", Id, ForeignKey("tenants.id"), primary_key=True),
    Column("address", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("public_id", Text, nullable=False),
    Column("tenant_id", Id, ForeignKey("tenants.id"), nullable=False),
    Column("key_id", Id, ForeignKey("keys.id")),
    Column("protocol", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("mail_from", Text),
    Column("header_from", Text),
    Column("subject", Text),
    Column("rfc_message_id", Text, nullable=False),
    Column("ledger", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    # The content's key, wrapped. NULL: destroyed, and the content with it.
    Column("wrapped_key", LargeBinary),
    Column("destroyed_at", BigInteger),
    # NULL: destroy the content when the last delivery is final.
    Column("keep_until", BigInteger),
    Column("open_deliveries", Integer, nullable=False),
    UniqueConstraint("public_id"),
    one_of("mode", Mode),
    one_of("stream", Stream),
    CheckConstraint("open_deliveries >= 0", name="open_deliveries"),
    CheckConstraint("(wrapped_key IS NULL) = (destroyed_at IS NOT NULL)", name="destroyed"),
    Index(
        "ix_messages_kept",
        "keep_until",
        sqlite_where=text("keep_until IS NOT NULL AND wrapped_key IS NOT NULL"),
        postgresql_where=text("keep_until IS NOT NULL AND wrapped_key IS NOT NULL"),
    ),
)

contents = Table(
    "contents",
    metadata,
    Column("message_id", Id, ForeignKey("messages.id"), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("message_id", Id, ForeignKey("messages.id"), nullable=False),
    Column("domain", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("possible_duplicates", Integer, nullable=False),
    Column("first_due_at", BigInteger, nullable=False),
    # When the queue looks at this row again: the end of a wait, of a window, or of the lease of an attempt.
    Column("due_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("account", Text),
    Column("kind", Text),
    Column("detail", Text),
    Column("ses_message_id", Text),
    one_of("state", State),
    one_of("stream", Stream),
    CheckConstraint("(state IN ('sent', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint("(finished_at IS NULL) = (due_at IS NOT NULL)", name="due"),
    Index("ix_deliveries_message_id", "message_id"),
    Index(
        "ix_deliveries_queue",
        "domain",
        "stream",
        "due_at",
        "id",
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    Index(
        "ix_deliveries_waiting",
        "state",
        "due_at",
        sqlite_where=text("state IN ('sending', 'unknown', 'held')"),
        postgresql_where=text("state IN ('sending', 'unknown', 'held')"),
    ),
)

recipients = Table(
    "recipients",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("delivery_id", Id, ForeignKey("deliveries.id"), nullable=False),
    # NULL once a byoc message is final; the hash stays, so that a known address can still be looked up.
    Column("address", Text),
    Column("address_hash", LargeBinary, nullable=False),
    Column("field", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    one_of("state", RecipientState),
    one_of("field", Field),
    Index("ix_recipients_delivery_id", "delivery_id"),
)
