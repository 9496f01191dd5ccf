"""`POST /api/v1/emails/batch`: each message is judged alone, and told by its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from relay.errors import Kind, Problem
from relay.http.dialects.dialect import Asked
from relay.http.emails.batch import answered
from tests.support import Answer, World, wait_for

PATH = "/api/v1/emails/batch"
FROM = "news@byoc.example"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("batch")) as world:
        world.suppress("gone@one.test")
        wait_for(lambda: send(world, email("gone@one.test")).status == 422)
        yield world


def email(to: Any, **members: Any) -> dict[str, Any]:
    return {"from": FROM, "to": to, "subject": "Hi", "text": "Hi", **members}


def send(world: World, *emails: Any, **headers: str) -> Answer:
    return world.call("POST", PATH, {"emails": list(emails)}, **headers)


def test_each_is_judged_alone(world: World) -> None:
    answer = send(
        world,
        email("a1@one.test", tomorrow=1),
        email("gone@one.test"),
        email("nobody", subject="", cc=["x"]),
        "no object",
        email("a2@one.test", **{"from": "x@nobody.example"}),
        email(["a3@one.test", "a4@one.test"], subject="Three"),
        email("a5@one.test", dry_run=True),
    )
    assert answer.status == 202
    assert {name: answer.json[name] for name in ("accepted", "refused")} == {"accepted": 2, "refused": 5}
    items = answer.json["data"]
    assert [item["index"] for item in items] == list(range(7))
    assert ["error" in item for item in items] == [False, True, True, True, True, False, True]
    assert (items[0]["to"], items[0]["mode"]) == (["a1@one.test"], "byoc")
    assert items[0]["warnings"] == ["not known here, and ignored: tomorrow"]
    assert (items[5]["subject"], items[5]["to"]) == ("Three", ["a3@one.test", "a4@one.test"])
    assert items[5].keys() == world.call("POST", "/api/v1/emails", email("a6@one.test")).json.keys() | {"index"}
    assert [item["error"]["reason"] for item in items if "error" in item] == [
        "recipient_suppressed", "bad_request", "bad_request", "domain_not_registered", "bad_request",
    ]  # fmt: skip
    assert [fault["param"] for fault in items[2]["error"]["errors"]] == ["to.0", "cc.0", "subject"]
    assert items[6]["error"]["param"] == "dry_run"
    assert items[1]["error"].keys() == {"error", "reason", "message", "param", "errors", "retryable", "doc_url"}
    for to in ("a1@one.test", "a4@one.test", "a6@one.test"):
        world.sent_to(to)
    everyone = {to for message in world.messages() for to in message["recipients"]}
    assert not everyone & {"gone@one.test", "a2@one.test", "a5@one.test"}


@pytest.mark.parametrize(
    ("emails", "status", "reason"),
    [
        ([email("gone@one.test"), email("gone@one.test")], 422, "recipient_suppressed"),
        ([email("nobody"), {}], 400, "bad_request"),
        ([email("gone@one.test"), email("x@one.test", **{"from": "x@nobody.example"})], 400, "bad_request"),
    ],
)
def test_where_none_is_accepted_it_is_a_refusal(world: World, emails: list[Any], status: int, reason: str) -> None:
    answer = send(world, *emails)
    assert (answer.status, answer.json["reason"]) == (status, reason)
    assert answer.json["message"].startswith("none of the 2 messages was accepted; the first: ")
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert [item["index"] for item in answer.json["data"] if item["error"]] == [0, 1]
    assert (answer.json["accepted"], answer.json["refused"]) == (0, 2)


def test_what_may_succeed_later_says_when() -> None:
    outcomes = [Problem(Kind.DNS_DOWN, retry_after=timedelta(seconds=each)) for each in (3, 61, 5)]
    answer = answered(outcomes, outcomes, Asked("r", "https://relay.test"))
    said = json.loads(answer.body)
    assert (answer.status_code, answer.headers["retry-after"], said["retryable"]) == (503, "61", True)
    assert said["doc_url"] == said["data"][0]["error"]["doc_url"] == "https://relay.test/docs#dns_down"


@pytest.mark.parametrize(
    "body", [{}, {"emails": None}, {"emails": []}, {"emails": {}}, {"emails": [{}] * 101}, [email("a@one.test")]]
)
def test_what_is_no_batch(world: World, body: Any) -> None:
    answer = world.call("POST", PATH, body)
    assert (answer.status, answer.json["error"]) == (400, "bad_request")
    assert "data" not in answer.json


def test_a_hundred_at_once(world: World) -> None:
    answer = send(world, *(email(f"h{number}@one.test") for number in range(100)))
    assert (answer.status, answer.json["accepted"]) == (202, 100)
    assert len({item["id"] for item in answer.json["data"]}) == 100
    wait_for(lambda: sum(each["recipients"][0].startswith("h") for each in world.messages()) == 100)


def test_it_is_repeated_whole_under_its_key(world: World) -> None:
    emails = [email("once@one.test"), email("gone@one.test"), {}]
    first, again = (send(world, *emails, Idempotency_Key="batch") for _ in range(2))
    assert (first.status, again.status) == (202, 202)
    assert first.json == again.json
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    other = send(world, *emails[:2], Idempotency_Key="batch")
    assert (other.status, other.json["reason"]) == (409, "idempotency_conflict")
    world.sent_to("once@one.test")


def test_a_batch_of_refusals_frees_its_key(world: World) -> None:
    assert send(world, {}, Idempotency_Key="free").status == 400
    assert send(world, email("free@one.test"), Idempotency_Key="free").status == 202


def test_other_methods_and_mounts(world: World) -> None:
    assert world.call("PUT", PATH).headers["allow"] == "POST"
    assert world.call("POST", f"/sendex{PATH}", {"emails": [email("mount@one.test")]}).status == 202
    assert world.call("POST", PATH, {}, key="").status == 401
