"""What was written down as it happened, to mail, domains, accounts and tenants: newest first, a page at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from relay.store.clock import milliseconds, rfc3339
from relay.store.directory.installation import shown
from relay.store.directory.paging import Asked, Page, cursor_of, place_of
from relay.store.retention import id_of
from relay.store.schema import events, messages, recipients, ses_accounts, tenants

LOOKED_AT = 100_000  # rows that one page goes through where no index finds what is wanted
COUNTED = 10_000  # matches; of more the total is not said
LATE = timedelta(days=1)  # by which a clock may have been put back since
_MOMENT = 10**12  # milliseconds: what is smaller is none after 2001


def event_id(row_id: int) -> str:
    """What an event is called outside; webhooks call it the same."""
    return f"evt_{shown(row_id)}"


def outward(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of an event, as people and programs read it: moments as text, and no ids of recipients' rows."""
    return {name: _outward(name, value) for name, value in data.items() if name != "recipients"}


def _outward(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {inner: _outward(inner, each) for inner, each in value.items()}
    is_moment = name.endswith("_at") or name in {"since", "until"}
    return rfc3339(value) if is_moment and isinstance(value, int) and value >= _MOMENT else value


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. `tenant` is a name, `message` a public id, None once its rows are gone. `at` in milliseconds.

    `recipients`: whom it is about, None for an address that is forgotten.
    """

    id: str
    at: int
    type: str
    tenant: str | None
    account: str | None
    domain: str | None
    message: str | None
    recipients: tuple[str | None, ...] = field(repr=False)
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; None: anything. `since`, and before `until`: when it happened, in milliseconds.

    `tenant_id`: what is the tenant's: its own, its domains', its mail's, and that of its accounts. `scope`: the only
    domains there are. `type`: a name, or all of a noun: `email.*`. `message`: a public id.
    """

    tenant_id: int | None = None
    scope: frozenset[str] | None = None
    type: str | None = None
    message: str | None = None
    account: str | None = None
    domain: str | None = None
    since: int | None = None
    until: int | None = None


def page(db: Connection, wanted: Wanted, asked: Asked) -> Page[Entry]:
    """In the order in which it was written down. Where `next_cursor` is not None there may be more, however few this
    page has.

    Raises Problem(BAD_REQUEST) for a cursor that is none of ours.
    """
    filters = _filters(wanted)
    bounds = [] if wanted.since is None else [events.c.id >= id_of(wanted.since - milliseconds(LATE))]
    after = [] if asked.cursor is None else [events.c.id < place_of(asked.cursor, int)]
    ids: set[int] = set()
    floors: list[int] = []
    total: int | None = 0
    for way in _ways(db, wanted):
        rows = [way, *bounds]
        floor = _floor(db, [*rows, *after]) if filters else None
        if floor is not None:
            floors.append(floor)
        found = select(events.c.id).where(*rows, *filters, *after).order_by(events.c.id.desc())
        ids |= set(db.scalars((found if floor is None else found.where(events.c.id >= floor)).limit(asked.limit + 1)))
        is_countable = not filters or (floor if asked.cursor is None else _floor(db, rows)) is None
        count = _counted(db, [*rows, *filters]) if is_countable else None
        total = None if total is None or count is None else total + count
    # A way that was not gone through to its end has nothing to say of what is older than where it stopped.
    floor = max(floors, default=None)
    seen = sorted((each for each in ids if floor is None or each >= floor), reverse=True)
    more = seen[asked.limit - 1] if len(seen) > asked.limit else floor
    return Page(_entries(db, seen[: asked.limit]), total, None if more is None else cursor_of(more))


def newest(db: Connection, wanted: Wanted, count: int) -> list[Entry]:
    """As many of the newest as there are, up to `count`: for who can wait while all is looked at."""
    asked, found = Asked(count), list[Entry]()
    while True:
        some = page(db, wanted, asked)
        found += some.items
        if some.next_cursor is None or len(found) >= count:
            return found
        asked = Asked(count - len(found), some.next_cursor)


def _ways(db: Connection, wanted: Wanted) -> Sequence[ColumnElement[bool]]:
    """The ranges of indexes that have it all; none has what another has."""
    if wanted.message is not None:
        theirs = messages.c.public_id == wanted.message
        if wanted.tenant_id is not None:
            theirs &= messages.c.tenant_id == wanted.tenant_id
        return [events.c.message_id == id for id in db.scalars(select(messages.c.id).where(theirs))]
    if wanted.tenant_id is None:
        return [events.c.id > 0 if wanted.account is None else events.c.account == wanted.account]
    own = select(ses_accounts.c.name).where(ses_accounts.c.tenant_id == wanted.tenant_id).order_by(ses_accounts.c.name)
    accounts = [(events.c.account == name) & events.c.tenant_id.is_(None) for name in db.scalars(own)]
    return [events.c.tenant_id == wanted.tenant_id, *accounts]


def _filters(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.scope is not None:
        found.append(events.c.domain.in_(sorted(wanted.scope)))
    if wanted.type is not None:
        noun, _, what = wanted.type.partition(".")
        found.append(events.c.type.startswith(f"{noun}.") if what == "*" else events.c.type == wanted.type)
    if wanted.account is not None:
        found.append(events.c.account == wanted.account)
    if wanted.domain is not None:
        found.append(events.c.domain == wanted.domain)
    if wanted.since is not None:
        found.append(events.c.at >= wanted.since)
    if wanted.until is not None:
        found.append(events.c.at < wanted.until)
    return found


def _floor(db: Connection, conditions: Sequence[ColumnElement[bool]]) -> int | None:
    """The last row that a page looks at; None where it can look at all of them."""
    found: int | None = db.scalar(
        select(events.c.id).where(*conditions).order_by(events.c.id.desc()).limit(1).offset(LOOKED_AT - 1)
    )
    return found


def _counted(db: Connection, conditions: Sequence[ColumnElement[bool]]) -> int | None:
    """How many there are; None for more than COUNTED."""
    which = select(events.c.id).where(*conditions).limit(COUNTED + 1)
    found = db.scalar(select(func.count()).select_from(which.subquery())) or 0
    return found if found <= COUNTED else None


def _entries(db: Connection, ids: Sequence[int]) -> list[Entry]:
    which = (
        select(events, tenants.c.name.label("tenant"), messages.c.public_id)
        .outerjoin(tenants, tenants.c.id == events.c.tenant_id)
        .outerjoin(messages, messages.c.id == events.c.message_id)
        .where(events.c.id.in_(ids))
    )
    rows = db.execute(which.order_by(events.c.id.desc())).all()
    told = {row.id: json.loads(row.data) for row in rows}
    named = sorted({id for data in told.values() for id in data.get("recipients", ())})
    people: dict[int, str | None] = dict(
        db.execute(select(recipients.c.id, recipients.c.address).where(recipients.c.id.in_(named))).all()
    )
    return [
        Entry(
            id=event_id(row.id),
            at=row.at,
            type=row.type,
            tenant=row.tenant,
            account=row.account,
            domain=row.domain,
            message=row.public_id,
            recipients=tuple(people.get(id) for id in told[row.id].get("recipients", ())),
            data=outward(told[row.id]),
        )
        for row in rows
    ]
