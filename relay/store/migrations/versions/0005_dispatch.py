"""What is said of deliveries that fail, wait or went twice; what stops lanes; and when parts of a message go."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SLIMS = sa.text("slim_at IS NOT NULL AND open_deliveries = 0")
REPORTS = sa.text("about IS NOT NULL")
DELAYS = sa.text("delay_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "stops",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "domain", name=op.f("pk_stops")),
    )
    op.create_table(
        "events",
        sa.Column("id", Id, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("tenant_id", Id, nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("domain", sa.Text(), nullable=True),
        sa.Column("message_id", Id, nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_account", "events", ["account", "id"])
    op.create_table(
        "possible_duplicates",
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("deliveries", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "account", name=op.f("pk_possible_duplicates")),
    )
    op.add_column("domains", sa.Column("recipients_per_call", sa.Integer(), nullable=True))
    op.add_column("messages", sa.Column("forgets", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("messages", sa.Column("slim_at", sa.BigInteger(), nullable=True))
    op.add_column("messages", sa.Column("about", Id, nullable=True))
    op.execute("UPDATE messages SET forgets = true WHERE mode = 'byoc'")
    op.create_index("ix_messages_slim_at", "messages", ["slim_at"], sqlite_where=SLIMS, postgresql_where=SLIMS)
    op.create_index("ix_messages_about", "messages", ["about"], sqlite_where=REPORTS, postgresql_where=REPORTS)
    op.add_column("deliveries", sa.Column("reports", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("deliveries", sa.Column("delay_at", sa.BigInteger(), nullable=True))
    op.add_column("deliveries", sa.Column("half_of", Id, nullable=True))
    op.create_index("ix_deliveries_delay_at", "deliveries", ["delay_at"], sqlite_where=DELAYS, postgresql_where=DELAYS)
    # Ids begin with their time: what an address got lately is one range.
    op.drop_index("ix_recipients_address_hash", "recipients")
    op.create_index("ix_recipients_address_hash", "recipients", ["address_hash", "id"])
