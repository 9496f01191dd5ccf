"""Removes one person from the mail that is there: as a recipient, as a sender, and where others name them.

Plain steps, each a slice in a transaction of its own, so that a server beside them goes on; done again they do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, case, func, null, or_, select, update

from relay.delivery import RecipientState, State
from relay.message import Address
from relay.sealing import Sealer
from relay.store.clock import clock
from relay.store.schema import REPORTS, deliveries, messages, recipients
from relay.store.settling import FINAL_STATES, destroy, finish
from relay.store.sweeping import sweep_contents

SLICE = 500  # rows that are changed in one transaction
LOOK = 5000  # rows that are looked at in one read
ERASED = b""  # what stands for the keyed hash of an address that is not to be found again


@dataclass(frozen=True, slots=True)
class Person:
    """Whom to remove, by address. `tenant_id` None: from the mail of all tenants. `mark`: what is written instead."""

    address: str = field(repr=False)  # folded
    hash: bytes = field(repr=False)
    mark: str
    tenant_id: int | None

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @classmethod
    def of(cls, sealer: Sealer, address: str, tenant_id: int | None = None) -> Person:
        """Raises Problem(BAD_ADDRESS | NON_ASCII_ADDRESS)."""
        folded = Address.parse(address).folded
        mark = sealer.hash(folded, "erased").hex()[:32]
        return cls(folded, sealer.hash_address(folded), f"erased-{mark}", tenant_id)

    def within(self, which: Select[tuple[int]]) -> Select[tuple[int]]:
        """Only of the tenant, where one is named; `which` has the messages in it."""
        return which if self.tenant_id is None else which.where(messages.c.tenant_id == self.tenant_id)


# -- as a recipient --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """What a slice did, or what is there: recipients, deliveries cancelled for want of others, contents destroyed.

    `shared`: contents that stay because others got them, too. `kept_until`: the last of those, in milliseconds.
    """

    recipients: int = 0
    cancelled: int = 0
    contents: int = 0
    shared: int = 0
    kept_until: int | None = None

    def __add__(self, other: Received) -> Received:
        until = [each for each in (self.kept_until, other.kept_until) if each is not None]
        return Received(
            self.recipients + other.recipients,
            self.cancelled + other.cancelled,
            self.contents + other.contents,
            self.shared + other.shared,
            max(until, default=None),
        )


def _joined(person: Person) -> Select[tuple[int]]:
    """Recipients that are the person, with their deliveries and messages."""
    return person.within(
        select(recipients.c.id)
        .join(deliveries, deliveries.c.id == recipients.c.delivery_id)
        .join(messages, messages.c.id == deliveries.c.message_id)
        .where(recipients.c.address_hash == person.hash)
    )


def under_way(db: Connection, person: Person) -> int:
    """Recipients whose call to SES is being made: it cannot be stopped, and they are left until it has ended."""
    which = _joined(person).where(deliveries.c.state == State.SENDING.value)
    return db.scalar(select(func.count()).select_from(which.subquery())) or 0


def received(db: Connection, person: Person) -> Received:
    """What `forget_received` would do, all together."""
    mine = _joined(person).with_only_columns(recipients.c.id, deliveries.c.id, deliveries.c.state, messages.c.id)
    rows = db.execute(mine).all()
    open_deliveries = {row[1] for row in rows if row[2] not in FINAL_STATES and row[2] != State.SENDING.value}
    found = Received(recipients=len(rows))
    for ids in _slices(sorted(open_deliveries)):
        others = select(recipients.c.delivery_id).where(
            recipients.c.delivery_id.in_(ids), recipients.c.state == "queued", recipients.c.address_hash != person.hash
        )
        found += Received(cancelled=len(set(ids) - set(db.scalars(others))))
    for ids in _slices(sorted({row[3] for row in rows})):
        alone = _alone(db, ids, (person.hash, ERASED))
        found += Received(contents=_count_kept(db, sorted(alone))) + _shared(db, set(ids) - alone)
    return found


def forget_received(db: Connection, person: Person) -> Received:
    """One slice. Open mail is not sent to the person any more; what has no other recipients is cancelled."""
    now = clock(db)
    rows = db.execute(
        _joined(person)
        .with_only_columns(recipients.c.id, deliveries.c.id, deliveries.c.state, messages.c.id)
        .where(deliveries.c.state != State.SENDING.value)
        .order_by(deliveries.c.id)
        .limit(SLICE)
        .with_for_update(of=deliveries)  # a lane that takes one now waits, and finds it without the person
    ).all()
    if not rows:
        return Received()
    db.execute(
        update(recipients)
        .where(recipients.c.id.in_([row[0] for row in rows]))
        .values(
            address=null(),
            orcpt=null(),
            address_hash=ERASED,
            state=case((recipients.c.state == "queued", RecipientState.FAILED.value), else_=recipients.c.state),
            updated_at=now,
        )
    )
    cancelled, destroyed = _cancel_empty(db, {row[1] for row in rows if row[2] not in FINAL_STATES}, now)
    theirs = sorted({row[3] for row in rows})
    told = and_(deliveries.c.message_id.in_(theirs), deliveries.c.state.in_(FINAL_STATES))
    db.execute(update(deliveries).where(told).values(detail=null()))  # SES's words, which may quote the message
    alone = _alone(db, theirs, (ERASED,))
    destroyed |= _destroy(db, messages.c.id.in_(sorted(alone)), now)
    db.execute(update(messages).where(messages.c.id.in_(theirs)).values(subject=null(), metadata=null(), envid=null()))
    # Of those that are gone already nothing is shared.
    shared = _shared(db, set(theirs) - alone)
    destroyed |= forget_content(db, and_(REPORTS, messages.c.about.in_(theirs)), now)
    return Received(len(rows), len(cancelled), len(destroyed), shared.shared, shared.kept_until)


def _cancel_empty(db: Connection, ids: set[int], now: int) -> tuple[list[int], set[int]]:
    """Of these open deliveries, those that have nobody left. Returns them, and the messages destroyed with them."""
    busy = db.scalars(
        select(recipients.c.delivery_id).where(
            recipients.c.delivery_id.in_(sorted(ids)), recipients.c.state == "queued"
        )
    )
    empty = ids - set(busy)
    cancelled = list(
        db.scalars(
            update(deliveries)
            .where(deliveries.c.id.in_(sorted(empty)), deliveries.c.state.in_(("queued", "held", "unknown")))
            .values(state=State.CANCELLED.value, due_at=None, finished_at=now)
            .returning(deliveries.c.id)
        )
    )
    destroyed = finish(db, cancelled, RecipientState.FAILED, now)
    sweep_contents(db, [sorted(destroyed)])
    return cancelled, destroyed


def _alone(db: Connection, ids: Sequence[int], hashes: Sequence[bytes]) -> set[int]:
    """Those of the messages that went to nobody else."""
    others = (
        select(deliveries.c.message_id)
        .join(recipients, recipients.c.delivery_id == deliveries.c.id)
        .where(deliveries.c.message_id.in_(ids), recipients.c.address_hash.not_in(hashes))
    )
    return set(ids) - set(db.scalars(others))


def _count_kept(db: Connection, ids: Sequence[int]) -> int:
    kept = select(func.count()).where(messages.c.id.in_(ids), messages.c.wrapped_key.is_not(None))
    return db.scalar(kept) or 0


def _shared(db: Connection, ids: set[int]) -> Received:
    row = db.execute(
        select(func.count(), func.max(messages.c.keep_until)).where(
            messages.c.id.in_(sorted(ids)), messages.c.wrapped_key.is_not(None)
        )
    ).one()
    return Received(shared=row[0], kept_until=row[1])


def forget_content(db: Connection, which: ColumnElement[bool], now: int) -> set[int]:
    """Destroy what is final; what is still to be sent goes when it is, with all that is said of it."""
    destroyed = _destroy(db, which, now)
    waits = and_(which, messages.c.open_deliveries > 0)
    db.execute(update(messages).where(waits).values(keep_until=null(), slim_at=null(), forgets=True))
    return destroyed


def _destroy(db: Connection, which: ColumnElement[bool], now: int) -> set[int]:
    """The bytes go with this transaction: nobody else is told of them."""
    destroyed = destroy(db, and_(which, messages.c.open_deliveries == 0), now)
    sweep_contents(db, [sorted(destroyed)])
    db.execute(update(messages).where(messages.c.id.in_(sorted(destroyed))).values(slim_at=null()))
    return destroyed


# -- as a sender ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of one read that are the person's, and where the next begins. None: there are no more."""

    ids: tuple[int, ...]
    after: int | None


def sent(db: Connection, person: Person, after: int) -> Found:
    """Messages from the person, among the next LOOK of all."""
    if (last := last_of(db, messages, after)) is None:
        return Found((), None)
    mine = or_(*(func.lower(each) == person.address for each in (messages.c.mail_from, messages.c.header_from)))
    found = person.within(select(messages.c.id).where(messages.c.id > after, messages.c.id <= last, mine))
    return Found(tuple(db.scalars(found.order_by(messages.c.id))), last)


def last_of(db: Connection, table: Table, after: int) -> int | None:
    """Where the next LOOK rows of a table end; None where there are none."""
    ahead = select(table.c.id).where(table.c.id > after).order_by(table.c.id).limit(LOOK).subquery()
    found: int | None = db.scalar(select(func.max(ahead.c.id)))
    return found


@dataclass(frozen=True, slots=True)
class Sent:
    """Of messages from the person: how many wait to be sent, and of how many others there is content."""

    waiting: int
    contents: int


def count_sent(db: Connection, ids: Sequence[int]) -> Sent:
    theirs = select(func.count()).where(messages.c.id.in_(ids))
    is_over = messages.c.open_deliveries == 0
    waiting = db.scalar(theirs.where(messages.c.open_deliveries > 0)) or 0
    return Sent(waiting, db.scalar(theirs.where(is_over, messages.c.wrapped_key.is_not(None))) or 0)


def forget_sent(db: Connection, ids: Sequence[int]) -> None:
    """Of messages from the person: contents, addresses and what was said; of what is to be sent yet, when it is."""
    # Against a lane that ends the last delivery of one meanwhile: it comes before all of this, or after it.
    db.execute(select(messages.c.id).where(messages.c.id.in_(ids)).order_by(messages.c.id).with_for_update())
    forget_content(db, messages.c.id.in_(ids), clock(db))
    is_over = and_(messages.c.id.in_(ids), messages.c.open_deliveries == 0)
    gone = dict.fromkeys(("mail_from", "header_from", "subject", "metadata", "envid"))
    db.execute(update(messages).where(is_over).values(gone))


def _slices(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[at : at + SLICE] for at in range(0, len(ids), SLICE)]
