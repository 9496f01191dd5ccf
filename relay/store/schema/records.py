"""What is counted and written down beside the mail: usage, answers, failures, stops, events."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, false, text

from relay.store.schema.base import Id, metadata

OF_MESSAGES = text("message_id IS NOT NULL")
UNTOLD = text("untold")

# Recipients accepted, by tenant and UTC day. Every process counts in a row of its own, so that none waits for another.
usage = Table(
    "usage",
    metadata,
    Column("tenant_id", Id, ForeignKey("tenants.id"), primary_key=True),
    Column("day", Integer, primary_key=True),  # days since 1970
    Column("process", Integer, primary_key=True),
    Column("messages", BigInteger, nullable=False),
    Column("recipients", BigInteger, nullable=False),
)

# Recipients accepted from a device with a daily cap, by key and UTC day; by process as above.
device_usage = Table(
    "device_usage",
    metadata,
    Column("key_id", Id, ForeignKey("keys.id"), primary_key=True),
    Column("day", Integer, primary_key=True),  # days since 1970
    Column("process", Integer, primary_key=True),
    Column("recipients", BigInteger, nullable=False),
)

# What was accepted under an idempotency key. `key` is a keyed hash, over SMTP of the envelope, too; `body` that of the
# request, NULL over SMTP, where a client that tries again writes another Date.
idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    Column("route", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("body", LargeBinary),
    Column("answer", Text, nullable=False),  # JSON of what was answered
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_idempotency_expires_at", "expires_at"),
    sqlite_with_rowid=False,
)

# SMTP sessions that failed. The transcript holds addresses, so it is sealed; secrets and content are not in it.
smtp_failures = Table(
    "smtp_failures",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("listener", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("tenant_id", Id),
    Column("key_id", Id),
    Column("reason", Text, nullable=False),  # of smtp_failures.Reason
    Column("sentence", Text, nullable=False),
    Column("transcript", LargeBinary, nullable=False),
    Index("ix_smtp_failures_at", "at"),
)

# Who failed to authenticate too often. `prefix` "" stands for a whole address.
blocks = Table(
    "blocks",
    metadata,
    Column("address", Text, primary_key=True),
    Column("prefix", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
)

# What keeps an SES account, or one of its domains, from sending, as SES said it. `domain` "" is the whole account.
stops = Table(
    "stops",
    metadata,
    Column("account", Text, primary_key=True),
    Column("domain", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("said", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
)

# What happened to messages, domains, accounts and tenants, oldest first.
events = Table(
    "events",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("type", Text, nullable=False),  # such as account.held
    Column("tenant_id", Id),
    Column("account", Text),
    Column("domain", Text),
    Column("message_id", Id),
    Column("data", Text, nullable=False),  # JSON; never content, an address or a secret
    Column("sealed", LargeBinary),  # what SES said and nobody here understood, as it came
    # A command wrote it beside the server, which has still to tell the webhooks.
    Column("untold", Boolean, nullable=False, server_default=false()),
    Index("ix_events_account", "account", "id"),
    Index("ix_events_tenant_id", "tenant_id", "id"),
    Index("ix_events_untold", "id", sqlite_where=UNTOLD, postgresql_where=UNTOLD),
    Index("ix_events_message_id", "message_id", "id", sqlite_where=OF_MESSAGES, postgresql_where=OF_MESSAGES),
)

# Deliveries that SES may have got twice, by the UTC day on which that came to be.
possible_duplicates = Table(
    "possible_duplicates",
    metadata,
    Column("day", Integer, primary_key=True),  # days since 1970
    Column("account", Text, primary_key=True),
    Column("deliveries", BigInteger, nullable=False),
)
