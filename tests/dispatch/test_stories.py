"""What SES answers, and what becomes of the mail: over HTTP, through the sandbox's scripted faults."""

from __future__ import annotations

import json
import smtplib
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from relay.store import hand
from relay.store.beside import with_database
from relay.store.hand import Verb
from tests.support import World, wait_for


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    domains = {"second.example": {"mode": "byoc", "account": "customer"}}
    with World(tmp_path_factory.mktemp("dispatch"), domains=domains) as world:
        yield world


@pytest.fixture(autouse=True)
def _no_faults(world: World) -> Iterator[None]:
    yield
    with urllib.request.urlopen(urllib.request.Request(f"{world.sandbox_url}/faults", method="DELETE")):
        pass


def script(world: World, fault: Any, times: int | None = 1, account: str = "operator") -> None:
    body = json.dumps({"account": account, "times": times, "fault": fault}).encode()
    request = urllib.request.Request(f"{world.sandbox_url}/faults", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request):
        pass


def send(world: World, sender: str = "app@shared.example", to: str = "ana@dest.example") -> str:
    answer = world.call("POST", "/api/v1/emails", {"from": sender, "to": to, "subject": "s", "text": "t"})
    assert answer.status == 202, answer.body
    public_id: str = answer.json["id"]
    return public_id


def look(world: World, public_id: str) -> dict[str, Any]:
    found: dict[str, Any] = world.call("GET", f"/api/v1/emails/{public_id}").json
    return found


def becomes(world: World, public_id: str, status: str) -> dict[str, Any]:
    """The message's only delivery, once the message has that status."""
    found = wait_for(lambda: (view := look(world, public_id))["status"] == status and view)
    (delivery,) = found["deliveries"]
    return delivery  # type: ignore[no-any-return]


def by_hand(world: World, public_id: str, verb: Verb) -> None:
    with_database(world.settings, lambda db, _: hand.move_by_hand(db, [hand.ByHand(public_id, verb)]))


def arrived(world: World, address: str) -> list[dict[str, Any]]:
    return [message for message in world.messages() if address in message["recipients"]]


def test_a_throttle_is_tried_again_in_place_and_burns_nothing(world: World) -> None:
    script(world, {"error": "TooManyRequestsException"})
    delivery = becomes(world, send(world, to="throttled@dest.example"), "sent")
    assert (delivery["attempts"], delivery["failures"], delivery["possible_duplicates"]) == (1, 0, 0)
    assert len(arrived(world, "throttled@dest.example")) == 1


def test_a_passing_trouble_is_retried_later_and_by_hand_at_once(world: World) -> None:
    script(world, {"error": "ServiceUnavailable"})
    public_id = send(world, to="later@dest.example")
    delivery = wait_for(lambda: (found := becomes(world, public_id, "queued"))["failures"] and found)
    assert (delivery["attempts"], delivery["failures"], delivery["reason"]) == (1, 1, "ses_unavailable")
    assert delivery["next_attempt_at"] > look(world, public_id)["created_at"]
    by_hand(world, public_id, Verb.RETRY)
    assert becomes(world, public_id, "sent")["attempts"] == 2
    assert len(arrived(world, "later@dest.example")) == 1


def test_what_ses_refuses_fails_with_its_words(world: World) -> None:
    script(world, {"error": "BadRequestException", "message": "Local address contains control or whitespace"})
    public_id = send(world)
    delivery = becomes(world, public_id, "failed")
    assert (delivery["attempts"], delivery["reason"]) == (1, "ses_rejected")
    assert "Local address contains control" in delivery["detail"]
    assert look(world, public_id)["recipients"][0]["status"] == "failed"


def test_an_unverified_domain_is_held_and_its_neighbour_on_the_account_is_not(world: World) -> None:
    held = send(world, "app@second.example")  # the account has no such identity
    delivery = wait_for(lambda: (found := becomes(world, held, "held"))["attempts"] and found)
    assert look(world, held)["held"]["reason"] == "ses_unverified"  # though its row has not moved
    assert (delivery["failures"], delivery["reason"]) == (0, "ses_unverified")
    becomes(world, send(world, "app@byoc.example"), "sent")
    faults = world.call("GET", "/readyz").json["faults"]
    assert "not verified" in faults["account customer, domain second.example"]
    time.sleep(1.5)
    assert look(world, held)["deliveries"][0]["attempts"] == 1  # nobody hammers SES meanwhile
    by_hand(world, held, Verb.CANCEL)


@pytest.mark.parametrize("fault", ["accept_then_close", "garbage"])
def test_no_answer_after_the_body_is_tried_again_and_counted(world: World, fault: str) -> None:
    script(world, fault)
    to = f"{fault.replace('_', '-')}@dest.example"
    public_id = send(world, to=to)
    delivery = wait_for(lambda: (found := becomes(world, public_id, "queued"))["possible_duplicates"] and found)
    assert (delivery["attempts"], delivery["possible_duplicates"]) == (1, 1)
    assert delivery["reason"] == "ses_outcome_unknown"
    by_hand(world, public_id, Verb.RETRY)
    assert becomes(world, public_id, "sent")["attempts"] == 2
    copies = arrived(world, to)
    assert [copy["tags"]["attempt"] for copy in copies] == (["1", "2"] if fault == "accept_then_close" else ["2"])
    assert len({copy["tags"]["relay_id"] for copy in copies}) == 1


def test_an_account_out_of_reach_is_probed_and_then_burns_no_failures(world: World) -> None:
    script(world, {"error": "ServiceUnavailable"}, times=7)
    for number in range(5):
        public_id = send(world, to=f"sick{number}@dest.example")
        wait_for(lambda each=public_id: look(world, each)["deliveries"][0]["failures"] == 1)
    assert "account operator" in world.call("GET", "/readyz").json["faults"]
    waiting = [send(world, to=f"patient{number}@dest.example") for number in range(3)]
    for public_id in waiting:  # probes after 1 s and 2 s fail, the one after 4 s more does not
        delivery = becomes(world, public_id, "sent")
        assert delivery["failures"] == 0
    assert world.call("GET", "/readyz").json["faults"].keys() <= {"account customer, domain second.example"}


def test_one_call_takes_50_and_bulk_mail_goes_one_by_one(world: World) -> None:
    people = [f"p{number}@many.example" for number in range(60)]
    bulk = [f"b{number}@bulk.example" for number in range(3)]
    with smtplib.SMTP("127.0.0.1", world.plain) as smtp:
        smtp.sendmail("me@byoc.example", people, "From: me@byoc.example\r\nSubject: many\r\n\r\nx\r\n")
        smtp.sendmail("me@byoc.example", bulk, "From: me@byoc.example\r\nList-Id: <l.byoc.example>\r\n\r\nx\r\n")
    wait_for(lambda: len(arrived(world, people[-1])) == len(arrived(world, bulk[-1])) == 1)
    wait_for(lambda: len(arrived(world, people[0])) == 1)
    sizes = sorted(len(message["recipients"]) for message in world.messages() if "@many." in message["recipients"][0])
    assert sizes == [10, 50]
    assert [len(arrived(world, each)[0]["recipients"]) for each in bulk] == [1, 1, 1]


def test_metrics_tell_it(world: World) -> None:
    script(world, {"error": "TooManyRequestsException"})
    for sender in ("app@shared.example", "app@byoc.example"):
        becomes(world, send(world, sender), "sent")
    text = world.call("GET", "/metrics").body.decode()
    for line in (
        'relay_ses_calls_total{account="operator",outcome="ses_throttled"}',
        'relay_ses_calls_total{account="operator",outcome="sent"}',
        'relay_queue_deliveries{account="operator",state="queued"}',
        'relay_ses_call_seconds_count{account="customer"}',
        "relay_possible_duplicates_total",
        "relay_event_loop_lag_seconds_count",
        'relay_queue_oldest_due_seconds{account="operator"}',
    ):
        assert line in text, line
