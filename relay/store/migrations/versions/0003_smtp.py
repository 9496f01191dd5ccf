"""DSN and options of messages, rules of keys, devices, idempotency, failed SMTP sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for table, column in (
        ("keys", sa.Column("sender_rule", sa.Text(), nullable=True)),
        ("keys", sa.Column("device", sa.Text(), nullable=True)),
        ("messages", sa.Column("ret", sa.Text(), nullable=True)),
        ("messages", sa.Column("envid", sa.Text(), nullable=True)),
        ("messages", sa.Column("tag", sa.Text(), nullable=True)),
        ("messages", sa.Column("metadata", sa.Text(), nullable=True)),
        ("messages", sa.Column("track_opens", sa.Boolean(), nullable=True)),
        ("messages", sa.Column("track_clicks", sa.Boolean(), nullable=True)),
        ("recipients", sa.Column("notify", sa.Text(), nullable=True)),
        ("recipients", sa.Column("orcpt", sa.Text(), nullable=True)),
    ):
        op.add_column(table, column)
    op.create_table(
        "device_usage",
        sa.Column("key_id", Id, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("recipients", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name=op.f("fk_device_usage_key_id")),
        sa.PrimaryKeyConstraint("key_id", "day", "process", name=op.f("pk_device_usage")),
    )
    op.create_table(
        "idempotency",
        sa.Column("tenant_id", Id, autoincrement=False, nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "route", "key", name=op.f("pk_idempotency")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_idempotency_expires_at", "idempotency", ["expires_at"])
    op.create_table(
        "smtp_failures",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("listener", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("tenant_id", Id, nullable=True),
        sa.Column("key_id", Id, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("transcript", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smtp_failures")),
    )
    op.create_index("ix_smtp_failures_at", "smtp_failures", ["at"])
