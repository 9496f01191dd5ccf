"""MailerLogic's webhooks, by its own routes and words: `/api/v1/customer/webhooks` (MailerLogic contract 8).

They are the tenant's webhooks in this dialect, and management has them, too. Of the answers only the first members are
published; the others are our own choice, as is the secret, which is shown once.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from relay.declared import Dialect, Permission, WebhookChange, WebhookFields
from relay.errors import Fault, Kind, Problem, printable
from relay.http.dialects.mailerlogic_routes import MOUNT
from relay.http.management.answers import View, created, done, gone, moment, single
from relay.http.management.asking import Nothing
from relay.http.management.rules import Call, Rule, endpoints_of
from relay.http.management.webhooks import is_open_to, require_domains
from relay.message import public_id_of, uuid_of
from relay.store import Connection
from relay.store.directory import domains
from relay.store.directory.installation import shown
from relay.store.directory.paging import Asked
from relay.store.webhooks import rows
from relay.store.webhooks.rows import Webhook
from relay.telling import NAMES, TEST
from relay.values import Label, Section, WebUrl, Yes

PATH = "/customer/webhooks"
THEIRS = NAMES[Dialect.MAILERLOGIC]
# What each of their names stands for here. A trial is no event that anybody chooses.
OURS = {name: tuple(own for own in THEIRS if THEIRS[own] == name) for name in THEIRS.values() if name != TEST}


def _known(name: str) -> str:
    if name not in OURS:
        raise ValueError(f"must be one of {', '.join(OURS)}")
    return name


Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Events = Annotated[list[Annotated[str, AfterValidator(_known)]], Field(min_length=1, max_length=50)]


class _Said(Section):
    """What is not known is not looked at."""

    model_config = ConfigDict(extra="ignore")


class HookChange(_Said):
    """What is to be different. `domain_ids` null or empty: all domains; `description` is not kept."""

    name: Label | None = None
    url: WebUrl | None = None
    description: str | None = None
    domain_ids: Annotated[list[Uuid], Field(max_length=1000)] | None = None
    domain_id: Uuid | None = Field(default=None, json_schema_extra={"deprecated": True})
    events: Events | None = None
    is_active: Yes | None = None

    @property
    def names_domains(self) -> bool:
        return bool({"domain_ids", "domain_id"} & self.model_fields_set)

    @property
    def wanted_ids(self) -> list[str]:
        """[]: all domains."""
        return self.domain_ids or ([] if self.domain_id is None else [self.domain_id])


class NewHook(HookChange):
    """A webhook. `domain_ids` null or empty: all domains; `description` is not kept."""

    url: WebUrl
    events: Events


class DomainOf(BaseModel):
    id: Uuid
    domain: str


class WebhookTold(BaseModel):
    """A webhook. `secret`: what its posts are signed with, in the answer that it is made in and in none after it."""

    id: Uuid
    customer_id: Uuid
    domain_ids: list[Uuid] | None
    domains: list[DomainOf]
    name: str
    url: str
    description: str | None
    events: list[str]
    is_active: bool
    created_at: datetime
    updated_at: datetime
    secret: str | None = None


class One(BaseModel):
    webhook: WebhookTold


class Many(BaseModel):
    webhooks: list[WebhookTold]


# -- how they look ---------------------------------------------------------------------------------------------------


def _uuid(row_id: int) -> str:
    return uuid_of(shown(row_id))


def _view(webhook: Webhook, ids: dict[str, int]) -> View:
    """`ids`: of sender domains, by name. One that is not there any more is not shown."""
    named = None if webhook.domains is None else [name for name in sorted(webhook.domains) if name in ids]
    hook = replace(webhook.hook, domains=None)
    chosen = [name for name, own in OURS.items() if any(hook.wants(each, None) for each in own)]
    return {
        "id": _uuid(webhook.id),
        "customer_id": _uuid(webhook.tenant_id),
        "domain_ids": None if named is None else [_uuid(ids[name]) for name in named],
        "domains": [{"id": _uuid(ids[name]), "domain": name} for name in named or ()],
        "name": webhook.name,
        "url": webhook.url,
        "description": None,
        "events": chosen,
        "is_active": webhook.is_enabled,
        "created_at": moment(webhook.created_at),
        "updated_at": moment(webhook.updated_at),
    }


# -- which ones ------------------------------------------------------------------------------------------------------


async def _domain_ids(call: Call[Any, Any], tenant_id: int) -> dict[str, int]:
    """The ids of a tenant's domains, by name."""
    every = await call.state.store.read(domains.every)
    return {each.name: each.id for each in every if each.tenant_id == tenant_id}


async def _found(call: Call[Any, Any]) -> Webhook:
    """The one that the path names. Raises Problem(NOT_FOUND), for one of another dialect too."""
    name = call.named("id")
    absent = Problem(Kind.NOT_FOUND, f"there is no webhook {printable(name)!r} here")
    known = public_id_of(name)
    if known is None:
        raise absent
    webhook = await call.state.store.read(lambda db: rows.find(db, known, within=call.within))
    if webhook.dialect is not Dialect.MAILERLOGIC or not is_open_to(call, webhook):
        raise absent
    return webhook


def _names(wanted: list[str], ids: dict[str, int]) -> tuple[str, ...] | None:
    """The domains that are meant. Raises Problem(BAD_REQUEST) for one that is not there."""
    by_id = {shown(row_id): name for name, row_id in ids.items()}
    found = [by_id.get(public_id_of(each) or "") for each in wanted]
    strange = [place for place, name in enumerate(found) if name is None]
    if strange:
        raise Problem(
            Kind.BAD_REQUEST, faults=tuple(Fault(f"domain_ids.{place}", "is no domain of yours") for place in strange)
        )
    return tuple(name for name in found if name is not None) or None


def _ours(events: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(own for name in events for own in OURS[name]))


# -- routes ----------------------------------------------------------------------------------------------------------


async def index(call: Call[Nothing, Nothing]) -> Response:
    tenant_id = call.credential.tenant_id
    ids = await _domain_ids(call, tenant_id)
    page = await call.state.store.read(lambda db: rows.listed(db, Asked(rows.MOST), tenant_id=tenant_id))
    theirs = [each for each in page.items if each.dialect is Dialect.MAILERLOGIC and is_open_to(call, each)]
    return single(call.request, {"webhooks": [_view(each, ids) for each in theirs]})


async def create(call: Call[Nothing, NewHook]) -> Response:
    store, body = call.state.store, call.body
    ids = await _domain_ids(call, call.credential.tenant_id)
    names = _names(body.wanted_ids, ids)
    require_domains(call, names)
    await call.state.targets.require(body.url)
    named = {} if body.name is None else {"name": body.name}
    fields = WebhookFields(
        **named,
        url=body.url,
        dialect=Dialect.MAILERLOGIC,
        events=_ours(body.events),
        domains=names,
        tenant=call.credential.tenant.name,
    )
    idle = WebhookChange(enabled=False) if body.is_active is False else WebhookChange()

    def make(db: Connection) -> tuple[Webhook, str]:
        made, secret = rows.create(db, store.sealer, call.actor, fields)
        return rows.change(db, call.actor, shown(made.id), idle), secret

    made, secret = await store.change(make)
    return created({"webhook": _view(made, ids) | {"secret": secret}}, "customer", "webhooks", _uuid(made.id))


async def retrieve(call: Call[Nothing, Nothing]) -> Response:
    webhook = await _found(call)
    return single(call.request, {"webhook": _view(webhook, await _domain_ids(call, webhook.tenant_id))})


async def change(call: Call[Nothing, HookChange]) -> Response:
    body, webhook = call.body, await _found(call)
    ids = await _domain_ids(call, webhook.tenant_id)
    said: dict[str, Any] = {name: value for name in ("name", "url") if (value := getattr(body, name)) is not None}
    if body.url is not None:
        await call.state.targets.require(body.url)
    if body.names_domains:
        said["domains"] = _names(body.wanted_ids, ids)
        require_domains(call, said["domains"])
    if body.events is not None:
        said["events"] = _ours(body.events)
    if body.is_active is not None:
        said["enabled"] = body.is_active
    fields = WebhookChange(**said)
    changed = await call.state.store.change(
        lambda db: rows.change(db, call.actor, shown(webhook.id), fields, within=call.within)
    )
    return done({"webhook": _view(changed, ids)})


async def remove(call: Call[Nothing, Nothing]) -> Response:
    webhook = await _found(call)
    await call.state.store.change(lambda db: rows.remove(db, call.actor, shown(webhook.id), within=call.within))
    return gone()


FULL = Permission.FULL
CREATED, NO_CONTENT = (HTTPStatus.CREATED,), (HTTPStatus.NO_CONTENT,)
RULES = (
    Rule("GET", PATH, FULL, index, "List webhooks of this dialect", answer=Many),
    Rule("POST", PATH, FULL, create, "Make a webhook, with its secret", body=NewHook, answer=One, success=CREATED),
    Rule("GET", f"{PATH}/{{id}}", FULL, retrieve, "Show a webhook", answer=One),
    Rule("PUT", f"{PATH}/{{id}}", FULL, change, "Change what is named of a webhook", body=HookChange, answer=One),
    Rule("DELETE", f"{PATH}/{{id}}", FULL, remove, "Forget a webhook", success=NO_CONTENT),
)
endpoints = endpoints_of(RULES, MOUNT)
