"""The HTTP routes in order: those of sending first, for they are asked the most."""

from __future__ import annotations

from ipaddress import ip_address

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.declared import Permission
from relay.errors import Kind, Problem
from relay.http import management
from relay.http.conventions import Conventions
from relay.http.emails import sending, showing
from relay.http.refusals import on_http, on_problem
from relay.http.state import State
from relay.http.table import Endpoint, routes_of


def create_app(state: State) -> Starlette:
    """The whole edge, over the core in `state`."""
    app = Starlette(
        routes=routes_of(
            [
                *sending.endpoints,
                Endpoint("GET", "/api/v1/emails/{id}", showing.retrieve),
                *management.endpoints,
                Endpoint("GET", "/healthz", _healthz),
                Endpoint("GET", "/readyz", _readyz),
                Endpoint("GET", "/metrics", _metrics),
            ]
        ),
        exception_handlers={Problem: on_problem, HTTPException: on_http},
    )
    # A redirect would go to whatever host the client named, and lose the body on the way.
    app.router.redirect_slashes = False
    app.state.relay = state
    app.add_middleware(Conventions, state=state)
    return app


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
