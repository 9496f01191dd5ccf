"""Plays a story against a running sandbox: real sockets, real AWS clients."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from relay.sandbox.accounts import Account
from relay.sandbox.queues import Queue
from relay.sandbox.server import Running, running

ACCOUNTS = (
    Account("operator", ("shared.example", "boss@person.example"), daily_quota=10_000_000),
    Account("customer", ("byoc.example",)),
    Account("newcomer", ("shared.example",), daily_quota=200, production=False),
    Account("slowpoke", ("shared.example",), rate=1, daily_quota=-1),
    Account("rationed", ("shared.example",), daily_quota=3),
)
RAW = b"From: Shop <hello@shared.example>\r\nTo: Ann <ann@one.test>\r\nSubject: Hello\r\n\r\nHi.\r\n"
_SESSION = get_session()  # loading its models takes longer than all stories together


class World:
    """A sandbox and what talks to it."""

    def __init__(self, sandbox: Running, stack: contextlib.AsyncExitStack, http: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.url = sandbox.url
        self.http = http
        self._stack = stack

    async def client(
        self,
        service: str,
        account: str = "operator",
        region: str = "eu-west-1",
        token: str | None = None,
        **options: Any,
    ) -> Any:
        config = AioConfig(retries={"total_max_attempts": 1, "mode": "standard"}, **options)
        context = _SESSION.create_client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=account,
            aws_secret_access_key="any",
            aws_session_token=token,
            config=config,
        )
        return await self._stack.enter_async_context(context)

    async def send(self, raw: bytes = RAW, account: str = "operator", to: str | None = "x@d.test", **more: Any) -> str:
        ses = await self.client("sesv2", account)
        destination = {} if to is None else {"Destination": {"ToAddresses": to.split()}}
        answer = await ses.send_email(Content={"Raw": {"Data": raw}}, **destination, **more)
        return str(answer["MessageId"])

    def queue(self, account: str = "operator", region: str = "eu-west-1", name: str = "relay-events") -> Queue:
        held: Queue = self.sandbox.state.region_of(account, region).queues.find(name).queue
        return held

    async def messages(self, **query: str) -> list[dict[str, Any]]:
        async with self.http.get(f"{self.url}/messages", params=query) as response:
            assert response.headers["content-type"] == "application/json"
            return list(await response.json())

    async def script(self, **script: Any) -> None:
        async with self.http.post(f"{self.url}/faults", json=script) as response:
            assert response.status == 201, await response.text()


Story = Callable[[World], Awaitable[None]]


@pytest.fixture
def play() -> Callable[..., None]:
    """Run a story; the sandbox lives as long as it."""

    async def whole(story: Story, accounts: Sequence[Account], nameserver: str | None) -> None:
        async with (
            running(accounts, nameserver=nameserver) as sandbox,
            contextlib.AsyncExitStack() as stack,
            aiohttp.ClientSession() as http,
        ):
            await story(World(sandbox, stack, http))

    return lambda story, accounts=ACCOUNTS, nameserver=None: asyncio.run(whole(story, accounts, nameserver))


@pytest.fixture
def raw() -> bytes:
    return RAW
