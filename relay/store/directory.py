"""Who may send: tenants and API keys in the database, and suppressed addresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update

from relay.errors import Kind, Problem
from relay.message import Ids
from relay.sealing import MasterKey, Sealer, api_key_prefix, new_api_key
from relay.store.clock import clock
from relay.store.schema import installation, keys, suppressions, tenants

DEFAULT_TENANT = "default"


class Permission(Enum):
    """What a key may do. Each includes the one before."""

    SEND_ONLY = "send_only"
    FULL = "full"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the server knows it: never its secret."""

    id: int
    tenant_id: int
    name: str
    prefix: str
    hash: bytes
    permission: Permission
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    def is_valid(self, now: int) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that gets no mail of a tenant. `address` is lower-case."""

    tenant_id: int
    address: str
    reason: str
    created_at: int


def establish(db: Connection, master: MasterKey) -> Sealer:
    """The installation's keys, made at the first start. Raises SealingError if the master key is another one's."""
    row = db.execute(select(installation)).one_or_none()
    if row is not None:
        return Sealer(master, row.wrapped_key)
    wrapped = Sealer.new_installation_key(master)
    now = clock(db)
    db.execute(insert(installation).values(id=1, wrapped_key=wrapped, generation=0, created_at=now))
    db.execute(insert(tenants).values(id=Ids().next(), name=DEFAULT_TENANT, created_at=now))
    return Sealer(master, wrapped)


def generation(db: Connection) -> int:
    found: int = db.execute(select(installation.c.generation)).scalar_one()
    return found


def bump(db: Connection) -> None:
    """Tell running servers to read again what they hold in memory."""
    db.execute(update(installation).values(generation=installation.c.generation + 1))


def default_tenant(db: Connection) -> int:
    found: int = db.execute(select(tenants.c.id).where(tenants.c.name == DEFAULT_TENANT)).scalar_one()
    return found


# -- keys ------------------------------------------------------------------------------------------------------------


def create_key(
    db: Connection,
    sealer: Sealer,
    *,
    name: str,
    permission: Permission = Permission.SEND_ONLY,
    expires_at: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key of the default tenant. The secret is returned here and never again."""
    secret = new_api_key()
    made = ApiKey(
        id=Ids().next(),
        tenant_id=default_tenant(db),
        name=name,
        prefix=api_key_prefix(secret),
        hash=sealer.hash_api_key(secret),
        permission=permission,
        created_at=clock(db),
        expires_at=expires_at,
        revoked_at=None,
    )
    db.execute(
        insert(keys).values(
            id=made.id,
            tenant_id=made.tenant_id,
            name=made.name,
            prefix=made.prefix,
            hash=made.hash,
            permission=made.permission.value,
            created_at=made.created_at,
            expires_at=made.expires_at,
        )
    )
    bump(db)
    return made, secret


def api_keys(db: Connection) -> list[ApiKey]:
    return [
        ApiKey(
            id=row.id,
            tenant_id=row.tenant_id,
            name=row.name,
            prefix=row.prefix,
            hash=row.hash,
            permission=Permission(row.permission),
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
        )
        for row in db.execute(select(keys).order_by(keys.c.id))
    ]


def revoke_key(db: Connection, prefix: str) -> int:
    """Revoke by prefix. Raises Problem(NOT_FOUND) where no valid key has it."""
    now = clock(db)
    revoked = db.scalars(
        update(keys)
        .where(keys.c.prefix == prefix, keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(keys.c.id)
    ).all()
    if not revoked:
        raise Problem(Kind.NOT_FOUND, f"no valid key has the prefix {prefix}; `relay key list` shows them")
    bump(db)
    return len(revoked)


# -- suppressions ----------------------------------------------------------------------------------------------------


_listed_one = select(suppressions).where(
    suppressions.c.tenant_id == bindparam("tenant_id"), suppressions.c.address == bindparam("address")
)
_listed = select(suppressions).where(
    suppressions.c.tenant_id == bindparam("tenant_id"),
    suppressions.c.address.in_(bindparam("addresses", expanding=True)),
)


def suppressed(db: Connection, tenant_id: int, addresses: Sequence[str]) -> dict[str, Suppression]:
    """Which of these lower-case addresses are listed."""
    rows = db.execute(_listed, {"tenant_id": tenant_id, "addresses": addresses})
    return {row.address: Suppression(row.tenant_id, row.address, row.reason, row.created_at) for row in rows}


class HotSuppressions:
    """SQLite: look-ups on the loop's own thread, by the driver itself: 5 us instead of 180 through an engine.

    Every statement reads and ends by itself, so that no snapshot is held and the log can be emptied.
    """

    def __init__(self, engine: Engine) -> None:
        self._driver = engine.raw_connection()
        compiled = _listed_one.compile(engine)
        assert compiled.positiontup == ["tenant_id", "address"]
        self._statement = str(compiled)

    def find(self, tenant_id: int, addresses: Sequence[str]) -> dict[str, Suppression]:
        found: dict[str, Suppression] = {}
        cursor = self._driver.cursor()
        for address in addresses:
            for row in cursor.execute(self._statement, (tenant_id, address)).fetchall():
                found[address] = Suppression(*row)
        cursor.close()
        return found

    def close(self) -> None:
        self._driver.close()


def suppress(db: Connection, address: str, reason: str) -> bool:
    """Put an address on the default tenant's list. False if it was there."""
    tenant_id = default_tenant(db)
    if suppressed(db, tenant_id, [address.lower()]):
        return False
    db.execute(
        insert(suppressions).values(tenant_id=tenant_id, address=address.lower(), reason=reason, created_at=clock(db))
    )
    return True


def unsuppress(db: Connection, address: str) -> bool:
    """Take an address off the list. False if it was not there."""
    gone = db.scalars(
        delete(suppressions)
        .where(suppressions.c.tenant_id == default_tenant(db), suppressions.c.address == address.lower())
        .returning(suppressions.c.address)
    ).all()
    return bool(gone)


def suppression_list(db: Connection, limit: int) -> Iterable[Suppression]:
    rows = db.execute(select(suppressions).order_by(suppressions.c.tenant_id, suppressions.c.address).limit(limit))
    return [Suppression(row.tenant_id, row.address, row.reason, row.created_at) for row in rows]
