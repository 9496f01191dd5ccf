"""A relay that SNS posts to, over real sockets: nothing is sent, and nothing reaches the world outside."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from relay.core import Core, built, http_state
from relay.delivery import Settlement, State
from relay.feedback.hearing import Hearing
from relay.feedback.push import Push
from relay.feedback.sns.fetching import Fetcher
from relay.http.app import create_app
from relay.http.server import HttpServer
from relay.http.ses_notifications import PATH
from relay.http.state import Readiness
from relay.management.reaching import access_of
from relay.store.arriving import NewMessage
from relay.store.schema import metadata, recipients
from relay.store.settling import settle
from relay.store.writer import Rank
from relay.values import Endpoint
from tests.feedback import samples, sns
from tests.feedback.sns_server import Names, Sns, authority, serving
from tests.store.stories import message, put
from tests.support import PATIENCE, Answer, relay_settings

OPERATOR = "operator"  # an account at AWS
CUSTOMER = "customer"  # one of a tenant's, at a stand-in for AWS
ANA = "ana@dest.example"


@dataclass
class Posted:
    """`aws`: SNS at AWS, by `names`; `stand_in`: SNS of the other account."""

    core: Core
    push: Push
    port: int
    aws: Sns
    stand_in: Sns
    names: Names
    threads: ThreadPoolExecutor  # of its own: the relay needs the usual one

    async def post(self, members: sns.Members | bytes, header: dict[str, str] | None = None) -> Answer:
        """`header`: instead of that which goes with the members."""
        octets = members if isinstance(members, bytes) else json.dumps(members).encode()
        given = header if header is not None or isinstance(members, bytes) else sns.header(members)
        return await asyncio.get_running_loop().run_in_executor(self.threads, self._post, octets, given or {})

    def _post(self, octets: bytes, header: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("POST", PATH, octets, header)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    async def sent(self, account: str = OPERATOR, ses_message_id: str = "0102-a") -> NewMessage:
        """A message to Ana of the account's owner, that SES took."""
        snapshot = self.core.senders.snapshot
        tenant_id = snapshot.accounts[account].tenant_id or snapshot.default_tenant.id
        new = message(self.core.store, tenant_id, (ANA,), state=State.SENDING, account=account)
        await put(self.core.store, new)
        taken = Settlement(new.deliveries[0].id, 1, State.SENT, account, ses_message_id=ses_message_id)
        await self.core.store.write(settle, taken, Rank.SETTLE)
        return new

    async def bounced(self, account: str = OPERATOR, ses_message_id: str = "0102-a") -> samples.Event:
        """That a new message to Ana bounced."""
        new = await self.sent(account, ses_message_id)
        return samples.bounce(samples.mail(new.deliveries[0].id, (ANA,), ses_message_id=ses_message_id), ANA)

    async def states(self) -> list[str]:
        """Of every recipient there is."""
        return list(await self.core.store.read(lambda db: db.scalars(select(recipients.c.state)).all()))

    async def everything(self) -> dict[str, list[Any]]:
        """Every row there is."""

        def rows(db: Connection) -> dict[str, list[Any]]:
            return {table.name: [tuple(row) for row in db.execute(select(table))] for table in metadata.sorted_tables}

        return await self.core.store.read(rows)

    def counted(self) -> dict[str, float]:
        """Posts by what became of them."""
        [found] = self.core.metrics.sns_posts.collect()
        return {each.labels["outcome"]: each.value for each in found.samples if each.name.endswith("_total")}


def play(folder: Path, story: Callable[[Posted], Awaitable[None]], **overrides: Any) -> None:
    """`overrides`: of Push."""

    async def whole() -> None:
        async with posted(folder, **overrides) as scene:
            await story(scene)

    asyncio.run(whole())


@asynccontextmanager
async def posted(
    folder: Path, stand_in: str = "", topic: str = sns.OTHER_TOPIC, **overrides: Any
) -> AsyncIterator[Posted]:
    """`stand_in`: where the customer's account is, else at an SNS of the scene's; `topic`: that account's."""
    bundle, context = authority(folder)
    async with serving(context) as aws, serving() as other:
        names = Names(aws.port)
        settings = relay_settings(
            folder,
            "http://127.0.0.1:9",
            tenants={"acme": {}},
            ses_accounts=_accounts(bundle, stand_in or other.url, topic),
            domains={"byoc.example": {"mode": "byoc", "account": CUSTOMER, "tenant": "acme"}},
        )
        async with built(settings) as core:
            push = Push(
                core.store,
                core.accounts,
                Hearing(core.store, core.dispatcher, core.metrics),
                core.dispatcher.feedback,
                fetcher=Fetcher(names),
                **overrides,
            )
            snapshot = core.senders.snapshot
            push.replace(
                snapshot, {name: access_of(each, core.store.sealer) for name, each in snapshot.accounts.items()}
            )
            state = replace(http_state(settings, core, lambda: Readiness(is_ready=True, faults={})), push=push)
            server = HttpServer(create_app(state), Endpoint("127.0.0.1", 0), None)
            await server.open()
            try:
                with ThreadPoolExecutor(8) as threads:
                    yield Posted(core, push, server.port, aws, other, names, threads)
            finally:
                await server.close(timedelta(seconds=1))
                await push.close()


def _accounts(bundle: Path, stand_in: str, topic: str) -> dict[str, Any]:
    common = {
        "endpoint_url": "http://127.0.0.1:9",
        "credentials": {"access_key_id": CUSTOMER, "secret_access_key": "s" * 16},
    }
    at_aws = {"via": "sns", "topics": [sns.TOPIC], "endpoint_url": f"https://{sns.HOST}"}
    elsewhere = {"via": "sns", "topics": [topic], "endpoint_url": stand_in}
    return {
        OPERATOR: {**common, "region": "eu-west-1", "feedback": at_aws, "egress": {"ca_bundle": str(bundle)}},
        CUSTOMER: {**common, "region": "us-east-1", "tenant": "acme", "feedback": elsewhere},
    }


@contextmanager
def outside(patch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What of this process goes beyond this machine while it is open: addresses connected to, and names looked up."""
    found: list[object] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connecting(self: socket.socket, address: Any) -> None:
        if self.family is not socket.AF_UNIX and address[0] != "127.0.0.1":
            found.append(address)
        connect(self, address)

    def looking_up(host: Any, *more: Any, **others: Any) -> Any:
        if host != "127.0.0.1":
            found.append(host)
        return look_up(host, *more, **others)

    with patch.context() as patched:
        patched.setattr(socket.socket, "connect", connecting)
        patched.setattr(socket, "getaddrinfo", looking_up)
        yield found
