"""Addresses that get no mail: a tenant's list, and the operator's, which holds for everyone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import AfterValidator, Field, model_validator
from starlette.responses import Response

from relay.errors import Kind, Problem, printable
from relay.http.management.answers import View, created, done, gone, listed, moment, single
from relay.http.management.asking import Flag, Future, Listing, Nothing, Said
from relay.http.management.rules import Call
from relay.store import suppressions
from relay.store.directory.keys import expiry
from relay.store.suppressions import EVERYONE, Entry, Suppression
from relay.values import Email, Name, Section

SOURCE = "api"


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be one line, without control characters")
    return value


Reason = Annotated[Said, Field(max_length=suppressions.MAX_REASON), AfterValidator(_printable)]
Note = Annotated[Said, Field(max_length=suppressions.MAX_NOTE), AfterValidator(_printable)]
Prefix = Annotated[str, Field(pattern=r"^[!-~]{1,254}$")]  # addresses are ASCII, whatever was asked to be sent


class ForEveryone(Section):
    """The operator's own list."""

    everyone: Flag = False


class OfList(ForEveryone):
    """Whose list: the named tenant's, else that of the key's tenant."""

    tenant: Name | None = None

    @model_validator(mode="after")
    def _is_one_list(self) -> OfList:
        if self.everyone and self.tenant is not None:
            raise ValueError("tenant and everyone name two lists")
        return self


class Wanted(OfList, Listing):
    """Filters of the list. `q`: how addresses begin."""

    reason: Reason | None = None
    source: Reason | None = None
    q: Prefix | None = None


class NewSuppression(Section):
    address: Email
    tenant: Name | None = None
    reason: Reason = "manual"
    note: Note | None = None
    expires_at: Future | None = None


@dataclass(frozen=True, slots=True)
class _List:
    """A list, and whose it is: None is everyone's."""

    id: int
    tenant: str | None

    @classmethod
    async def of(cls, call: Call[Any, Any], tenant: str | None, *, is_for_everyone: bool) -> _List:
        """Raises Problem(FORBIDDEN | NOT_FOUND)."""
        if is_for_everyone and not call.is_operator:
            raise Problem(Kind.FORBIDDEN, "the list that holds for everyone is the operator's")
        return cls(EVERYONE, None) if is_for_everyone else cls(await call.owner_id(tenant), call.owner(tenant))

    def view(self, entry: Suppression) -> View:
        return {
            "address": entry.address,
            "tenant": self.tenant,
            "reason": entry.reason,
            "source": entry.source,
            "note": entry.note,
            "created_at": moment(entry.created_at),
            "expires_at": moment(entry.expires_at),
        }

    @property
    def query(self) -> str:
        """What leads to this list."""
        return "?" + urlencode({"everyone": "true"} if self.tenant is None else {"tenant": self.tenant})


async def _asked_list(call: Call[Any, Any]) -> _List:
    asked: OfList = call.query
    return await _List.of(call, asked.tenant, is_for_everyone=asked.everyone)


async def index(call: Call[Wanted, Nothing]) -> Response:
    asked, theirs = call.query, await _asked_list(call)
    page = await call.state.store.read(
        lambda db: suppressions.listed(
            db, asked.asked, tenant_id=theirs.id, prefix=asked.q, reason=asked.reason, source=asked.source
        )
    )
    return listed(page, theirs.view)


async def add(call: Call[ForEveryone, NewSuppression]) -> Response:
    """201 for a new one; 200, and nothing changes, for one that is there."""
    body = call.body
    if call.query.everyone and body.tenant is not None:
        raise Problem(Kind.BAD_REQUEST, "tenant and everyone name two lists")
    theirs = await _List.of(call, body.tenant, is_for_everyone=call.query.everyone)
    entry = Entry.parse(body.address, body.reason, SOURCE, body.note, expires_at=expiry(body.expires_at))
    is_new, found = await call.state.store.change(
        lambda db: (
            suppressions.suppress(db, call.actor, theirs.id, entry),
            suppressions.find(db, theirs.id, entry.address),
        )
    )
    seen = theirs.view(found)
    return created(seen, "suppressions", found.address, query=theirs.query) if is_new else done(seen)


async def retrieve(call: Call[OfList, Nothing]) -> Response:
    theirs, address = await _asked_list(call), call.named("address")
    found = await call.state.store.read(lambda db: suppressions.find(db, theirs.id, address))
    return single(call.request, theirs.view(found))


async def remove(call: Call[OfList, Nothing]) -> Response:
    theirs, address = await _asked_list(call), call.named("address")
    if not await call.state.store.change(lambda db: suppressions.unsuppress(db, call.actor, theirs.id, address)):
        raise Problem(Kind.NOT_FOUND, f"{printable(address)} is not on this suppression list")
    return gone()
