"""The endpoints of send routes: authenticate, read, send, answer - the same for every dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from relay.errors import Problem
from relay.http.dialects.dialect import Batch, Single
from relay.http.letter import Letter, Sent
from relay.http.refusals import asked
from relay.http.requests import json_body, read_body
from relay.http.sending import rehearse, replayed, send_all
from relay.http.state import State, ask_once
from relay.http.table import Endpoint, Handle
from relay.message import Address
from relay.routing.idempotency import Claim
from relay.routing.limits import beside_the_loop
from relay.routing.senders import Credential
from relay.values import MB

MAX_BODY = 40 * MB  # of a request

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
    default = state.intake.senders.default_sender(credential)
    with state.memory.share() as share:
        octets = await read_body(request, MAX_BODY, share)
        share.take(2 * len(octets))  # the parsed request and the composed message
        letter = await beside_the_loop(len(octets), lambda: read(octets, default))
        if letter.is_rehearsal and single.rehearsed is not None:
            seen = await rehearse(state, credential, letter, single.dialect.message_id)
            return single.rehearsed(letter, seen, asked(request))
        [outcome] = await carried_out(state, credential, single, request, octets, [letter], identity)
    if isinstance(outcome, Problem):
        raise outcome
    return single.accepted(letter, outcome, asked(request))


def many(batch: Batch) -> Handle:
    async def endpoint(request: Request) -> Response:
        state: State = request.app.state.relay
        credential = state.authenticate(request)
        default = state.intake.senders.default_sender(credential)
        with state.memory.share() as share:
            octets = await read_body(request, MAX_BODY, share)
            share.take(2 * len(octets))
            letters = await beside_the_loop(
                len(octets), lambda: batch.read(json_body(request, octets, batch.dialect), default)
            )
            outcomes = await carried_out(state, credential, batch, request, octets, letters)
        return batch.answered(letters, outcomes, asked(request))

    return endpoint


async def carried_out(
    state: State,
    credential: Credential,
    send: Single | Batch,
    request: Request,
    octets: bytes,
    letters: Sequence[Letter | Problem],
    identity: Callable[[bytes], bytes] = bytes,
) -> list[Sent | Problem]:
    """Send the letters; or, where the same was asked before under the same key, say what became of them then."""
    claim: Claim | None = None
    if (key := ask_once(request)) is not None:
        sealer = state.store.sealer
        body = await beside_the_loop(len(octets), lambda: sealer.hash_octets(identity(octets), "request"))
        claim = await state.intake.once.claim(credential.tenant_id, send.path, key, body)
        if claim.answer is not None:
            return replayed(state, credential, letters, claim.answer)
    return await send_all(state, credential, letters, send.dialect.message_id, claim)
