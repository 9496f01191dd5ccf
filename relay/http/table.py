"""Puts endpoints together to routes: one a path, so that a refused method is told of all that are taken (RFC 9110)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.errors import Kind
from relay.http.dialects.dialect import Dialect

Handle: TypeAlias = Callable[[Request], Awaitable[Response]]


class Endpoint(NamedTuple):
    """What answers one method of one path. `about`: what the reference is made of, where it is in there."""

    method: str
    path: str
    handle: Handle
    about: object = None


@dataclass(frozen=True, slots=True)
class About:
    """What documents an endpoint that is in no table of its own. `answer` is the JSON of its 200, if that is JSON.

    `query`: what it takes; `takes`: the type of its body; `is_tagged`: it comes with an ETag; `refuses`: besides what
    every route may; `failing`: statuses with the body of a success.
    """

    summary: str
    dialect: Dialect
    answer: type[BaseModel] | None = None
    media_type: str = "application/json"
    query: type[BaseModel] | None = None
    takes: str | None = None
    is_public: bool = False
    is_tagged: bool = False
    refuses: tuple[Kind, ...] = ()
    failing: tuple[int, ...] = ()


def routes_of(endpoints: Iterable[Endpoint]) -> list[Route]:
    """In the order in which their paths come first."""
    by_path: dict[str, dict[str, Handle]] = {}
    for each in endpoints:
        by_path.setdefault(each.path, {})[each.method] = each.handle
    return [_route(path, by_method) for path, by_method in by_path.items()]


def _route(path: str, by_method: dict[str, Handle]) -> Route:
    async def endpoint(request: Request) -> Response:
        return await by_method["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, endpoint, methods=list(by_method))
