"""Writes down what SES told of mail, and what follows from it, in one transaction; each event counts once.

Events come late, twice and in any order: whatever that is, the same states, counts and lists come of it. A recipient's
state moves by rank and never back; what it is counted for is a set of facts, each counted when it is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, select, update

from relay.delivery import RecipientState, Settlement, State
from relay.message import Mode
from relay.store.announcing import message_facts
from relay.store.cases import Case, Outcome, find_mail, find_probes, look_who_is_new
from relay.store.clock import clock
from relay.store.events import Event, note
from relay.store.heard import Heard
from relay.store.hooks import Hooks, hooks_of
from relay.store.reckoning import SIMULATOR
from relay.store.schema import FATES, messages, recipients
from relay.store.settling import FINAL_STATES, Settled, settle
from relay.store.standings import Counted, count
from relay.store.suppressing import Listed, suppress_heard
from relay.store.tallies import Tallied, tally

RANK = {state.value: rank for rank, state in enumerate(RecipientState)}
BITS = {fate: 1 << number for number, fate in enumerate(FATES)}
SENT = "email.sent"


@dataclass(frozen=True, slots=True)
class Told:
    """Events of one SES account, as they came together."""

    account: str
    events: tuple[Heard, ...]


@dataclass(frozen=True, slots=True)
class Learnt:
    """That SES took an attempt nobody had heard the answer of, and what that settled."""

    fact: Settlement
    settled: Settled


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of each event, in order, and what was learnt by the way. `public_ids`: of the mail, where known."""

    outcomes: tuple[Outcome, ...]
    learnt: tuple[Learnt, ...]
    public_ids: tuple[str | None, ...]


# Made once: to make a statement anew costs several times what it does.
_IDS: BindParameter[Any] = bindparam("_ids", expanding=True)
_moved = (
    update(recipients)
    .where(recipients.c.id == bindparam("_id"))
    .values(state=bindparam("_state"), facts=bindparam("_facts"), updated_at=bindparam("_at"))
)
_whole_messages = select(messages.c.id.label("message_id"), messages).where(messages.c.id.in_(_IDS))


def hear(db: Connection, items: Sequence[Told]) -> Sequence[Answer]:
    """Write events down. Raises nothing for what they say; what is not of that account's owner is not believed."""
    now = clock(db)
    cases = [[Case(item.account, each, _at(each, now)) for each in item.events] for item in items]
    every = [case for theirs in cases for case in theirs]
    find_probes(db, every, now)
    find_mail(db, every)
    learnt = _settle_taken(db, every)
    look_who_is_new(db, every)
    _move(every)
    _write(db, every, now)
    answers: list[Answer] = []
    for item, theirs in zip(items, cases, strict=True):
        outcomes = tuple(case.outcome for case in theirs)
        ids = tuple(None if case.mail is None else case.mail.public_id for case in theirs)
        answers.append(Answer(outcomes, tuple(each for each in learnt if each.fact.account == item.account), ids))
        learnt = [each for each in learnt if each.fact.account != item.account]  # told once
    return answers


def _at(heard: Heard, now: int) -> int:
    """SES's moment; nothing that was told has yet to happen."""
    return now if heard.at is None else min(heard.at, now)


def _settle_taken(db: Connection, cases: Iterable[Case]) -> list[Learnt]:
    """Any event of an attempt says that SES took it: that settles a delivery whose answer was never heard."""
    facts: dict[int, Settlement] = {}
    for case in cases:
        mail, told = case.mail, case.heard
        if mail is None or mail.delivery_state in FINAL_STATES or told.attempt is None:
            continue
        if told.delivery_id != mail.delivery_id:
            continue
        known = facts.get(mail.delivery_id)
        if known is None or told.attempt < known.seen_attempt:
            facts[mail.delivery_id] = Settlement(
                mail.delivery_id, told.attempt, State.SENT, case.account, ses_message_id=told.ses_message_id
            )
    every = [facts[delivery_id] for delivery_id in sorted(facts)]
    return [
        Learnt(fact, settled)
        for fact, settled in zip(every, settle(db, every), strict=True)
        if not settled.is_stale
    ] if every else []  # fmt: skip


# -- what follows ----------------------------------------------------------------------------------------------------


def _move(cases: Iterable[Case]) -> None:
    """Recipients by rank, never back; of two events that say the same, the earlier tells when."""
    for case in cases:
        state = case.heard.state
        for reader in case.new or ():
            if state is None or state is RecipientState.SENT:
                continue
            rank, known = RANK[state.value], RANK[reader.state]
            if rank > known:
                reader.state, reader.updated_at, reader.is_changed = state.value, case.at, True
            elif rank == known and case.at < reader.updated_at:
                reader.updated_at, reader.is_changed = case.at, True


def _write(db: Connection, cases: Sequence[Case], now: int) -> None:
    news = [case for case in cases if case.outcome is Outcome.NEW]
    if not news:
        return
    tallied: list[Tallied] = []
    counted: list[Counted] = []
    listed: list[Listed] = []
    for case in news:
        _count(case, tallied, counted)
        listed += _listings(case)
    changed = {reader.id: reader for case in news for reader in case.new or () if reader.is_changed}
    if changed:
        db.execute(
            _moved,
            [
                {"_id": each.id, "_state": each.state, "_facts": each.facts, "_at": each.updated_at}
                for _, each in sorted(changed.items())
            ],
        )
    suppress_heard(db, listed, now)
    tally(db, tallied)
    note(db, _events(db, [case for case in news if case.heard.type != SENT], now))
    count(db, counted)


def _count(case: Case, tallied: list[Tallied], counted: list[Counted]) -> None:
    """Each recipient once for each thing it may come to, whatever is told of it twice in other words."""
    told, mail = case.heard, case.mail
    if told.fate is None or mail.about is not None:  # a report of ours is nobody's mail
        return
    bit = BITS[told.fate]
    fresh = [reader for reader in case.new or () if not reader.facts & bit]
    for reader in fresh:
        reader.facts |= bit
        reader.is_changed = True
    people = len(fresh) if case.new else int(told.is_ambiguous)  # of one of them, and nobody can say which
    if people:
        tallied.append(Tallied(mail.tenant_id, case.at, mail.domain, mail.stream, mail.tag or "", told.fate, people))
    if told.is_bounce or told.is_complaint:
        hashes = {reader.hash for reader in fresh}
        whom = [person for person in told.people if person.hash in hashes] if case.new else told.people
        pretended = sum(person.address.endswith(SIMULATOR) for person in whom)
        real = max(0, people - pretended) if case.new else people * (not pretended)
        bounces, complaints = (real, 0) if told.is_bounce else (0, real)
        counted.append(Counted(mail.tenant_id, Mode(mail.mode), case.at, 0, bounces, complaints))


def _listings(case: Case) -> list[Listed]:
    listing, mail = case.heard.listing, case.mail
    if listing is None or mail is None or not case.new:
        return []
    said = case.heard.data.get("diagnostic") or case.heard.data.get("complaint_type")
    hashes = {reader.hash for reader in case.new}
    # Nobody else, whomever it names: what a bounce says of that, a stranger wrote.
    theirs = [person for person in case.heard.people if person.hash in hashes]
    return [Listed(mail.tenant_id, person.address, listing, case.at, said) for person in theirs]


def _events(db: Connection, cases: Sequence[Case], now: int) -> list[Event]:
    hooks = hooks_of(db)
    letters = _letters(db, hooks, cases) if hooks else {}
    return [_event(case, letters, hooks) for case in cases]


def _letters(db: Connection, hooks: Hooks, cases: Sequence[Case]) -> dict[int, dict[str, Any]]:
    """What webhooks are told of the messages, where one wants to know of such an event."""
    ids = {
        case.mail.message_id
        for case in cases
        if case.mail is not None
        and case.mail.about is None  # of a report of ours nobody is told
        and hooks.wanting(case.mail.tenant_id, case.heard.type, case.mail.domain)
    }
    if not ids:
        return {}
    return message_facts(db, hooks, db.execute(_whole_messages, {"_ids": sorted(ids)}).all())


def _event(case: Case, letters: Mapping[int, dict[str, Any]], hooks: Hooks | None) -> Event:
    told, mail = case.heard, case.mail
    new = case.new or []
    letter = None
    if (facts := letters.get(mail.message_id)) is not None:
        # Of several who may be meant, only those whom the mail went to, and who are not forgotten.
        hashes = {reader.hash for reader in (case.meant if told.is_ambiguous else new)}
        as_written = {each.lower(): each for field in ("to", "cc", "bcc") for each in facts[field]}
        people = [person.address for person in told.people if person.hash in hashes]
        letter = {
            "message": facts | {"ses_message_id": told.ses_message_id},
            "recipients": [as_written.get(each, each) for each in people],
        }
    raw = hooks.seal_text(told.raw) if hooks is not None and told.raw is not None else None
    return Event(
        told.type,
        account=case.account,
        domain=mail.domain,
        tenant_id=mail.tenant_id,
        message_id=mail.message_id,
        data={name: value for name, value in told.data.items() if value is not None}
        | {"recipients": [reader.id for reader in new], "ses_message_id": told.ses_message_id},
        letter=letter,
        sealed=raw,
        at=case.at,
    )
