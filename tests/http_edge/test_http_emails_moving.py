"""Messages cancelled, retried and rescheduled over HTTP: at once, only where they still wait, and written down."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from relay.http.emails import shown
from relay.message import uuid_of
from relay.store import hand
from relay.store.beside import with_database
from relay.store.clock import rfc3339
from relay.store.directory import audit
from tests.support import Answer, World, wait_for
from tests.wire import Wire

DAY = 86_400  # seconds
FORMS = {"native": str, "sendmux": lambda each: f"eml_{each}", "uuid": uuid_of}


def at(seconds: float) -> str:
    """So far from now."""
    return rfc3339(int((time.time() + seconds) * 1000))


@dataclass
class Waiting:
    """A world in which mail can be put that waits until tomorrow."""

    world: World

    def send(self, to: str, domain: str = "shared.example") -> str:
        with Wire(self.world.plain) as wire:
            wire.reply()
            later = f"X-Relay-Send-At: {int(time.time()) + DAY}\r\n"
            for line in ("EHLO a", f"MAIL FROM:<me@{domain}>", f"RCPT TO:<{to}>", "DATA"):
                assert wire.say(line)[0] in "23"
            reply = wire.say(f"From: me@{domain}\r\nTo: {to}\r\nSubject: Hi\r\n{later}\r\nHi\r\n.".encode())
            assert reply.startswith("250"), reply
            return reply.split()[-1]

    def ask(self, public_id: str, verb: str, body: Any = None) -> Answer:
        return self.world.call("POST", f"/api/v1/emails/{public_id}/{verb}", body)

    def look(self, public_id: str) -> Any:
        return self.world.call("GET", f"/api/v1/emails/{public_id}").json

    def sent_to(self, address: str) -> int:
        return sum(address in each["recipients"] for each in self.world.messages())


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waiting]:
    with World(tmp_path_factory.mktemp("moving")) as world:
        yield Waiting(world)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_cancelled_is_never_sent(waiting: Waiting, form: str) -> None:
    public_id = waiting.send(f"{form}@cancelled.test")
    answer = waiting.ask(FORMS[form](public_id), "cancel")
    assert (answer.status, answer.json["status"], answer.json["id"]) == (200, "cancelled", public_id)
    shown.MessageShown.model_validate(answer.json)
    assert answer.json == waiting.look(public_id)
    for verb, body in (("cancel", None), ("retry", None), ("reschedule", {"scheduled_at": at(60)})):
        again = waiting.ask(public_id, verb, body)
        assert (again.status, again.json["reason"]) == (409, "conflict")
        assert "is cancelled: it cannot be" in again.json["message"]
    assert [each["event"] for each in events(waiting, public_id)][-1] == "email.cancelled"
    assert not waiting.sent_to(f"{form}@cancelled.test")


def events(waiting: Waiting, public_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = waiting.world.call("GET", f"/api/v1/emails/{public_id}/events").json["data"]
    return found


@pytest.mark.parametrize("form", FORMS)
def test_what_is_retried_is_sent_at_once(waiting: Waiting, form: str) -> None:
    public_id = waiting.send(f"{form}@retried.test", "byoc.example")
    assert waiting.look(public_id)["status"] == "queued"
    answer = waiting.ask(FORMS[form](public_id), "retry")
    assert answer.status == 200
    assert wait_for(lambda: waiting.look(public_id)["status"] == "sent", 3)
    assert waiting.sent_to(f"{form}@retried.test") == 1
    refused = waiting.ask(public_id, "retry")
    assert (refused.status, refused.json["reason"]) == (409, "conflict")
    assert "is sent: it cannot be retried" in refused.json["message"]


def test_what_is_rescheduled_goes_at_its_new_time(waiting: Waiting) -> None:
    public_id = waiting.send("soon@moved.test")
    far = at(20 * DAY)
    answer = waiting.ask(public_id, "reschedule", {"scheduled_at": far})
    assert (answer.status, answer.json["scheduled_at"], answer.json["status"]) == (200, far, "queued")
    assert [each["next_attempt_at"] for each in answer.json["deliveries"]] == [far]
    scheduled = [each for each in events(waiting, public_id) if each["event"] == "email.scheduled"]
    assert scheduled[0]["data"] == {"scheduled_at": far}
    soon = time.time() + 0.7
    assert waiting.ask(public_id, "reschedule", {"scheduled_at": at(0.7)}).status == 200
    waiting.world.sent_to("soon@moved.test")
    assert time.time() >= soon - 0.01
    assert wait_for(lambda: waiting.look(public_id)["status"] == "sent")


def test_what_is_over_means_now(waiting: Waiting) -> None:
    public_id = waiting.send("now@moved.test")
    assert waiting.ask(public_id, "reschedule", {"scheduled_at": "2020-01-01T00:00:00+01:00"}).status == 200
    assert len(waiting.world.sent_to("now@moved.test")) == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "scheduled_at"),
        ({"scheduled_at": None}, "scheduled_at"),
        ({"scheduled_at": 1_900_000_000}, "scheduled_at"),
        ({"scheduled_at": "tomorrow"}, "scheduled_at"),
        ({"scheduled_at": "2030-01-31T09:00:00"}, "scheduled_at"),
        ({"scheduled_at": "9999-12-31T23:59:59-23:00"}, "scheduled_at"),
        ({"scheduled_at": "0001-01-01T00:00:00+23:00"}, None),
        (30 * DAY + 60, "scheduled_at"),
        (30 * DAY - 60, None),
        ({"scheduled_at": "2020-01-01T00:00:00Z", "at": 1}, "at"),
        (b"[]", ""),
    ],
    ids=str,
)
def test_moments_that_are_taken(waiting: Waiting, body: Any, param: str | None) -> None:
    """A number stands for so many seconds from now."""
    if isinstance(body, int):
        body = {"scheduled_at": at(body)}
    public_id = waiting.send("moments@moved.test")
    answer = waiting.ask(public_id, "reschedule", body)
    assert answer.status == (200 if param is None else 400), answer.body
    if param:
        assert [fault["param"] for fault in answer.json["errors"]] == [param]
    waiting.ask(public_id, "cancel")


def test_what_ses_refuses_has_failed_and_says_why(waiting: Waiting) -> None:
    public_id = waiting.send("no@failed.test")
    script = {"account": "operator", "fault": {"error": "MessageRejected", "status": 400, "message": "no such luck"}}
    request = urllib.request.Request(f"{waiting.world.sandbox_url}/faults", json.dumps(script).encode(), method="POST")
    urllib.request.urlopen(request).close()
    waiting.ask(public_id, "retry")
    assert wait_for(lambda: waiting.look(public_id)["status"] == "failed")
    event = events(waiting, public_id)[-1]
    assert (event["event"], event["data"]["reason"]) == ("email.failed", "ses_rejected")
    assert event["data"]["attempts"] == 1
    listed = waiting.world.call("GET", "/api/v1/emails?status=failed").json
    assert public_id in [each["id"] for each in listed["data"]]
    for verb in ("retry", "cancel"):
        answer = waiting.ask(public_id, verb)
        assert (answer.status, "is failed: it cannot be" in answer.json["message"]) == (409, True)


def test_moves_take_no_fields_but_their_own(waiting: Waiting) -> None:
    public_id = waiting.send("fields@moved.test")
    answer = waiting.ask(public_id, "cancel", {"force": True})
    assert (answer.status, answer.json["param"]) == (400, "force")
    assert waiting.look(public_id)["status"] == "queued"
    assert waiting.ask(public_id, "cancel", {}).status == 200


def test_moves_are_written_down(waiting: Waiting) -> None:
    public_id = waiting.send("audited@moved.test")
    answer = waiting.ask(public_id, "cancel")
    [entry] = with_database(
        waiting.world.settings,
        lambda db, _: audit.entries(db, target=f"message {public_id}", tenant_id=None, limit=9),
    )
    assert (entry.action, entry.changes) == ("message.cancel", {"state": ["queued", "cancelled"]})
    assert entry.actor.startswith("key relay_")
    assert entry.request_id == answer.headers["x-request-id"]
    assert "audited@" not in json.dumps(entry.changes)


def test_of_two_who_move_the_same_message_one_is_late(waiting: Waiting) -> None:
    """Cancelled and sent at the same moment, many times: it ends as one of them, and what was cancelled never left."""
    ids = {f"race{number}@moved.test": waiting.send(f"race{number}@moved.test") for number in range(20)}
    with ThreadPoolExecutor(8) as pool:
        jobs = [(each, verb) for each in ids.values() for verb in ("retry", "cancel", "cancel")]
        statuses = list(pool.map(lambda job: waiting.ask(*job).status, jobs))
    assert set(statuses) <= {200, 409}
    for address, public_id in ids.items():
        final = wait_for(lambda public_id=public_id: state_of(waiting, public_id))
        assert waiting.sent_to(address) == (1 if final == "sent" else 0)


def state_of(waiting: Waiting, public_id: str) -> str:
    found: str = waiting.look(public_id)["status"]
    return found if found in {"sent", "cancelled"} else ""


# -- held and released -----------------------------------------------------------------------------------------------


def test_what_is_held_goes_when_it_is_released(waiting: Waiting) -> None:
    public_id = waiting.send("patient@held.test", "byoc.example")
    answer = waiting.ask(public_id, "hold", {"reason": "wrong price"})
    assert (answer.status, answer.json["status"], answer.json["held"]["reason"]) == (200, "held", "held")
    assert answer.json["held"]["detail"].startswith("held by key ")
    assert answer.json["held"]["detail"].endswith(": wrong price")
    shown.MessageShown.model_validate(answer.json)
    assert answer.json == waiting.look(public_id)
    for verb, body in (("hold", None), ("reschedule", {"scheduled_at": at(60)})):
        again = waiting.ask(public_id, verb, body)
        assert (again.status, again.json["reason"]) == (409, "conflict")
    released = waiting.ask(public_id, "release")
    assert (released.status, released.json["status"], released.json.get("held")) == (200, "queued", None)
    assert released.json["deliveries"][0]["next_attempt_at"] > at(DAY / 2)  # it was for tomorrow, and still is
    assert waiting.ask(public_id, "release").status == 409
    assert waiting.ask(public_id, "hold").status == 200
    assert waiting.ask(public_id, "retry").status == 200
    waiting.world.sent_to("patient@held.test")


def test_what_the_operator_holds_its_sender_cannot_release(waiting: Waiting) -> None:
    public_id = waiting.send("spam@held.test")
    with_database(
        waiting.world.settings,
        lambda db, _: hand.move_by_hand(db, [hand.ByHand(public_id, hand.Verb.HOLD, reason="a look")]),
    )
    assert waiting.look(public_id)["held"] == {"reason": "held_by_operator", "detail": "held by the operator: a look"}
    for verb in ("release", "retry"):
        answer = waiting.ask(public_id, verb)
        assert (answer.status, answer.json["reason"]) == (409, "conflict")
        assert "only the operator can release it" in answer.json["message"]
    assert waiting.ask(public_id, "cancel").status == 200


@pytest.mark.parametrize(
    "body", [{"reason": ""}, {"reason": "a\r\nb"}, {"reason": "x" * 999}, {"why": "x"}, {"reason": 1}]
)
def test_a_reason_is_a_line(waiting: Waiting, body: Any) -> None:
    answer = waiting.ask("0" * 24, "hold", body)
    assert (answer.status, answer.json["reason"]) == (400, "bad_request")
