"""The HTTP routes in order: those of sending first, for they are asked the most."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from relay.declared import Permission
from relay.errors import Kind, Problem
from relay.http import management, openapi, ses_notifications
from relay.http.conventions import Conventions
from relay.http.dialects import mailerlogic_routes, mailerlogic_webhooks, sendfleet, sendmux, sendmux_me, sharing
from relay.http.dialects.native import NATIVE
from relay.http.emails import batch, sending, table
from relay.http.refusals import on_http, on_problem
from relay.http.state import State
from relay.http.table import About, Endpoint, routes_of


def create_app(state: State) -> Starlette:
    """The whole edge, over the core in `state`."""
    described = _endpoints()
    app = Starlette(
        routes=routes_of([*described, *openapi.endpoints_of(described)]),
        exception_handlers={Problem: on_problem, HTTPException: on_http},
    )
    # A redirect would go to whatever host the client named, and lose the body on the way.
    app.router.redirect_slashes = False
    app.state.relay = state
    app.add_middleware(Conventions, state=state)
    return app


class Health(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    """`faults`: what is not as it should be, by name; for this machine only."""

    status: Literal["ready", "not ready"]
    faults: dict[str, str] | None = None


HEALTH = About("Whether the process answers", NATIVE, Health, is_public=True)
READINESS = About(
    "Whether the server can take mail", NATIVE, Ready, is_public=True, failing=(HTTPStatus.SERVICE_UNAVAILABLE,)
)
METRICS = About(
    "Figures for Prometheus, for this machine or an admin key as `http.metrics` says",
    NATIVE,
    media_type="text/plain",
    refuses=(Kind.NOT_FOUND,),
)


def _endpoints() -> list[Endpoint]:
    return [
        *sending.endpoints,
        *batch.endpoints,
        *sendfleet.endpoints,
        *mailerlogic_routes.endpoints,
        *mailerlogic_webhooks.endpoints,
        *sharing.endpoints,
        *sendmux.endpoints,
        *sendmux_me.endpoints,
        *table.endpoints,
        *management.endpoints,
        *ses_notifications.endpoints,
        Endpoint("GET", "/healthz", _healthz, HEALTH),
        Endpoint("GET", "/readyz", _readyz, READINESS),
        Endpoint("GET", "/metrics", _metrics, METRICS),
    ]


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
    is_local: bool = request.state.is_local
    return is_local


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
