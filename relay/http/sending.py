"""Sends letters: the steps every dialect shares between a body that was read and an answer in its own words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.errors import Fault, Kind, Problem
from relay.http.compose import compose
from relay.http.letter import Letter, Sent
from relay.http.state import State
from relay.message import Acceptance, Address, Submission, Trace, new_public_id
from relay.routing.fixups import Fixed, is_bulk
from relay.routing.headers import HeaderField
from relay.routing.idempotency import Claim
from relay.routing.intake import Composed
from relay.routing.limits import LARGE, beside_the_loop
from relay.routing.senders import Credential

TRACE = Trace("HTTP")
AT_ONCE = 20  # letters of a batch whose recipients are looked up side by side
LOCAL = "noreply"  # the local part of an author of whom only the domain is known

COMPOSED = ("composed from the fields of an HTTP request",)  # the ledger of what we wrote ourselves

MessageId = Callable[[str, str], str]  # of a public id and the author's domain


@dataclass(frozen=True, slots=True)
class _Checked:
    """A letter that may be sent, as far as is known before it is composed."""

    letter: Letter
    author: Address
    warnings: tuple[str, ...]


async def send(
    state: State, credential: Credential, letter: Letter, message_id: MessageId, claim: Claim | None = None
) -> Sent:
    """Accept one letter, or raise its Problem. Nothing is queued then, and the claim is free."""
    [outcome] = await send_all(state, credential, [letter], message_id, claim)
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


async def send_all(
    state: State,
    credential: Credential,
    letters: Sequence[Letter | Problem],
    message_id: MessageId,
    claim: Claim | None = None,
) -> list[Sent | Problem]:
    """Accept all letters that can be, in one transaction; what cannot is a Problem in its place."""
    try:
        checked: list[_Checked | Problem] = []
        for at in range(0, len(letters), AT_ONCE):
            some = letters[at : at + AT_ONCE]
            checked += await asyncio.gather(*(_checked_or_not(state, credential, each) for each in some))
        items = [
            each if isinstance(each, Problem) else await _composed(state, credential, each, message_id)
            for each in checked
        ]
    except BaseException:
        if claim is not None:
            claim.release()
        raise
    outcomes = await state.intake.accept_composed(credential, items, claim)
    return [_sent(each, outcome) for each, outcome in zip(checked, outcomes, strict=True)]


async def rehearse(state: State, credential: Credential, letter: Letter, message_id: MessageId) -> Sent:
    """Every check of `send`, and nothing of it done. The acceptance has the id that would be given, and no more."""
    checked = await _checked(state, credential, letter)
    composed = await _composed(state, credential, checked, message_id)
    if isinstance(composed, Problem):
        raise composed
    state.intake.rehearse(credential, composed)
    return Sent(Acceptance(composed.public_id, composed.fixed.message_id, 0), checked.author, checked.warnings)


def replayed(
    state: State, credential: Credential, letters: Sequence[Letter | Problem], answer: str
) -> list[Sent | Problem]:
    """What was answered when the same was asked before."""
    found: list[Sent | Problem] = []
    for letter, outcome in zip(letters, state.intake.repeated(answer), strict=True):
        if isinstance(letter, Problem) or isinstance(outcome, Problem):
            found.append(outcome if isinstance(outcome, Problem) else Problem(Kind.INTERNAL))
        else:
            warnings = (*letter.warnings, *outcome.warnings)
            found.append(Sent(outcome, author_of(state, credential, letter), warnings))
    return found


def author_of(state: State, credential: Credential, letter: Letter) -> Address:
    """Whom a letter is from. Raises Problem(BAD_REQUEST | NOT_REGISTERED) where that cannot be said."""
    senders = state.intake.senders
    if letter.author is not None:
        if letter.domain is not None and senders.registered_name(credential, letter.author.domain) != letter.domain:
            raise Problem(
                Kind.BAD_REQUEST,
                faults=(Fault("domain", f"is not the domain of {letter.author}: leave one of them out"),),
            )
        return letter.author
    found = senders.default_sender(credential, letter.domain)
    if found is not None:
        return found
    if letter.domain is not None:
        return Address(LOCAL, senders.registered(credential, Address(LOCAL, letter.domain)).name)
    raise Problem(Kind.BAD_REQUEST, faults=(Fault("from", "is required: no domain here has a default sender"),))


async def _checked_or_not(state: State, credential: Credential, letter: Letter | Problem) -> _Checked | Problem:
    if isinstance(letter, Problem):
        return letter
    try:
        return await _checked(state, credential, letter)
    except Problem as problem:
        return problem


async def _checked(state: State, credential: Credential, letter: Letter) -> _Checked:
    intake = state.intake
    author = author_of(state, credential, letter)
    intake.check_author(credential, author)
    if letter.return_path is not None:
        intake.senders.registered(credential, letter.return_path)
    people = letter.addressees
    paths = [(each.field.value, each.address) for each in people]
    warnings = await intake.recipients.check_all(credential, paths)
    intake.check_quota(credential, len(people))
    return _Checked(letter, author, (*letter.warnings, *warnings))


async def _composed(
    state: State, credential: Credential, checked: _Checked, message_id: MessageId
) -> Composed | Problem:
    """The letter as a message, stamped and ready for SES."""
    letter, author = checked.letter, checked.author
    public_id = new_public_id()
    own_id = message_id(public_id, author.domain)
    stamp = state.intake.stamp(TRACE, public_id, own_id)
    try:
        raw = await beside_the_loop(letter.weight, lambda: compose(letter, author, stamp))
    except Problem as problem:
        return problem
    fixed = Fixed(
        raw=raw if len(raw) <= LARGE else b"",
        author=author,
        message_id=own_id,
        is_bulk=bool(letter.headers) and is_bulk(_fields(letter)),
        options=letter.options,
        ledger=COMPOSED,
    )
    sender = letter.return_path or author
    return Composed(Submission(sender, letter.addressees, raw, TRACE, letter.subject), public_id, fixed)


def _fields(letter: Letter) -> list[HeaderField]:
    return [HeaderField(name.lower(), f"{name}: {value}\r\n".encode()) for name, value in letter.headers]


def _sent(checked: _Checked | Problem, outcome: Acceptance | Problem) -> Sent | Problem:
    if isinstance(checked, Problem):
        return checked
    if isinstance(outcome, Problem):
        return outcome
    return Sent(outcome, checked.author, (*checked.warnings, *outcome.warnings))
