"""Messages, newest first: the key's tenant's, and of a key for some domains those of these domains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from starlette.responses import Response

from relay.delivery import State as DeliveryState
from relay.http.emails.showing import brief
from relay.http.fields import Tag
from relay.http.management.answers import View, listed
from relay.http.management.asking import Listing, Moment, Nothing
from relay.http.management.rules import Call
from relay.message import Address, Stream
from relay.store import searching
from relay.store.clock import moment_ms
from relay.store.listing import MessageView
from relay.values import Domain, Email, Line

Status = Literal["held", "unknown", "sending", "queued", "failed", "cancelled", "sent"]
STOPPABLE = {DeliveryState.QUEUED.value, DeliveryState.HELD.value}


class Wanted(Listing):
    """Filters of the list; a message matches all that are given.

    `message_id`: as its header has it, or as Amazon SES calls it. `since`, and before `until`: when it was accepted.
    """

    status: Status | None = None
    recipient: Email | None = None
    domain: Domain | None = None
    tag: Tag | None = None
    stream_type: Stream | None = None
    message_id: Annotated[Line, Field(min_length=1)] | None = None
    since: Moment | None = None
    until: Moment | None = None

    @model_validator(mode="after")
    def _is_a_span(self) -> Wanted:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("since must be before until")
        return self


async def index(call: Call[Wanted, Nothing]) -> Response:
    """`total` is null where it is not counted: for very many messages."""
    wanted, asked = _search(call), call.query.asked
    found = await call.state.store.read(lambda db: searching.page(db, wanted, asked))

    def view(message: MessageView) -> View:
        return brief(message, call.state.held(message.domain, Stream(message.stream)))

    return listed(found, view)


def _search(call: Call[Wanted, Nothing]) -> searching.Wanted:
    asked = call.query
    recipient = None if asked.recipient is None else Address.parse(asked.recipient).folded
    return searching.Wanted(
        tenant_id=call.credential.tenant_id,
        scope=call.credential.scope,
        status=asked.status,
        recipient=None if recipient is None else call.state.store.sealer.hash_address(recipient),
        domain=asked.domain,
        tag=asked.tag,
        since=None if asked.since is None else moment_ms(asked.since),
        until=None if asked.until is None else moment_ms(asked.until),
        message_id=asked.message_id,
        stream=asked.stream_type,
        stopped=_stopped(call) if asked.status in STOPPABLE else frozenset(),
    )


def _stopped(call: Call[Wanted, Nothing]) -> frozenset[str]:
    """The tenant's domains whose queued mail is held, and shows as held."""
    domains = call.state.intake.senders.snapshot.domains
    theirs = (name for name, domain in domains.items() if domain.tenant_id == call.credential.tenant_id)
    return frozenset(name for name in theirs if call.state.held(name, Stream.TRANSACTIONAL) is not None)
