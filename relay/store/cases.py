"""What events are about: the mail they are of, and the recipients of whom they are news.

An event of an account is believed of its owner's mail alone. One that was heard before is no news to anybody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.delivery import RecipientState
from relay.message import Mode
from relay.store.heard import Heard
from relay.store.schema import deliveries, heard, messages, probes, recipients, ses_accounts


class Outcome(Enum):
    """What became of one event."""

    NEW = "new"
    KNOWN = "known"  # it was counted before
    FOREIGN = "foreign"  # of mail that is not ours, or not that account's
    PROBE = "probe"  # of mail that `relay doctor` sent


@dataclass(slots=True)
class Case:
    """One event with what it is about. `new`: the recipients of whom it is news; `meant`: of whom it may be."""

    account: str
    heard: Heard
    at: int
    outcome: Outcome = Outcome.FOREIGN
    mail: Any = None  # a row of _mail
    new: list[Reader] | None = None
    meant: Sequence[Reader] = ()


@dataclass(slots=True)
class Reader:
    """A recipient, as it is and as it is to be."""

    id: int
    delivery_id: int
    hash: bytes
    state: str
    facts: int
    updated_at: int
    is_changed: bool = False


# Made once: to make a statement anew costs several times what it does.
_IDS: BindParameter[Any] = bindparam("_ids", expanding=True)
_mail = select(
    deliveries.c.id.label("delivery_id"),
    deliveries.c.message_id,
    deliveries.c.state.label("delivery_state"),
    deliveries.c.attempts,
    deliveries.c.account,
    deliveries.c.ses_message_id,
    messages.c.tenant_id,
    messages.c.public_id,
    messages.c.mode,
    messages.c.domain,
    messages.c.stream,
    messages.c.tag,
    messages.c.about,
).join(messages, messages.c.id == deliveries.c.message_id)
_by_tag = _mail.where(deliveries.c.id.in_(_IDS))
_by_ses_id = _mail.where(deliveries.c.ses_message_id.in_(_IDS))
_readers = (
    select(
        recipients.c.id,
        recipients.c.delivery_id,
        recipients.c.address_hash,
        recipients.c.state,
        recipients.c.facts,
        recipients.c.updated_at,
    )
    .where(recipients.c.delivery_id.in_(_IDS))
    .order_by(recipients.c.id)
    .with_for_update()  # PostgreSQL: another process may hear of the same recipients
)
_heard_back = (
    update(probes)
    .where(probes.c.id == bindparam("_id"), probes.c.account == bindparam("_account"), probes.c.heard_at.is_(None))
    .where(probes.c.expects == bindparam("_type"))
    .values(heard_at=bindparam("_now"))
)
_remember = {
    "sqlite": sqlite.insert(heard).on_conflict_do_nothing().returning(heard.c.about, heard.c.key),
    "postgresql": postgresql.insert(heard).on_conflict_do_nothing().returning(heard.c.about, heard.c.key),
}


# -- which mail it is about ------------------------------------------------------------------------------------------


def find_probes(db: Connection, cases: Sequence[Case], now: int) -> None:
    for case in cases:
        if case.heard.probe_id is not None:
            case.outcome = Outcome.PROBE
            values = {
                "_id": case.heard.probe_id,
                "_account": case.account,
                "_type": case.heard.type.partition(".")[2],
                "_now": now,
            }
            db.execute(_heard_back, values)


def find_mail(db: Connection, cases: Sequence[Case]) -> None:
    """By our tag, else by SES's id of the mail."""
    asked = [case for case in cases if case.outcome is not Outcome.PROBE]
    if not asked:
        return
    tags = sorted({case.heard.delivery_id for case in asked if case.heard.delivery_id is not None})
    by_tag: dict[int, Any] = {row.delivery_id: row for row in db.execute(_by_tag, {"_ids": tags})} if tags else {}
    owners: Mapping[str, int | None] = dict(db.execute(select(ses_accounts.c.name, ses_accounts.c.tenant_id)).all())
    left: list[Case] = []
    for case in asked:
        row = by_tag.get(case.heard.delivery_id or 0)
        if row is None:
            left.append(case)
        elif _may_tell(owners, case.account, row):
            case.mail = row
    ids = sorted({case.heard.ses_message_id for case in left})
    by_id: dict[str, Any] = {row.ses_message_id: row for row in db.execute(_by_ses_id, {"_ids": ids})} if ids else {}
    for case in left:
        row = by_id.get(case.heard.ses_message_id)
        if row is not None and row.account == case.account and _may_tell(owners, case.account, row):
            case.mail = row


def _may_tell(owners: Mapping[str, int | None], account: str, row: Any) -> bool:
    """Whoever owns an account can make its events say anything: they are believed of the owner's own mail alone.

    Shared mail goes through accounts of the operator's, and its sender is judged by what becomes of it.
    """
    if account not in owners:
        return False
    owner = owners[account]
    return owner is None or (owner == row.tenant_id and row.mode == Mode.BYOC.value)


# -- of whom it is news ----------------------------------------------------------------------------------------------


def look_who_is_new(db: Connection, cases: Sequence[Case]) -> None:
    found = [case for case in cases if case.mail is not None]
    if not found:
        return
    ids = sorted({case.mail.delivery_id for case in found})
    theirs: dict[int, list[Reader]] = defaultdict(list)
    for row in db.execute(_readers, {"_ids": ids}):
        theirs[row.delivery_id].append(
            Reader(row.id, row.delivery_id, bytes(row.address_hash), row.state, row.facts, row.updated_at)
        )
    wanted: dict[tuple[int, int], list[tuple[Case, Reader | None]]] = defaultdict(list)
    for case in found:
        readers = theirs[case.mail.delivery_id]
        key = int.from_bytes(case.heard.key[:8], "big") >> 1
        about = case.meant = _about(case.heard, readers)
        for each in about:
            wanted[each.id, key].append((case, each))
        if not about:  # of the mail, and nobody can say of which reader
            case.meant = readers
            wanted[case.mail.delivery_id, key].append((case, None))
    rows = [{"about": about, "key": key} for about, key in sorted(wanted)]
    fresh = {(row.about, row.key) for row in db.execute(_remember[db.dialect.name], rows)}
    for case in found:
        case.outcome = Outcome.KNOWN
    for which, pairs in wanted.items():
        if which in fresh:
            case, reader = pairs[0]  # of two copies the first
            case.outcome = Outcome.NEW
            case.new = case.new or []
            if reader is not None:
                case.new.append(reader)


def _about(told: Heard, readers: Sequence[Reader]) -> list[Reader]:
    """The recipients that an event is of; none where nobody can say which."""
    if told.is_of_all:
        return [each for each in readers if each.state != RecipientState.SUPPRESSED.value or len(readers) == 1]
    if len(readers) == 1:
        return list(readers)
    if told.is_ambiguous:
        return []
    hashes = {person.hash for person in told.people}
    return [each for each in readers if each.hash in hashes]
