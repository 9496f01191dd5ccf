"""Who is blocked for failing to authenticate too often, as every process and the commands see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.clock import clock
from relay.store.directory import audit
from relay.store.directory.audit import Actor
from relay.store.schema import blocks


@dataclass(frozen=True, slots=True)
class Block:
    """`address`: of the client, an IPv6 one as its /64. `prefix`: of the keys it tried; "" for the whole address."""

    address: str
    prefix: str
    failures: int
    since: int
    until: int


def standing(db: Connection) -> list[Block]:
    """Those that hold now."""
    rows = db.execute(select(blocks).where(blocks.c.until > clock(db)).order_by(blocks.c.since))
    return [Block(*row) for row in rows]


def begin(db: Connection, items: Sequence[Block]) -> Sequence[None]:
    """Write blocks down, in place of older ones of the same; those that are over go.

    Servers read blocks each second anyway: a stranger must not make them read the whole directory again.
    """
    db.execute(delete(blocks).where(blocks.c.until <= clock(db)))
    insert = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
    for item in sorted(items, key=lambda item: (item.address, item.prefix)):
        new = insert(blocks).values(asdict(item))
        told = {name: new.excluded[name] for name in ("failures", "since", "until")}
        # Another process may begin the same one in this moment.
        db.execute(new.on_conflict_do_update(index_elements=["address", "prefix"], set_=told))
    return [None] * len(items)


def lift(db: Connection, actor: Actor, address: str) -> int:
    """Let an address in again, whatever keys it tried. Returns how many blocks that ended."""
    gone = db.scalars(delete(blocks).where(blocks.c.address == address).returning(blocks.c.prefix)).all()
    if gone:
        audit.record(db, actor, "block.lift", f"address {address}", tenant_id=None)
    return len(gone)
