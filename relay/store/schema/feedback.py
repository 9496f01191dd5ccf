"""What SES told of mail, and what follows from it: counts, standings, how the feedback of accounts goes, probes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, Table, Text

from relay.judging import Level
from relay.message import Mode
from relay.store.schema.base import Id, metadata, one_of

# Every event that was counted, so that none counts twice. `about`: the recipient's row, or the delivery's for what is
# of all its recipients; such ids grow with time, so what is new lies together. `key`: 63 bits of a digest of the event.
heard = Table(
    "heard",
    metadata,
    Column("about", Id, primary_key=True, autoincrement=False),
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# How many recipients came to what, by UTC day. A recipient counts once for each thing that may become of it.
FATES = (
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
)
tallies = Table(
    "tallies",
    metadata,
    Column("tenant_id", Id, ForeignKey("tenants.id"), primary_key=True),
    Column("day", Integer, primary_key=True),  # days since 1970
    Column("domain", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("tag", Text, primary_key=True),  # "": none
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in FATES),
    sqlite_with_rowid=False,
)

# What standings are judged by, hour by hour, and what is in the window now.
standing_hours = Table(
    "standing_hours",
    metadata,
    Column("tenant_id", Id, ForeignKey("tenants.id"), primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("hour", Integer, primary_key=True),  # hours since 1970
    Column("sends", BigInteger, nullable=False),
    Column("bounces", BigInteger, nullable=False),
    Column("complaints", BigInteger, nullable=False),
    one_of("mode", Mode),
    sqlite_with_rowid=False,
)

standings = Table(
    "standings",
    metadata,
    Column("tenant_id", Id, ForeignKey("tenants.id"), primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),  # nothing before counts: it was resumed then
    Column("first_hour", Integer, nullable=False),  # the oldest hour that the sums hold
    Column("sends", BigInteger, nullable=False),
    Column("bounces", BigInteger, nullable=False),
    Column("complaints", BigInteger, nullable=False),
    Column("level", Text, nullable=False),
    Column("level_at", BigInteger, nullable=False),
    one_of("mode", Mode),
    one_of("level", Level),
)

# How the feedback of each SES account goes, as the process that reads it wrote it down.
feeds = Table(
    "feeds",
    metadata,
    Column("account", Text, primary_key=True),
    Column("asked_at", BigInteger),  # when its queue last answered
    Column("heard_at", BigInteger),  # when the last event of a message came
    Column("waiting", Integer),  # events in the queue
    Column("dead", Integer),  # events in its dead-letter queue
    Column("fault", Text),  # why it cannot be read now
    Column("owed_since", BigInteger),  # mail has left since, and of none was told what became of it
    Column("silent_since", BigInteger),  # the alarm is on
)

# Mail to the mailbox simulator that `relay doctor` sent, and whether its event came back.
probes = Table(
    "probes",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("account", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("expects", Text, nullable=False),  # delivered, bounced or complained
    Column("sent_at", BigInteger, nullable=False),
    Column("heard_at", BigInteger),
)
