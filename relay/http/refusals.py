"""How every refusal leaves: in the words of the request's dialect, with the headers that all of them share."""

from __future__ import annotations

import math
from datetime import timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay import log
from relay.errors import Kind, Problem
from relay.http.dialects.dialect import Asked
from relay.http.state import State, dialect_of_request

LATER = timedelta(seconds=10)  # when to come back where nothing says it better
TEMPORARY = {Kind.OVERLOADED, Kind.STORAGE_FULL, Kind.STORAGE_DOWN, Kind.DNS_DOWN}
KINDS = {Kind.NOT_FOUND.http: Kind.NOT_FOUND, Kind.METHOD_NOT_ALLOWED.http: Kind.METHOD_NOT_ALLOWED}


def asked(request: Request) -> Asked:
    state: State = request.app.state.relay
    return Asked(request.state.request_id, state.public_url)


def refusal(request: Request, problem: Problem) -> Response:
    """A row of the table of troubles as an answer."""
    status, body = dialect_of_request(request.scope).refuse(problem, asked(request))
    headers = waiting(problem)
    kind = problem.kind
    if kind in {Kind.UNAUTHORIZED, Kind.NO_CREDENTIAL}:
        headers["www-authenticate"] = "Bearer"
    if kind in {Kind.TOO_LARGE, Kind.TOO_SLOW}:
        headers["connection"] = "close"  # the rest of the body is not read
    return JSONResponse(body, status, headers)


def waiting(problem: Problem) -> dict[str, str]:
    """The header that says when to come back, where that may help."""
    if problem.retry_after is None and problem.kind not in TEMPORARY:
        return {}
    return {"retry-after": str(_seconds(problem.retry_after or LATER))}


def _seconds(span: timedelta) -> int:
    """Rounded up: who comes back after this long is not too early."""
    return max(1, math.ceil(span.total_seconds()))


async def on_problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)
    if exc.kind is Kind.INTERNAL:
        return on_fault(request, exc)
    state: State = request.app.state.relay
    state.metrics.refused.labels("http", exc.kind.slug).inc()
    log.event("http.refused", reason=exc.kind.slug, path=route_of(request), request_id=request.state.request_id)
    return refusal(request, exc)


async def on_http(request: Request, exc: Exception) -> Response:
    """What Starlette itself refuses: there is no such path, or not with this method."""
    assert isinstance(exc, HTTPException)
    answer = refusal(request, Problem(KINDS.get(exc.status_code, Kind.BAD_REQUEST)))
    for name, value in (exc.headers or {}).items():
        answer.headers[name] = value
    return answer


def on_fault(request: Request, exc: Exception) -> Response:
    """Ours: loud to the operator, and nothing of the exception to the client but a reference."""
    state: State = request.app.state.relay
    request_id = request.state.request_id
    log.trouble("http.fault", exc, path=route_of(request), request_id=request_id)
    state.metrics.refused.labels("http", Kind.INTERNAL.slug).inc()
    return refusal(request, Problem(Kind.INTERNAL, f"{Kind.INTERNAL.title} (reference {request_id})"))


def route_of(request: Request) -> str:
    """The path as the table of routes has it: the names in a path may be addresses, or keys that were put there."""
    endpoint = request.scope.get("endpoint")
    routes = [each for each in request.app.routes if isinstance(each, Route)]
    return next((each.path for each in routes if each.endpoint is endpoint), "-")
