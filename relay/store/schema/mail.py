"""Messages, their content, their deliveries and their recipients."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from relay.delivery import RecipientState, State
from relay.message import Field, Mode, Stream
from relay.store.schema.base import Id, metadata, one_of

# The conditions of partial indexes. SQLite uses one only for a query that repeats its condition, word by word.
SLIMS = text("slim_at IS NOT NULL AND open_deliveries = 0")
WAITING = text("state IN ('sending', 'unknown', 'held')")
UNSENT = text("state IN ('failed', 'cancelled')")
REPORTS = text("about IS NOT NULL")
DELAYS = text("delay_at IS NOT NULL")
ECHOES = text("echo IS NOT NULL")

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
    # Of DSN (RFC 3461 section 4.3, 4.4): what a bounce holds, "full" or "hdrs", and what the sender calls the mail.
    Column("ret", Text),
    Column("envid", Text),
    Column("tag", Text),
    Column("metadata", Text),  # JSON: name -> text; never in the mail
    Column("track_opens", Boolean),  # NULL: as the tenant has it
    Column("track_clicks", Boolean),
    Column("size", Integer, nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    # The content's key, wrapped. NULL: destroyed, and the content with it.
    Column("wrapped_key", LargeBinary),
    Column("destroyed_at", BigInteger),
    # NULL: destroy the content when the last delivery is final.
    Column("keep_until", BigInteger),
    Column("open_deliveries", Integer, nullable=False),
    # Whether addresses, subject and what else the sender said go when the last delivery is final.
    Column("forgets", Boolean, nullable=False, server_default=false()),
    # When the attachments of content that stays are dropped, once nothing is open. NULL: there is nothing to drop.
    Column("slim_at", BigInteger),
    # What its webhooks are to say of it though it is forgotten: JSON, sealed. NULL: nobody is to be told.
    Column("echo", LargeBinary),
    Column("about", Id),  # of a bounce: the message that it reports on, which may be gone
    UniqueConstraint("public_id"),
    one_of("mode", Mode),
    one_of("stream", Stream),
    Index("ix_messages_tenant_id", "tenant_id", "id"),
    Index("ix_messages_rfc_message_id", "rfc_message_id"),
    CheckConstraint("open_deliveries >= 0", name="open_deliveries"),
    CheckConstraint("(wrapped_key IS NULL) = (destroyed_at IS NOT NULL)", name="destroyed"),
    Index(
        "ix_messages_kept",
        "keep_until",
        sqlite_where=text("keep_until IS NOT NULL AND wrapped_key IS NOT NULL"),
        postgresql_where=text("keep_until IS NOT NULL AND wrapped_key IS NOT NULL"),
    ),
    Index("ix_messages_slim_at", "slim_at", sqlite_where=SLIMS, postgresql_where=SLIMS),
    Index("ix_messages_echo", "id", sqlite_where=ECHOES, postgresql_where=ECHOES),
    Index("ix_messages_about", "about", sqlite_where=REPORTS, postgresql_where=REPORTS),
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
    Column("reports", Integer, nullable=False, server_default=text("0")),  # delivery.Report: what its sender is told
    Column("delay_at", BigInteger),  # when its sender is told that it is late. NULL: not, or not again
    Column("half_of", Id),  # what two deliveries have in common that were one, until SES refused them together
    one_of("state", State),
    one_of("stream", Stream),
    CheckConstraint("(state IN ('sent', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint("(finished_at IS NULL) = (due_at IS NOT NULL)", name="due"),
    Index("ix_deliveries_message_id", "message_id"),
    Index(
        "ix_deliveries_ses_message_id",
        "ses_message_id",
        sqlite_where=text("ses_message_id IS NOT NULL"),
        postgresql_where=text("ses_message_id IS NOT NULL"),
    ),
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
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    ),
    Index(
        "ix_deliveries_unsent",
        "state",
        "message_id",
        sqlite_where=UNSENT,
        postgresql_where=UNSENT,
    ),
    Index("ix_deliveries_delay_at", "delay_at", sqlite_where=DELAYS, postgresql_where=DELAYS),
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
    # Of DSN (RFC 3461 section 4.1, 4.2): when a bounce is wanted, and the address the sender knows.
    Column("notify", Text),
    Column("orcpt", Text),
    Column("facts", Integer, nullable=False, server_default=text("0")),  # bits: what it was counted for already
    one_of("state", RecipientState),
    one_of("field", Field),
    Index("ix_recipients_delivery_id", "delivery_id"),
    Index("ix_recipients_address_hash", "address_hash", "id"),
)
