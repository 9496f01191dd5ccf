"""The directory changes while deliveries are under way: nothing is lost, and nothing leaves by the wrong way."""

from __future__ import annotations

import asyncio
import json
import smtplib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from relay.app import Server, running
from relay.declared import AccountFields, Credentials, DomainChange
from relay.sandbox.accounts import Account
from relay.sandbox.faults import read_script
from relay.sandbox.server import Running
from relay.sandbox.server import running as running_sandbox
from relay.store import searching
from relay.store.directory import accounts, domains, tenants
from relay.store.directory.audit import FILE, Actor
from relay.store.listing import MessageView
from relay.store.searching import Wanted
from tests.support import relay_settings

NAME = "moving.example"
OPERATOR = Actor("operator", is_operator=True)
MAIL = f"From: me@{NAME}\r\nSubject: s\r\n\r\nx\r\n"


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[tuple[Running, Server]]:
    """A domain that sends through `customer`, and an account `other` that has its identity, too."""
    names = ("customer", "operator", "other")
    known = [Account(name, (NAME,), daily_quota=-1) for name in names]
    async with running_sandbox(known) as ses:
        settings = relay_settings(folder, ses.url, domains={NAME: {"mode": "byoc", "account": "customer"}})
        async with running(settings) as server:
            store = server._core.store
            keys = Credentials.model_validate({"access_key_id": "other", "secret_access_key": "any"})
            fields = AccountFields(region="eu-west-1", credentials=keys, endpoint_url=ses.url, rate=900)
            await store.change(lambda db: accounts.add(db, store.sealer, OPERATOR, "other", fields))
            await server.reload()
            yield ses, server


def script(ses: Running, fault: object, account: str = "customer") -> None:
    body = json.dumps({"account": account, "fault": fault}).encode()
    ses.state.faults.scripts.append(read_script(body, {"customer", "operator", "other"}))


def post(server: Server) -> None:
    with smtplib.SMTP("127.0.0.1", server.smtp_ports[2]) as smtp:
        smtp.sendmail(f"me@{NAME}", ["ana@dest.example"], MAIL)


async def message(server: Server) -> MessageView | None:
    found = await server._core.store.read(lambda db: searching.newest(db, Wanted(domain=NAME), 1))
    return found[0] if found else None


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.01)


async def becomes(server: Server, *states: str) -> MessageView:
    async with asyncio.timeout(10):
        while (found := await message(server)) is None or found.state not in states:
            await asyncio.sleep(0.02)
    return found


async def move(server: Server, account: str) -> None:
    fields = DomainChange(account=account)
    await server._core.store.change(lambda db: domains.change(db, FILE, NAME, fields))
    await server.reload()


def test_what_waits_again_after_a_move_leaves_by_the_new_way(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (ses, server):
            for _ in range(2):  # the call is made again a second later, and then it is queued
                script(ses, {"error": "TooManyRequestsException"})
            await asyncio.to_thread(post, server)
            await until(lambda: len(ses.state.faults.scripts) < 2)
            await move(server, "other")
            found = await becomes(server, "sent", "failed")
            [delivery] = found.deliveries
            assert (found.state, delivery.account, delivery.failures) == ("sent", "other", 0)

    asyncio.run(story())


def blocking(seconds: float) -> Callable[[object], None]:
    return lambda _db: time.sleep(seconds)


def test_a_move_while_a_message_is_being_written_loses_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (_, server):
            store = server._core.store
            fields = DomainChange(account="other")
            await store.change(lambda db: domains.change(db, FILE, NAME, fields))
            writer = asyncio.create_task(store.change(blocking(0.7)))
            sending = asyncio.create_task(asyncio.to_thread(post, server))
            await asyncio.sleep(0.3)  # its attempt is reserved, and its commit waits for the writer
            await server.reload()
            await asyncio.gather(writer, sending)
            found = await becomes(server, "sent", "failed")
            assert (found.state, found.deliveries[0].account) == ("sent", "other")

    asyncio.run(story())


def test_what_is_suspended_while_a_message_is_being_written_holds_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (ses, server):
            store = server._core.store
            await store.change(lambda db: tenants.suspend(db, OPERATOR, "default", "a look"))
            writer = asyncio.create_task(store.change(blocking(0.7)))
            sending = asyncio.create_task(asyncio.to_thread(post, server))
            await asyncio.sleep(0.3)
            await server.reload()
            refused, _ = await asyncio.gather(sending, writer, return_exceptions=True)
            if refused is not None:  # the server looked again before the mail came
                return
            found = await becomes(server, "queued", "sent")
            assert (found.state, found.deliveries[0].failures) == ("queued", 0)
            assert not ses.state.mailbox.after("")
            await store.change(lambda db: tenants.resume(db, OPERATOR, "default"))
            await server.reload()
            assert (await becomes(server, "sent")).state == "sent"

    asyncio.run(story())


def test_an_account_that_goes_keeps_nobody_waiting_and_its_last_call_is_settled(tmp_path: Path) -> None:
    async def story() -> None:
        async with scene(tmp_path) as (ses, server):
            store = server._core.store
            script(ses, {"slow": 3}, "other")
            await move(server, "other")
            await asyncio.to_thread(post, server)
            await until(lambda: bool(ses.state.mailbox.after("")))
            await move(server, "customer")
            await store.change(lambda db: accounts.remove(db, OPERATOR, "other"))
            started = time.monotonic()
            await server.reload()
            assert time.monotonic() - started < 2
            found = await becomes(server, "sent", "unknown", "queued", "failed")
            assert (found.state, found.destroyed_at is None) == ("sent", False)

    asyncio.run(story())
