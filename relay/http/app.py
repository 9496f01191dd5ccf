"""The HTTP routes, and how every answer and refusal looks."""

from __future__ import annotations

import math
import re
import secrets
from datetime import timedelta
from ipaddress import ip_address

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from relay import log
from relay.declared import Permission
from relay.errors import Kind, Problem
from relay.http import emails, management
from relay.http.state import State
from relay.routing.rates import headers as rate_headers

API = "/api/"  # below it every answer says how many requests are left
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def create_app(state: State) -> Starlette:
    """The whole edge, over the core in `state`."""
    app = Starlette(
        routes=[
            Route("/api/v1/emails", emails.send, methods=["POST"]),
            Route("/api/v1/emails/{id}", emails.retrieve, methods=["GET"]),
            *management.routes,
            Route("/healthz", _healthz, methods=["GET"]),
            Route("/readyz", _readyz, methods=["GET"]),
            Route("/metrics", _metrics, methods=["GET"]),
        ],
        exception_handlers={Problem: _on_problem, HTTPException: _on_http},
    )
    app.state.relay = state
    app.add_middleware(_Conventions)
    return app


class _Conventions:
    """What holds for every answer, even to a fault of ours: a request id, and that nothing is stored on the way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id

        is_answered = False

        async def send_with_headers(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers.setdefault("cache-control", "no-store")
                headers.setdefault("x-content-type-options", "nosniff")
                if scope["path"].startswith(API):
                    allowed = scope["state"].get("allowed") or _state(scope).stranger(Request(scope))
                    headers.update(rate_headers(allowed))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as exc:  # not a handler of Starlette's: it would be called outside of here
            if is_answered:
                raise
            await _on_fault(Request(scope), exc)(scope, receive, send_with_headers)


def _state(scope: Scope) -> State:
    state: State = scope["app"].state.relay
    return state


def refusal(problem: Problem, request_id: str) -> Response:
    """A row of the table of troubles as the native error."""
    kind = problem.kind
    body = {"error": kind.error, "reason": kind.slug, "message": problem.detail, "request_id": request_id}
    if problem.faults:
        body["errors"] = [{"param": fault.path, "message": fault.message} for fault in problem.faults]  # type: ignore[assignment]
    headers: dict[str, str] = {}
    if problem.retry_after is not None or kind in {Kind.OVERLOADED, Kind.STORAGE_FULL, Kind.DNS_DOWN}:
        headers["retry-after"] = str(_seconds(problem.retry_after) if problem.retry_after else 10)
    if kind in {Kind.UNAUTHORIZED, Kind.NO_CREDENTIAL}:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(body, kind.http, headers)


def _seconds(span: timedelta) -> int:
    """Rounded up: who comes back after this long is not too early."""
    return max(1, math.ceil(span.total_seconds()))


async def _on_problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)
    if exc.kind is Kind.INTERNAL:
        return _on_fault(request, exc)
    state: State = request.app.state.relay
    state.metrics.refused.labels("http", exc.kind.slug).inc()
    log.event("http.refused", reason=exc.kind.slug, path=_route(request), request_id=request.state.request_id)
    answer = refusal(exc, request.state.request_id)
    if exc.kind is Kind.TOO_LARGE:
        answer.headers["connection"] = "close"  # the rest of the body is not read
    return answer


def _route(request: Request) -> str:
    """The path as the table of routes has it: the names in a path may be addresses, or keys that were put there."""
    endpoint = request.scope.get("endpoint")
    routes = [each for each in request.app.routes if isinstance(each, Route)]
    return next((each.path for each in routes if each.endpoint is endpoint), "-")


async def _on_http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    kinds = {Kind.NOT_FOUND.http: Kind.NOT_FOUND, Kind.METHOD_NOT_ALLOWED.http: Kind.METHOD_NOT_ALLOWED}
    answer = refusal(Problem(kinds.get(exc.status_code, Kind.BAD_REQUEST)), request.state.request_id)
    for name, value in (exc.headers or {}).items():
        answer.headers[name] = value
    return answer


def _on_fault(request: Request, exc: Exception) -> Response:
    """Ours: loud to the operator, and nothing of the exception to the client but a reference."""
    state: State = request.app.state.relay
    request_id = request.state.request_id
    log.trouble("http.fault", exc, path=_route(request), request_id=request_id)
    state.metrics.refused.labels("http", Kind.INTERNAL.slug).inc()
    return refusal(Problem(Kind.INTERNAL, f"{Kind.INTERNAL.title} (reference {request_id})"), request_id)


async def _healthz(_request: Request) -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


async def _readyz(request: Request) -> Response:
    """The process can take mail. Faults that do not stop it are listed, to this machine only: they name customers."""
    state: State = request.app.state.relay
    found = state.readiness()
    body: dict[str, object] = {"status": "ready" if found.is_ready else "not ready"}
    if _is_local(request):
        body["faults"] = found.faults
    return JSONResponse(body) if found.is_ready else JSONResponse(body, Kind.OVERLOADED.http)


def _is_local(request: Request) -> bool:
    return request.client is not None and ip_address(request.client.host).is_loopback


async def _metrics(request: Request) -> Response:
    state: State = request.app.state.relay
    if state.metrics_for == "none":
        raise Problem(Kind.NOT_FOUND)
    if state.metrics_for == "key":
        credential = state.authenticate(request)
        credential.require(Permission.ADMIN)
        if credential.scope is not None:  # they are about the whole installation
            raise Problem(Kind.FORBIDDEN, "this API key is for some domains only; the request is about more than those")
    elif not _is_local(request):
        raise Problem(Kind.FORBIDDEN, "metrics are served to this machine only")
    await state.measure()
    return Response(state.metrics.text(), media_type="text/plain; version=0.0.4")
