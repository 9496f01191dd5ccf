"""Puts endpoints together to routes: one a path, so that a refused method is told of all that are taken (RFC 9110)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Handle: TypeAlias = Callable[[Request], Awaitable[Response]]


class Endpoint(NamedTuple):
    """What answers one method of one path."""

    method: str
    path: str
    handle: Handle


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
