"""A queue in SQS's place, over a real socket: it does as SQS where a test does not say otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from relay.ses.access import Access, StaticKeys
from relay.ses.clients import Accounts
from relay.ses.remedies import Place
from relay.ses.sqs import EventQueue

NAME = "relay-events"
DENIED = (
    "AccessDenied",
    "User: arn:aws:iam::1:user/relay is not authorized to perform: sqs:receivemessage on resource: "
    "arn:aws:sqs:eu-west-1:1:relay-events because no identity-based policy allows the sqs:ReceiveMessage action",
)
MISSING = ("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")


@dataclass
class Stand:
    """`refused`: what an operation is answered instead, a code and a text; `kept`: with what no entry is deleted."""

    bodies: deque[str] = field(default_factory=deque)
    in_flight: dict[str, str] = field(default_factory=dict)  # by receipt
    deleted: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    kept: str = ""
    dead: int = 2
    waits: list[int] = field(default_factory=list)  # of each receive, in seconds
    most_at_once: int = 0
    port: int = 0
    _receiving: int = 0
    _numbers: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, *bodies: str) -> None:
        self.bodies.extend(bodies)
        self._arrived.set()

    def show_again(self) -> None:
        """As if the time for which they are invisible had passed."""
        self.put(*self.in_flight.values())
        self.in_flight.clear()

    async def answer(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        parameters = await request.json()
        self.calls[operation] += 1
        if operation in self.refused:
            code, text = self.refused[operation]
            return web.json_response({"__type": code, "message": text}, status=400)
        found: dict[str, Any] = await getattr(self, operation)(parameters)
        return web.json_response(found)

    async def GetQueueUrl(self, parameters: Any) -> Any:
        return {"QueueUrl": f"{self.url}/1/{parameters['QueueName']}"}

    async def GetQueueAttributes(self, parameters: Any) -> Any:
        if parameters["QueueUrl"].endswith("-dead"):
            return {"Attributes": {"ApproximateNumberOfMessages": str(self.dead)}}
        policy = json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:eu-west-1:1:{NAME}-dead", "maxReceiveCount": "5"})
        return {"Attributes": {"ApproximateNumberOfMessages": str(len(self.bodies)), "RedrivePolicy": policy}}

    async def ReceiveMessage(self, parameters: Any) -> Any:
        self.waits.append(parameters["WaitTimeSeconds"])
        self._receiving += 1
        self.most_at_once = max(self.most_at_once, self._receiving)
        try:
            await asyncio.sleep(0.002)  # a network
            if not self.bodies:
                self._arrived.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(parameters["WaitTimeSeconds"]):
                        await self._arrived.wait()
            return {"Messages": [self._hand_out() for _ in range(min(10, len(self.bodies)))]}
        finally:
            self._receiving -= 1

    def _hand_out(self) -> Any:
        self._numbers += 1
        body, receipt = self.bodies.popleft(), str(self._numbers)
        self.in_flight[receipt] = body
        return {
            "MessageId": hashlib.sha256(body.encode()).hexdigest()[:12],
            "ReceiptHandle": receipt,
            "Body": body,
            "MD5OfBody": hashlib.md5(body.encode()).hexdigest(),
            "Attributes": {"SentTimestamp": str(int(time.time() * 1000) - 30_000)},
        }

    async def DeleteMessageBatch(self, parameters: Any) -> Any:
        ids = [entry["Id"] for entry in parameters["Entries"]]
        assert 1 <= len(ids) == len({*ids}) <= 10
        if self.kept:
            return {"Successful": [], "Failed": [{"Id": each, "Code": self.kept, "SenderFault": True} for each in ids]}
        for entry in parameters["Entries"]:
            if (body := self.in_flight.pop(entry["ReceiptHandle"], None)) is not None:
                self.deleted.append(body)
        return {"Successful": [{"Id": each} for each in ids], "Failed": []}


@contextlib.asynccontextmanager
async def standing() -> AsyncIterator[Stand]:
    stand = Stand()
    app = web.Application(client_max_size=1 << 22)
    app.router.add_post("/{path:.*}", stand.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    stand.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield stand
    finally:
        await runner.cleanup()


def access(url: str, name: str = "acme") -> Access:
    return Access(name, "eu-west-1", StaticKeys("AKIDEXAMPLE", "s"), url, events_url=url)


def queue_of(accounts: Accounts, url: str) -> EventQueue:
    return EventQueue(accounts.beside("sqs", access(url)), Place("acme", "eu-west-1"), NAME)
