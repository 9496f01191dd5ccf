"""What happened to mail, domains, accounts and tenants, newest first; and, as MailerLogic tells it, to mail alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated

from pydantic import Field, model_validator
from starlette.responses import Response

from relay.errors import Fault, Kind, Problem
from relay.http.dialects import mailerlogic_events as mailerlogic
from relay.http.management.answers import View, done, listed
from relay.http.management.asking import Listing, Moment, Nothing
from relay.http.management.rules import Call
from relay.message import public_id_of
from relay.store import Connection, journal, listing, searching, timeline
from relay.store.clock import moment_ms, rfc3339
from relay.store.journal import Entry
from relay.store.listing import MessageView
from relay.values import Domain, Line, Name, Section

NEWEST = 500  # messages whose events MailerLogic's listing goes through: their addresses are in no index
Part = Annotated[Line, Field(min_length=1)]  # of an address


class Wanted(Listing):
    """Filters of the list; an event matches all that are given. `type`: a name, or all of a noun, as in `email.*`.

    `message`: a message's id. `since`, and before `until`: when it happened.
    """

    type: Annotated[str, Field(pattern=r"^[a-z_]{1,40}\.([a-z_]{1,40}|\*)$")] | None = None
    message: Annotated[str, Field(max_length=40)] | None = None
    tenant: Name | None = None
    account: Name | None = None
    domain: Domain | None = None
    since: Moment | None = None
    until: Moment | None = None

    @model_validator(mode="after")
    def _is_a_span(self) -> Wanted:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("since must be before until")
        return self


class MailerLogicWanted(Section):
    """Filters of MailerLogic's list (MailerLogic contract 7). `type` is a name without its noun."""

    type: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")] | None = None
    email_id: Annotated[str, Field(max_length=40)] | None = None
    recipient: Part | None = None
    sender: Annotated[Part | None, Field(alias="from")] = None
    from_timestamp: Moment | None = None
    to_timestamp: Moment | None = None
    page: mailerlogic.PageNumber = 1
    limit: Annotated[int, Field(ge=1, le=100)] = 50

    @model_validator(mode="after")
    def _is_a_span(self) -> MailerLogicWanted:
        begin, end = self.from_timestamp, self.to_timestamp
        if begin is not None and end is not None and begin >= end:
            raise ValueError("from_timestamp must be before to_timestamp")
        return self


async def index(call: Call[Wanted, Nothing]) -> Response:
    """`total` is null where it is not counted: for very many events."""
    wanted, asked = await _search(call), call.query.asked
    found = await call.state.store.read(lambda db: journal.page(db, wanted, asked))
    return listed(found, partial(_view, own=call.credential.tenant.name))


async def _search(call: Call[Wanted, Nothing]) -> journal.Wanted:
    asked = call.query
    message = None if asked.message is None else _public_id("message", asked.message)
    return journal.Wanted(
        tenant_id=await call.whose(asked.tenant),
        scope=call.credential.scope,
        type=asked.type,
        message=message,
        account=asked.account,
        domain=asked.domain,
        since=_milliseconds(asked.since),
        until=_milliseconds(asked.until),
    )


def _public_id(name: str, text: str) -> str:
    """Raises Problem(BAD_REQUEST)."""
    found = public_id_of(text)
    if found is None:
        raise Problem(Kind.BAD_REQUEST, faults=(Fault(name, "must be the id of a message"),))
    return found


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else moment_ms(at)


def _view(entry: Entry, own: str) -> View:
    """`own`: the tenant whose mail the asker may see. Of other tenants' an operator is not told who got it."""
    return {
        "id": entry.id,
        "type": entry.type,
        "created_at": rfc3339(entry.at),
        "tenant": entry.tenant,
        "account": entry.account,
        "domain": entry.domain,
        "message": entry.message,
        "recipients": [address if entry.tenant == own else None for address in entry.recipients],
        "data": dict(entry.data),
    }


# -- as MailerLogic tells it -----------------------------------------------------------------------------------------


async def as_mailerlogic(call: Call[MailerLogicWanted, Nothing]) -> Response:
    """Of the newest messages, or of one."""
    asked = call.query
    which = _messages(call)
    customer = call.credential.tenant.name

    def told(db: Connection) -> list[View]:
        found = which(db)
        lines = timeline.timelines(db, found)
        return [each for message in found for each in mailerlogic.told(message, lines[message.id], customer)]

    every = [each for each in await call.state.store.read(told) if _is_wanted(asked, each)]
    every.sort(key=lambda each: str(each["timestamp"]), reverse=True)
    return done(mailerlogic.page(every, asked.page, asked.limit, type=asked.type))


def _messages(call: Call[MailerLogicWanted, Nothing]) -> Callable[[Connection], list[MessageView]]:
    tenant_id, scope, asked = call.credential.tenant_id, call.credential.scope, call.query
    if asked.email_id is None:
        wanted = searching.Wanted(tenant_id=tenant_id, scope=scope, until=_milliseconds(asked.to_timestamp))
        return lambda db: searching.newest(db, wanted, NEWEST)
    public_id = _public_id("email_id", asked.email_id)

    def one(db: Connection) -> list[MessageView]:
        message = listing.message(db, public_id, tenant_id)
        return [message] if message is not None and (scope is None or message.domain in scope) else []

    return one


def _is_wanted(asked: MailerLogicWanted, event: View) -> bool:
    parts = ((asked.recipient, event["recipient"]), (asked.sender, event["from"]))
    if any(part is not None and part.lower() not in (address or "").lower() for part, address in parts):
        return False
    at = datetime.fromisoformat(event["timestamp"])
    is_early = asked.from_timestamp is not None and at < asked.from_timestamp
    return not is_early and (asked.to_timestamp is None or at < asked.to_timestamp)
