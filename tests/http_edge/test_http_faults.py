"""What hostile or unlucky requests once did: each stays as it was mended."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from relay import core
from relay.cli.starting import create_key
from relay.declared import Permission
from relay.errors import Kind, Problem
from relay.http.calling import call
from relay.http.requests import MOST_MARKS, read_json, weight_of
from relay.management import declaring
from relay.routing.limits import LARGE
from relay.store.beside import with_database
from relay.store.database import migrate_postgresql
from relay.store.directory import snapshot
from tests import databases
from tests.dns_server import SILENT, DnsServer, records
from tests.support import Answer, World, relay_settings, wait_for

PATH = "/api/v1/emails"
MB = 1 << 20
MASTER = base64.b64encode(bytes(32)).decode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    domains = {"byoc.example": {"mode": "byoc", "account": "customer", "default_sender": "desk@byoc.example"}}
    with World(tmp_path_factory.mktemp("faults"), domains=domains) as world:
        yield world


def email(to: str, **members: Any) -> dict[str, Any]:
    return {"from": "news@byoc.example", "to": to, "subject": "Hi", "text": "Hi", **members}


# -- JSON of many values: memory and time are of their number, not of the octets they came in ---------------------------

BOMBS = {
    "lists": b'{"to":[' + b"[]," * (2 * MB) + b"1]}",
    "objects": b'{"to":[' + b"{}," * (2 * MB) + b"1]}",
    "numbers": b'{"to":[' + b"1," * (3 * MB) + b"1]}",
    "strings": b'{"to":[' + b'"",' * (2 * MB) + b'""]}',
    "members": b"{" + b",".join(b'"%d":1' % n for n in range(500_000)) + b"}",
    "no JSON": b'{"to":[,' + b'""' * (3 * MB),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_body_of_too_many_values_is_not_made_into_objects(bomb: str) -> None:
    body = BOMBS[bomb]
    tracemalloc.start()
    try:
        with pytest.raises(Problem) as caught:
            read_json(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.kind is Kind.BAD_REQUEST
    assert most < len(body) + MB  # itself as text


def test_as_many_values_as_a_batch_may_have() -> None:
    people = [{"email": f"a{n}@one.test", "name": "Ana"} for n in range(50)]
    letter = email("") | {"to": people, "metadata": {str(n): "x" for n in range(50)}, "headers": {"X-A": "b"}}
    assert len(read_json(json.dumps({"emails": [letter] * 100}).encode())["emails"]) == 100
    assert read_json(json.dumps({"text": 'a, "b", [c] {' * 200_000}).encode())
    assert read_json(b'{"to":[' + b"1," * (MOST_MARKS - 10) + b"1]}")


def test_many_values_in_few_octets_are_not_read_on_the_loop() -> None:
    assert weight_of(json.dumps(email("a@one.test", html="<p>one, two, three</p>" * 300)).encode()) < LARGE
    assert weight_of(json.dumps({"to": ["a@one.test"] * 15_000}).encode()) > LARGE
    assert weight_of(b"[]," * 80_000) > LARGE


# -- a batch of large messages: the event loop goes round between them --------------------------------------------------


class Turns:
    """How often the loop went round while the context was open."""

    def __init__(self) -> None:
        self.count = 0

    async def __aenter__(self) -> Turns:
        self._task = asyncio.create_task(self._look())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.count += 1


@pytest.mark.parametrize(
    "letters",
    [
        [email(f"a{n}@one.test", text="Grüße aus Wörgl. \n" * 12_000) for n in range(100)],
        [email([f"a{n}-{m}@one.test" for m in range(50)]) for n in range(100)],
        [email(f"a{n}@one.test", text="Hi\n" * 500, html="<p>Hi</p>\n" * 150) for n in range(100)],
    ],
    ids=["large", "many recipients", "common"],
)
def test_a_batch_does_not_hold_up_others(tmp_path: Path, letters: list[Any]) -> None:
    settings = relay_settings(tmp_path, "http://127.0.0.1:9")
    key = create_key(tmp_path / "config.yaml", "test", Permission.FULL)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    body = json.dumps({"emails": letters}).encode()

    async def story() -> int:
        async with core.accepting(settings) as state, Turns() as turns:
            status, said = await call(state, f"{PATH}/batch", (), headers, body)
            assert (status, json.loads(said)["accepted"]) == (202, 100)
        return turns.count

    assert asyncio.run(story()) >= 2 * len(letters)  # after each is composed, and after each is sealed


# -- answered before, and asked again after the directory has changed ----------------------------------------------------


def test_who_asks_again_is_answered_as_before_though_nobody_says_any_longer_whom_it_is_from(world: World) -> None:
    one, many = email("again@one.test"), email("again2@one.test")
    del one["from"], many["from"]

    def asked() -> tuple[Answer, Answer]:
        return (
            world.call("POST", PATH, one, Idempotency_Key="again"),
            world.call("POST", f"{PATH}/batch", {"emails": [many]}, Idempotency_Key="again"),
        )

    first = asked()
    assert [answer.status for answer in first] == [202, 202]
    settings = relay_settings(world.folder, world.sandbox_url)  # without one
    with_database(settings, lambda db, sealer: declaring.apply(db, sealer, settings))
    wait_for(lambda: world.call("POST", PATH, one).status == 400)
    again = asked()
    assert [answer.status for answer in again] == [202, 202]
    assert [answer.json["id"] for answer in (again[0], first[0])] == [first[0].json["id"]] * 2
    assert again[1].json["data"][0]["id"] == first[1].json["data"][0]["id"]
    assert world.call("POST", PATH, email("other@one.test"), Idempotency_Key="again").status == 409
    assert world.call("POST", PATH, {"to": "x"}, Idempotency_Key="unread").status == 400
    assert world.call("POST", PATH, email("unread@one.test"), Idempotency_Key="unread").status == 202


def test_of_two_processes_both_say_what_the_first_one_did(tmp_path: Path) -> None:
    """The second finds fault with a recipient, which the first did not, and then that the first has sent it."""
    url = databases.postgresql()
    asyncio.run(migrate_postgresql(url))
    letters = [email("ana@none.test"), email("bo@slow.test")]
    body = json.dumps({"emails": letters}).encode()

    async def story(dns: DnsServer) -> list[Any]:
        both: list[Any] = []
        async with AsyncExitStack() as stack:
            states = []
            for policy in ("off", "enforce"):
                (tmp_path / policy).mkdir()
                settings = relay_settings(
                    tmp_path / policy,
                    "http://127.0.0.1:9",
                    database=databases.setting(url),
                    master_key=MASTER,
                    mx={"policy": policy, "on_trouble": "accept"},
                    dns={"nameservers": [dns.nameserver]},
                )
                states.append(await stack.enter_async_context(core.accepting(settings)))
            key = await asyncio.to_thread(create_key, tmp_path / "off" / "config.yaml", "test", Permission.FULL)
            for state in states:
                state.intake.senders.replace(await state.store.read_whole(snapshot.read))
            headers = {
                "Content-Type": "application/json",
                "Authorization": f"Bearer {key}",
                "Idempotency-Key": "both",
            }
            hasty, careful = states
            later = asyncio.create_task(call(careful, f"{PATH}/batch", (), headers, body))
            while not dns.asked["slow.test", "MX"]:
                await asyncio.sleep(0.01)
            both.append(await call(hasty, f"{PATH}/batch", (), headers, body))
            assert not later.done()
            both.append(await later)
        return both

    with DnsServer({"slow.test": SILENT, "none.test": records("MX 0 .")}) as dns:
        first, second = asyncio.run(story(dns))
    assert (first[0], json.loads(first[1])["accepted"]) == (202, 2)
    assert second[0] == 202
    assert json.loads(second[1]) == json.loads(first[1])


# -- memory: what the budget counts is what there is ---------------------------------------------------------------------

FILE = base64.b64encode(bytes(range(256)) * (24 << 10)).decode()  # of 6 MB


def test_a_message_takes_as_much_memory_as_is_counted(tmp_path: Path) -> None:
    letter = email("ana@one.test", attachments=[{"filename": "a.bin", "content": FILE}])
    body = json.dumps({"emails": [letter, letter]}).encode()
    settings = relay_settings(tmp_path, "http://127.0.0.1:9")
    key = create_key(tmp_path / "config.yaml", "test", Permission.FULL)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}

    async def story() -> int:
        async with core.accepting(settings) as state:
            tracemalloc.start()
            try:
                before, _ = tracemalloc.get_traced_memory()
                status, _ = await call(state, f"{PATH}/batch", (), headers, body)
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert status == 202
        return most - before

    assert asyncio.run(story()) < 3 * len(body) + 8 * MB  # the application itself is made here, too
