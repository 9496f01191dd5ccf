"""The OpenAPI 3.1 document, made of the endpoints that the server has: of the same ones, the same text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from relay import __version__
from relay.http.dialects.choosing import MOUNTS
from relay.http.emails.form import FORM
from relay.http.openapi.examples import EXAMPLES
from relay.http.openapi.operations import GROUPS, SERVER, TITLES, Operation, Taken, operations_of
from relay.http.openapi.refusals import said
from relay.http.openapi.schemas import Components, Schema
from relay.http.requests import JSON
from relay.http.table import Endpoint

INTRODUCTION = """\
A native API and four dialects over one queue. Every path is below the server's own address; below `/sendfleet`, \
`/sendex`, `/mailerlogic` and `/sendmux` every path speaks that dialect.

The key goes into `Authorization: Bearer KEY` or `X-API-Key: KEY`. `X-Request-Id` in a request (1 to 64 of A-Z, a-z, \
0-9, `.`, `_` and `-`) comes back on its answer; a request without one is given one."""
TAGS = {
    "Emails": "The native API, a superset of Sendex's: sending messages, looking at them, moving them.",
    "Templates": "Stored texts that messages are made of.",
    "SendFleet": "SendFleet's dialect.",
    "MailerLogic": "MailerLogic's dialect.",
    "Sendmux": "Sendmux's dialect.",
    "Domains": "Sender domains, and the DNS records to publish.",
    "Keys": "API keys.",
    "Suppressions": "Addresses that get no mail.",
    "Webhooks": "Who is told over HTTP of what happens.",
    "Stats": "How much was sent, and what became of it.",
    "Events": "What happened to mail, domains, accounts and tenants.",
    "Tenants": "For the operator: whose mail it is.",
    "SES accounts": "For the operator: where mail leaves.",
    "SMTP failures": "For the operator: sessions of SMTP clients that failed.",
    SERVER: "How the server is, and what it can do.",
}
_WHOLE = {"type": "integer", "minimum": 0}
HEADERS: dict[str, Schema] = {
    "X-Request-Id": {
        "description": "Names the request: in the log, in the audit, and in reports of trouble.",
        "required": True,
        "schema": {"type": "string"},
    },
    "X-RateLimit-Limit": {"description": "Requests a minute.", "required": True, "schema": _WHOLE},
    "X-RateLimit-Remaining": {"description": "Further ones now.", "required": True, "schema": _WHOLE},
    "X-RateLimit-Reset": {
        "description": "The Unix second at which one more comes free.",
        "required": True,
        "schema": _WHOLE,
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}},
    "ETag": {"description": "Names the state of the thing.", "schema": {"type": "string"}},
    "Location": {"description": "Where it is from now on.", "required": True, "schema": {"type": "string"}},
}
_COUNTED = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_WAITING = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INTERNAL_SERVER_ERROR}
_WAITING |= {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE}  # some dialects have one word for every fault
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The API key."},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The API key."},
}


def document(endpoints: Iterable[Endpoint], public_url: str, mount: str = "") -> Schema:
    """Of all paths without a mount; or of those below one, whose server is the mount then."""
    operations = list(_operations(endpoints, mount))
    components = Components((model, "validation") for each in operations for model in each.models)
    writing = _Writing(components)
    paths: dict[str, Any] = {}
    for each in operations:
        there = paths.setdefault(each.path, {})
        method = each.method.lower()
        written = writing.operation(each)
        there[method] = writing.both(there[method], written) if method in there else written
    for each in operations:
        if each.query is not None:
            components.drop(each.query)
    used = [each.tag for each in operations]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Relay" if not mount else f"Relay: {_title(mount)}",
            "version": __version__,
            "description": INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": f"{public_url}{mount}" or "/"}],
        "security": [{name: []} for name in SECURITY],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "responses": dict(sorted(writing.responses.items())),
            "headers": HEADERS,
            "securitySchemes": SECURITY,
        },
    }


def _title(mount: str) -> str:
    return {"/sendex": "Sendex"}.get(mount, TITLES.get(mount.removeprefix("/"), mount))


def _operations(endpoints: Iterable[Endpoint], mount: str) -> Iterable[Operation]:
    for endpoint in endpoints:
        first = "/" + endpoint.path[1:].partition("/")[0]
        if (first if first in MOUNTS else "") == mount:
            yield from operations_of(endpoint, endpoint.path.removeprefix(mount))


class _Writing:
    """Writes operations down; refusals that several share become `responses`, by name."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self.responses: dict[str, Schema] = {}

    def operation(self, operation: Operation) -> Schema:
        query = [] if operation.query is None else self._components.parameters(operation.query)
        written: Schema = {
            "operationId": operation.id,
            "tags": [operation.tag],
            "summary": operation.summary,
        }
        if operation.description:
            written["description"] = operation.description
        if parameters := [*operation.parameters, *query]:
            written["parameters"] = parameters
        if operation.body:
            written["requestBody"] = {
                "required": operation.is_body_required,
                "content": {each.media_type: self._content(each) for each in operation.body},
            }
        answers, refusals = self._answers(operation), self._refusals(operation)
        written["responses"] = {
            status: self._either(refusals.get(status), answers.get(status))
            for status in sorted(answers.keys() | refusals.keys())
        }
        if operation.is_public:
            written["security"] = []
        return written

    def _content(self, taken: Taken) -> Schema:
        if taken.model is None:
            return {"schema": taken.schema}
        if taken.media_type == FORM:
            return {
                "schema": {
                    "type": "object",
                    "properties": {"email": self._components.ref(taken.model)},
                    "required": ["email"],
                    "additionalProperties": {"type": "string", "format": "binary"},
                },
                "encoding": {"email": {"contentType": JSON}},
            }
        own = EXAMPLES.get(taken.model)
        examples = [own] if own is not None else self._components.examples(taken.model)
        named = {f"example_{number}": {"value": each} for number, each in enumerate(examples, 1)}
        return {"schema": self._components.ref(taken.model)} | ({"examples": named} if named else {})

    def _answers(self, operation: Operation) -> Schema:
        found: Schema = {}
        for status, taken in sorted(operation.answers.items()):
            more = ["ETag"] if operation.is_tagged else []
            more += ["Location"] if operation.has_location and status == HTTPStatus.CREATED else []
            found[str(status)] = {
                "description": HTTPStatus(status).phrase,
                "headers": self._headers(operation, more),
            } | ({"content": {each.media_type: self._content(each) for each in taken}} if taken else {})
        if operation.is_tagged:
            status = HTTPStatus.NOT_MODIFIED
            found[str(int(status))] = {"description": status.phrase, "headers": self._headers(operation, ("ETag",))}
        return found

    def _refusals(self, operation: Operation) -> Schema:
        refs: Schema = {}
        is_counted = operation.path.startswith("/api/")
        for status, bodies in said(operation.dialect, operation.kinds).items():
            name = f"{operation.dialect.name}-{operation.group}{'' if is_counted else '-server'}-{status}"
            response = self.responses.setdefault(
                name,
                {
                    "description": HTTPStatus(status).phrase,
                    "headers": self._headers(operation, _more(status)),
                    "content": {JSON: {"schema": self._components.ref(operation.dialect.refusal), "examples": {}}},
                },
            )
            response["content"][JSON]["examples"] |= {name: {"value": body} for name, body in bodies.items()}
            refs[str(status)] = {"$ref": f"#/components/responses/{name}"}
        return refs

    def both(self, one: Schema, other: Schema) -> Schema:
        """A path that two dialects share: what either takes, and what either answers."""
        bodies = [each["requestBody"]["content"][JSON] for each in (one, other)]
        responses = {
            status: self._either(one["responses"].get(status), other["responses"].get(status))
            for status in sorted(one["responses"].keys() | other["responses"].keys())
        }
        return one | {
            "tags": [*one["tags"], *other["tags"]],
            "summary": f"{one['summary']}; or, as the form of the key says: {other['summary']}",
            "requestBody": {"required": True, "content": {JSON: _any(bodies)}},
            "responses": responses,
        }

    def _either(self, *given: Schema | None) -> Schema:
        found = [each for each in given if each is not None]
        if len(found) == 1:
            return found[0]
        whole = [self.responses[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in found]
        return whole[0] | {"content": {JSON: _any([each["content"][JSON] for each in whole])}}

    def _headers(self, operation: Operation, more: Sequence[str]) -> Schema:
        counted = _COUNTED if operation.path.startswith("/api/") else ()
        return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *counted, *more)}


def _more(status: int) -> tuple[str, ...]:
    """What a refusal carries besides."""
    if status == HTTPStatus.UNAUTHORIZED:
        return ("WWW-Authenticate",)
    return ("Retry-After",) if status in _WAITING else ()


def _any(contents: Sequence[Schema]) -> Schema:
    examples = [each["value"] for content in contents for each in content.get("examples", {}).values()]
    return {
        "schema": {"anyOf": [content["schema"] for content in contents]},
        "examples": {f"example_{number}": {"value": each} for number, each in enumerate(examples, 1)},
    }


assert set(GROUPS.values()) <= TAGS.keys()
