"""The least an HTTP acceptor can be: Starlette parses the same JSON and answers 202. A process of its own.

It is served by Relay's own `HttpServer`, so that uvicorn's settings are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.peers.target import Target
from bench.processes import START_WITHIN, free_port, listens, python, started, wait_for
from relay.http.server import HttpServer
from relay.values import Endpoint


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Target]:
    port = free_port()
    with started(python("bench.peers.starlette_bare", port), folder / "log") as process:
        wait_for("Starlette listens", lambda: listens(port), START_WITHIN, process)
        yield Target(http_port=port, pid=process.pid)


async def send(request: Request) -> Response:
    body = json.loads(await request.body())
    return JSONResponse({"from": body["from"], "to": body["to"], "subject": body["subject"]}, 202)


async def serve(port: int) -> None:
    app = Starlette(routes=[Route("/api/v1/emails", send, methods=["POST"])])
    await HttpServer(app, Endpoint("127.0.0.1", port), None).open()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
