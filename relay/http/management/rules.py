"""The one way into management: who may ask for what, and a request read, checked and handed on. Knows no noun."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from enum import Flag, auto
from functools import partial
from http import HTTPStatus
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from relay.declared import Permission
from relay.errors import Kind, Problem, printable
from relay.http.management import asking
from relay.http.management.answers import ROOT
from relay.http.management.asking import Nothing
from relay.http.requests import read_body, read_json, require_json
from relay.http.state import State
from relay.http.table import Endpoint
from relay.routing.limits import beside_the_loop
from relay.routing.senders import Credential
from relay.store.directory import tenants
from relay.store.directory.audit import Actor
from relay.store.directory.keys import ApiKey
from relay.values import Section

MAX_BODY = 64 << 10  # octets
READING = {"GET", "HEAD"}

Query = TypeVar("Query", bound=Section)
Body = TypeVar("Body", bound=Section)
Handler: TypeAlias = Callable[[Any], Awaitable[Response]]


class Also(Flag):
    """What a request needs besides the permission."""

    NOTHING = 0
    WHOLE = auto()  # a key without a domain scope: it is about the whole tenant, or the installation
    STANDING = auto()  # a tenant that may send: it makes work for an SES account. The operator's own keys need none


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table of routes. `path` is that below /api/v1; a key needs `permission`, or one above it.

    `answer` documents the JSON of a success, whose status is one of `success`; `or_as` is another type that it may be
    asked for in. `refuses`: what it may be refused for besides what every route may be. `most`: octets of a body.
    `is_guarded`: it takes If-Match.
    """

    method: str
    path: str
    permission: Permission
    handler: Handler
    summary: str
    query: type[Section] = Nothing
    body: type[Section] = Nothing
    also: Also = Also.NOTHING
    answer: type[BaseModel] | None = None
    success: tuple[HTTPStatus, ...] = (HTTPStatus.OK,)
    or_as: str = ""
    refuses: tuple[Kind, ...] = ()
    most: int = MAX_BODY
    is_guarded: bool = False

    def check(self, state: State, credential: Credential) -> None:
        """Raises Problem(FORBIDDEN | SUSPENDED)."""
        credential.require(self.permission)
        is_whole = Also.WHOLE in self.also or self.permission is Permission.ADMIN
        if is_whole and credential.scope is not None:
            raise Problem(Kind.FORBIDDEN, "this API key is for some domains only; the request is about more than those")
        if Also.STANDING in self.also and not _is_operators(credential):
            state.intake.senders.require_standing(credential)


@dataclass(frozen=True, slots=True)
class Call(Generic[Query, Body]):
    """A request that may be made, read and checked."""

    state: State
    request: Request
    credential: Credential
    query: Query
    body: Body

    @property
    def actor(self) -> Actor:
        return Actor(f"key {self.key.prefix}", self.request.state.request_id, is_operator=self.is_operator)

    @property
    def key(self) -> ApiKey:
        """The key that asks. An operator's key for some domains only amounts to a tenant's key for them."""
        key = self.credential.key
        assert key is not None  # over HTTP there is no other credential
        return key if self.is_operator else replace(key, permission=Permission.FULL)

    @property
    def is_operator(self) -> bool:
        """Whether everything in the installation is open to the key. Others see their tenant's things alone."""
        return _is_operators(self.credential)

    @property
    def within(self) -> int | None:
        """The tenant whose things alone may be found: None for the operator."""
        return None if self.is_operator else self.credential.tenant_id

    def named(self, parameter: str) -> str:
        """A part of the path."""
        found: str = self.request.path_params[parameter]
        return found

    def owner(self, named: str | None) -> str:
        """The tenant that is meant: the named one, else the key's own. Raises Problem(NOT_FOUND) for a stranger's."""
        own = self.credential.tenant.name
        if named is not None and named != own and not self.is_operator:
            raise Problem(Kind.NOT_FOUND, f"there is no tenant {printable(named)} here")
        return named or own

    async def owner_id(self, named: str | None) -> int:
        """Raises Problem(NOT_FOUND)."""
        owner = self.owner(named)
        if owner == self.credential.tenant.name:
            return self.credential.tenant_id
        return (await self.state.store.read(lambda db: tenants.find(db, owner))).id

    async def whose(self, named: str | None) -> int | None:
        """The tenant whose things a list shows. None: everyone's. Raises Problem(NOT_FOUND)."""
        return self.within if named is None else await self.owner_id(named)


def _is_operators(credential: Credential) -> bool:
    return credential.permission is Permission.ADMIN and credential.scope is None


async def answer(rule: Rule, request: Request) -> Response:
    """Authenticate, permit, read, hand on: in this order, so that a stranger learns nothing but that he is one."""
    state: State = request.app.state.relay
    credential = state.authenticate(request)
    rule.check(state, credential)
    if not all(value.isprintable() for value in request.path_params.values()):
        raise Problem(Kind.NOT_FOUND)
    members = {} if rule.method in READING else await _members(state, request, rule.most)
    query, body = asking.read(rule.query, request.query_params.multi_items(), rule.body, members)
    return await rule.handler(Call(state, request, credential, query, body))


async def _members(state: State, request: Request, most: int) -> dict[str, Any]:
    """What a body says; none says nothing."""
    with state.memory.share() as share:
        octets = await read_body(request, most, share)
        if not octets.strip():
            return {}
        require_json(request.headers, octets)
        return await beside_the_loop(len(octets), lambda: read_json(octets))


def endpoints_of(rules: Iterable[Rule], *mounts: str) -> list[Endpoint]:
    """Of every rule, and again below each mount."""
    return [
        Endpoint(rule.method, mount + ROOT + rule.path, partial(answer, rule), rule)
        for mount in ("", *mounts)
        for rule in rules
    ]
