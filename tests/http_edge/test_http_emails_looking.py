"""Messages looked at: lists with filters and pages, one by any form of its id, what happened to it, and who may see it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from relay.http.emails import shown
from relay.http.emails.table import ROUTES
from relay.http.management.shown import Listed
from relay.message import uuid_of
from relay.store.clock import rfc3339
from relay.store.database import migrate_postgresql
from tests import databases
from tests.support import Answer, wait_for
from tests.tenancy.house import ROOT, House, Letter, by_smtp, housing

LATER = 86_400  # seconds
HELD = "held.example"


@dataclass
class Told:
    """A house in which acme has sent mail of several sorts, by name: the newest last."""

    house: House
    full: str
    scoped: str
    send_only: str
    other: str
    ids: dict[str, str]

    def ask(self, path: str, key: str = "", method: str = "GET", body: Any = None, **headers: str) -> Answer:
        return self.house.world.call(method, path, body, key=key or self.full, **headers)

    def list(self, key: str = "", **query: Any) -> list[str]:
        """The names of the messages that are found."""
        answer = self.ask(f"{ROOT}/emails?{urlencode(query)}", key)
        assert answer.status == 200, answer.body
        Listed[shown.MessageBrief].model_validate(answer.json)
        assert answer.json["total"] == len(answer.json["data"]) or "limit" in query
        names = {public_id: name for name, public_id in self.ids.items()}
        return [names[each["id"]] for each in answer.json["data"]]

    def message(self, name: str) -> Any:
        return self.ask(f"{ROOT}/emails/{self.ids[name]}").json


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    database = "relay.db"
    if request.param == "postgresql":
        url = databases.postgresql()
        asyncio.run(migrate_postgresql(url))
        database = databases.setting(url)
    with housing(tmp_path_factory.mktemp("looking"), database) as house:
        yield fill(house)


def fill(house: House) -> Told:
    house.tenant("acme")
    house.tenant("umbra")
    house.account("paused", "acme")
    house.domain("shared-acme.example", "acme", "shared")
    house.domain("byoc-acme.example", "acme")
    house.domain(HELD, "acme", account="paused")
    keys = [
        house.key("acme", "full"),
        house.key("acme", "full", domains=["byoc-acme.example"]),
        house.key("acme"),
        house.key("umbra", "full"),
    ]
    house.settle()
    told = Told(house, *keys, {})

    def send(name: str, to: str, domain: str = "shared-acme.example", **headers: str) -> None:
        fields = {each.replace("_", "-"): value for each, value in headers.items()}
        step, reply = by_smtp(house, Letter(told.full, f"me@{domain}", to=[to], headers=fields))
        assert step == "", reply
        told.ids[name] = reply.split()[-1]

    send("plain", "ana@one.test", X_Relay_Tag="welcome")
    send("byoc", "Ana@One.test", "byoc-acme.example", Message_ID="<my-own@byoc-acme.example>")
    send("bulk", "bo@one.test", X_Relay_Stream="broadcast")
    send("later", "bo@one.test", X_Relay_Send_At=str(int(time.time()) + LATER))
    for name in told.ids.keys() - {"later"}:
        wait_for(lambda name=name: told.message(name)["status"] == "sent")
    house.ask("POST", "/ses-accounts/paused/pause", {})
    house.settle()
    send("held", "cy@one.test", HELD)
    return told


# -- lists -----------------------------------------------------------------------------------------------------------

EVERY = ["held", "later", "bulk", "byoc", "plain"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, EVERY),
        ({"status": "sent"}, ["bulk", "byoc", "plain"]),
        ({"status": "queued"}, ["later"]),
        ({"status": "held"}, ["held"]),
        ({"status": "failed"}, []),
        ({"recipient": "ANA@one.test"}, ["byoc", "plain"]),  # the first of them is forgotten by now
        ({"recipient": "nobody@one.test"}, []),
        ({"domain": "Byoc-Acme.example"}, ["byoc"]),
        ({"domain": "umbra.example"}, []),
        ({"tag": "welcome"}, ["plain"]),
        ({"stream_type": "broadcast"}, ["bulk"]),
        ({"message_id": "<my-own@byoc-acme.example>"}, ["byoc"]),
        ({"message_id": "my-own@byoc-acme.example"}, ["byoc"]),
        ({"message_id": "no-such"}, []),
        ({"since": "2020-01-01T00:00:00Z"}, EVERY),
        ({"since": "2099-01-01T00:00:00Z"}, []),
        ({"until": "2020-01-01T00:00:00+02:00"}, []),
        ({"since": "0001-01-01T00:00:00+23:00", "until": "9999-12-31T23:59:59-23:00"}, EVERY),
        ({"since": "9999-12-31T23:59:59-23:00"}, []),
        ({"until": "0001-01-01T00:00:00+23:00"}, []),
        ({"status": "sent", "stream_type": "transactional", "tag": "welcome"}, ["plain"]),
    ],
    ids=str,
)
def test_lists_hold_what_is_asked_for(told: Told, query: dict[str, str], names: list[str]) -> None:
    assert told.list(**query) == names


def test_a_span_is_from_its_first_moment_to_before_its_last(told: Told) -> None:
    at = {name: told.message(name)["created_at"] for name in told.ids}
    assert told.list(since=at["later"]) == ["held", "later"]
    assert told.list(until=at["later"]) == ["bulk", "byoc", "plain"]
    assert told.list(since=at["byoc"], until=at["later"]) == ["bulk", "byoc"]


def test_the_id_that_ses_gave_finds_a_message(told: Told) -> None:
    [delivery] = told.message("plain")["deliveries"]
    ses = delivery["ses_message_id"]
    for form in (ses, f"<{ses}@eu-west-1.amazonses.com>", f"{ses}@email.amazonses.com"):
        assert told.list(message_id=form) == ["plain"]


def test_pages_follow_each_other(told: Told) -> None:
    found, cursor = [], ""
    while cursor is not None:
        answer = told.ask(f"{ROOT}/emails?limit=2{cursor and f'&cursor={quote(cursor)}'}").json
        assert answer["total"] == len(EVERY)
        found += [each["id"] for each in answer["data"]]
        cursor = answer["next_cursor"]
    assert found == [told.ids[name] for name in EVERY]


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("status=odd&limit=0&nonsense=1", {"status", "limit", "nonsense"}),
        ("limit=101", {"limit"}),
        ("recipient=nobody", {"recipient"}),
        ("domain=a%20b", {"domain"}),
        ("tag=a%20b", {"tag"}),
        ("stream_type=x", {"stream_type"}),
        ("since=yesterday&until=1700000000", {"since", "until"}),
        ("since=2030-01-01T00:00:00Z&until=2030-01-01T00:00:00Z", {""}),
        ("cursor=!", {"cursor"}),
        ("cursor=YWJj", {"cursor"}),
        ("message_id=", {"message_id"}),
        ("message_id=a%0Ab", {"message_id"}),
        ("tag=a&tag=b", {"tag"}),
    ],
)
def test_what_cannot_be_asked_for_is_refused(told: Told, query: str, params: set[str]) -> None:
    answer = told.ask(f"{ROOT}/emails?{query}")
    assert (answer.status, answer.json["reason"]) == (400, "bad_request"), answer.body
    assert {fault["param"] for fault in answer.json["errors"]} == params


# -- who may see what ------------------------------------------------------------------------------------------------


def test_lists_hold_what_a_key_may_see(told: Told) -> None:
    assert told.list(told.scoped) == ["byoc"]
    assert told.list(told.scoped, domain="shared-acme.example") == []
    assert told.list(told.scoped, recipient="ana@one.test") == ["byoc"]
    assert told.list(told.other) == []
    assert told.list(told.other, message_id="<my-own@byoc-acme.example>") == []


@pytest.mark.parametrize("rule", ROUTES, ids=lambda rule: f"{rule.method} {rule.path}")
def test_each_route_is_for_those_who_may(told: Told, rule: Any) -> None:
    body = {"scheduled_at": rfc3339(int(time.time() * 1000))} if rule.path.endswith("reschedule") else None
    path = ROOT + rule.path.replace("{id}", told.ids["plain"])
    assert told.ask(path, told.send_only, rule.method, body).status == 403
    assert told.house.world.call(rule.method, path, body, key="").status == 401
    if "{id}" in rule.path:
        assert told.ask(path, told.scoped, rule.method, body).status == 404
        assert told.ask(path, told.other, rule.method, body).status == 404
        for nobody in ("x", "0" * 24, "eml_" + "0" * 24, "%F0%9F%8E%88", told.ids["plain"][:23]):
            answer = told.ask(ROOT + rule.path.replace("{id}", nobody), "", rule.method, body)
            assert (answer.status, answer.json["error"]) == (404, "not_found")


# -- one -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_every_form_of_an_id_finds_its_message(told: Told, name: str) -> None:
    public_id = told.ids[name]
    for mount in ("", "/sendex"):
        for form in (public_id, public_id.upper(), f"eml_{public_id}", uuid_of(public_id)):
            answer = told.ask(f"{mount}{ROOT}/emails/{form}")
            assert (answer.status, answer.json["id"]) == (200, public_id)
            shown.MessageShown.model_validate(answer.json)


def test_a_brief_message_says_what_the_whole_one_does(told: Told) -> None:
    for each in told.ask(f"{ROOT}/emails").json["data"]:
        whole = told.ask(f"{ROOT}/emails/{each['id']}").json
        assert each == {name: whole[name] for name in each}


def test_what_has_not_changed_is_not_sent_again(told: Told) -> None:
    path = f"{ROOT}/emails/{told.ids['plain']}"
    first = told.ask(path)
    again = told.ask(path, If_None_Match=first.headers["etag"])
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert first.headers["etag"].startswith('W/"')


def test_what_keeps_a_message_is_said(told: Told) -> None:
    seen = told.message("held")
    assert (seen["status"], seen["held"]["reason"]) == ("held", "ses_paused")
    assert seen["deliveries"][0]["status"] == "queued"


# -- what happened ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "events"),
    [
        ("plain", ["email.queued", "email.sent"]),
        ("later", ["email.queued", "email.scheduled"]),
        ("held", ["email.queued"]),
    ],
)
def test_events_tell_what_happened(told: Told, name: str, events: list[str]) -> None:
    answer = told.ask(f"{ROOT}/emails/eml_{told.ids[name]}/events")
    Listed[shown.EventShown].model_validate(answer.json)
    assert [each["event"] for each in answer.json["data"]] == events
    assert answer.json["total"] == len(events)
    message = told.message(name)
    assert answer.json["data"][0]["created_at"] == message["created_at"]
    assert all(each["recipients"] == message["to"] for each in answer.json["data"])
    if name == "plain":
        assert answer.json["data"][1]["data"]["ses_message_id"] == message["deliveries"][0]["ses_message_id"]
    if name == "later":
        assert answer.json["data"][1]["data"] == {"scheduled_at": message["scheduled_at"]}


def test_events_come_in_pages(told: Told) -> None:
    path = f"{ROOT}/emails/{told.ids['plain']}/events"
    first = told.ask(f"{path}?limit=1").json
    second = told.ask(f"{path}?limit=1&cursor={first['next_cursor']}").json
    assert [each["event"] for each in first["data"] + second["data"]] == ["email.queued", "email.sent"]
    assert second["next_cursor"] is None
    for wrong in ("cursor=!", "cursor=OTk", "page=1", "type=sent"):
        assert told.ask(f"{path}?{wrong}").status == 400


@pytest.mark.parametrize("mount", ["", "/mailerlogic"])
def test_a_uuid_gets_events_as_mailerlogic_tells_them(told: Told, mount: str) -> None:
    email_id = uuid_of(told.ids["plain"])
    answer = told.ask(f"{mount}{ROOT}/emails/{email_id}/events")
    assert answer.status == 200
    shown.MailerLogicEvents.model_validate(answer.json)
    assert answer.json["pagination"] == {"page": 1, "limit": 50, "total": 2, "pages": 1}
    queued, sent = answer.json["events"]
    assert queued.keys() == {
        *("id", "email_id", "customer_id", "event_type", "status"),
        *("recipient", "from", "timestamp", "event_data", "created_at"),
    }
    assert (queued["event_type"], sent["event_type"]) == ("queued", "sent")
    assert (sent["email_id"], sent["recipient"], sent["from"]) == (email_id, "ana@one.test", "me@shared-acme.example")
    assert sent["customer_id"] == "acme"
    paged = told.ask(f"{mount}{ROOT}/emails/{email_id}/events?limit=1&page=2").json
    assert (paged["events"], paged["pagination"]["pages"]) == ([sent], 2)
    assert told.ask(f"{mount}{ROOT}/emails/{email_id}/events?type=queued").json["events"] == [queued]
    assert told.ask(f"{mount}{ROOT}/emails/{email_id}/events?page=9").json["events"] == []
    refused = told.ask(f"{mount}{ROOT}/emails/{email_id}/events?page=0")
    assert (refused.status, refused.json.keys()) == (400, {"error", "message"})
    unknown = told.ask(f"{mount}{ROOT}/emails/{uuid_of('0' * 24)}/events")
    assert (unknown.status, "reason" in unknown.json) == (404, False)


def test_a_uuid_below_sendex_gets_events_as_we_tell_them(told: Told) -> None:
    answer = told.ask(f"/sendex{ROOT}/emails/{uuid_of(told.ids['plain'])}/events")
    assert answer.json["data"][0]["event"] == "email.queued"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/emails/{id}", {"GET", "HEAD"}),
        ("POST", "/emails/{id}/events", {"GET", "HEAD"}),
        ("GET", "/emails/{id}/cancel", {"POST"}),
        ("PATCH", "/emails", {"GET", "HEAD", "POST"}),
    ],
)
def test_other_methods_are_told_which_there_are(told: Told, method: str, path: str, allow: set[str]) -> None:
    answer = told.ask(ROOT + path.replace("{id}", told.ids["plain"]), "", method)
    assert (answer.status, set(answer.headers["allow"].split(", "))) == (405, allow)


@pytest.mark.parametrize("path", ["/emails", "/emails/{id}", "/emails/{id}/content", "/emails/{id}/content?format=raw"])
def test_a_head_is_that_of_the_answer(told: Told, path: str) -> None:
    asked = ROOT + path.replace("{id}", told.ids["plain"])
    whole, head = told.ask(asked), told.ask(asked, "", "HEAD")
    assert (head.status, head.body) == (whole.status, b"")
    assert head.headers.get("content-length") == whole.headers.get("content-length")
    assert head.headers.get("etag") == whole.headers.get("etag")
