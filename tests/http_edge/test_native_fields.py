"""Every field of the native request, beyond Sendex's: what is taken, at its limit and one over, and what comes of it."""

from __future__ import annotations

import base64
import email
import email.policy
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Problem
from relay.http.emails.request import EmailBody, read
from relay.message import Address, Stream
from tests.support import Answer, World, wait_for

MINIMAL = {"from": "news@byoc.example", "to": "ana@one.test", "subject": "Hi", "text": "Hi Ana"}
CALENDAR = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
PATH = "/api/v1/emails"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("fields")) as world:
        yield world


def filled(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in {**MINIMAL, **members}.items() if value is not None}


def sent(world: World, **members: Any) -> Answer:
    return world.call("POST", PATH, filled(**members))


def file(**members: Any) -> dict[str, Any]:
    return {"filename": "a.bin", "content": base64.b64encode(b"x").decode(), **members}


def ahead(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat().replace("+00:00", "Z")


def header(number: int, length: int) -> dict[str, str]:
    return {f"X-H{index}": "v" * length for index in range(number)}


# -- taken -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {"from_name": "n" * 320},
        {"to": {"email": "ana@one.test", "name": "Ana, née Ü"}},
        {"to": [{"email": " ana@one.test "}, "bo@one.test"]},
        {
            "cc": {"email": "cc@one.test", "name": "C"},
            "bcc": [{"email": "b@one.test"}],
            "reply_to": {"email": "r@x.test"},
        },
        {"subject": "s" * 998},
        {"headers": header(100, 1)},
        {"headers": header(8, 8000)},
        {"headers": {"Reply-To": "desk@one.test"}},
        {"attachments": [file(filename="f" * 255)]},
        {"attachments": [file(content="")]},
        {"attachments": [file()] * 100},
        {"attachments": [file(content_id="logo"), file(content_id="<logo.2@one.test>"), file(content_id="c" * 250)]},
        {"ical_event": CALENDAR},
        {"ical_event": "begin:vcalendar\nend:vcalendar"},
        {"tag": "t" * 64},
        {"metadata": {"order": "4711", "n" * 64: "v" * 500}},
        {"metadata": {str(number): "" for number in range(50)}},
        {"metadata": {str(number): "v" * 499 for number in range(16)}},
        {"metadata": {}},
        {"stream_type": "transactional"},
        {"stream_type": "shared"},
        {"stream_type": "broadcast"},
        {"track_opens": True, "track_clicks": False},
        {"domain": "byoc.example"},
        {"domain": "BYOC.example."},
        {"domain": "byoc.example", "from": None},
        {"scheduled_at": "2001-01-01T00:00:00Z"},
        {"scheduled_at": "2001-01-01t00:00:00.5+01:00"},
        {"scheduled_at": ahead(days=29, hours=23)},
        {"return_path": "bounces@shared.example"},
        {"return_path": "bounces@byoc.example"},
        {"variables": {}, "missing": None, "template": None},
        {"cc": None, "reply_to": []},
    ],
)
def test_taken(world: World, members: dict[str, Any]) -> None:
    answer = sent(world, **members)
    assert (answer.status, answer.json.get("warnings")) == (202, []), answer.body


def test_the_answer_has_every_member(world: World) -> None:
    answer = sent(world, to={"email": "ana@one.test", "name": "Ana"}, bcc="bo@one.test").json
    assert answer == {
        "id": answer["id"],
        "message_id": f"<{answer['id']}@byoc.example>",
        "from": "news@byoc.example",
        "to": ["ana@one.test"],
        "cc": [],
        "bcc": ["bo@one.test"],
        "subject": "Hi",
        "created_at": answer["created_at"],
        "mode": "byoc",
        "warnings": [],
        "estimated_send_at": answer["estimated_send_at"],
    }
    assert answer["estimated_send_at"] >= answer["created_at"]
    assert sent(world, **{"from": "news@shared.example"}).json["mode"] == "shared"


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        (["html_body", "Subject"], "html_body, Subject"),
        (["m" * 24, "m" * 25, "a b", "ü", ""], f"{'m' * 24}, 4 others"),
        ([f"m{number}" for number in range(12)], ", ".join(f"m{number}" for number in range(10)) + ", 2 others"),
        (["<script>"], "1 others"),
    ],
)
def test_unknown_members_are_ignored_and_named(world: World, unknown: list[str], said: str) -> None:
    answer = sent(world, **dict.fromkeys(unknown, 1))
    assert answer.status == 202
    assert answer.json["warnings"] == [f"not known here, and ignored: {said}"]


def test_the_sender_is_chosen_by_domain_alone(world: World) -> None:
    answer = sent(world, **{"from": None}, domain="byoc.example")
    assert (answer.json["from"], answer.json["mode"]) == ("noreply@byoc.example", "byoc")


@pytest.mark.parametrize("example", EmailBody.model_config["json_schema_extra"]["examples"])  # type: ignore[index,call-overload]
def test_examples_are_taken(example: dict[str, Any]) -> None:
    letter = read(example, None)
    assert (letter.subject, letter.warnings) == (example["subject"], ())


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "faults"),
    [
        ({"from_name": "n" * 321}, ["from_name"]),
        ({"to": [{"name": "Ana"}]}, ["to.0"]),
        ({"to": [{"email": "Ana <ana@one.test>"}]}, ["to.0"]),
        ({"to": [{"email": "ana@one.test", "name": "a\nb"}, None, ["ana@one.test"]]}, ["to.0", "to.1", "to.2"]),
        ({"to": ["ana@one.test"] * 51}, ["to"]),
        ({"subject": "s" * 999}, ["subject"]),
        ({"subject": "a\r\nBcc: x@one.test"}, ["subject"]),
        ({"from_name": "a\nb", "headers": {"X-A": "a\rb"}}, ["from_name", "headers.X-A"]),
        ({"text": "\ud800"}, ["text"]),
        ({"html": "\0"}, ["html"]),
        ({"headers": header(101, 1)}, ["headers"]),
        ({"headers": header(9, 8000)}, ["headers"]),
        ({"headers": {"X-A": "1", "x-a": "2"}}, ["headers.x-a"]),
        ({"headers": {"X-Relay-Tag": "a", "X-SES-B": "b", "Date": "x"}},
         ["headers.X-Relay-Tag", "headers.X-SES-B", "headers.Date"]),
        ({"headers": {"Reply-To": "a@one.test"}, "reply_to": "b@one.test"}, ["reply_to"]),
        ({"attachments": [file(filename="f" * 256)]}, ["attachments.0.filename"]),
        ({"attachments": [file(filename="")]}, ["attachments.0.filename"]),
        ({"attachments": [file(filename="a\nb")]}, ["attachments.0.filename"]),
        ({"attachments": [file()] * 101}, ["attachments"]),
        ({"attachments": [file(content_id="a b")]}, ["attachments.0.content_id"]),
        ({"attachments": [file(content_id="<>")]}, ["attachments.0.content_id"]),
        ({"attachments": [file(content_id="c" * 251)]}, ["attachments.0.content_id"]),
        ({"attachments": [file(content_id="a\r\nb")]}, ["attachments.0.content_id"]),
        ({"ical_event": "x"}, ["ical_event"]),
        ({"ical_event": CALENDAR + "x" * (1 << 20)}, ["ical_event"]),
        ({"tag": "t" * 65}, ["tag"]),
        ({"tag": "two words"}, ["tag"]),
        ({"metadata": {"a": 1}}, ["metadata"]),
        ({"metadata": []}, ["metadata"]),
        ({"metadata": {"": ""}}, ["metadata"]),
        ({"metadata": {"n" * 65: ""}}, ["metadata"]),
        ({"metadata": {"n": "v" * 501}}, ["metadata"]),
        ({"metadata": {str(number): "" for number in range(51)}}, ["metadata"]),
        ({"metadata": {str(number): "v" * 500 for number in range(17)}}, ["metadata"]),
        ({"metadata": {"a": "b\0"}}, ["metadata"]),
        ({"stream_type": "gossip"}, ["stream_type"]),
        ({"track_opens": "yes", "track_clicks": 1}, ["track_opens", "track_clicks"]),
        ({"domain": "shared.example"}, ["domain"]),
        ({"domain": "not a domain"}, ["domain"]),
        ({"domain": 7}, ["domain"]),
        ({"from": None}, ["from"]),
        ({"scheduled_at": ahead(days=30, hours=1)}, ["scheduled_at"]),
        ({"scheduled_at": "tomorrow"}, ["scheduled_at"]),
        ({"scheduled_at": "2030-01-31T09:00:00"}, ["scheduled_at"]),
        ({"scheduled_at": 1772712000}, ["scheduled_at"]),
        ({"return_path": "nobody"}, ["return_path"]),
        ({"dry_run": "yes"}, ["dry_run"]),
        ({"variables": {"a": 1}, "missing": "empty"}, ["variables", "missing"]),
        ({"template": "welcome"}, ["subject", "text"]),
        ({"template": {"version": 1}, "text": None, "subject": None}, ["template.name"]),
        ({"template": {"name": "w", "version": 0}, "text": None, "subject": None}, ["template.version"]),
        ({"template": "", "text": None, "subject": None}, ["template.name"]),
        ({"template": 7, "text": None, "subject": None}, ["template"]),
        ({"template": "w", "missing": "maybe", "text": None, "subject": None}, ["missing"]),
    ],
)  # fmt: skip
def test_refused(world: World, members: dict[str, Any], faults: list[str]) -> None:
    answer = sent(world, **members)
    assert (answer.status, answer.json["error"]) == (400, "bad_request")
    assert [each["param"] for each in answer.json["errors"]] == faults
    assert answer.json["param"] == faults[0]
    assert answer.json["retryable"] is False
    assert answer.json["doc_url"] == "/docs#bad_request"


@pytest.mark.parametrize(
    ("members", "status", "reason"),
    [
        ({"from": None, "domain": "nobody.example"}, 422, "domain_not_registered"),
        ({"return_path": "x@nobody.example"}, 422, "domain_not_registered"),
    ],
)
def test_refused_by_the_core(world: World, members: dict[str, Any], status: int, reason: str) -> None:
    answer = sent(world, **members)
    assert (answer.status, answer.json["reason"]) == (status, reason), answer.body


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 202),
        ("application/json; charset=utf-8", 202),
        ("application/vnd.mail+json", 202),
        ("text/plain", 415),
        ("application/xml", 415),
        ("application/json; charset=latin-1", 415),
        ("multipart/mixed; boundary=x", 415),
        ("multipart/form-data", 400),
    ],
)
def test_content_types(world: World, content_type: str, status: int) -> None:
    assert world.call("POST", PATH, MINIMAL, Content_Type=content_type).status == status


@given(st.dictionaries(st.sampled_from([*(f.alias or n for n, f in EmailBody.model_fields.items()), "x"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["a@b.test", CALENDAR]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)))  # fmt: skip
def test_any_json_is_a_letter_or_a_problem_with_faults(value: dict[str, Any]) -> None:
    try:
        letter = read(value, Address("a", "b.test"))
    except Problem as problem:
        assert problem.faults
    else:
        assert letter.to


# -- what comes of it ------------------------------------------------------------------------------------------------


def test_options_are_kept_and_never_in_the_mail(world: World) -> None:
    answer = sent(
        world,
        **{"from": "news@shared.example"},  # a byoc domain's log forgets metadata
        to="options@one.test",
        tag="welcome",
        metadata={"order": "4711", "who": "Jürgen"},
        stream_type="broadcast",
        track_opens=True,
        track_clicks=False,
    )
    [message] = world.sent_to("options@one.test")
    assert not re.search(rb"welcome|4711|broadcast|(?i:x-relay)", message["raw"].replace(b"4711@", b""))
    seen = world.call("GET", f"{PATH}/{answer.json['id']}").json
    assert (seen["tag"], seen["metadata"]) == ("welcome", {"order": "4711", "who": "Jürgen"})
    assert (seen["stream"], seen["track_opens"], seen["track_clicks"]) == (Stream.BROADCAST.value, True, False)


def test_what_is_scheduled_waits(world: World) -> None:
    at = ahead(days=2)
    answer = sent(world, to="later@one.test", scheduled_at=at)
    assert answer.json["estimated_send_at"][:19] == at[:19]
    seen = world.call("GET", f"{PATH}/{answer.json['id']}").json
    assert (seen["status"], seen["scheduled_at"][:19]) == ("queued", at[:19])
    sent(world, to="now@one.test", scheduled_at=ahead(days=-2))
    world.sent_to("now@one.test")
    assert not [message for message in world.messages() if "later@one.test" in message["recipients"]]


def test_names_files_and_a_calendar_arrive(world: World) -> None:
    answer = sent(
        world,
        to={"email": "all@one.test", "name": "Ana Ü"},
        reply_to=[{"email": "desk@one.test", "name": "Desk, the"}],
        html='<img src="cid:logo">',
        attachments=[file(filename="logo.png", content_type="image/png", content_id="<logo>"), file(filename="ü.txt")],
        ical_event=CALENDAR,
    )
    assert answer.status == 202, answer.body
    found = email.message_from_bytes(world.sent_to("all@one.test")[0]["raw"], policy=email.policy.default)
    [to], [reply_to] = found["To"].addresses, found["Reply-To"].addresses
    assert (to.display_name, reply_to.display_name) == ("Ana Ü", "Desk, the")
    parts = {part.get_content_type(): part for part in found.walk() if not part.is_multipart()}
    assert parts["image/png"]["Content-ID"] == "<logo>"
    assert "METHOD:REQUEST" in parts["text/calendar"].get_content()
    assert {"ü.txt", "invite.ics"} <= {part.get_filename() for part in found.walk()}


def test_a_rehearsal_checks_everything_and_sends_nothing(world: World) -> None:
    answer = sent(world, to="rehearsed@one.test", dry_run=True)
    assert answer.status == 200
    assert answer.json == {
        "id": None,
        "message_id": None,
        "from": "news@byoc.example",
        "to": ["rehearsed@one.test"],
        "cc": [],
        "bcc": [],
        "subject": "Hi",
        "created_at": None,
        "mode": "byoc",
        "warnings": [],
        "estimated_send_at": None,
        "dry_run": True,
    }
    assert sent(world, dry_run=True, **{"from": "news@nobody.example"}).status == 422
    world.suppress("rehearsed-gone@one.test")
    wait_for(lambda: sent(world, to="rehearsed-gone@one.test", dry_run=True).status == 422)
    sent(world, to="after-rehearsal@one.test")
    world.sent_to("after-rehearsal@one.test")
    assert not [message for message in world.messages() if "rehearsed@one.test" in message["recipients"]]
