"""What SES tells of mail, what follows from it, and who is told of that."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OF_MESSAGES = sa.text("message_id IS NOT NULL")
UNTOLD = sa.text("untold")
ECHOES = sa.text("echo IS NOT NULL")
WAITING_POSTS = sa.text("due_at IS NOT NULL")
DEAD_POSTS = sa.text("dead_at IS NOT NULL")
FATES = [
    "sent",
    "delivered",
    "delayed",
    "bounced",
    "soft_bounced",
    "complained",
    "rejected",
    "failed",
    "suppressed",
    "opened",
    "clicked",
    "unsubscribed",
]
MODES = "mode IN ('byoc', 'shared')"


def upgrade() -> None:
    _what_there_is()
    _feedback()
    _webhooks()


def _what_there_is() -> None:
    op.add_column("events", sa.Column("sealed", sa.LargeBinary(), nullable=True))
    op.add_column("events", sa.Column("untold", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index("ix_events_untold", "events", ["id"], sqlite_where=UNTOLD, postgresql_where=UNTOLD)
    op.create_index("ix_events_tenant_id", "events", ["tenant_id", "id"])
    op.create_index(
        "ix_events_message_id", "events", ["message_id", "id"], sqlite_where=OF_MESSAGES, postgresql_where=OF_MESSAGES
    )
    op.add_column("messages", sa.Column("echo", sa.LargeBinary(), nullable=True))
    op.create_index("ix_messages_echo", "messages", ["id"], sqlite_where=ECHOES, postgresql_where=ECHOES)
    op.add_column("recipients", sa.Column("facts", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("ses_accounts", sa.Column("feedback", sa.Text(), server_default="{}", nullable=False))
    op.add_column("tenants", sa.Column("appeal", sa.Text(), nullable=True))


def _feedback() -> None:
    op.create_table(
        "heard",
        sa.Column("about", Id, autoincrement=False, nullable=False),
        sa.Column("key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("about", "key", name=op.f("pk_heard")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tallies",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), server_default="0", nullable=False) for name in FATES),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_tallies_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "day", "domain", "stream", "tag", name=op.f("pk_tallies")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "standing_hours",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("sends", sa.BigInteger(), nullable=False),
        sa.Column("bounces", sa.BigInteger(), nullable=False),
        sa.Column("complaints", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(MODES, name=op.f("ck_standing_hours_mode")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_standing_hours_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "mode", "hour", name=op.f("pk_standing_hours")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "standings",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("first_hour", sa.Integer(), nullable=False),
        sa.Column("sends", sa.BigInteger(), nullable=False),
        sa.Column("bounces", sa.BigInteger(), nullable=False),
        sa.Column("complaints", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("level_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(MODES, name=op.f("ck_standings_mode")),
        sa.CheckConstraint("level IN ('good', 'warned', 'slowed', 'suspended')", name=op.f("ck_standings_level")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_standings_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "mode", name=op.f("pk_standings")),
    )
    op.create_table(
        "feeds",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.Column("heard_at", sa.BigInteger(), nullable=True),
        sa.Column("waiting", sa.Integer(), nullable=True),
        sa.Column("dead", sa.Integer(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("owed_since", sa.BigInteger(), nullable=True),
        sa.Column("silent_since", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_feeds")),
    )
    op.create_table(
        "probes",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("expects", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_probes")),
    )


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("domains", sa.Text(), nullable=True),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_old_secret", sa.LargeBinary(), nullable=True),
        sa.Column("old_until", sa.BigInteger(), nullable=True),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "dialect IN ('native', 'sendfleet', 'sendex', 'mailerlogic', 'sendmux')", name=op.f("ck_webhooks_dialect")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_webhooks_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index("ix_webhooks_tenant_id", "webhooks", ["tenant_id"])
    op.create_table(
        "webhook_posts",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("webhook_id", Id, nullable=False),
        sa.Column("event_id", Id, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("message_id", Id, nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("dead_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name=op.f("fk_webhook_posts_webhook_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_posts")),
    )
    op.create_index(
        "ix_webhook_posts_due",
        "webhook_posts",
        ["webhook_id", "due_at", "id"],
        sqlite_where=WAITING_POSTS,
        postgresql_where=WAITING_POSTS,
    )
    op.create_index(
        "ix_webhook_posts_order",
        "webhook_posts",
        ["webhook_id", "message_id", "id"],
        sqlite_where=WAITING_POSTS,
        postgresql_where=WAITING_POSTS,
    )
    op.create_index(
        "ix_webhook_posts_dead",
        "webhook_posts",
        ["webhook_id", "id"],
        sqlite_where=DEAD_POSTS,
        postgresql_where=DEAD_POSTS,
    )
    op.create_index("ix_webhook_posts_webhook_id", "webhook_posts", ["webhook_id", "id"])
    op.create_index("ix_webhook_posts_message_id", "webhook_posts", ["message_id"])
    op.create_table(
        "webhook_attempts",
        sa.Column("post_id", Id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("took", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("sealed_answer", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["post_id"], ["webhook_posts.id"], name=op.f("fk_webhook_attempts_post_id")),
        sa.PrimaryKeyConstraint("post_id", "number", name=op.f("pk_webhook_attempts")),
        sqlite_with_rowid=False,
    )
