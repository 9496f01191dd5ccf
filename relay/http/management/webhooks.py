"""Webhooks: made, changed, tried, and what was posted to each. A secret goes out once, when it is made."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, model_validator
from starlette.responses import Response

from relay.declared import WebhookChange, WebhookFields
from relay.errors import Kind, Problem, printable
from relay.http.management.answers import View, created, done, gone, listed, moment, single
from relay.http.management.asking import Flag, Listing, Moment, Nothing
from relay.http.management.rules import Call
from relay.store.clock import moment_ms, now_ms
from relay.store.directory.installation import shown
from relay.store.directory.paging import Page
from relay.store.journal import event_id
from relay.store.webhooks import log, replay, rows
from relay.store.webhooks.log import Attempt, Post, PostState
from relay.store.webhooks.rows import Webhook
from relay.values import Name, Section, Span, Yes

OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=30)

PostId = Annotated[str, Field(pattern="^[0-9a-f]{24}$")]


class Wanted(Listing):
    """Filters of the list, which is in the order of ids."""

    tenant: Name | None = None
    enabled: Flag | None = None


class Overlap(Section):
    """How long the old secret signs beside the new one."""

    overlap: Annotated[Span, Field(le=LONGEST_OVERLAP)] = OVERLAP


class Posts(Listing):
    """Filters of what was posted, which has the newest first."""

    state: PostState | None = None


class Again(Section):
    """What is to be posted anew: one delivery, or those of events in a span of time; where nothing is said, all.

    Of a span only what is dead; with `only_dead` false, what was delivered, too.
    """

    delivery: PostId | None = None
    since: Moment | None = Field(default=None, alias="from")
    until: Moment | None = Field(default=None, alias="to")
    only_dead: Yes = True

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Again:
        if self.delivery is not None and len(self.model_fields_set) > 1:
            raise ValueError("give a delivery, or a span of time, not both")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("from must be before to")
        return self


# -- how they look ---------------------------------------------------------------------------------------------------


def view(webhook: Webhook) -> View:
    is_replacing = webhook.old_until is not None and now_ms() < webhook.old_until
    return {
        "id": shown(webhook.id),
        "name": webhook.name,
        "tenant": webhook.tenant,
        "url": webhook.url,
        "dialect": webhook.dialect.value,
        "events": list(webhook.events),
        "domains": None if webhook.domains is None else sorted(webhook.domains),
        "retries": webhook.retries,
        "enabled": webhook.is_enabled,
        "disabled_at": moment(webhook.disabled_at),
        "disabled_reason": webhook.disabled_reason,
        "failing_since": moment(webhook.failing_since),
        "old_secret_until": moment(webhook.old_until) if is_replacing else None,
        "created_at": moment(webhook.created_at),
        "updated_at": moment(webhook.updated_at),
    }


def post_view(post: Post) -> View:
    return {
        "id": shown(post.id),
        "event_id": event_id(post.event_id),
        "type": post.type,
        "message": post.message,
        "state": post.state.value,
        "occurred_at": moment(post.at),
        "created_at": moment(post.created_at),
        "next_attempt_at": moment(post.due_at),
        "delivered_at": moment(post.delivered_at),
        "dead_at": moment(post.dead_at),
        "attempts": [_attempt(each) for each in post.attempts],
    }


def _attempt(attempt: Attempt) -> View:
    return {
        "number": attempt.number,
        "at": moment(attempt.at),
        "took_ms": attempt.took,
        "status": attempt.status,
        "problem": attempt.said or None,
        "answer": attempt.answer,
    }


# -- which ones ------------------------------------------------------------------------------------------------------


def is_open_to(call: Call[Any, Any], webhook: Webhook) -> bool:
    """A key for some domains knows only of webhooks for those, or fewer."""
    scope = call.credential.scope
    return scope is None or (webhook.domains is not None and webhook.domains <= scope)


async def found(call: Call[Any, Any]) -> Webhook:
    """The webhook that the path names, by its id or name. Raises Problem(NOT_FOUND | CONFLICT)."""
    name = call.named("id")
    webhook = await call.state.store.read(lambda db: rows.find(db, name, within=call.within))
    if not is_open_to(call, webhook):
        raise Problem(Kind.NOT_FOUND, f"there is no webhook {printable(name)!r} here")
    return webhook


def require_domains(call: Call[Any, Any], domains: tuple[str, ...] | None) -> None:
    """Raises Problem(FORBIDDEN) for a webhook that would tell more than the key may know."""
    scope = call.credential.scope
    if scope is not None and (domains is None or not scope.issuperset(domains)):
        raise Problem(Kind.FORBIDDEN, "this API key is for some domains only: name `domains`, and none but those")


# -- webhooks --------------------------------------------------------------------------------------------------------


async def index(call: Call[Wanted, Nothing]) -> Response:
    asked, tenant_id = call.query, await call.whose(call.query.tenant)
    page = await call.state.store.read(
        lambda db: rows.listed(db, asked.asked, tenant_id=tenant_id, is_enabled=asked.enabled)
    )
    if call.credential.scope is not None:  # their number would tell of those that it may not know
        page = Page([each for each in page.items if is_open_to(call, each)], None, page.next_cursor)
    return listed(page, view)


async def create(call: Call[Nothing, WebhookFields]) -> Response:
    """The secret stands in this answer, and in none after it."""
    store, body = call.state.store, call.body
    fields = body.model_copy(update={"tenant": call.owner(body.tenant)})
    require_domains(call, body.domains)
    await call.state.targets.require(body.url)
    made, secret = await store.change(lambda db: rows.create(db, store.sealer, call.actor, fields))
    return created(view(made) | {"secret": secret}, "webhooks", shown(made.id))


async def retrieve(call: Call[Nothing, Nothing]) -> Response:
    return single(call.request, view(await found(call)))


async def change(call: Call[Nothing, WebhookChange]) -> Response:
    name = shown((await found(call)).id)
    if "domains" in call.body.model_fields_set:
        require_domains(call, call.body.domains)
    if "url" in call.body.model_fields_set:
        await call.state.targets.require(call.body.url)
    changed = await call.state.store.change(lambda db: rows.change(db, call.actor, name, call.body, within=call.within))
    return done(view(changed))


async def remove(call: Call[Nothing, Nothing]) -> Response:
    name = shown((await found(call)).id)
    await call.state.store.change(lambda db: rows.remove(db, call.actor, name, within=call.within))
    return gone()


async def rotate(call: Call[Nothing, Overlap]) -> Response:
    store, name, overlap = call.state.store, shown((await found(call)).id), call.body.overlap
    changed, secret = await store.change(
        lambda db: rows.rotate(db, store.sealer, call.actor, name, overlap, within=call.within)
    )
    return done(view(changed) | {"secret": secret})


# -- what was posted -------------------------------------------------------------------------------------------------


async def test(call: Call[Nothing, Nothing]) -> Response:
    """An event that says nothing: its delivery tells how it goes."""
    store, webhook = call.state.store, await found(call)
    name = shown(webhook.id)
    post_id = await store.change(lambda db: replay.try_out(db, store.sealer, call.actor, name, within=call.within))
    post = await store.read(lambda db: log.post(db, store.sealer, webhook.id, shown(post_id)))
    return created(post_view(post), "webhooks", name, "deliveries", shown(post_id))


async def deliveries(call: Call[Posts, Nothing]) -> Response:
    webhook, asked = await found(call), call.query
    page = await call.state.store.read(lambda db: log.posts(db, asked.asked, webhook.id, asked.state))
    return listed(page, post_view)


async def delivery(call: Call[Nothing, Nothing]) -> Response:
    store, webhook = call.state.store, await found(call)
    post = await store.read(lambda db: log.post(db, store.sealer, webhook.id, call.named("delivery")))
    return single(call.request, post_view(post))


async def post_again(call: Call[Nothing, Again]) -> Response:
    asked, name = call.body, shown((await found(call)).id)
    since = None if asked.since is None else moment_ms(asked.since)
    until = None if asked.until is None else moment_ms(asked.until)
    count = await call.state.store.change(
        lambda db: replay.replay(
            db,
            call.actor,
            name,
            within=call.within,
            post=asked.delivery,
            since=since,
            until=until,
            only_dead=asked.only_dead,
        )
    )
    return done({"replayed": count})
