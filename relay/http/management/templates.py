"""Stored templates: texts in Liquid, by name and version, tried out before they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from starlette.responses import Response

from relay.errors import Kind, Problem
from relay.http.fields import Text
from relay.http.management.answers import View, created, done, gone, listed, moment, single, tag_of
from relay.http.management.asking import Listing, Nothing
from relay.http.management.rules import Call
from relay.store import templates
from relay.store.templates import Named, Past, Version, Written
from relay.templates.limits import LONGEST_BODY, LONGEST_SUBJECT
from relay.templates.template import Flaw, Flawed, Template, require_bounded
from relay.values import MB, Line, Name, Section

MOST = 7 * MB  # octets of a request: both bodies, with every character written as an escape

TemplateName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Subject = Annotated[Line, Field(min_length=1, max_length=LONGEST_SUBJECT)]
Body = Annotated[Text, Field(max_length=LONGEST_BODY)]
Missing = Literal["error", "empty"]
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
PARTS = ("subject", "text", "html", "missing")


class OfTenant(Section):
    """Whose template: the named tenant's, else that of the key's tenant."""

    tenant: Name | None = None


class Wanted(OfTenant, Listing):
    """Filters of the list."""


class Versions(OfTenant, Listing):
    """Which page of the versions of a template."""


class OfVersion(OfTenant):
    """Without `version` the newest."""

    version: Number | None = None


class TemplateFields(Section):
    """What an author writes. `missing`: whether a variable that is not given is an error, or empty."""

    subject: Subject
    text: Body | None = None
    html: Body | None = None
    missing: Missing = "error"

    @model_validator(mode="after")
    def _has_body(self) -> TemplateFields:
        if self.text is None and self.html is None:
            raise ValueError("text or html missing")
        return self

    @property
    def written(self) -> Written:
        return Written(self.subject, self.text, self.html, self.missing)


class NewTemplate(TemplateFields):
    name: TemplateName
    tenant: Name | None = None


class TemplateChange(Section):
    """What is to be different in the next version; null takes a body away."""

    subject: Subject = ""
    text: Body | None = None
    html: Body | None = None
    missing: Missing = "error"

    def upon(self, before: Written) -> Written:
        """Raises Problem(BAD_REQUEST) where nothing would be left."""
        said = {name: getattr(self, name) for name in PARTS if name in self.model_fields_set}
        made = Written(**({name: getattr(before, name) for name in PARTS} | said))
        if made.text is None and made.html is None:
            raise Problem(Kind.BAD_REQUEST, "text or html missing")
        return made


class Trial(Section):
    """What a template is to be filled in with."""

    variables: dict[str, Any] = Field(default={}, repr=False)
    version: Number | None = None
    missing: Missing | None = None


class Draft(TemplateFields):
    """A template that is not stored; with `variables` it is filled in, too."""

    variables: dict[str, Any] | None = Field(default=None, repr=False)


async def index(call: Call[Wanted, Nothing]) -> Response:
    asked, whose = call.query, await call.whose(call.query.tenant)
    page = await call.state.store.read(lambda db: templates.listed(db, asked.asked, tenant_id=whose))
    return listed(page, _brief)


async def create(call: Call[Nothing, NewTemplate]) -> Response:
    body = call.body
    tenant_id = await call.owner_id(body.tenant)
    await _read(call, tenant_id, body.written)
    made = await call.state.store.change(
        lambda db: templates.create(db, call.actor, tenant_id, body.name, body.written)
    )
    return created(await _view(call, tenant_id, made), "templates", made.name)


async def retrieve(call: Call[OfVersion, Nothing]) -> Response:
    tenant_id, name = await call.owner_id(call.query.tenant), call.named("name")
    found = await call.state.store.read(lambda db: templates.find(db, tenant_id, name, call.query.version))
    return single(call.request, await _view(call, tenant_id, found))


async def change(call: Call[OfTenant, TemplateChange]) -> Response:
    tenant_id, name = await call.owner_id(call.query.tenant), call.named("name")
    before = await call.state.store.read(lambda db: templates.find(db, tenant_id, name))
    await _require_match(call, tenant_id, before)
    written = call.body.upon(before.written)
    await _read(call, tenant_id, written)
    # What it was read from is what it is written over, whoever else is at it.
    made = await call.state.store.change(
        lambda db: templates.change(db, call.actor, tenant_id, name, written, before.version)
    )
    return done(await _view(call, tenant_id, made))


async def remove(call: Call[OfTenant, Nothing]) -> Response:
    tenant_id, name = await call.owner_id(call.query.tenant), call.named("name")
    seen: int | None = None
    if "if-match" in call.request.headers:
        before = await call.state.store.read(lambda db: templates.find(db, tenant_id, name))
        await _require_match(call, tenant_id, before)
        seen = before.version
    await call.state.store.change(lambda db: templates.remove(db, call.actor, tenant_id, name, seen))
    return gone()


async def versions(call: Call[Versions, Nothing]) -> Response:
    tenant_id, name = await call.owner_id(call.query.tenant), call.named("name")
    page = await call.state.store.read(lambda db: templates.history(db, call.query.asked, tenant_id, name))
    return listed(page, _past)


async def preview(call: Call[OfTenant, Trial]) -> Response:
    """What a message would be. Refused as the message would be."""
    tenant_id, name, body = await call.owner_id(call.query.tenant), call.named("name"), call.body
    require_bounded(body.variables)
    found = await call.state.store.read(lambda db: templates.find(db, tenant_id, name, body.version))
    try:
        template = await call.state.filling.shown(tenant_id, found)
        filled = await call.state.filling.fill(tenant_id, template, body.variables, body.missing)
    except Flawed as exc:
        raise exc.problem from exc
    said = {"subject": filled.subject, "text": filled.text, "html": filled.html}
    return done({"name": found.name, "version": found.version, **said})


async def validate(call: Call[Nothing, Draft]) -> Response:
    """Whether it is a template; and with variables, what it makes of them."""
    body, tenant_id = call.body, call.credential.tenant_id
    require_bounded(body.variables or {})
    said: View = {"valid": True, "variables": [], "faults": [], "preview": None}
    try:
        template = await call.state.filling.read(tenant_id, body.written)
        said["variables"] = list(template.variables)
        if body.variables is not None:
            filled = await call.state.filling.fill(tenant_id, template, body.variables)
            said["preview"] = {"subject": filled.subject, "text": filled.text, "html": filled.html}
    except Flawed as exc:
        said |= {"valid": False, "faults": [_fault(flaw) for flaw in exc.flaws]}
    return done(said)


async def _read(call: Call[Any, Any], tenant_id: int, written: Written) -> Template:
    """Raises Problem(BAD_REQUEST) for what is no template."""
    try:
        return await call.state.filling.read(tenant_id, written)
    except Flawed as exc:
        raise exc.problem from exc


async def _require_match(call: Call[Any, Any], tenant_id: int, found: Version) -> None:
    """Raises Problem(CONFLICT) for a client that has seen another version (RFC 9110 section 13.1.1).

    Our tags are weak, and there is nothing stronger to compare.
    """
    lines = call.request.headers.getlist("if-match")
    known = {each.strip().removeprefix("W/") for line in lines for each in line.split(",")}
    if lines and "*" not in known and tag_of(await _view(call, tenant_id, found)).removeprefix("W/") not in known:
        raise Problem(Kind.CONFLICT, f"it is version {found.version} now, changed by another: look at it again")


async def _view(call: Call[Any, Any], tenant_id: int, found: Version) -> View:
    written = found.written
    try:
        variables = list((await call.state.filling.shown(tenant_id, found)).variables)
    except Flawed:  # what was a template for an older Relay
        variables = []
    return {
        "name": found.name,
        "tenant": found.tenant,
        "version": found.version,
        "latest_version": found.latest,
        "subject": written.subject,
        "text": written.text,
        "html": written.html,
        "missing": written.missing,
        "variables": variables,
        "created_at": moment(found.created_at),
    }


def _brief(found: Named) -> View:
    return {
        "name": found.name,
        "tenant": found.tenant,
        "version": found.version,
        "created_at": moment(found.created_at),
        "updated_at": moment(found.updated_at),
    }


def _past(found: Past) -> View:
    return {"version": found.version, "subject": found.subject, "created_at": moment(found.created_at)}


def _fault(flaw: Flaw) -> Mapping[str, Any]:
    return {"param": flaw.path, "message": flaw.message, "line": flaw.line, "column": flaw.column}
