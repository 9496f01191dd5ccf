"""The sandbox as a Starlette application: the AWS operations, what tests and drills ask it, a page for people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from email.utils import formatdate

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from relay.sandbox import page, ses, sns_subscriptions, sqs, sqs_queues
from relay.sandbox.accounts import Account
from relay.sandbox.cloud import Cloud
from relay.sandbox.faults import BadScript, read_refusal, read_script
from relay.sandbox.mailbox import Captured
from relay.sandbox.publishing import publish
from relay.sandbox.query import query_answer, query_refusal, read_form
from relay.sandbox.refusals import Refusal
from relay.sandbox.reports import read_report
from relay.sandbox.rest import OPERATIONS, Operation, Perform
from relay.sandbox.wire import Caller, caller_of, check_time, read_body, read_object

_CHUNK = 256 * 1024
_MOMENT = 0.001  # seconds: a script is over then, not about to be

Named = tuple[str, Perform]  # an operation and its name


def create_app(accounts: Sequence[Account], nameserver: str | None = None) -> Starlette:
    """The application; its `state.cloud` holds everything it knows. The parameters and errors are those of `Cloud`.

    The faults that close a connection need the server of `relay.sandbox.server`.
    """
    app = Starlette(
        routes=[
            *map(_ses_route, OPERATIONS),
            Route("/v2/email/{rest:path}", ses.unknown, methods=["GET", "POST", "PUT", "DELETE"]),
            Route("/", other_operation, methods=["POST"]),
            Route("/events", show_lost, methods=["GET"]),
            Route("/events", add_event, methods=["POST"]),
            Route("/SimpleNotificationService-{rest}.pem", show_certificate, methods=["GET"]),
            Route("/messages", list_messages, methods=["GET"]),
            Route("/messages", clear_messages, methods=["DELETE"]),
            Route("/faults", list_faults, methods=["GET"]),
            Route("/faults", add_fault, methods=["POST"]),
            Route("/faults", clear_faults, methods=["DELETE"]),
            Route("/healthz", healthz, methods=["GET"]),
            Route("/", show_list, methods=["GET"]),
            Route("/mail/{id}", show_mail, methods=["GET"]),
        ],
    )
    app.state.cloud = Cloud(accounts, nameserver)
    return app


def _ses_route(operation: Operation) -> Route:
    async def endpoint(request: Request) -> Response:
        return await _perform(request, lambda body: (operation.name, operation.perform), ses.ses_refusal)

    return Route(f"/v2/email{operation.path}", endpoint, methods=[operation.method])


async def other_operation(request: Request) -> Response:
    """SQS says in a header what is asked of it; SNS and STS in the body, and which of them it is in the signature."""
    target = request.headers.get("x-amz-target")
    if target is not None:
        return await _perform(request, lambda body: _of_sqs(target, body), sqs.sqs_refusal)
    service = "sts" if "/sts/aws4_request" in request.headers.get("authorization", "") else "sns"
    return await _perform(request, lambda body: _of_query(service, body), lambda each: query_refusal(service, each))


def _of_sqs(target: str, body: bytes) -> Named:
    service, _, name = target.partition(".")

    async def perform(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
        if service != "AmazonSQS" or name not in sqs_queues.OPERATIONS:
            raise Refusal("UnknownOperationException")
        return await sqs_queues.OPERATIONS[name](cloud, caller, request, read_object(body))

    return name, perform


def _of_query(service: str, body: bytes) -> Named:
    form = read_form(body)
    name = form.get("Action", "")
    known = sns_subscriptions.STS_OPERATIONS if service == "sts" else sns_subscriptions.OPERATIONS

    async def perform(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
        if name not in known:
            raise Refusal("InvalidAction", f"Could not find operation {name[:100]}")
        return query_answer(service, name, await known[name](cloud, caller, form))

    return name, perform


async def _perform(request: Request, read: Callable[[bytes], Named], refuse: Callable[[Refusal], Response]) -> Response:
    """One AWS call: its body, its caller, the fault it meets, its answer."""
    cloud = _cloud(request)
    clock: float | None = None
    try:
        body = await read_body(request)
        caller = caller_of(request, cloud.accounts)
        caller = replace(caller, account=cloud.faults.changed(caller.account))
        clock = caller.account.clock
        if clock is not None:
            check_time(request, clock)
        name, perform = read(body)
        fault = cloud.faults.take(caller.account.name, name)
        if fault is None:
            response = await perform(cloud, caller, request, body)
        else:
            response = await fault(request, lambda: perform(cloud, caller, request, body))
    except Refusal as refusal:
        response = refuse(refusal)
    except ClientDisconnect:
        return Response()  # to nobody
    response.headers["date"] = formatdate(time.time() + (clock or 0.0), usegmt=True)
    return response


async def list_messages(request: Request) -> Response:
    captured = _cloud(request).mailbox.after(request.query_params.get("after", ""))
    return StreamingResponse(_as_array(captured), media_type="application/json")


async def _as_array(captured: list[Captured]) -> AsyncIterator[str]:
    """A JSON array in pieces: a gigabyte of mail never becomes one string."""
    pieces, size = ["["], 0
    for number, message in enumerate(captured):
        pieces.append(("," if number else "") + message.as_json())
        size += len(pieces[-1])
        if size >= _CHUNK:
            yield "".join(pieces)
            pieces, size = [], 0
            await asyncio.sleep(0)  # other callers get their turn
    yield "".join([*pieces, "]"])


async def clear_messages(request: Request) -> Response:
    _cloud(request).mailbox.clear()
    return Response(status_code=204)


async def list_faults(request: Request) -> Response:
    faults = _cloud(request).faults
    faults.forget_over()
    return JSONResponse([script.as_json() for script in faults.scripts])


async def add_fault(request: Request) -> Response:
    cloud = _cloud(request)
    try:
        body = await read_body(request)
        seconds = read_refusal(body)
        if seconds is not None:
            shut: Callable[[float], Awaitable[None]] = request.app.state.shut
            return JSONResponse({"fault": {"refuse": seconds}}, 201, background=BackgroundTask(shut, seconds))
        script = read_script(body, set(cloud.accounts))
    except BadScript as bad:
        return JSONResponse({"error": "bad_request", "faults": bad.faults}, 400)
    except Refusal as refusal:
        return ses.ses_refusal(refusal)
    except ClientDisconnect:
        return Response()  # to nobody
    cloud.faults.scripts.append(script)
    cloud.transit.release()  # what it ends may have withheld some
    if script.until is not None and script.travel:
        cloud.transit.release_in(script.until - time.monotonic() + _MOMENT)
    return JSONResponse(script.as_json(), 201)


async def clear_faults(request: Request) -> Response:
    cloud = _cloud(request)
    cloud.faults.scripts.clear()
    cloud.transit.release()
    return Response(status_code=204)


async def show_lost(request: Request) -> Response:
    return JSONResponse({"lost": dict(_cloud(request).office.lost)})


async def add_event(request: Request) -> Response:
    cloud = _cloud(request)
    try:
        numbers = {name: account.number for name, account in cloud.accounts.items()}
        captured, set_name, event = read_report(await read_body(request), cloud.mailbox, numbers)
    except BadScript as bad:
        return JSONResponse({"error": "bad_request", "faults": bad.faults}, 400)
    except Refusal as refusal:
        return ses.ses_refusal(refusal)
    except ClientDisconnect:
        return Response()  # to nobody
    publish(cloud, cloud.region_of(captured.account, captured.region), set_name, [event])
    return Response(event.message, 201, media_type="application/json")


async def show_certificate(request: Request) -> Response:
    signer = _cloud(request).office.signer
    if request.url.path != f"/{signer.file_name}":
        return Response(status_code=404)
    return Response(signer.certificate, media_type="application/x-pem-file")


async def healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def show_list(request: Request) -> Response:
    return page.show_list(_cloud(request).mailbox, request.query_params.get("before", ""))


async def show_mail(request: Request) -> Response:
    return page.show_mail(_cloud(request).mailbox.find(request.path_params["id"]))


def _cloud(request: Request) -> Cloud:
    cloud: Cloud = request.app.state.cloud
    return cloud
