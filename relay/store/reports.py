"""Reports to who sent mail over SMTP (RFC 3461): who gets one, and how many; written as mail of their own.

Whatever makes a delivery final, or finds it late, calls `tell` in the same transaction, while content and addresses are
still there. What a report says is composed elsewhere (`relay/dispatch/reports.py`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select

from relay import log
from relay.delivery import RecipientState
from relay.errors import Kind
from relay.message import Stream
from relay.sealing import Sealer
from relay.store.accepting import put_messages
from relay.store.arriving import NewMessage
from relay.store.clock import milliseconds
from relay.store.fates import WANTED, Action, Fate, Notice, asked_for
from relay.store.leads import PROTOCOL, Lead, lead_of, message_of, notice_of, opened, sealed_parts, small_contents
from relay.store.schema import deliveries, messages, recipients
from relay.store.suppressions import suppressed

TOGETHER = 50  # small messages that are read at a time
RETURNED = 4 << 20  # octets of whole messages that go back in one transaction: others wait for it
HOUR = timedelta(hours=1)
_OPTION = "relay_reporter"
_kinds = {kind.slug: kind for kind in reversed(Kind)}  # of those with one slug the first
_ACTIONS = {
    RecipientState.FAILED: Action.FAILED,
    RecipientState.SUPPRESSED: Action.FAILED,
    RecipientState.SENT: Action.RELAYED,
    RecipientState.QUEUED: Action.DELAYED,
}


@dataclass(frozen=True, slots=True)
class Reporting:
    """How reports are made here. `compose` gives None for a message that nobody wants to be told of.

    `per_hour`: to one address. `max_age`: how long delivery is tried.
    """

    compose: Callable[[Notice], bytes | None]
    per_hour: int
    delay_after: timedelta
    max_age: timedelta


@dataclass(frozen=True, slots=True)
class Reporter:
    """The same with what it takes to read and to seal."""

    reporting: Reporting
    sealer: Sealer


class Outcome(Enum):
    """What became of a report."""

    QUEUED = "queued"
    TOO_MANY = "too_many"  # its reader had enough of them within the hour
    SUPPRESSED = "suppressed"  # its reader's address is on the list
    UNWANTED = "unwanted"  # the message is a report or an automatic answer itself, or bulk
    BROKEN = "broken"  # it could not be made: logged


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one report: about which message, and the queue that has work by it."""

    message_id: int
    about: str
    queue: tuple[str, Stream]
    action: Action
    outcome: Outcome


def report_on(engine: Engine, reporter: Reporter) -> None:
    """From now on the transactions of new connections of this engine write reports."""
    engine.update_execution_options(**{_OPTION: reporter})


def reporter_of(db: Connection) -> Reporter | None:
    """None where nobody is told: reports are switched off, or a command writes beside the server."""
    found: Reporter | None = db.get_execution_options().get(_OPTION)
    return found


def tell(
    db: Connection, ids: Sequence[int], states: Sequence[RecipientState], now: int, *, is_tried: bool = False
) -> tuple[Told, ...]:
    """Report on the recipients of these deliveries that came to one of these states at `now`; a message's together.

    Of QUEUED ones: that they are late. `is_tried`: by an attempt that ended now. Call it before anything is destroyed.
    """
    reporter = reporter_of(db)
    if reporter is None or not ids:
        return ()
    rows = _concerned(db, ids)
    fates = _fates(db, reporter, rows, states, now, is_tried)
    first = {row.message_id: row for row in reversed(rows)}
    leads = [lead_of(reporter.sealer, row, fates[row.message_id]) for row in first.values() if row.message_id in fates]
    return tuple(_Round(db, reporter, now).write(leads))


def _concerned(db: Connection, ids: Sequence[int]) -> Sequence[Row[Any]]:
    return db.execute(
        select(*deliveries.c["id", "message_id", "kind", "detail", "attempts", "first_due_at", "ses_message_id"])
        .add_columns(*messages.c["public_id", "tenant_id", "domain", "mode", "mail_from", "rfc_message_id", "ret"])
        .add_columns(*messages.c["envid", "size", "accepted_at", "wrapped_key", "forgets"])
        .join(messages, messages.c.id == deliveries.c.message_id)
        .where(deliveries.c.id.in_(ids), deliveries.c.reports != 0, messages.c.mail_from.is_not(None))
        .order_by(deliveries.c.message_id, deliveries.c.id)
    ).all()


def _fates(
    db: Connection,
    reporter: Reporter,
    rows: Sequence[Row[Any]],
    states: Sequence[RecipientState],
    now: int,
    is_tried: bool,
) -> dict[int, list[Fate]]:
    """What is to be told, by message."""
    if not rows:
        return {}
    by_id = {row.id: row for row in rows}
    people = db.execute(
        select(recipients)
        .where(recipients.c.delivery_id.in_(by_id), recipients.c.state.in_([state.value for state in states]))
        .order_by(recipients.c.id)
    )
    fates: dict[int, list[Fate]] = defaultdict(list)
    for one in people:
        row, state = by_id[one.delivery_id], RecipientState(one.state)
        action = _ACTIONS[state]
        is_new = one.updated_at == now or action is Action.DELAYED  # or it was told before
        if is_new and one.address is not None and WANTED[action] in asked_for(one.notify):
            fates[row.message_id].append(_fate(reporter, row, one, state, now if is_tried else None))
    return fates


def _fate(reporter: Reporter, row: Row[Any], one: Row[Any], state: RecipientState, tried_at: int | None) -> Fate:
    action = _ACTIONS[state]
    kind, detail = _kinds.get(row.kind), row.detail or ""
    if state is RecipientState.SUPPRESSED:
        kind, detail = Kind.SUPPRESSED, ""
    until = row.first_due_at + milliseconds(reporter.reporting.max_age) if action is Action.DELAYED else None
    return Fate(one.address, one.orcpt, action, kind, detail, tried_at, until, row.ses_message_id)


class _Round:
    """Writes the reports of one transaction, few statements for many."""

    def __init__(self, db: Connection, reporter: Reporter, now: int) -> None:
        self._db = db
        self._sealer = reporter.sealer
        self._reporting = reporter.reporting
        self._now = now

    def write(self, leads: Sequence[Lead]) -> list[Told]:
        if not leads:
            return []
        self._listed = _listed(self._db, leads)
        self._lately = _lately(self._db, leads, self._now)
        self._made: list[NewMessage] = []
        self._returned = 0
        told: list[Told] = []
        for start in range(0, len(leads), TOGETHER):
            part = leads[start : start + TOGETHER]
            small = small_contents(self._db, [lead for lead in part if self._barred(lead) is None])
            told += [_told(lead, self._barred(lead) or self._make(lead, small)) for lead in part]
        if self._made:
            put_messages(self._db, self._made)
        return told

    def _barred(self, lead: Lead) -> Outcome | None:
        """Why there is to be none."""
        if lead.sender is None:
            return Outcome.BROKEN
        if (lead.row.tenant_id, lead.sender.folded) in self._listed:
            return Outcome.SUPPRESSED
        return Outcome.TOO_MANY if self._lately[lead.address_hash] >= self._reporting.per_hour else None

    def _make(self, lead: Lead, small: Mapping[int, Sequence[bytes]]) -> Outcome:
        if lead.is_whole and self._returned + lead.row.size > RETURNED:
            lead = replace(lead, is_whole=False)
        sealed, count = sealed_parts(self._db, lead, small)
        try:  # nothing of the database in here: a settlement is written whatever becomes of its report
            notice = notice_of(lead, opened(self._sealer, lead.row, sealed, count), self._now)
            composed = self._reporting.compose(notice)
            if composed is None:
                return Outcome.UNWANTED
            self._made.append(message_of(self._sealer, lead, notice, composed))
        except Exception as exc:
            log.trouble("report.failed", exc, about=lead.row.public_id)
            return Outcome.BROKEN
        self._returned += lead.row.size if lead.is_whole else 0
        self._lately[lead.address_hash] += 1
        return Outcome.QUEUED


def _told(lead: Lead, outcome: Outcome) -> Told:
    action = min((fate.action for fate in lead.fates), key=list(Action).index)
    return Told(lead.row.message_id, lead.row.public_id, (lead.row.domain, Stream.TRANSACTIONAL), action, outcome)


def _listed(db: Connection, leads: Sequence[Lead]) -> set[tuple[int, str]]:
    """Which senders get no mail, by tenant."""
    asked: dict[int, set[str]] = defaultdict(set)
    for lead in leads:
        if lead.sender is not None:
            asked[lead.row.tenant_id].add(lead.sender.folded)
    return {(tenant, address) for tenant, each in asked.items() for address in suppressed(db, tenant, sorted(each))}


def _lately(db: Connection, leads: Sequence[Lead], now: int) -> Counter[bytes]:
    """How many reports each sender was sent in the last hour. Ids begin with their time."""
    since = (now - milliseconds(HOUR)) << 21
    hashes = {lead.address_hash for lead in leads if lead.sender is not None}
    counted = (
        select(recipients.c.address_hash, func.count())
        .join(deliveries, deliveries.c.id == recipients.c.delivery_id)
        .join(messages, messages.c.id == deliveries.c.message_id)
        .where(recipients.c.address_hash.in_(sorted(hashes)), recipients.c.id > since, messages.c.protocol == PROTOCOL)
        .group_by(recipients.c.address_hash)
    )
    return Counter({bytes(address_hash): count for address_hash, count in db.execute(counted)})
