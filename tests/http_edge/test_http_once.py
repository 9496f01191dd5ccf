"""One `Idempotency-Key`, one message: whoever asks at the same time, later, after a restart, or after a kill."""

from __future__ import annotations

import http.client
import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.dns_server import SILENT, DnsServer
from tests.faults import killed
from tests.processes import Relay, Sandbox, wait_until
from tests.support import Answer, World, wait_for

PATH = "/api/v1/emails"
CROWD = 50
TO = "silent.test"  # whose DNS says nothing for two seconds, and then it is taken


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        DnsServer({TO: SILENT}) as dns,
        World(
            tmp_path_factory.mktemp("once"),
            mx={"policy": "warn", "on_trouble": "accept"},
            dns={"nameservers": [dns.nameserver]},
        ) as world,
    ):
        world.dns = dns
        yield world


def email(to: str, **members: Any) -> dict[str, Any]:
    return {"from": "news@byoc.example", "to": to, "subject": "Hi", "text": "Hi", **members}


def send(world: World, body: Any, key: str, **headers: str) -> Answer:
    return world.call("POST", PATH, body, Idempotency_Key=key, **headers)


def arrivals(world: World, to: str) -> int:
    return sum(to in message["recipients"] for message in world.messages())


def after_all(world: World, to: str) -> None:
    """Something sent later has arrived, so what was to be sent before has, too."""
    assert world.call("POST", PATH, email(to)).status == 202
    world.sent_to(to)


def test_fifty_at_once_are_one_message(world: World) -> None:
    with ThreadPoolExecutor(CROWD) as crowd:
        answers = list(crowd.map(lambda _: send(world, email("crowd@one.test"), "crowd"), range(CROWD)))
    statuses = Counter(answer.status for answer in answers)
    assert statuses[202] >= 1
    assert statuses[202] + statuses[409] == CROWD
    assert len({answer.json["id"] for answer in answers if answer.status == 202}) == 1
    for busy in (answer for answer in answers if answer.status == 409):
        assert (busy.json["reason"], busy.json["retryable"]) == ("idempotency_busy", True)
        assert int(busy.headers["retry-after"]) > 0
    again = send(world, email("crowd@one.test"), "crowd")
    assert again.json == next(answer.json for answer in answers if answer.status == 202)
    after_all(world, "after-crowd@one.test")
    assert arrivals(world, "crowd@one.test") == 1


def test_the_first_is_in_hand_while_it_is_checked(world: World) -> None:
    with ThreadPoolExecutor(1) as first:
        answer = first.submit(send, world, email(f"ana@{TO}"), "in-hand")
        wait_for(lambda: world.dns.asked[TO, "MX"])
        busy = send(world, email(f"ana@{TO}"), "in-hand")
        assert (busy.status, busy.json["reason"]) == (409, "idempotency_busy")
        assert send(world, email("bo@one.test"), "another").status == 202
        assert answer.result().status == 202
    assert send(world, email(f"ana@{TO}"), "in-hand").json == answer.result().json


def test_another_body_is_a_conflict(world: World) -> None:
    first = send(world, email("clash@one.test"), "clash")
    for other in (email("clash@one.test", text="Ho"), email("clash@one.test") | {"more": 1}):
        clash = send(world, other, "clash")
        assert (clash.status, clash.json["error"], clash.json["reason"]) == (
            409, "idempotency_conflict", "idempotency_conflict",
        )  # fmt: skip
        assert clash.json["retryable"] is False
    again = send(world, email("clash@one.test"), "clash")
    assert (again.status, again.json) == (first.status, first.json)
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert arrivals(world, "clash@one.test") <= 1


def test_a_refusal_frees_the_key(world: World) -> None:
    assert send(world, email("nobody"), "free").status == 400
    assert send(world, email("free@one.test", **{"from": "x@nobody.example"}), "free").status == 422
    assert send(world, email("free@one.test", dry_run=True), "free").status == 200
    assert send(world, email("free@one.test"), "free").status == 202


def test_keys_are_of_a_route(world: World) -> None:
    one = send(world, email("route@one.test"), "route")
    many = world.call("POST", f"{PATH}/batch", {"emails": [email("route2@one.test")]}, Idempotency_Key="route")
    mounted = world.call("POST", f"/sendex{PATH}", email("route@one.test"), Idempotency_Key="route")
    assert (one.status, many.status, mounted.status) == (202, 202, 202)
    assert mounted.json == one.json
    assert many.json["data"][0]["id"] != one.json["id"]


@pytest.mark.parametrize("key", ["", "k" * 256, "ü", "a\tb"])
def test_keys_that_are_none(world: World, key: str) -> None:
    answer = send(world, email("none@one.test"), key)
    assert (answer.status, answer.json["error"]) == (400, "bad_request")


def test_the_longest_key(world: World) -> None:
    assert send(world, email("long@one.test"), "k" * 255).status == 202


# -- across the end of a process -------------------------------------------------------------------------------------


def ask(relay: Relay, key: str, body: dict[str, Any]) -> tuple[int, Any]:
    """The status and what was said; 0 and None where the server went away."""
    connection = http.client.HTTPConnection("127.0.0.1", relay.http, timeout=15)
    try:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "once"}
        connection.request("POST", PATH, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


def asked_by_all(relay: Relay, key: str, body: dict[str, Any]) -> list[tuple[int, Any]]:
    with ThreadPoolExecutor(CROWD) as crowd:
        return list(crowd.map(lambda _: ask(relay, key, body), range(CROWD)))


def test_killed_between_accepting_and_answering(tmp_path: Path) -> None:
    """The crowd's first message is durable when the server dies, and nobody was told; they all ask again."""
    body = email("killed@one.test")
    with processes.sandbox() as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        key = relay.key()
        relay.limits = (sys.executable, str(killed.__file__))
        relay.start()
        # Some may have heard that the first is in hand.
        assert {status for status, _ in asked_by_all(relay, key, body)} <= {0, 409}
        assert relay.process is not None
        assert relay.process.wait(10) == -9
        relay.limits = ()
        relay.start()
        answers = asked_by_all(relay, key, body)
        told = [said for status, said in answers if status == 202]
        assert {status for status, _ in answers} <= {202, 409}
        assert told
        assert all(said == told[0] for said in told)
        wait_until(lambda: arrived(sandbox, "killed@one.test"), "the message")
        assert ask(relay, key, email("last@one.test"))[0] == 409
        assert relay.stop() == 0
        assert arrived(sandbox, "killed@one.test") == 1


def arrived(sandbox: Sandbox, to: str) -> int:
    return sum(to in message["recipients"] for message in sandbox.messages())
