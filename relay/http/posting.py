"""The endpoints of send routes: authenticate, read, send, answer - the same for every dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from relay.errors import Problem
from relay.http.dialects.dialect import Batch, Single
from relay.http.letter import Letter, Sent
from relay.http.refusals import asked
from relay.http.requests import json_body, read_body, weight_of
from relay.http.sending import rehearse, replayed, send_all
from relay.http.state import State, ask_once
from relay.http.table import Endpoint, Handle
from relay.message import Address
from relay.routing.idempotency import Claim
from relay.routing.limits import beside_the_loop
from relay.routing.senders import Credential
from relay.values import MB

MAX_BODY = 40 * MB  # of a request

SOMEBODY = Address("somebody", "example.invalid")  # RFC 2606; in no answer

Found = TypeVar("Found")
Read: TypeAlias = Callable[[bytes, Address | None], Letter]  # of a body, given whom mail without an author is from


def endpoints_of(send: Single | Batch, *mounts: str) -> list[Endpoint]:
    """The endpoint of a send route, and again below each mount."""
    handle = one(send) if isinstance(send, Single) else many(send)
    return [Endpoint("POST", mount + send.path, handle, send) for mount in ("", *mounts)]


def one(single: Single) -> Handle:
    async def endpoint(request: Request) -> Response:
        return await posted(
            request, single, lambda octets, default: single.read(json_body(request, octets, single.dialect), default)
        )

    return endpoint


async def posted(request: Request, single: Single, read: Read, identity: Callable[[bytes], bytes] = bytes) -> Response:
    """Send the one message that `read` finds in the body; `identity` is what of a body makes it the same as another."""
    state: State = request.app.state.relay
    credential = state.authenticate(request)
    with state.memory.share() as share:
        octets = await read_body(request, MAX_BODY, share)
        share.take(2 * len(octets))  # the parsed request and the composed message
        claim = await _claimed(state, credential, single, request, octets, identity)
        letter = await _read(state, credential, octets, read, claim)
        del octets  # the budget has no room for them beside what is made of them
        if letter.is_rehearsal and single.rehearsed is not None:
            if claim is not None:
                claim.release()
            seen = await rehearse(state, credential, letter, single.dialect.message_id)
            return single.rehearsed(letter, seen, asked(request))
        [outcome] = await _carried_out(state, credential, single, [letter], claim)
    if isinstance(outcome, Problem):
        raise outcome
    return single.accepted(letter, outcome, asked(request))


def many(batch: Batch) -> Handle:
    async def endpoint(request: Request) -> Response:
        state: State = request.app.state.relay
        credential = state.authenticate(request)
        with state.memory.share() as share:
            octets = await read_body(request, MAX_BODY, share)
            share.take(2 * len(octets))
            claim = await _claimed(state, credential, batch, request, octets)
            letters = await _read(
                state,
                credential,
                octets,
                lambda octets, default: batch.read(json_body(request, octets, batch.dialect), default),
                claim,
            )
            del octets
            outcomes = await _carried_out(state, credential, batch, letters, claim)
        return batch.answered(letters, outcomes, asked(request))

    return endpoint


async def _claimed(
    state: State,
    credential: Credential,
    send: Single | Batch,
    request: Request,
    octets: bytes,
    identity: Callable[[bytes], bytes] = bytes,
) -> Claim | None:
    """The request's idempotency key in hand, or what was answered under it; None for a request without one."""
    if (key := ask_once(request)) is None:
        return None
    sealer = state.store.sealer
    body = await beside_the_loop(len(octets), lambda: sealer.hash_octets(identity(octets), "request"))
    return await state.intake.once.claim(credential.tenant_id, send.path, key, body)


async def _read(
    state: State,
    credential: Credential,
    octets: bytes,
    read: Callable[[bytes, Address | None], Found],
    claim: Claim | None,
) -> Found:
    """What is in the body. One that was answered before is read as it was then, whoever is the default sender now."""
    default = state.intake.senders.default_sender(credential)
    if default is None and claim is not None and claim.answer is not None:
        default = SOMEBODY
    try:
        return await beside_the_loop(weight_of(octets), lambda: read(octets, default))
    except BaseException:
        if claim is not None:
            claim.release()
        raise


async def _carried_out(
    state: State,
    credential: Credential,
    send: Single | Batch,
    letters: Sequence[Letter | Problem],
    claim: Claim | None,
) -> list[Sent | Problem]:
    """Send the letters; or, where the same was asked before under the same key, say what became of them then."""
    if claim is not None and claim.answer is not None:
        return replayed(state, credential, letters, claim.answer)
    return await send_all(state, credential, letters, send.dialect.message_id, claim)
