"""SMTP sessions that failed: kept for a week, newest first, each transcript sealed because it holds addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select

from relay.errors import Kind, Problem
from relay.message import Ids
from relay.sealing import Sealer
from relay.store.clock import clock, milliseconds
from relay.store.directory.paging import Asked, Page, cursor_of, place_of
from relay.store.schema import keys, smtp_failures, tenants
from relay.values import Network

KEPT_FOR = timedelta(days=7)
MOST_KEPT = 50_000  # the newest; an attack must not fill the disk
SLICE = 500  # rows a sweep deletes, or a search looks at, in one go
_ids = Ids()


class Reason(Enum):
    """Why a session failed, in one word."""

    TLS = "tls"
    AUTH = "auth"
    PROTOCOL = "protocol"  # what was said could not be understood, or not then
    REFUSED = "refused"  # a sender, a recipient or a message
    TIMEOUT = "timeout"
    OVERLOAD = "overload"
    CUT = "cut"  # the client was gone in the middle


@dataclass(frozen=True, slots=True)
class Failure:
    """One session. `at` in milliseconds since 1970; `sentence` names no mailbox; `transcript` is without secrets."""

    at: int
    listener: str
    client: str
    tenant_id: int | None
    key_id: int | None
    reason: Reason
    sentence: str
    transcript: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A failure as it may rest."""

    id: int
    failure: Failure
    transcript: bytes = field(repr=False)


def seal(sealer: Sealer, failure: Failure) -> Sealed:
    row_id = _ids.next()
    return Sealed(row_id, failure, sealer.seal_secret(failure.transcript, _purpose(row_id)))


def opened(sealer: Sealer, row_id: int, transcript: bytes) -> str:
    """What was said. Raises SealingError."""
    return sealer.open_secret(transcript, _purpose(row_id))


def _purpose(row_id: int) -> str:
    return f"smtp failure {row_id}"


def note(db: Connection, items: Sequence[Sequence[Sealed]]) -> Sequence[None]:
    """Write failures down."""
    rows = [
        {
            "id": each.id,
            "at": each.failure.at,
            "listener": each.failure.listener,
            "client": each.failure.client,
            "tenant_id": each.failure.tenant_id,
            "key_id": each.failure.key_id,
            "reason": each.failure.reason.value,
            "sentence": each.failure.sentence,
            "transcript": each.transcript,
        }
        for item in items
        for each in item
    ]
    if rows:
        db.execute(insert(smtp_failures), rows)
    return [None] * len(items)


@dataclass(frozen=True, slots=True)
class Kept:
    """A failure as it is shown. `tenant`: its name; `key`: the part that may be shown."""

    id: int
    at: int
    listener: str
    client: str
    tenant: str | None
    key: str | None
    reason: Reason
    sentence: str


_all = (
    select(*(column for column in smtp_failures.c if column.name != "transcript"))
    .add_columns(tenants.c.name.label("tenant"), keys.c.prefix.label("key"))
    .select_from(
        smtp_failures.outerjoin(tenants, tenants.c.id == smtp_failures.c.tenant_id).outerjoin(
            keys, keys.c.id == smtp_failures.c.key_id
        )
    )
)


def clients(text: str) -> Network:
    """An address or a network, as lists are asked for it. Raises ValueError for anything else."""
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError("write it as an IP address or a network: 192.0.2.7 or 192.0.2.0/24") from None


def listed(
    db: Connection,
    asked: Asked,
    *,
    within: Network | None = None,
    reason: Reason | None = None,
    since: int | None = None,
) -> Page[Kept]:
    """The newest first: of clients in a network, for a reason, since a moment in milliseconds, if those are named.

    Raises Problem(BAD_REQUEST) for a cursor that is none of ours.
    """
    which = _all.order_by(smtp_failures.c.id.desc())
    if reason is not None:
        which = which.where(smtp_failures.c.reason == reason.value)
    if since is not None:
        which = which.where(smtp_failures.c.at >= since)
    before = None if asked.cursor is None else place_of(asked.cursor, int)
    found: list[Kept] = []
    size = asked.limit + 1 if within is None else SLICE
    while True:  # SQLite cannot be asked for the addresses of a network, so each is looked at here
        rest = which if before is None else which.where(smtp_failures.c.id < before)
        rows = db.execute(rest.limit(size)).all()
        for row in rows:
            if within is None or _is_in(row.client, within):
                if len(found) == asked.limit:
                    return Page(found, None, cursor_of(found[-1].id))
                found.append(_kept(row))
        if len(rows) < size:
            return Page(found, None, None)
        before = rows[-1].id


def _is_in(client: str, network: Network) -> bool:
    try:
        address = ip_address(client)
    except ValueError:  # what is no IP address is in no network
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address) in network


def _kept(row: Row[Any]) -> Kept:
    return Kept(
        id=row.id,
        at=row.at,
        listener=row.listener,
        client=row.client,
        tenant=row.tenant,
        key=row.key,
        reason=Reason(row.reason),
        sentence=row.sentence,
    )


def find(db: Connection, sealer: Sealer, row_id: int | None) -> tuple[Kept, str]:
    """One failure with its transcript. Raises Problem(NOT_FOUND), SealingError."""
    row = db.execute(_all.add_columns(smtp_failures.c.transcript).where(smtp_failures.c.id == row_id)).one_or_none()
    if row is None:
        raise Problem(Kind.NOT_FOUND, "there is no such failed session, or it is too long ago: `relay smtp failures`")
    return _kept(row), opened(sealer, row.id, row.transcript)


def sweep(db: Connection, items: Sequence[None]) -> Sequence[int]:
    """Delete what is over or too much, one slice, oldest first. Returns how many rows that were."""
    too_many = select(smtp_failures.c.id).order_by(smtp_failures.c.id.desc()).offset(MOST_KEPT).limit(1)
    over = (
        select(smtp_failures.c.id)
        .where(
            or_(
                smtp_failures.c.at < clock(db) - milliseconds(KEPT_FOR),
                smtp_failures.c.id <= func.coalesce(too_many.scalar_subquery(), -1),
            )
        )
        .order_by(smtp_failures.c.id)
        .limit(SLICE)
    )
    which = delete(smtp_failures).where(smtp_failures.c.id.in_(over)).returning(smtp_failures.c.id)
    return [len(db.execute(which).all()) for _ in items]
