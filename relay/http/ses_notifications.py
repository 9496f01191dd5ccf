"""Where SNS posts the events of SES: no API key, for its signature is the credential (SES fact 5)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from relay import log
from relay.errors import Kind, Problem
from relay.feedback.push import Outcome, Push
from relay.http.dialects.native import NATIVE
from relay.http.requests import read_body, read_json, require_plain
from relay.http.state import State
from relay.http.table import About, Endpoint
from relay.values import MB

PATH = "/api/ses-notifications"  # below http.public_url: what SNS is to be subscribed with
LIMIT = MB  # SNS takes 256 KB, of which JSON may make a good deal more

ABOUT = About(
    "For Amazon SNS alone: events of SES accounts with `feedback.via: sns`. The signature is the credential",
    NATIVE,
    media_type="text/plain",
    takes="text/plain",  # SNS says so of its JSON, unless a delivery policy has it say otherwise: it is not looked at
    is_public=True,
    refuses=(
        Kind.FORBIDDEN,
        Kind.NOT_FOUND,
        Kind.TOO_LARGE,
        Kind.UNSUPPORTED_MEDIA,
        Kind.STORAGE_FULL,
        Kind.STORAGE_DOWN,
    ),
)


async def _post(request: Request) -> Response:
    """200 once it is durable. SNS repeats what is answered with a 5xx, and nothing else."""
    state: State = request.app.state.relay
    try:
        outcome = await _taken(request, state)
    except Problem as problem:
        why = problem.aspect or problem.kind.slug
        state.metrics.sns_posts.labels(why).inc()
        log.event("push.refused", why=why, reason=problem.detail, request_id=request.state.request_id)
        raise
    state.metrics.sns_posts.labels(outcome.value).inc()
    return PlainTextResponse(outcome.value)


async def _taken(request: Request, state: State) -> Outcome:
    push: Push | None = state.push
    if push is None:
        raise Problem(Kind.NOT_FOUND)
    push.admit(request.headers)
    require_plain(request.headers)
    with state.memory.share() as share:
        octets = await read_body(request, LIMIT, share)
        share.take(2 * len(octets))  # the parsed envelope, and the event in it
        return await push.take(request.headers, read_json(octets))


endpoints = (Endpoint("POST", PATH, _post, ABOUT),)
