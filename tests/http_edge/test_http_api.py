"""The native API as a table: what is asked, the status and slug that answer, and what reaches SES."""

from __future__ import annotations

import base64
import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from relay.declared import Permission
from relay.sealing import api_key_prefix
from relay.store.beside import with_database
from relay.store.directory import keys
from relay.store.directory.audit import Actor
from tests.dns_server import DnsServer, records
from tests.support import World, wait_for

ZONE = {
    "one.test": records("MX 10 mx.one.test."),
    "xn--bcher-kva.test": records("A 192.0.2.1"),
    "null-mx.test": records("MX 0 ."),
}
MINIMAL = {"from": "news@shared.example", "to": "ana@one.test", "subject": "Hi", "text": "Hi Ana"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        DnsServer(ZONE) as dns,
        World(
            tmp_path_factory.mktemp("api"),
            mx={"policy": "enforce", "on_trouble": "defer"},
            dns={"nameservers": [dns.nameserver]},
        ) as world,
    ):
        world.suppress("gone@one.test")
        world.send_only = world.new_key(Permission.SEND_ONLY)
        wait_for(lambda: world.call("POST", "/api/v1/emails", key=world.send_only).status == 400)
        yield world


def given(**members: Any) -> dict[str, Any]:
    """The smallest good request with members replaced, or left out where None."""
    return {name: value for name, value in {**MINIMAL, **members}.items() if value is not None}


def people(count: int) -> list[str]:
    return [f"p{number}@one.test" for number in range(count)]


def file(size: int = 5, **members: Any) -> dict[str, Any]:
    return {"filename": "a.bin", "content": base64.b64encode(b"x" * size).decode(), **members}


def letter(raw: bytes) -> EmailMessage:
    """What the standard library reads, after what must hold of every message that leaves."""
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    found = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    assert [part.defects for part in found.walk() if part.defects] == []
    assert found["Bcc"] is None
    return found


def read(part: EmailMessage) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


# -- accepted --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "echo"),
    [
        ({}, {"to": ["ana@one.test"], "cc": [], "bcc": []}),
        ({"to": ["ana@one.test", "bo@one.test"]}, {"to": ["ana@one.test", "bo@one.test"]}),
        ({"cc": "bo@one.test"}, {"cc": ["bo@one.test"]}),
        ({"cc": ["bo@one.test"], "bcc": ["cy@one.test"]}, {"cc": ["bo@one.test"], "bcc": ["cy@one.test"]}),
        ({"to": people(20), "cc": ["cc@one.test"] * 10, "bcc": ["bcc@one.test"] * 20}, {"to": people(20)}),
        ({"from": "News@SHARED.example"}, {"from": "News@shared.example"}),
        ({"from_name": "Ünï Code, Inc."}, {"from": "news@shared.example"}),
        ({"to": "ana@BÜCHER.test"}, {"to": ["ana@xn--bcher-kva.test"]}),
        ({"subject": "Grüße"}, {"subject": "Grüße"}),
        ({"html": "<p>Hi</p>", "text": None}, {"subject": "Hi"}),
        ({"reply_to": "help@elsewhere.test"}, {}),
        ({"attachments": [file()]}, {}),
        ({"headers": {"X-Order": "7"}}, {}),
        ({"to": "ana@simulator.amazonses.com"}, {}),
        ({"something_of_tomorrow": 1}, {}),
    ],
)
def test_what_is_taken_is_echoed(world: World, members: dict[str, Any], echo: dict[str, Any]) -> None:
    answer = world.call("POST", "/api/v1/emails", given(**members))
    assert answer.status == 202, answer.body
    assert re.fullmatch(r"[0-9a-f]{24}", answer.json["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer.json["created_at"])
    assert {name: answer.json[name] for name in echo} == echo
    assert {"id", "from", "to", "cc", "bcc", "subject", "created_at"} <= answer.json.keys()
    assert answer.headers["cache-control"] == "no-store"


def test_a_send_only_key_sends_and_no_more(world: World) -> None:
    accepted = world.call("POST", "/api/v1/emails", MINIMAL, key=world.send_only)
    assert accepted.status == 202
    refused = world.call("GET", f"/api/v1/emails/{accepted.json['id']}", key=world.send_only)
    assert (refused.status, refused.json["error"], refused.json["reason"]) == (403, "forbidden", "forbidden")


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "status", "error", "reason", "faults"),
    [
        ({"from": None}, 400, "bad_request", "bad_request", ["from"]),
        ({"to": None}, 400, "bad_request", "bad_request", ["to"]),
        ({"subject": None}, 400, "bad_request", "bad_request", ["subject"]),
        ({"text": None}, 400, "bad_request", "bad_request", ["text"]),
        (dict.fromkeys(MINIMAL), 400, "bad_request", "bad_request", ["to", "subject", "from", "text"]),
        ({"to": []}, 400, "bad_request", "bad_request", ["to"]),
        ({"to": ""}, 400, "bad_request", "bad_request", ["to.0"]),
        ({"subject": ""}, 400, "bad_request", "bad_request", ["subject"]),
        ({"subject": 7, "text": 7}, 400, "bad_request", "bad_request", ["subject", "text"]),
        ({"to": {"a": 1}, "cc": 7}, 400, "bad_request", "bad_request", ["to.0", "cc"]),
        ({"to": [7, "ana"]}, 400, "bad_request", "bad_request", ["to.0", "to.1"]),
        ({"to": "Ana <ana@one.test>"}, 400, "bad_request", "bad_request", ["to.0"]),
        ({"to": "jürgen@one.test"}, 400, "bad_request", "bad_request", ["to.0"]),
        ({"from": "a@b@shared.example"}, 400, "bad_request", "bad_request", ["from"]),
        ({"to": people(51)}, 400, "bad_request", "bad_request", ["to"]),
        ({"to": people(20), "cc": people(20), "bcc": people(11)}, 400, "bad_request", "bad_request", ["to"]),
        ({"reply_to": "nobody"}, 400, "bad_request", "bad_request", ["reply_to.0"]),
        ({"headers": {"Bcc": "x@one.test", "X Y": "1", "content-type": "a/b"}}, 400, "bad_request", "bad_request",
         ["headers.Bcc", "headers.X Y", "headers.content-type"]),
        ({"headers": {"X-A": 7}}, 400, "bad_request", "bad_request", ["headers.X-A"]),
        ({"headers": {"Sender": "x@one.test", "Message-ID": "<a@b>", "Received": "x"}}, 400, "bad_request",
         "bad_request", ["headers.Sender", "headers.Message-ID", "headers.Received"]),
        ({"attachments": [file(content="%%%")]}, 400, "bad_request", "bad_request", ["attachments.0.content"]),
        ({"attachments": [{}]}, 400, "bad_request", "bad_request", ["attachments.0.filename", "attachments.0.content"]),
        ({"attachments": [file(content_type="multipart/mixed")]}, 400, "bad_request", "bad_request",
         ["attachments.0.content_type"]),
        ({"attachments": [file(content_type="x")]}, 400, "bad_request", "bad_request", ["attachments.0.content_type"]),
        ({"attachments": [file((7 << 20) + 1)]}, 400, "bad_request", "bad_request", ["attachments.0.content"]),
        ({"attachments": [file(6 << 20)] * 2}, 400, "bad_request", "bad_request", ["attachments"]),
        ({"from": "news@nobody.example"}, 422, "unprocessable_entity", "domain_not_registered", []),
        ({"from": "news@sub.shared.example"}, 422, "unprocessable_entity", "domain_not_registered", []),
        ({"to": "Gone@ONE.test"}, 422, "recipient_suppressed", "recipient_suppressed", ["to"]),
        ({"bcc": "gone@one.test"}, 422, "recipient_suppressed", "recipient_suppressed", ["bcc"]),
        ({"to": "ana@no-mail.test"}, 422, "invalid_recipient", "invalid_recipient", ["to"]),
        ({"cc": "ana@null-mx.test"}, 422, "invalid_recipient", "invalid_recipient", ["cc"]),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(
    world: World, members: dict[str, Any], status: int, error: str, reason: str, faults: list[str]
) -> None:
    answer = world.call("POST", "/api/v1/emails", given(**members, to_be_sure="x"))
    assert (answer.status, answer.json["error"], answer.json["reason"]) == (status, error, reason), answer.body
    assert [fault["param"] for fault in answer.json.get("errors", [])] == faults
    assert all(fault["message"] in answer.json["message"] for fault in answer.json.get("errors", []))
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_several_bad_recipients_are_all_named(world: World) -> None:
    answer = world.call(
        "POST", "/api/v1/emails", given(to=["gone@one.test", "ok@one.test"], cc="x@no-mail.test", bcc="y@null-mx.test")
    )
    assert (answer.status, answer.json["reason"]) == (422, "recipient_suppressed")
    assert [fault["param"] for fault in answer.json["errors"]] == ["to", "cc", "bcc"]


def test_a_refusal_queues_nothing(world: World) -> None:
    world.call("POST", "/api/v1/emails", given(to=["before@one.test", "gone@one.test"]))
    world.call("POST", "/api/v1/emails", given(to="after@one.test"))
    world.sent_to("after@one.test")
    assert not [message for message in world.messages() if "before@one.test" in message["recipients"]]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer sk_live_wrong"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Basic {key}"}, 401),
        ({"Authorization": "{key}"}, 401),
        ({"Authorization": "Bearer {key}\xfc"}, 401),
        ({"Authorization": "bearer {key}"}, 202),
        ({"X-API-Key": "{key}"}, 202),
        ({"X-API-Key": "wrong"}, 401),
        ({"Authorization": "Bearer {key}", "X-API-Key": "{key}"}, 202),
        ({"Authorization": "Bearer wrong", "X-API-Key": "{key}"}, 401),
    ],
)
def test_credentials(world: World, headers: dict[str, str], status: int) -> None:
    filled = {name: value.format(key=world.key) for name, value in headers.items()}
    answer = world.call("POST", "/api/v1/emails", MINIMAL, key="", **filled)
    assert answer.status == status
    if status == 401:
        assert (answer.json["error"], answer.headers["www-authenticate"]) == ("unauthorized", "Bearer")
        assert world.key not in answer.body.decode()


def test_a_revoked_key_is_refused_soon(world: World) -> None:
    key = world.new_key(Permission.SEND_ONLY)
    wait_for(lambda: world.call("POST", "/api/v1/emails", {}, key=key).status == 400)
    with_database(world.settings, lambda db, _: keys.revoke(db, Actor("test"), api_key_prefix(key)))
    wait_for(lambda: world.call("POST", "/api/v1/emails", {}, key=key).status == 401, 5)


# -- what became of it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("domain", "mode"), [("shared.example", "shared"), ("byoc.example", "byoc")])
def test_a_message_can_be_looked_up(world: World, domain: str, mode: str) -> None:
    accepted = world.call(
        "POST", "/api/v1/emails", given(**{"from": f"news@{domain}"}, to="who@one.test", bcc=f"{mode}@one.test")
    )
    path = f"/api/v1/emails/{accepted.json['id']}"
    found = wait_for(lambda: (answer := world.call("GET", path)).json["status"] == "sent" and answer)
    [sent] = world.sent_to(f"{mode}@one.test")
    seen = found.json
    assert (found.status, seen["id"], seen["mode"]) == (200, accepted.json["id"], mode)
    assert seen["created_at"] == accepted.json["created_at"]
    assert seen["message_id"] == accepted.json["message_id"] == letter(sent["raw"])["Message-ID"]
    assert [each["status"] for each in seen["deliveries"]] == ["sent"]
    assert [each["ses_message_id"] for each in seen["deliveries"]] == [sent["id"]]
    assert [each["status"] for each in seen["recipients"]] == ["sent", "sent"]
    is_forgotten = mode == "byoc"  # design: privacy and retention
    assert seen["subject"] == (None if is_forgotten else "Hi")
    assert seen["from"] == (None if is_forgotten else f"news@{domain}")
    assert (seen["to"], seen["bcc"]) == (([None], [None]) if is_forgotten else (["who@one.test"], ["shared@one.test"]))
    assert bool(seen["content_destroyed_at"]) == is_forgotten


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/api/v1/emails/000000000000000000000000", 404, "not_found"),
        ("GET", "/api/v1/emails/%00", 400, "bad_request"),
        ("GET", "/api/v1/emails/'; drop table messages; --", 404, "not_found"),
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("PUT", "/api/v1/emails", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/emails", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)
def test_paths_and_methods(world: World, method: str, path: str, status: int, error: str) -> None:
    answer = world.call(method, path.replace(" ", "%20"))
    assert (answer.status, answer.json["error"], answer.json["reason"]) == (status, error, error)
    assert status != 405 or answer.headers["allow"]


def test_request_ids(world: World) -> None:
    assert world.call("GET", "/healthz", X_Request_Id="abc-1.2_3").headers["x-request-id"] == "abc-1.2_3"
    for odd in ("", "a b", "x" * 65, "a\xfc", "a\tb"):
        made = world.call("GET", "/healthz", X_Request_Id=odd).headers["x-request-id"]
        assert re.fullmatch(r"req_[0-9a-f]{16}", made)
    refused = world.call("POST", "/api/v1/emails", key="", X_Request_Id="mine")
    assert refused.json["request_id"] == refused.headers["x-request-id"] == "mine"


def test_health_readiness_and_metrics(world: World) -> None:
    assert (world.call("GET", "/healthz", key="").status, world.call("GET", "/readyz", key="").status) == (200, 200)
    assert world.call("GET", "/readyz", key="").json == {"status": "ready", "faults": {}}
    metrics = world.call("GET", "/metrics", key="")
    assert metrics.status == 200
    assert metrics.headers["content-type"].startswith("text/plain")
    assert b"relay_" in metrics.body


# -- what reaches SES ------------------------------------------------------------------------------------------------

TEXTS = [
    "Hi Ana",
    "",
    "no newline at the end",
    "Grüße, 日本, 🎉\n.\n..\nFrom here\n",
    "x" * 5000,
    "long " * 1000 + "\n" + "ü" * 2000,
    "--\n-- \n--boundary--\n=3D=\n trailing \t\n",
    "one\r\ntwo\nthree\rfour\n\n",
    "\t\x0b\x0c\x1b\x7f\x85\u2028",
]


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_texts_arrive_as_they_were_given(world: World, number: int) -> None:
    text, html = TEXTS[number], f"<p>{TEXTS[number]}</p>"
    for kind, body in (("text", {"html": None}), ("html", {"text": None, "html": html}), ("both", {"html": html})):
        to = f"{kind}{number}@one.test"
        answer = world.call("POST", "/api/v1/emails", given(**{"text": text, **body}, to=to))
        assert answer.status == 202, answer.body
        found = letter(world.sent_to(to)[0]["raw"])
        for subtype, given_text in (("plain", text if kind != "html" else None), ("html", body["html"])):
            part = found.get_body((subtype,))
            assert (part is None) == (given_text is None)
            if part is not None:
                lines = re.sub(r"\r\n|\r", "\n", given_text)
                assert read(part) == (lines if lines.endswith("\n") else lines + "\n")


def test_everything_at_once_arrives(world: World) -> None:
    files = [
        ("Grüße 日本.pdf", bytes(range(256)) * 40, "application/pdf"),
        ('we"ird\\; name=.txt', b"one\ntwo\r\n\0three\r", "text/plain"),
        ("x" * 255, b"", "application/octet-stream"),
        ("mail.eml", b"Subject: inner\n\nHi", "application/octet-stream"),
    ]
    attachments = [
        {"filename": name, "content": base64.b64encode(content).decode(), "content_type": kind}
        for name, content, kind in files
    ]
    answer = world.call(
        "POST",
        "/api/v1/emails",
        {
            "from": "news@byoc.example",
            "from_name": 'Ünï "Code", Inc.',
            "to": ["all@one.test", '"a b"@one.test'],
            "cc": ["copy@one.test", "all@one.test"],
            "bcc": "hidden@one.test",
            "reply_to": ["help@elsewhere.test", "desk@elsewhere.test"],
            "subject": "Grüße " * 40,
            "text": "Hi ü",
            "html": "<b>Hi ü</b>",
            "headers": {"X-Order": "Nr. ü7", "List-Unsubscribe": "<https://news.test/u>", "References": "<a@b> <c@d>"},
            "attachments": attachments,
        },
    )
    assert answer.status == 202, answer.body
    # It says that it is bulk mail, so each recipient has a call (design: grouping).
    raws = {
        world.sent_to(to)[0]["raw"] for to in ("all@one.test", '"a b"@one.test', "copy@one.test", "hidden@one.test")
    }
    [raw] = raws
    assert b"hidden@one.test" not in raw
    found = letter(raw)
    [author] = found["From"].addresses
    assert (author.display_name, author.addr_spec) == ('Ünï "Code", Inc.', "news@byoc.example")
    assert [each.addr_spec for each in found["To"].addresses] == ["all@one.test", '"a b"@one.test']
    assert [each.addr_spec for each in found["Cc"].addresses] == ["copy@one.test", "all@one.test"]
    assert [each.addr_spec for each in found["Reply-To"].addresses] == ["help@elsewhere.test", "desk@elsewhere.test"]
    assert found["Subject"] == "Grüße " * 40
    assert (found["X-Order"], found["References"]) == ("Nr. ü7", "<a@b> <c@d>")
    assert read(found.get_body(("plain",))) == "Hi ü\n"
    assert read(found.get_body(("html",))) == "<b>Hi ü</b>\n"
    arrived = [
        (part.get_filename(), part.get_payload(decode=True), part.get_content_type())
        for part in found.iter_attachments()
    ]
    assert arrived == files


# aiohttp warns of what aiobotocore does with every body over 1 MB.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_the_largest_files_are_taken(world: World) -> None:
    attachments = [file(7 << 20, filename="a.bin"), file(3 << 20, filename="b.bin")]
    assert world.call("POST", "/api/v1/emails", given(to="big@one.test", attachments=attachments)).status == 202
    [sent] = world.sent_to("big@one.test")
    assert [len(part.get_content()) for part in letter(sent["raw"]).iter_attachments()] == [7 << 20, 3 << 20]
    world.forget_messages()


def test_headers_that_programs_read_stay_in_one_piece(world: World) -> None:
    given_headers = {
        "List-Unsubscribe": "<https://news.test/" + "u" * 200 + ">",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "In-Reply-To": "<" + "m" * 120 + "@news.test>",
        "References": " ".join(f"<{number}{'m' * 60}@news.test>" for number in range(40)),
    }
    assert world.call("POST", "/api/v1/emails", given(to="machine@one.test", headers=given_headers)).status == 202
    found = email.message_from_bytes(world.sent_to("machine@one.test")[0]["raw"])
    assert {name: found[name].replace("\r\n", "") for name in given_headers} == given_headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v1/nowhere", 404), ("PUT", "/api/v1/emails", 405), ("GET", "/api/v1/domains", 401)],
)
def test_every_answer_of_the_api_says_how_many_requests_are_left(
    world: World, method: str, path: str, status: int
) -> None:
    answer = world.call(method, path, key="")
    assert answer.status == status
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= answer.headers.keys()
    assert "x-ratelimit-limit" not in world.call("GET", "/healthz", key="").headers
