"""Sends letters: the steps every dialect shares between a body that was read and an answer in its own words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.errors import Fault, Kind, Problem
from relay.http.compose import compose
from relay.http.letter import Letter, Sent
from relay.http.rendering import filled_in
from relay.http.state import State
from relay.message import Acceptance, Address, Submission, Trace, new_public_id
from relay.routing.fixups import Fixed, is_bulk
from relay.routing.headers import HeaderField
from relay.routing.idempotency import Claim
from relay.routing.intake import Composed
from relay.routing.limits import LARGE, Share, beside_the_loop, together
from relay.routing.senders import Credential

TRACE = Trace("HTTP")
AT_ONCE = 20  # letters of a batch whose recipients are looked up side by side
LOCAL = "noreply"  # the local part of an author of whom only the domain is known
NAMED = "named"  # the aspect of a problem: it is about the domain that the request names, not about its author's

COMPOSED = ("composed from the fields of an HTTP request",)  # the ledger of what we wrote ourselves

MessageId = Callable[[str, str], str]  # of a public id and the author's domain


@dataclass(frozen=True, slots=True)
class _Checked:
    """A letter that may be sent, as far as is known before it is composed. `warnings` are about its recipients."""

    letter: Letter
    author: Address
    warnings: tuple[str, ...]


async def send_all(
    state: State,
    credential: Credential,
    letters: Sequence[Letter | Problem],
    message_id: MessageId,
    claim: Claim | None = None,
) -> list[Sent | Problem]:
    """Accept all letters that can be, in one transaction; what cannot is a Problem in its place."""
    with state.memory.share() as share:
        return await _send_all(state, credential, letters, message_id, claim, share)


async def _send_all(
    state: State,
    credential: Credential,
    letters: Sequence[Letter | Problem],
    message_id: MessageId,
    claim: Claim | None,
    share: Share,
) -> list[Sent | Problem]:
    """`share` is of what templates make: requests that are small may ask for much of it."""
    try:
        checked: list[_Checked | Problem] = []
        for at in range(0, len(letters), AT_ONCE):
            checked += await together(
                [_checked_or_not(state, credential, each, share) for each in letters[at : at + AT_ONCE]]
            )
        items: list[Composed | Problem] = []
        for each in checked:
            if items:
                await asyncio.sleep(0)  # a batch of many is the work of many requests: others come between
            items.append(each if isinstance(each, Problem) else await _composed(state, credential, each, message_id))
    except BaseException:
        if claim is not None:
            claim.release()
        raise
    outcomes = await state.intake.accept_composed(credential, items, claim)
    return [_sent(state, credential, *each) for each in zip(letters, checked, outcomes, strict=True)]


async def rehearse(state: State, credential: Credential, letter: Letter, message_id: MessageId) -> Sent:
    """Every check of `send_all`, and none of it done: the acceptance has no moments, and an id that nothing bears."""
    with state.memory.share() as share:
        checked = await _checked(state, credential, letter, share)
        composed = await _composed(state, credential, checked, message_id)
    if isinstance(composed, Problem):
        raise composed
    seen = state.intake.rehearse_composed(credential, composed)
    return Sent(seen, checked.author, (*checked.letter.warnings, *seen.warnings))


def replayed(
    state: State, credential: Credential, letters: Sequence[Letter | Problem], answer: str
) -> list[Sent | Problem]:
    """What was answered when the same was asked before."""
    outcomes = state.intake.repeated(answer)
    return [_sent(state, credential, letter, None, each) for letter, each in zip(letters, outcomes, strict=True)]


def _author_then(state: State, credential: Credential, letter: Letter, outcome: Acceptance) -> Address:
    """Whom a letter was from. The directory may have changed since, and no longer say it: its domain is in its id."""
    try:
        return letter.author or author_of(state, credential, letter)
    except Problem:
        return Address(LOCAL, outcome.message_id.rpartition("@")[2].removesuffix(">"))


def author_of(state: State, credential: Credential, letter: Letter) -> Address:
    """Whom a letter is from. Raises Problem(BAD_REQUEST | NOT_REGISTERED) where that cannot be said."""
    senders = state.intake.senders
    domain = letter.domain
    named = None if domain is None else senders.find(domain, credential.tenant_id)
    if domain is not None and named is None:
        raise Problem(Kind.NOT_REGISTERED, f"{domain} is not registered here: ask the operator to add it", aspect=NAMED)
    if letter.author is not None:
        author = letter.author
        if named is not None and senders.registered(credential, author) != named:
            raise Problem(
                Kind.BAD_REQUEST, faults=(Fault("domain", f"is not the domain of {author}: leave one of them out"),)
            )
        return author
    found = senders.default_sender(credential, None if named is None else named.name)
    if found is not None:
        return found
    if domain is not None:
        return Address(LOCAL, domain)
    if (ready := senders.first_ready(credential)) is None:
        raise Problem(Kind.NOT_REGISTERED, "the message does not say whom it is from, and no domain here is verified")
    return Address(LOCAL, ready.name)


async def _checked_or_not(
    state: State, credential: Credential, letter: Letter | Problem, share: Share
) -> _Checked | Problem:
    if isinstance(letter, Problem):
        return letter
    try:
        return await _checked(state, credential, letter, share)
    except Problem as problem:
        return problem


async def _checked(state: State, credential: Credential, letter: Letter, share: Share) -> _Checked:
    intake = state.intake
    intake.senders.require_standing(credential)
    if letter.template is not None:
        letter = await filled_in(state, credential, letter, share)
    author = author_of(state, credential, letter)
    intake.check_author(credential, author)
    if letter.return_path is not None:
        intake.senders.registered(credential, letter.return_path)
    people = letter.addressees
    paths = [(each.field.value, each.address) for each in people]
    warnings = await intake.recipients.check_all(credential, paths)
    intake.check_quota(credential, len(people))
    return _Checked(letter, author, tuple(warnings))


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
    if letter.max_size is not None and len(raw) > letter.max_size:
        return Problem(Kind.TOO_LARGE, f"the message is over {letter.max_size} octets; no more is taken here")
    fixed = Fixed(
        raw=raw if len(raw) <= LARGE else b"",
        author=author,
        message_id=own_id,
        is_bulk=bool(letter.headers) and is_bulk(_fields(letter)),
        options=letter.options,
        ledger=COMPOSED,
    )
    sender = letter.return_path or author
    submission = Submission(sender, letter.addressees, raw, TRACE, letter.subject, warnings=checked.warnings)
    return Composed(submission, public_id, fixed)


def _fields(letter: Letter) -> list[HeaderField]:
    return [HeaderField(name.lower(), f"{name}: {value}\r\n".encode()) for name, value in letter.headers]


def _sent(
    state: State,
    credential: Credential,
    letter: Letter | Problem,
    checked: _Checked | Problem | None,
    outcome: Acceptance | Problem,
) -> Sent | Problem:
    """What is answered for a letter: its outcome, whatever was found here, for that may be another process's."""
    if isinstance(outcome, Problem):
        return outcome
    if isinstance(letter, Problem):  # what could be read once can be read again
        return Problem(Kind.INTERNAL)
    author = checked.author if isinstance(checked, _Checked) else _author_then(state, credential, letter, outcome)
    return Sent(outcome, author, (*letter.warnings, *outcome.warnings))
