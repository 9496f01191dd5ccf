"""Wraps anew what an older master key wrapped: the installation key, and the keys of messages.

Nothing is unreadable in between: who wraps by the current key has the older ones, too, and they go only when a look
over all messages finds none that needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select, update

from relay.sealing import INSTALLATION, MasterKey, SealingError, content_purpose
from relay.store.schema import installation, messages
from relay.store.searching import PER_MILLISECOND

WIDTH = 2000  # messages that are looked at in one read
SLICE = 500  # keys that are wrapped anew in one transaction
SETTLED = 30.0  # seconds after a server took over a key: what it sealed by the one before is committed by then
RECENT = 3_600_000  # milliseconds: no message is made longer before it is committed

Wrapped = tuple[int, bytes]  # a message, and its key as it rests


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at some messages found. `count`: how many they are. `last`: the one it ended with; None where there
    were no more. `old`: those whose key an older master key wrapped. `lost`: how many none of the keys opens."""

    count: int
    last: int | None
    old: tuple[Wrapped, ...] = field(repr=False)
    lost: int


@dataclass(frozen=True, slots=True)
class Anew:
    """Keys to be wrapped anew, as they were seen."""

    master: MasterKey
    seen: Sequence[Wrapped] = field(repr=False)


def look(db: Connection, master: MasterKey, after: int) -> Looked:
    """Over the next messages, those after this one."""
    which = select(messages.c.id, messages.c.wrapped_key).where(messages.c.id > after).order_by(messages.c.id)
    rows = db.execute(which.limit(WIDTH)).all()
    old: list[Wrapped] = []
    lost = 0
    for row in rows:
        try:
            if row.wrapped_key is not None and not master.is_current(row.wrapped_key, content_purpose(row.id)):
                old.append((row.id, row.wrapped_key))
        except SealingError:  # damaged, or of another database: that it cannot be read is said where it is read
            lost += 1
    return Looked(len(rows), rows[-1].id if rows else None, tuple(old), lost)


def rewrap(db: Connection, items: Sequence[Anew]) -> Sequence[None]:
    """Compare-and-set: a key that was destroyed since it was seen stays so."""
    for item in items:
        anew = [
            {"_id": message_id, "_seen": wrapped, "_anew": item.master.rewrapped(wrapped, content_purpose(message_id))}
            for message_id, wrapped in item.seen
        ]
        if anew:
            seen = (messages.c.id == bindparam("_id"), messages.c.wrapped_key == bindparam("_seen"))
            db.execute(update(messages).where(*seen).values(wrapped_key=bindparam("_anew")), anew)
    return [None] * len(items)


def rewrap_installation(db: Connection, items: Sequence[MasterKey]) -> Sequence[bool]:
    """The installation key, which opens all but content. Returns whether an older key had wrapped it."""
    return [_rewrap_installation(db, master) for master in items]


def _rewrap_installation(db: Connection, master: MasterKey) -> bool:
    wrapped: bytes = db.execute(select(installation.c.wrapped_key).with_for_update()).scalar_one()
    if master.is_current(wrapped, INSTALLATION):
        return False
    db.execute(update(installation).values(wrapped_key=master.rewrapped(wrapped, INSTALLATION)))
    return True


def is_taken_over(db: Connection, master: MasterKey) -> bool:
    """Whether the current key wraps the installation key: who serves has taken it over. Raises SealingError."""
    return master.is_current(wrapped_installation_key(db), INSTALLATION)


def wrapped_installation_key(db: Connection) -> bytes:
    found: bytes = db.execute(select(installation.c.wrapped_key)).scalar_one()
    return found


def before(at: int) -> int:
    """The id that every message sorts after that can have been sealed at `at` or later, and is not committed yet."""
    return max(0, at - RECENT) * PER_MILLISECOND
