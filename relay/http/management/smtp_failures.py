"""Sessions of SMTP clients that failed, for the operator: strangers' sessions are no tenant's."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator
from starlette.responses import Response

from relay.http.management.answers import View, listed, moment
from relay.http.management.asking import Listing, Moment, Nothing
from relay.http.management.rules import Call
from relay.store import smtp_failures
from relay.store.clock import moment_ms
from relay.store.directory.installation import shown
from relay.store.smtp_failures import Kept, Reason
from relay.values import Network


class Wanted(Listing):
    """Filters of the list, which has the newest first. `client`: an address or a network."""

    client: Annotated[Network, BeforeValidator(smtp_failures.clients)] | None = None
    reason: Reason | None = None
    since: Moment | None = None


def _view(failure: Kept) -> View:
    return {
        "id": shown(failure.id),
        "at": moment(failure.at),
        "listener": failure.listener,
        "client": failure.client,
        "tenant": failure.tenant,
        "key": failure.key,
        "reason": failure.reason.value,
        "sentence": failure.sentence,
    }


async def index(call: Call[Wanted, Nothing]) -> Response:
    asked = call.query
    since = None if asked.since is None else moment_ms(asked.since)
    page = await call.state.store.read(
        lambda db: smtp_failures.listed(db, asked.asked, within=asked.client, reason=asked.reason, since=since)
    )
    return listed(page, _view)
