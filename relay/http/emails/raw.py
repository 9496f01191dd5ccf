"""Takes a whole message (message/rfc822) as it is, with the fix-ups that mail over SMTP gets."""

from __future__ import annotations

from dataclasses import replace
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.errors import Fault, Kind, Problem
from relay.http.emails.accepted import rehearsal, said_of
from relay.http.emails.request import MAX_RECIPIENTS, too_many
from relay.http.letter import Sent
from relay.http.posting import MAX_BODY
from relay.http.requests import read_body, require_plain
from relay.http.sending import TRACE
from relay.http.state import State, ask_once
from relay.message import Acceptance, Address, Addressee, Field, Submission
from relay.routing.fixups import author_of
from relay.routing.headers import MAX_HEADER, HeaderField, mailboxes, normalise_newlines, split
from relay.routing.idempotency import Claim
from relay.routing.limits import beside_the_loop
from relay.routing.senders import Credential

RAW = "message/rfc822"
RECIPIENT = "recipient"  # the query parameter; it may stand many times
DRY_RUN = "dry_run"  # another
SWITCH = {"": False, "false": False, "true": True}
LONGEST_SUBJECT = 4 << 10  # octets that are looked at
LONGEST_LIST = 32 << 10


async def send(request: Request, path: str) -> Response:
    """Send the message in the body to the recipients in the query; without any, to those that its header names.

    `path` is that of the route, below which an idempotency key counts once.
    """
    state: State = request.app.state.relay
    credential = state.authenticate(request)
    require_plain(request.headers)
    with state.memory.share() as share:
        octets = await read_body(request, MAX_BODY, share)
        share.take(len(octets))  # the message as it is stored
        fields, _ = split(normalise_newlines(octets[: MAX_HEADER + 4]))
        author = author_of(fields)
        addressees = addressees_of(fields, request.query_params.getlist(RECIPIENT))
        submission = Submission(author, addressees, octets, TRACE, subject_of(fields))
        if (is_rehearsal := SWITCH.get(request.query_params.get(DRY_RUN, ""))) is None:
            raise Problem(Kind.BAD_REQUEST, faults=(Fault(DRY_RUN, "must be true or false"),))
        if is_rehearsal:
            outcome = await state.intake.rehearse(credential, await _checked(state, credential, author, submission))
        else:
            outcome = await _accepted(
                state, credential, author, submission, await _claimed(state, credential, request, path, octets)
            )
    sent = Sent(outcome, author, outcome.warnings)
    answer = said_of(sent, addressees, submission.subject or None)
    return rehearsal(answer) if is_rehearsal else JSONResponse(answer, HTTPStatus.ACCEPTED)


async def _claimed(state: State, credential: Credential, request: Request, path: str, octets: bytes) -> Claim | None:
    if (key := ask_once(request)) is None:
        return None
    sealer = state.store.sealer
    asked = "\0".join(request.query_params.getlist(RECIPIENT)).encode("utf-8", "surrogatepass")
    body = await beside_the_loop(len(octets), lambda: sealer.hash_octets(octets, "request"))
    return await state.intake.once.claim(credential.tenant_id, path, key, sealer.hash_octets(body + asked, "request"))


async def _accepted(
    state: State, credential: Credential, author: Address, submission: Submission, claim: Claim | None
) -> Acceptance:
    if claim is not None and claim.answer is not None:
        [outcome] = state.intake.repeated(claim.answer)
        if isinstance(outcome, Problem):
            raise outcome
        return outcome
    try:
        checked = await _checked(state, credential, author, submission)
    except BaseException:
        if claim is not None:
            claim.release()
        raise
    return await state.intake.accept(credential, checked, claim=claim)


async def _checked(state: State, credential: Credential, author: Address, submission: Submission) -> Submission:
    """With what its sender is to be told about the recipients."""
    intake = state.intake
    intake.check_author(credential, author)
    paths = [(each.field.value, each.address) for each in submission.recipients]
    warnings = await intake.recipients.check_all(credential, paths)
    intake.check_quota(credential, len(paths))
    return replace(submission, warnings=tuple(warnings))


def addressees_of(fields: list[HeaderField], wanted: list[str]) -> tuple[Addressee, ...]:
    """Whom the message goes to: the `wanted`, or else everyone whom the header names.

    Each is in the field of the header that names it first, and is a hidden one where none does. Raises
    Problem(BAD_REQUEST | BAD_ADDRESS | NON_ASCII_ADDRESS).
    """
    named: dict[Address, Field] = {}
    for field in Field:
        for each in fields:
            if each.name == field.value:
                if len(each.value) > LONGEST_LIST:
                    raise Problem(Kind.BAD_REQUEST, faults=(Fault(field.value, f"is over {LONGEST_LIST >> 10} KB"),))
                for address in _read(field, each.value, is_needed=not wanted):
                    named.setdefault(address, field)
    if wanted:
        chosen = dict.fromkeys(Address.parse(each.strip()) for each in wanted)
        named = {address: named.get(address, Field.BCC) for address in chosen}
    if not named:
        raise Problem(
            Kind.BAD_REQUEST,
            faults=(Fault(RECIPIENT, "is required: the message's header names nobody in To, Cc or Bcc"),),
        )
    if len(named) > MAX_RECIPIENTS:
        raise Problem(Kind.BAD_REQUEST, faults=(Fault(Field.TO.value, too_many(len(named))),))
    return tuple(Addressee(address, field) for address, field in named.items())


def _read(field: Field, value: bytes, *, is_needed: bool) -> list[Address]:
    """The addresses in a field; what cannot be read does not matter where the recipients are given apart."""
    try:
        return mailboxes(value, field.value.title())
    except Problem:
        if is_needed:
            raise
        return []


def subject_of(fields: list[HeaderField]) -> str:
    """What its recipients read; "" where nobody can say."""
    value = next((each.value for each in fields if each.name == "subject"), b"")
    if len(value) > LONGEST_SUBJECT:
        return ""
    try:
        found = str(make_header(decode_header(value.decode("utf-8"))))
        found.encode("utf-8")
    except (HeaderParseError, LookupError, ValueError):
        return ""
    return found if "\0" not in found else ""
