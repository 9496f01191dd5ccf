"""Addresses that get no mail: a list per tenant, and the operator's own, which holds for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.errors import Kind, Problem, printable
from relay.message import Address, canonical_domain
from relay.store.clock import clock, now_ms
from relay.store.directory import audit
from relay.store.directory.audit import Actor
from relay.store.directory.paging import Asked, Page, cursor_of, place_of
from relay.store.schema import suppressions

EVERYONE = 0  # the tenant_id of the operator's own list
MAX_REASON = 200  # characters
MAX_NOTE = 998
PAGE = 2000  # entries that are written or read together at most


@dataclass(frozen=True, slots=True)
class Suppression:
    """One entry. `address` is lower-case; `tenant_id` EVERYONE is the operator's list. Times in milliseconds."""

    tenant_id: int
    address: str = field(repr=False)
    reason: str
    source: str
    note: str | None = field(repr=False)
    created_at: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be put on a list; made by `parse`. `created_at` None is now. Times in milliseconds."""

    address: str = field(repr=False)
    reason: str = "manual"
    source: str = "manual"
    note: str | None = field(default=None, repr=False)
    created_at: int | None = None
    expires_at: int | None = None

    @classmethod
    def parse(
        cls,
        address: str,
        reason: str = "manual",
        source: str = "manual",
        note: str | None = None,
        created_at: int | None = None,
        expires_at: int | None = None,
    ) -> Entry:
        """Raises Problem(BAD_ADDRESS | NON_ASCII_ADDRESS), or BAD_REQUEST for a text that is not one short line."""
        folded = Address.parse(address).folded
        _require_line("reason", reason, MAX_REASON)
        _require_line("source", source, MAX_REASON)
        if note:
            _require_line("note", note, MAX_NOTE)
        return cls(folded, reason, source, note or None, created_at, expires_at)


def _require_line(name: str, text: str, limit: int) -> None:
    if not text or len(text) > limit:
        raise Problem(Kind.BAD_REQUEST, f"{name}: takes 1 to {limit} characters")
    if not text.isprintable():
        raise Problem(Kind.BAD_REQUEST, f"{name}: must be one line, without control characters")


def folded(address: str) -> str | None:
    """The form in which an address is listed; None for what is no address, and so on no list."""
    try:
        return Address.parse(address).folded
    except Problem:
        return None


# -- asking ----------------------------------------------------------------------------------------------------------

_holds = or_(suppressions.c.expires_at.is_(None), suppressions.c.expires_at > bindparam("now"))
_listed_one = select(suppressions).where(
    suppressions.c.tenant_id.in_((EVERYONE, bindparam("tenant_id"))),
    suppressions.c.address == bindparam("address"),
    _holds,
)
_listed = select(suppressions).where(
    suppressions.c.tenant_id.in_((EVERYONE, bindparam("tenant_id"))),
    suppressions.c.address.in_(bindparam("addresses", expanding=True)),
    _holds,
)


def suppressed(db: Connection, tenant_id: int, addresses: Sequence[str]) -> dict[str, Suppression]:
    """Which of these lower-case addresses are listed, for the tenant or for everyone."""
    rows = db.execute(_listed, {"tenant_id": tenant_id, "addresses": addresses, "now": clock(db)})
    return {row.address: Suppression(*row) for row in rows}


class HotSuppressions:
    """SQLite: look-ups on the loop's own thread, by the driver itself: 5 us instead of 180 through an engine.

    Every statement reads and ends by itself, so that no snapshot is held and the log can be emptied.
    """

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.raw_connection()
        driver: Any = self._connection.driver_connection
        self._execute = driver.execute
        compiled = _listed_one.compile(engine, compile_kwargs={"render_postcompile": True})
        names = compiled.positiontup or []
        self._values = [compiled.params[name] for name in names]
        self._tenant, self._address, self._now = map(names.index, ("tenant_id", "address", "now"))
        self._statement = str(compiled)

    def find(self, tenant_id: int, addresses: Sequence[str]) -> dict[str, Suppression]:
        found: dict[str, Suppression] = {}
        values = self._values.copy()
        values[self._tenant], values[self._now] = tenant_id, now_ms()
        for address in addresses:
            values[self._address] = address
            for row in self._execute(self._statement, values).fetchall():
                found[address] = Suppression(*row)
        return found

    def close(self) -> None:
        self._connection.close()


# -- changing --------------------------------------------------------------------------------------------------------


def suppress(db: Connection, actor: Actor, tenant_id: int, entry: Entry) -> bool:
    """Put an address on a list. False if it is there: then nothing changes. One that has expired is replaced."""
    if not _put(db, tenant_id, [entry]):
        return False
    changes = {
        name: [None, getattr(entry, name)]
        for name in ("reason", "source", "note", "expires_at")
        if getattr(entry, name) is not None
    }
    _record(db, actor, "suppression.add", entry.address, tenant_id, changes)
    return True


def unsuppress(db: Connection, actor: Actor, tenant_id: int, address: str) -> bool:
    """Take an address, in any case, off a list. False if it is not there."""
    gone = db.execute(
        delete(suppressions)
        .where(suppressions.c.tenant_id == tenant_id, suppressions.c.address == folded(address))
        .returning(suppressions)
    ).one_or_none()
    if gone is None:
        return False
    was = Suppression(*gone)
    changes = {"reason": [was.reason, None], "source": [was.source, None]}
    _record(db, actor, "suppression.remove", was.address, tenant_id, changes)
    return was.expires_at is None or was.expires_at > clock(db)


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that are put on one list together, PAGE of them at most."""

    actor: Actor
    tenant_id: int
    entries: Sequence[Entry]


def import_rows(db: Connection, items: Sequence[Batch]) -> Sequence[int]:
    """Put each batch on its list in one statement, as `suppress` would; how many were not there, of each batch.

    The audit gets one row per batch, with no address in it.
    """
    return [_import(db, batch) for batch in items]


def _import(db: Connection, batch: Batch) -> int:
    added = _put(db, batch.tenant_id, batch.entries)
    if added:
        sources = sorted({entry.source for entry in batch.entries})
        changes = {"entries": [0, added], "source": [None, ", ".join(sources)]}
        _record(db, batch.actor, "suppression.import", f"{added} addresses", batch.tenant_id, changes)
    return added


def _record(db: Connection, actor: Actor, action: str, what: str, tenant_id: int, changes: dict[str, Any]) -> None:
    # Servers ask the database each time: there is nothing for them to read again.
    audit.record(db, actor, action, f"suppression {what}", tenant_id=tenant_id or None, changes=changes, is_seen=False)


def _upsert(insert: Any) -> Any:
    statement = insert(suppressions)
    return statement.on_conflict_do_update(
        index_elements=[suppressions.c.tenant_id, suppressions.c.address],
        set_={column.name: statement.excluded[column.name] for column in suppressions.c if not column.primary_key},
        where=suppressions.c.expires_at <= bindparam("now"),
    ).returning(suppressions.c.address)


_upserts = {"sqlite": _upsert(sqlite.insert), "postgresql": _upsert(postgresql.insert)}


def _put(db: Connection, tenant_id: int, entries: Sequence[Entry]) -> int:
    """How many are new or were expired. An address that comes twice counts once: the first."""
    now = clock(db)
    rows = {
        entry.address: {
            "tenant_id": tenant_id,
            "address": entry.address,
            "reason": entry.reason,
            "source": entry.source,
            "note": entry.note,
            "created_at": now if entry.created_at is None else entry.created_at,
            "expires_at": entry.expires_at,
            "now": now,
        }
        for entry in reversed(entries)
    }
    if not rows:
        return 0
    options = {"insertmanyvalues_page_size": PAGE}
    # In the order of the key: neighbours share a page, and two writers never wait for each other crosswise.
    ordered = [rows[address] for address in sorted(rows)]
    return len(db.execute(_upserts[db.dialect.name], ordered, execution_options=options).all())


# -- listing ---------------------------------------------------------------------------------------------------------


def find(db: Connection, tenant_id: int, address: str) -> Suppression:
    """One entry, by its address in any case. Raises Problem(NOT_FOUND), for one that has expired as well."""
    which = select(suppressions).where(
        suppressions.c.tenant_id == tenant_id, suppressions.c.address == folded(address), _holds
    )
    row = db.execute(which, {"now": clock(db)}).one_or_none()
    if row is None:
        raise Problem(Kind.NOT_FOUND, f"{printable(address)} is not on this suppression list")
    return Suppression(*row)


def count(db: Connection, tenant_id: int) -> int:
    """How long a list is, what has expired included. Reads all of it."""
    which = select(func.count()).select_from(suppressions).where(suppressions.c.tenant_id == tenant_id)
    return db.scalar(which) or 0


def listed(
    db: Connection,
    asked: Asked,
    *,
    tenant_id: int,
    prefix: str | None = None,
    domain: str | None = None,
    reason: str | None = None,
    source: str | None = None,
) -> Page[Suppression]:
    """One page of a list, in the order of addresses, without what has expired. Its total is not counted: None.

    `prefix` is how addresses begin, in any case; it reads that part of the key alone. The others read on from the
    cursor until the page is full. Raises Problem(BAD_REQUEST | BAD_ADDRESS).
    """
    key = suppressions.c.address
    which = select(suppressions).where(suppressions.c.tenant_id == tenant_id, _holds)
    for name, text in (("prefix", prefix), ("domain", domain), ("reason", reason), ("source", source)):
        if text is not None and not text.isprintable():
            raise Problem(Kind.BAD_REQUEST, f"{name}: must be one line, without control characters")
    if prefix:
        start = folded(prefix) or prefix.lower()
        if not start.isascii():
            raise Problem(
                Kind.BAD_REQUEST, "prefix: addresses are listed in ASCII, their domains as A-labels (xn--...)"
            )
        which = which.where(key >= start, key < start[:-1] + chr(ord(start[-1]) + 1))
    if domain is not None:
        which = which.where(suppressions.c.address.endswith(f"@{canonical_domain(domain)}", autoescape=True))
    if reason is not None:
        which = which.where(suppressions.c.reason == reason)
    if source is not None:
        which = which.where(suppressions.c.source == source)
    if asked.cursor is not None:
        which = which.where(key > place_of(asked.cursor, str))
    rows = db.execute(which.order_by(key).limit(asked.limit + 1), {"now": clock(db)}).all()
    shown = [Suppression(*row) for row in rows[: asked.limit]]
    more = cursor_of(shown[-1].address) if len(rows) > asked.limit else None
    return Page(shown, None, more)
