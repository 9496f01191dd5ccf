"""Finds messages, newest first, a page at a time. However much there is, one page looks at a bounded part of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, true, union

from relay.message import Stream
from relay.store.clock import milliseconds
from relay.store.directory.paging import LAST_ID, Asked, Page, cursor_of, place_of
from relay.store.listing import STATES, MessageView, views
from relay.store.schema import UNSENT, WAITING, deliveries, messages, recipients

LOOKED_AT = 100_000  # rows that one page goes through, a third of a second or so, where no index finds what is wanted
COUNTED = 10_000  # matches; of more the total is not said
FEW = 10_000  # deliveries in a state: of more it is quicker to look for them from the newest message on
SES_DOMAIN = "amazonses.com"  # the end of the Message-ID that SES writes; what stands before its @ is what SES calls it
PER_MILLISECOND = 1 << 21  # row ids (see message.Ids)
EARLY = timedelta(minutes=1)  # by which a row's id may be older than its moment, and more
LATE = timedelta(days=1)  # and newer: a clock that was put back

PARTIAL = {"sending": WAITING, "unknown": WAITING, "held": WAITING, "failed": UNSENT, "cancelled": UNSENT}  # indexes
UNCOMMON = STATES[:-1]  # those that an index finds


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; None: anything. Moments in milliseconds, `until` itself is not in it.

    `scope`: the only domains there are. `recipient`: the keyed hash of an address. `message_id`: as the header has it,
    or as SES calls the message. `stopped`: the domains whose queued mail counts as held.
    """

    tenant_id: int | None = None
    scope: frozenset[str] | None = None
    status: str | None = None
    recipient: bytes | None = None
    domain: str | None = None
    tag: str | None = None
    since: int | None = None
    until: int | None = None
    message_id: str | None = field(default=None, repr=False)
    stream: Stream | None = None
    stopped: frozenset[str] = frozenset()


def page(db: Connection, wanted: Wanted, asked: Asked) -> Page[MessageView]:
    """Where `next_cursor` is not None there may be more, however few this page has.

    Raises Problem(BAD_REQUEST) for a cursor that is none of ours.
    """
    bounds, few, filters = _bounds(wanted), _few(db, wanted), _filters(wanted)
    after = [] if asked.cursor is None else [messages.c.id < place_of(asked.cursor, int)]
    is_looking = bool(filters) and not few
    floor = _floor(db, [*bounds, *after]) if is_looking else None
    # Their ids first: where an index finds them they have to be sorted, and whole rows are long.
    ids = select(messages.c.id).where(*bounds, *few, *filters, *after).order_by(messages.c.id.desc())
    if floor is not None:
        ids = ids.where(messages.c.id >= floor)
    chosen = messages.c.id.in_(db.scalars(ids.limit(asked.limit + 1)).all())
    found = views(db, select(messages).where(chosen).order_by(messages.c.id.desc()))
    items, more = found[: asked.limit], floor
    if len(found) > asked.limit:
        more = items[-1].id
    is_countable = not is_looking or (floor if asked.cursor is None else _floor(db, bounds)) is None
    total = _counted(db, select(true()).select_from(messages).where(*bounds, *few, *filters)) if is_countable else None
    return Page(items, total, None if more is None else cursor_of(more))


def newest(db: Connection, wanted: Wanted, count: int) -> list[MessageView]:
    """As many of the newest as there are, up to `count`: for who can wait while all is looked at."""
    asked = Asked(count)
    found: list[MessageView] = []
    while True:
        some = page(db, wanted, asked)
        found += some.items
        if some.next_cursor is None or len(found) >= count:
            return found
        asked = Asked(count - len(found), some.next_cursor)


def _bounds(wanted: Wanted) -> list[ColumnElement[bool]]:
    """What the order of the rows gives: whose they are, and from when."""
    found: list[ColumnElement[bool]] = []
    if wanted.tenant_id is not None:
        found.append(messages.c.tenant_id == wanted.tenant_id)
    if wanted.since is not None:
        first = max(0, wanted.since - milliseconds(EARLY)) * PER_MILLISECOND
        found += [messages.c.id >= min(first, LAST_ID), messages.c.accepted_at >= wanted.since]
    if wanted.until is not None:
        last = max(0, wanted.until + milliseconds(LATE)) * PER_MILLISECOND
        found += [messages.c.id <= min(last, LAST_ID), messages.c.accepted_at < wanted.until]
    return found


def _filters(wanted: Wanted) -> list[ColumnElement[bool]]:
    """What each row has to be looked at for."""
    found: list[ColumnElement[bool]] = []
    if wanted.scope is not None:
        found.append(messages.c.domain.in_(sorted(wanted.scope)))
    if wanted.domain is not None:
        found.append(messages.c.domain == wanted.domain)
    if wanted.tag is not None:
        found.append(messages.c.tag == wanted.tag)
    if wanted.stream is not None:
        found.append(messages.c.stream == wanted.stream.value)
    if wanted.status is not None:
        found.append(_shows(wanted.status, sorted(wanted.stopped)))
    return found


def _shows(status: str, stopped: list[str]) -> ColumnElement[bool]:
    """Whether a message shows this state: its own, but where what is queued is stopped."""
    if stopped and status == "held":
        return or_(_is(status), and_(_is("queued"), messages.c.domain.in_(stopped)))
    if stopped and status == "queued":
        return and_(_is(status), messages.c.domain.not_in(stopped))
    return _is(status)


def _is(state: str) -> ColumnElement[bool]:
    """What `MessageView.state` says, in SQL."""
    theirs = deliveries.c.message_id == messages.c.id
    earlier = STATES[: STATES.index(state)]
    has_it = select(deliveries.c.id).where(theirs, deliveries.c.state == state).exists()
    has_earlier = select(deliveries.c.id).where(theirs, deliveries.c.state.in_(earlier)).exists()
    if not earlier:
        return has_it
    return ~has_earlier if state == STATES[-1] else and_(has_it, ~has_earlier)


# -- few among many --------------------------------------------------------------------------------------------------


def _few(db: Connection, wanted: Wanted) -> list[ColumnElement[bool]]:
    """What an index finds: each is a list of ids, and none is long."""
    found: list[ColumnElement[bool]] = []
    if wanted.recipient is not None:
        people = select(recipients.c.delivery_id).where(recipients.c.address_hash == wanted.recipient)
        found.append(messages.c.id.in_(select(deliveries.c.message_id).where(deliveries.c.id.in_(people))))
    if wanted.message_id is not None:
        found.append(messages.c.id.in_(_called(wanted.message_id)))
    if not found and wanted.status in UNCOMMON:
        in_it = _in_state(wanted)
        if _counted(db, in_it, FEW) is not None:
            found.append(messages.c.id.in_(in_it))
    return found


def _in_state(wanted: Wanted) -> Select[Any]:
    """The messages with a delivery in a state that few are in."""
    states = {wanted.status} | ({"queued"} if wanted.status == "held" and wanted.stopped else set())
    ways = [select(deliveries.c.message_id).where(_indexed(state)) for state in sorted(filter(None, states))]
    return ways[0] if len(ways) == 1 else select(union(*ways).subquery().c.message_id)


def _indexed(state: str) -> ColumnElement[bool]:
    """That a delivery is in it, as the partial indexes say it."""
    is_state = deliveries.c.state == state
    return and_(PARTIAL[state], is_state) if state in PARTIAL else is_state


def _called(message_id: str) -> Select[Any]:
    """The messages with this Message-ID, be it the one they came with or the one that SES gave them."""
    bare = message_id.strip().removeprefix("<").removesuffix(">")
    local, _, domain = bare.rpartition("@")
    of_ses = local if domain.lower().endswith(SES_DOMAIN) else bare
    own = select(messages.c.id).where(messages.c.rfc_message_id.in_((f"<{bare}>", bare)))
    theirs = select(deliveries.c.message_id).where(deliveries.c.ses_message_id == of_ses)
    return select(union(own, theirs).subquery().c.id)


def _floor(db: Connection, conditions: list[ColumnElement[bool]]) -> int | None:
    """The last row that a page looks at; None where it can look at all of them."""
    found: int | None = db.scalar(
        select(messages.c.id).where(*conditions).order_by(messages.c.id.desc()).limit(1).offset(LOOKED_AT - 1)
    )
    return found


def _counted(db: Connection, which: Select[Any], most: int = COUNTED) -> int | None:
    """How many there are; None for more than `most`."""
    found = db.scalar(select(func.count()).select_from(which.limit(most + 1).subquery())) or 0
    return found if found <= most else None
