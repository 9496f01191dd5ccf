"""The tables. Times are BIGINT milliseconds since 1970; ids are 63-bit and sort by time; states are CHECKed."""

from __future__ import annotations

from enum import Enum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from relay.declared import Approval, DomainStatus, TenantStatus
from relay.delivery import RecipientState, State
from relay.message import Field, Mode, Stream

# Every revision in store/migrations, oldest first. A database at another one was written by a newer Relay.
REVISIONS = ("0001", "0002", "0003", "0004", "0005")

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
    Column("updated_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("status_at", BigInteger),
    Column("status_by", Text),
    Column("approval", Text, nullable=False),
    Column("approval_note", Text),
    Column("approval_at", BigInteger),
    Column("approval_by", Text),
    Column("application", Text),  # JSON: what the tenant wrote when it asked for approval
    Column("plan", Text),
    Column("tier", Text),
    Column("contact", Text),
    Column("settings", Text, nullable=False),  # JSON of declared.TenantSettings
    # A row that the configuration file declares is the file's: nobody else changes it.
    Column("is_declared", Boolean, nullable=False),
    Column("disabled_at", BigInteger),  # it vanished from the file
    UniqueConstraint("name"),
    one_of("status", TenantStatus),
    one_of("approval", Approval),
)

ses_accounts = Table(
    "ses_accounts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("tenant_id", Id, ForeignKey("tenants.id")),  # NULL: the operator's
    Column("name", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("credentials", Text, nullable=False),  # JSON: what may be shown
    Column("sealed_secret", LargeBinary),
    Column("endpoint_url", Text),
    Column("proxy", Text),
    Column("ca_bundle", Text),
    Column("rate", Float, nullable=False),
    Column("concurrency", Integer),
    Column("paused_at", BigInteger),
    Column("paused_by", Text),
    Column("paused_reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("is_declared", Boolean, nullable=False),
    Column("disabled_at", BigInteger),
    UniqueConstraint("name"),
)

domains = Table(
    "domains",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("tenant_id", Id, ForeignKey("tenants.id"), nullable=False),
    Column("account_id", Id, ForeignKey("ses_accounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("include_subdomains", Boolean, nullable=False),
    Column("configuration_sets", Text, nullable=False),  # JSON: stream -> name
    Column("streams", Text, nullable=False),  # JSON: those allowed
    Column("default_sender", Text),
    Column("ses_tenant", Text),
    Column("recipients_per_call", Integer),  # NULL: as many as SES takes
    Column("mail_from", Text),
    Column("status", Text, nullable=False),
    Column("verified_at", BigInteger),
    # What a shared domain's TXT record must say before it is believed to be this tenant's. NULL: vouched for.
    Column("challenge", Text),
    Column("claimed_at", BigInteger),  # when the challenge was seen, or the operator vouched
    Column("records", Text, nullable=False),  # JSON: what to publish
    Column("checks", Text, nullable=False),  # JSON: what was found
    Column("warnings", Text, nullable=False),  # JSON: what every accepted shared message is told
    Column("misses", Integer, nullable=False),  # checks in a row that did not end in "verified"
    Column("checked_at", BigInteger),
    Column("check_at", BigInteger, nullable=False),  # when the background pass looks again
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("is_declared", Boolean, nullable=False),
    Column("disabled_at", BigInteger),
    UniqueConstraint("name"),
    one_of("mode", Mode),
    one_of("status", DomainStatus),
    Index("ix_domains_check_at", "check_at"),
    Index("ix_domains_tenant_id", "tenant_id"),
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
    Column("domains", Text),  # JSON: the names it may send as and manage. NULL: all of its tenant
    Column("rate_per_minute", Integer),
    Column("last_used_at", BigInteger),
    Column("replaces", Id),  # the key it was rotated from
    Column("is_declared", Boolean, nullable=False),
    Column("sender_rule", Text),  # JSON of declared.SenderRule
    Column("device", Text),  # JSON of declared.Device
    UniqueConstraint("hash"),
    CheckConstraint("permission IN ('send_only', 'full', 'admin')", name="permission"),
    Index("ix_keys_tenant_id", "tenant_id"),
)

# tenant_id 0 is the operator's own list, which holds for everyone. Without a row id on SQLite: the primary key is the
# table, so a look-up is one descent however long the list is.
suppressions = Table(
    "suppressions",
    metadata,
    Column("tenant_id", Id, primary_key=True, autoincrement=False),
    # In the order of octets, whatever the database's own is: a prefix is a range of the key.
    Column("address", Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("note", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    sqlite_with_rowid=False,
)

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

# Mail to people about their account, until it is sent.
notices = Table(
    "notices",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("tenant_id", Id, ForeignKey("tenants.id"), nullable=False),
    Column("address", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("tenant_id", Id),
    Column("changes", Text, nullable=False),  # JSON: field -> [before, after]; never a secret
    Column("request_id", Text),
    Index("ix_audit_target", "target", "id"),
)

# What messages are made of by name and version. A version never changes; `version` is the newest.
templates = Table(
    "templates",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("tenant_id", Id, ForeignKey("tenants.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("tenant_id", "name"),
)

template_versions = Table(
    "template_versions",
    metadata,
    Column("template_id", Id, ForeignKey("templates.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("text", Text),
    Column("html", Text),
    Column("missing", Text, nullable=False),  # what a variable that is not given is: "error" or "empty"
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("missing IN ('error', 'empty')", name="missing"),
    CheckConstraint("text IS NOT NULL OR html IS NOT NULL", name="body"),
)

# The conditions of partial indexes. SQLite uses one only for a query that repeats its condition, word by word.
SLIMS = text("slim_at IS NOT NULL AND open_deliveries = 0")
WAITING = text("state IN ('sending', 'unknown', 'held')")
UNSENT = text("state IN ('failed', 'cancelled')")
REPORTS = text("about IS NOT NULL")
DELAYS = text("delay_at IS NOT NULL")

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
    one_of("state", RecipientState),
    one_of("field", Field),
    Index("ix_recipients_delivery_id", "delivery_id"),
    Index("ix_recipients_address_hash", "address_hash", "id"),
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
    Column("data", Text, nullable=False),  # JSON; never content or a secret
    Index("ix_events_account", "account", "id"),
)

# Deliveries that SES may have got twice, by the UTC day on which that came to be.
possible_duplicates = Table(
    "possible_duplicates",
    metadata,
    Column("day", Integer, primary_key=True),  # days since 1970
    Column("account", Text, primary_key=True),
    Column("deliveries", BigInteger, nullable=False),
)
