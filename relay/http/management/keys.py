"""API keys: made, imported, rotated, revoked. A key knows of no key that may do more than itself."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response

from relay.declared import KeyChange, KeyFields, Permission
from relay.errors import Fault, Kind, Problem
from relay.http.management.answers import View, created, done, gone, listed, moment, single
from relay.http.management.asking import Flag, Future, Listing, Nothing
from relay.http.management.rules import Call
from relay.routing.rates import rate_of
from relay.store.clock import now_ms
from relay.store.directory import keys
from relay.store.directory.installation import shown
from relay.store.directory.keys import ApiKey
from relay.store.directory.paging import NO_CURSOR, Asked, Page, cursor_of
from relay.values import Name, Section, Span

OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=366)
PAGE = 500  # keys read at once


class Wanted(Listing):
    """Filters of the list, which is in the order of ids."""

    tenant: Name | None = None
    permission: Permission | None = None
    revoked: Flag | None = None


class NewKey(KeyFields):
    expires_at: Future | None = None


class Changes(KeyChange):
    expires_at: Future | None = None


class Overlap(Section):
    """How long the old key is good beside the new one."""

    overlap: Annotated[Span, Field(le=LONGEST_OVERLAP)] = OVERLAP


def view(key: ApiKey) -> View:
    return {
        "id": shown(key.id),
        "prefix": key.prefix,
        "name": key.name,
        "tenant": key.tenant,
        "permission": key.permission.value,
        "domains": None if key.domains is None else sorted(key.domains),
        "rate_per_minute": key.rate_per_minute,
        "sender_rule": None if key.sender_rule is None else key.sender_rule.model_dump(mode="json"),
        "device": None if key.device is None else key.device.model_dump(mode="json"),
        "status": key.status(now_ms()),
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "last_used_at": moment(key.last_used_at),
        "replaces": None if key.replaces is None else shown(key.replaces),
        "declared_in_file": key.is_declared,
    }


# -- which ones ------------------------------------------------------------------------------------------------------


async def _found(call: Call[Any, Any]) -> ApiKey:
    """By id or prefix. Raises Problem(NOT_FOUND), for one above the asking key as for none."""
    name = call.named("id")
    absent = Problem(Kind.NOT_FOUND, f"there is no key {keys.without_secret(name)} here")
    try:
        found = await call.state.store.read(lambda db: keys.find(db, name, tenant_id=call.within))
    except Problem as problem:
        raise (absent if problem.kind is Kind.NOT_FOUND else problem) from None
    if not found.is_within(call.key):
        raise absent
    return found


async def _page(call: Call[Wanted, Nothing], tenant_id: int | None) -> Page[ApiKey]:
    asked = call.query
    which = partial(keys.listed, tenant_id=tenant_id, permission=asked.permission, is_revoked=asked.revoked)
    if call.is_operator:
        return await call.state.store.read(lambda db: which(db, asked.asked))
    # A tenant's keys are few, and which of them another key may know is not the database's to say.
    seen: list[ApiKey] = []
    following = Asked(PAGE)
    while True:
        part = await call.state.store.read(lambda db, after=following: which(db, after))  # type: ignore[misc]
        seen += [key for key in part.items if key.is_within(call.key)]
        if part.next_cursor is None:
            return _cut(seen, asked.asked)
        following = Asked(PAGE, part.next_cursor)


def _cut(seen: list[ApiKey], asked: Asked) -> Page[ApiKey]:
    """One page of all that may be seen."""
    cursors = [cursor_of(key.id) for key in seen]
    start = 0
    if asked.cursor is not None:
        if asked.cursor not in cursors:
            raise Problem(Kind.BAD_REQUEST, faults=(Fault("cursor", NO_CURSOR),))
        start = cursors.index(asked.cursor) + 1
    end = start + asked.limit
    return Page(seen[start:end], len(seen), cursors[end - 1] if end < len(seen) else None)


def _require_rate(call: Call[Any, Any], wanted: int | None) -> None:
    """A key gives none a higher rate than it has, by itself or by its tenant's plan. Raises Problem(FORBIDDEN)."""
    if call.is_operator:
        return
    state, plan = call.state, call.state.intake.senders.plan(call.credential.tenant)
    published = max(state.requests_per_minute.values())
    own = rate_of(call.key.rate_per_minute, plan.rate_per_minute, published)
    if rate_of(wanted, plan.rate_per_minute, published) > own:
        raise Problem(Kind.FORBIDDEN, f"a key makes none above itself: give a rate_per_minute of {own} or less")


# -- routes ----------------------------------------------------------------------------------------------------------


async def index(call: Call[Wanted, Nothing]) -> Response:
    return listed(await _page(call, await call.whose(call.query.tenant)), view)


async def create(call: Call[Nothing, NewKey]) -> Response:
    """The secret stands in this answer alone. One that was brought along is known already."""
    store, body = call.state.store, call.body
    _require_rate(call, body.rate_per_minute)
    fields = body.model_copy(update={"tenant": call.owner(body.tenant)})
    made, secret = await store.change(lambda db: keys.create(db, store.sealer, call.actor, fields, maker=call.key))
    told = {"key": secret} if body.secret is None else {}
    return created(view(made) | told, "keys", shown(made.id))


async def retrieve(call: Call[Nothing, Nothing]) -> Response:
    return single(call.request, view(await _found(call)))


async def change(call: Call[Nothing, Changes]) -> Response:
    name = shown((await _found(call)).id)
    if "rate_per_minute" in call.body.model_fields_set:
        _require_rate(call, call.body.rate_per_minute)
    changed = await call.state.store.change(
        lambda db: keys.change(db, call.actor, name, call.body, tenant_id=call.within, maker=call.key)
    )
    return done(view(changed))


async def revoke(call: Call[Nothing, Nothing]) -> Response:
    name = shown((await _found(call)).id)
    await call.state.store.change(lambda db: keys.revoke(db, call.actor, name, tenant_id=call.within, maker=call.key))
    return gone()


async def rotate(call: Call[Nothing, Overlap]) -> Response:
    store, overlap, name = call.state.store, call.body.overlap, shown((await _found(call)).id)
    made, secret = await store.change(
        lambda db: keys.rotate(db, store.sealer, call.actor, name, overlap, tenant_id=call.within, maker=call.key)
    )
    return created(view(made) | {"key": secret}, "keys", shown(made.id))
