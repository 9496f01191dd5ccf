"""Tenants with a standing, SES accounts and domains as rows, keys with a scope, usage, blocks, notices, audit."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _tenants()
    _keys()
    _suppressions()
    op.create_table(
        "ses_accounts",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("tenant_id", Id, nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("credentials", sa.Text(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=True),
        sa.Column("endpoint_url", sa.Text(), nullable=True),
        sa.Column("proxy", sa.Text(), nullable=True),
        sa.Column("ca_bundle", sa.Text(), nullable=True),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=True),
        sa.Column("paused_at", sa.BigInteger(), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("is_declared", sa.Boolean(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_ses_accounts_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ses_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_ses_accounts_name")),
    )
    op.create_table(
        "domains",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("account_id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("include_subdomains", sa.Boolean(), nullable=False),
        sa.Column("configuration_sets", sa.Text(), nullable=False),
        sa.Column("streams", sa.Text(), nullable=False),
        sa.Column("default_sender", sa.Text(), nullable=True),
        sa.Column("ses_tenant", sa.Text(), nullable=True),
        sa.Column("mail_from", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("verified_at", sa.BigInteger(), nullable=True),
        sa.Column("challenge", sa.Text(), nullable=True),
        sa.Column("claimed_at", sa.BigInteger(), nullable=True),
        sa.Column("records", sa.Text(), nullable=False),
        sa.Column("checks", sa.Text(), nullable=False),
        sa.Column("warnings", sa.Text(), nullable=False),
        sa.Column("misses", sa.Integer(), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=True),
        sa.Column("check_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("is_declared", sa.Boolean(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("mode IN ('byoc', 'shared')", name=op.f("ck_domains_mode")),
        sa.CheckConstraint("status IN ('pending', 'verified', 'failed')", name=op.f("ck_domains_status")),
        sa.ForeignKeyConstraint(["account_id"], ["ses_accounts.id"], name=op.f("fk_domains_account_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_domains_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domains")),
        sa.UniqueConstraint("name", name=op.f("uq_domains_name")),
    )
    op.create_index("ix_domains_check_at", "domains", ["check_at"], unique=False)
    op.create_index("ix_domains_tenant_id", "domains", ["tenant_id"], unique=False)
    op.create_table(
        "usage",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("recipients", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_usage_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "day", "process", name=op.f("pk_usage")),
    )
    op.create_table(
        "blocks",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("address", "prefix", name=op.f("pk_blocks")),
    )
    op.create_table(
        "notices",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_notices_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
    )
    op.create_table(
        "audit",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("tenant_id", Id, nullable=True),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_target", "audit", ["target", "id"], unique=False)


def _tenants() -> None:
    """As it was, every tenant is active; the default one, and so far there is no other, is approved."""
    for name, kind, default, values in (
        ("updated_at", "BIGINT", "0", ()),
        ("status", "TEXT", "'active'", ("active", "suspended")),
        ("approval", "TEXT", "'none'", ("none", "requested", "approved", "declined")),
        ("settings", "TEXT", "'{}'", ()),
        ("is_declared", "BOOLEAN", "false", ()),
    ):
        listed = ", ".join(f"'{value}'" for value in values)
        check = f" CONSTRAINT ck_tenants_{name} CHECK ({name} IN ({listed}))" if values else ""
        # In words: Alembic would copy the whole table on SQLite for the check's sake, and others refer to it.
        op.execute(f"ALTER TABLE tenants ADD COLUMN {name} {kind} NOT NULL DEFAULT {default}{check}")
    for name in (
        "status_reason",
        "status_by",
        "approval_note",
        "approval_by",
        "application",
        "plan",
        "tier",
        "contact",
    ):
        op.add_column("tenants", sa.Column(name, sa.Text(), nullable=True))
    for name in ("status_at", "approval_at", "disabled_at"):
        op.add_column("tenants", sa.Column(name, sa.BigInteger(), nullable=True))
    op.execute("UPDATE tenants SET approval = 'approved', updated_at = created_at")


def _keys() -> None:
    op.add_column("keys", sa.Column("domains", sa.Text(), nullable=True))
    op.add_column("keys", sa.Column("rate_per_minute", sa.Integer(), nullable=True))
    op.add_column("keys", sa.Column("last_used_at", sa.BigInteger(), nullable=True))
    op.add_column("keys", sa.Column("replaces", Id, nullable=True))
    op.execute("ALTER TABLE keys ADD COLUMN is_declared BOOLEAN NOT NULL DEFAULT false")
    op.create_index("ix_keys_tenant_id", "keys", ["tenant_id"], unique=False)


def _suppressions() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint("fk_suppressions_tenant_id", "suppressions", type_="foreignkey")
        op.execute('ALTER TABLE suppressions ALTER COLUMN address TYPE TEXT COLLATE "C"')
        op.execute("ALTER TABLE suppressions ADD COLUMN source TEXT NOT NULL DEFAULT 'manual'")
        op.add_column("suppressions", sa.Column("note", sa.Text(), nullable=True))
        op.add_column("suppressions", sa.Column("expires_at", sa.BigInteger(), nullable=True))
        return
    op.rename_table("suppressions", "suppressions_before")
    op.create_table(
        "suppressions",
        sa.Column("tenant_id", Id, autoincrement=False, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "address", name=op.f("pk_suppressions")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO suppressions (tenant_id, address, reason, source, created_at) "
        "SELECT tenant_id, address, reason, 'manual', created_at FROM suppressions_before"
    )
    op.drop_table("suppressions_before")
