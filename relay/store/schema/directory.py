"""The directory: tenants, SES accounts, domains and keys, and what each of them keeps besides."""

from __future__ import annotations

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
    Table,
    Text,
    UniqueConstraint,
)

from relay.declared import Approval, DomainStatus, TenantStatus
from relay.message import Mode
from relay.store.schema.base import Id, metadata, one_of

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
    Column("appeal", Text),  # JSON: what it says against its suspension, and when
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
    Column("feedback", Text, nullable=False),  # JSON of declared.FeedbackFields: how its events come here
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
