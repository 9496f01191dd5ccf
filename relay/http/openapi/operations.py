"""One operation of the document, made of the value that the endpoint itself is made of. Knows no route."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from relay.errors import Kind
from relay.http.dialects.choosing import dialect_of
from relay.http.dialects.dialect import Batch, Dialect, Single
from relay.http.dialects.native import NATIVE
from relay.http.emails.form import FORM
from relay.http.emails.raw import RAW, RECIPIENT
from relay.http.emails.sending import SEND
from relay.http.management.asking import Nothing
from relay.http.management.rules import READING, Rule
from relay.http.openapi.refusals import ANY, BODIED, CHANGING, KEYED, SENDING
from relay.http.openapi.schemas import Schema
from relay.http.requests import JSON
from relay.http.table import About, Endpoint

TITLES = {"native": "Emails", "sendfleet": "SendFleet", "mailerlogic": "MailerLogic", "sendmux": "Sendmux"}
GROUPS = {
    "tenants": "Tenants",
    "ses-accounts": "SES accounts",
    "domains": "Domains",
    "keys": "Keys",
    "suppressions": "Suppressions",
    "stats": "Stats",
    "journal": "Events",
    "events": "Events",
    "smtp-failures": "SMTP failures",
    "templates": "Templates",
    "webhooks": "Webhooks",
    "emails": "Emails",
}
SERVER = "Server"
# What a part of a path names: how the reference puts it, and an example.
NAMED = {
    "tenants": ("The tenant's name", "acme"),
    "ses-accounts": ("The account's name", "acme-ses"),
    "domains": ("The domain, in any case or script", "acme.example"),
    "keys": ("The key's id, or its prefix where only one key has it", "5c70f161f0babe515c70f161"),
    "suppressions": ("The address", "ana@example.com"),
    "templates": ("The template's name", "receipt"),
    "webhooks": ("The webhook's id, or its name where only one has it", "5c70f161f0babe515c70f161"),
    "delivery": ("The delivery's id", "5c70f161f0babe515c70f162"),
    "emails": (
        "The message's id, in any of its forms: 24 hex digits, those after eml_, or a UUID",
        "0190a1b2c3d4e5f6a7b8c9d0",
    ),
}
ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same body is carried out once within 24 hours, and answered alike.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
SEEN = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of what is to be changed: where it is another by now, nothing is done (409).",
    "schema": {"type": "string"},
}
KNOWN = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "An ETag from before: the answer is 304 while nothing has changed.",
    "schema": {"type": "string"},
}
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


@dataclass(frozen=True, slots=True)
class Taken:
    """A body that a route takes: of a type, as a model of JSON or else as a schema."""

    media_type: str
    model: type[BaseModel] | None = None
    schema: Schema = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a method of a path takes and answers. `path` is without the mount, and as OpenAPI writes it.

    `answers`: by status, the types and models of successes. `group`: of routes that are refused alike.
    """

    method: str
    path: str
    tag: str
    summary: str
    dialect: Dialect
    group: str
    answers: dict[int, list[Taken]]
    kinds: tuple[Kind, ...]
    description: str = ""
    query: type[BaseModel] | None = None
    parameters: tuple[Schema, ...] = ()
    body: tuple[Taken, ...] = ()
    is_body_required: bool = True
    is_public: bool = False
    is_tagged: bool = False
    has_location: bool = False

    @property
    def id(self) -> str:
        words = re.findall(r"[A-Za-z0-9]+", self.path.removeprefix("/api"))
        return "_".join([self.method.lower(), *words, *(("slash",) if self.path.endswith("/") else ())])

    @property
    def models(self) -> Iterable[type[BaseModel]]:
        taken = [*self.body, *(each for some in self.answers.values() for each in some)]
        yield from (each.model for each in taken if each.model is not None)
        if self.query is not None:
            yield self.query
        yield self.dialect.refusal


TO = {
    "name": RECIPIENT,
    "in": "query",
    "required": False,
    "description": "Of a whole message (message/rfc822): to whom it goes. Without it, to whom its header names.",
    "schema": {"type": "array", "maxItems": 50, "items": {"type": "string", "format": "email"}},
}
WHOLE = Taken(
    RAW,
    schema={
        "type": "string",
        "examples": ["From: news@shared.example\r\nTo: ana@example.com\r\nSubject: Hi\r\n\r\nHi Ana\r\n"],
    },
)


def operations_of(endpoint: Endpoint, path: str) -> Iterator[Operation]:
    """None for an endpoint that has no place in the reference; two for one that two dialects share.

    `path`: without the mount.
    """
    written = _PARAMETER.sub(r"{\1}", path)
    for about in endpoint.about if isinstance(endpoint.about, tuple) else (endpoint.about,):
        if isinstance(about, Single | Batch):
            yield _sending(about, written)
        elif isinstance(about, Rule):
            yield _managing(about, dialect_of(endpoint.path, ""), written, path)
        elif isinstance(about, About):
            yield _looking(about, endpoint.method, written, path)


def _sending(send: Single | Batch, path: str) -> Operation:
    answer = [Taken(JSON, send.answer)]
    answers = {int(send.success): answer}
    if isinstance(send, Single) and send.rehearsed is not None:
        answers[int(HTTPStatus.OK)] = answer
    return Operation(
        method="POST",
        path=path,
        tag=TITLES[send.dialect.name],
        summary=send.summary,
        dialect=send.dialect,
        group="send",
        answers=answers,
        kinds=SENDING,
        parameters=(ONCE, TO) if send is SEND else (ONCE,),
        body=(Taken(JSON, send.model), *((Taken(FORM, send.model), WHOLE) if send is SEND else ())),
    )


def _managing(rule: Rule, dialect: Dialect, path: str, template: str) -> Operation:
    kinds = (*ANY, *KEYED, Kind.SUSPENDED, *rule.refuses)
    names_tenant = {"tenant", "account"} & (rule.query.model_fields.keys() | rule.body.model_fields.keys())
    kinds += (Kind.NOT_FOUND,) if "{" in path or names_tenant else ()
    is_reading = rule.method in READING
    kinds += () if is_reading else (*BODIED, *CHANGING)
    is_list = "cursor" in rule.query.model_fields
    success = [Taken(JSON, rule.answer)] if rule.answer else []
    success += [Taken(rule.or_as, schema={"type": "string"})] if rule.or_as else []
    is_tagged = is_reading and not is_list
    return Operation(
        method=rule.method,
        path=path,
        tag=GROUPS[_noun(path)] if dialect is NATIVE else TITLES[dialect.name],
        summary=rule.summary,
        description=f"Needs a key with the permission `{rule.permission.value}`, or one above it.",
        dialect=dialect,
        group="manage",
        answers={int(status): success for status in rule.success},
        kinds=kinds,
        query=None if rule.query is Nothing else rule.query,
        parameters=(
            *_path_parameters(template),
            *((KNOWN,) if is_tagged else ()),
            *((SEEN,) if rule.is_guarded else ()),
        ),
        body=() if rule.body is Nothing else (Taken(JSON, rule.body),),
        is_body_required=any(each.is_required() for each in rule.body.model_fields.values()),
        is_tagged=is_tagged,
        has_location=HTTPStatus.CREATED in rule.success,
    )


def _looking(about: About, method: str, path: str, template: str) -> Operation:
    is_server = about.is_public or not path.startswith("/api/")
    known = (*ANY, *about.refuses) if about.is_public else (*ANY, *KEYED, *about.refuses)
    schema: Schema = {"type": "string"} if about.media_type != JSON else {"type": "object"}
    answer = [Taken(about.media_type, about.answer, schema)]
    return Operation(
        method=method,
        path=path,
        tag=SERVER if is_server else TITLES[about.dialect.name],
        summary=about.summary,
        dialect=about.dialect,
        group="look",
        answers={int(status): answer for status in (HTTPStatus.OK, *about.failing)},
        kinds=known,
        query=about.query,
        parameters=(*_path_parameters(template), *((KNOWN,) if about.is_tagged else ())),
        body=() if about.takes is None else (Taken(about.takes, schema={"type": "string"}),),
        is_public=about.is_public,
        is_tagged=about.is_tagged,
    )


def _noun(path: str) -> str:
    return path.removeprefix("/api/v1/").partition("/")[0]


def _path_parameters(template: str) -> list[dict[str, Any]]:
    found = []
    for name in _PARAMETER.findall(template):
        said, example = NAMED.get(name, NAMED.get(_noun(template), ("", None)))
        schema = {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        found.append(schema | ({"description": said, "example": example} if said else {}))
    return found
