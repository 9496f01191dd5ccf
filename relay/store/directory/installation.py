"""The installation itself: its keys, its default tenant, and the number that tells servers to look again."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from relay.declared import DEFAULT_TENANT, Approval, TenantStatus
from relay.message import Ids
from relay.sealing import MasterKey, Sealer
from relay.store.clock import clock
from relay.store.schema import installation, tenants


def establish(db: Connection, master: MasterKey) -> Sealer:
    """The installation's keys, made at the first start. Raises SealingError if the master key is another one's."""
    row = db.execute(select(installation)).one_or_none()
    if row is not None:
        return Sealer(master, row.wrapped_key)
    wrapped = Sealer.new_installation_key(master)
    now = clock(db)
    db.execute(insert(installation).values(id=1, wrapped_key=wrapped, generation=0, created_at=now))
    db.execute(
        insert(tenants).values(
            id=Ids().next(),
            name=DEFAULT_TENANT,
            status=TenantStatus.ACTIVE.value,
            approval=Approval.APPROVED.value,
            settings="{}",
            is_declared=False,
            created_at=now,
            updated_at=now,
        )
    )
    return Sealer(master, wrapped)


def lock(db: Connection) -> None:
    """Wait until no other change of the directory is under way, and keep others waiting until the transaction ends."""
    db.execute(select(installation.c.id).with_for_update())


def generation(db: Connection) -> int:
    found: int = db.execute(select(installation.c.generation)).scalar_one()
    return found


def bump(db: Connection) -> None:
    """Tell running servers to read again what they hold in memory."""
    db.execute(update(installation).values(generation=installation.c.generation + 1))


def default_tenant(db: Connection) -> int:
    found: int = db.execute(select(tenants.c.id).where(tenants.c.name == DEFAULT_TENANT)).scalar_one()
    return found


def shown(row_id: int) -> str:
    """A row's id as people and programs see it: 24 hex digits, like a message's."""
    return f"{row_id:024x}"


def row_id(text: str) -> int | None:
    """The row that `shown` wrote so, or None for anything else."""
    try:
        found = int(text, 16)
    except ValueError:
        return None
    return found if len(text) == 24 and 0 <= found < 1 << 63 else None
