"""Templates, and what messages are looked up by."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
HAS_SES_ID = sa.text("ses_message_id IS NOT NULL")
IS_UNSENT = sa.text("state IN ('failed', 'cancelled')")


def upgrade() -> None:
    op.create_table(
        "templates",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_templates_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_templates")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_templates_tenant_id")),
    )
    op.create_table(
        "template_versions",
        sa.Column("template_id", Id, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("missing", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("missing IN ('error', 'empty')", name=op.f("ck_template_versions_missing")),
        sa.CheckConstraint("text IS NOT NULL OR html IS NOT NULL", name=op.f("ck_template_versions_body")),
        sa.ForeignKeyConstraint(["template_id"], ["templates.id"], name=op.f("fk_template_versions_template_id")),
        sa.PrimaryKeyConstraint("template_id", "version", name=op.f("pk_template_versions")),
    )
    op.create_index("ix_messages_tenant_id", "messages", ["tenant_id", "id"])
    op.create_index("ix_messages_rfc_message_id", "messages", ["rfc_message_id"])
    op.create_index("ix_recipients_address_hash", "recipients", ["address_hash"])
    op.create_index(
        "ix_deliveries_ses_message_id",
        "deliveries",
        ["ses_message_id"],
        sqlite_where=HAS_SES_ID,
        postgresql_where=HAS_SES_ID,
    )
    op.create_index(
        "ix_deliveries_unsent",
        "deliveries",
        ["state", "message_id"],
        sqlite_where=IS_UNSENT,
        postgresql_where=IS_UNSENT,
    )
