"""MailerLogic's contract as tables: each field, each limit at it and one over, each error row, each header."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.http.dialects import mailerlogic_fields
from relay.http.dialects.dialect import Asked
from relay.http.dialects.mailerlogic import refuse
from tests.contracts.scene import (
    BYOC,
    GONE,
    NO_MX,
    NULL_MX,
    SHARED,
    Scene,
    tree,
    without,
)
from tests.support import Answer

SEND, BATCH = "/api/v1/send", "/api/v1/batch"
AUTHOR = f"hello@{BYOC}"
MINIMAL = {"from": AUTHOR, "to": "ana@one.test", "subject": "Order 9", "text": "Thanks"}
MB = 1 << 20
INVITE = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"


def given(**members: Any) -> dict[str, Any]:
    """The smallest good mail with members replaced, or left out where they are ...; `author` is its `from`."""
    renamed = {"from" if name == "author" else name: value for name, value in members.items()}
    return {name: value for name, value in {**MINIMAL, **renamed}.items() if value is not ...}


def sent(scene: Scene, *, key: str = "send_only", path: str = SEND, **members: Any) -> Answer:
    return scene.call("POST", path, given(**members), key=key)


def batched(scene: Scene, *mails: Any, key: str = "send_only", **more: str) -> Answer:
    return scene.call("POST", BATCH, {"emails": list(mails)}, key=key, **more)


def file(size: int = 5, **members: Any) -> dict[str, Any]:
    whole = {"filename": "a.bin", "content": base64.b64encode(b"x" * size).decode(), "contentType": "application/x-a"}
    return {name: value for name, value in {**whole, **members}.items() if value is not ...}


def people(count: int) -> list[str]:
    return [f"p{number}@one.test" for number in range(count)]


def content(part: Any) -> str:
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n")


def queued(scene: Scene, answer: Answer) -> Any:
    """The message as it was written down."""
    assert answer.status == 200, answer.body
    return scene.row(answer.json["email_id"])


# -- accepted: contract 3 and 4 --------------------------------------------------------------------------------------


def test_a_mail_is_accepted(scene: Scene) -> None:
    answer = sent(scene, to="smallest@one.test")
    assert answer.status == 200
    email_id = str(UUID(answer.json["email_id"]))
    assert without(answer.json, "submitted_at") == {
        "to": "smallest@one.test",
        "message_id": f"<{email_id}@{BYOC}>",
        "email_id": email_id,
        "status": "queued",
        "message": "Queued",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer.json["submitted_at"])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= answer.headers.keys()
    mail = scene.mail_to("smallest@one.test")
    assert mail["Message-ID"] == answer.json["message_id"]
    assert (mail["From"], mail["To"], mail["Subject"]) == (AUTHOR, "smallest@one.test", "Order 9")
    assert (tree(mail), content(mail)) == ("text/plain", "Thanks")


def test_every_field_is_in_the_mail_or_kept_beside_it(scene: Scene) -> None:
    answer = sent(
        scene,
        author=f"hello@{SHARED}",
        domain=SHARED,
        to="whole@one.test",
        cc=["copy@one.test", "copy2@one.test"],
        bcc=["hidden@one.test"],
        html="<p>Thanks {{name}}</p>",
        text="Thanks {{name}}",
        reply_to="help@elsewhere.test",
        headers={"X-Order": "9", "X-Facts": '{"a": [1, "ü"]}', "Reply-To": "other@elsewhere.test"},
        tag="orders",
        stream_type="transactional",
        metadata={"order": "secret-9"},
        track_opens=False,
        track_clicks=False,
        attachments=[file(filename="Rechnung ü.pdf", contentType="application/pdf", encoding="base64")],
        icalEvent=INVITE,
    )
    assert answer.status == 200, answer.body
    raw = scene.raw_to("whole@one.test")
    mail = scene.mail_to("whole@one.test")
    assert (mail["Cc"], mail["Bcc"]) == ("copy@one.test, copy2@one.test", None)
    assert (mail["Reply-To"], mail["X-Order"], mail["X-Facts"]) == ("help@elsewhere.test", "9", '{"a": [1, "ü"]}')
    assert raw.count(b"\r\nReply-To:") == 1
    assert b"hidden@one.test" not in raw
    assert b"secret-9" not in raw
    assert b"orders" not in raw
    assert content(mail.get_body(("plain",))) == "Thanks {{name}}"
    assert content(mail.get_body(("html",))) == "<p>Thanks {{name}}</p>"
    files = {part.get_filename(): part.get_payload(decode=True) for part in mail.iter_attachments()}
    assert files["Rechnung ü.pdf"] == b"xxxxx"
    assert tree(mail)[:2] == ["multipart/mixed", ["multipart/alternative", "text/plain", "text/html", "text/calendar"]]
    assert {"invite.ics", "Rechnung ü.pdf"} == files.keys()
    calendar = next(part for part in mail.walk() if part.get_content_type() == "text/calendar")
    assert calendar.get_param("method") == "REQUEST"
    [message] = scene.world.sent_to("hidden@one.test")
    assert message["recipients"] == ["whole@one.test", "copy@one.test", "copy2@one.test", "hidden@one.test"]
    row = queued(scene, answer)
    assert (row["mode"], row["stream"], row["tag"]) == ("shared", "transactional", "orders")
    assert (row["track_opens"], row["track_clicks"]) == (False, False)
    assert json.loads(row["metadata"]) == {"order": "secret-9"}


@pytest.mark.parametrize(
    ("stream_type", "stream"),
    [
        (..., "shared"),
        (None, "shared"),
        ("shared", "shared"),
        ("transactional", "transactional"),
        ("broadcast", "broadcast"),
    ],
)
def test_the_stream_is_shared_unless_it_says_otherwise(scene: Scene, stream_type: Any, stream: str) -> None:
    assert queued(scene, sent(scene, stream_type=stream_type))["stream"] == stream


@pytest.mark.parametrize(
    "members",
    [
        {"text": ..., "html": "<p>Thanks</p>"},
        {"subject": "s" * 998},
        {"cc": people(25), "bcc": people(24)},
        {"cc": people(49)},
        {"cc": [], "bcc": None, "html": None, "headers": None, "attachments": None, "metadata": None, "tag": None},
        {"tag": "t" * 64},
        {"metadata": {f"name{number}": "v" for number in range(50)}},
        {"metadata": {"n" * 64: "v" * 500}},
        {"metadata": {"number": 7, "yes": True, "nothing": None, "deep": {"a": [1, 2]}}},
        {"headers": {f"X-{number}": "v" for number in range(100)}},
        {"headers": {}},
        {"headers": {"Reply-To": "Help <help@elsewhere.test>"}},
        {"track_opens": None, "track_clicks": None},
        {"icalEvent": INVITE},
        {"attachments": [file(filename="a" * 255)]},
        {"attachments": [file(0)]},
        {"anything": {"else": [1]}, "customer_id": "0b0f4a52-3c0e-4c9f-9b2c-1f0f3d9f7a10", "from_name": 7},
        {"to": "ana@BÜCHER.test"},
        {"author": f"x@{BYOC.upper()}", "domain": BYOC.upper()},
    ],
    ids=lambda members: str(members)[:40],
)
def test_what_is_within_the_limits_is_taken(scene: Scene, members: dict[str, Any]) -> None:
    answer = sent(scene, **members)
    assert (answer.status, answer.json.get("status")) == (200, "queued"), answer.body


def test_metadata_that_is_no_text_is_kept_as_json(scene: Scene) -> None:
    answer = sent(scene, author=f"a@{SHARED}", metadata={"n": 7, "yes": True, "deep": {"a": [1]}, "text": "7"})
    assert json.loads(queued(scene, answer)["metadata"]) == {"n": "7", "yes": "true", "deep": '{"a": [1]}', "text": "7"}


@pytest.mark.parametrize(
    ("headers", "reply_to"),
    [
        ({"Reply-To": "help@elsewhere.test"}, "help@elsewhere.test"),
        ({"reply-to": "Help Desk <help@elsewhere.test>, b@elsewhere.test"},
         "Help Desk <help@elsewhere.test>, b@elsewhere.test"),
        ({"REPLY-TO": "=?utf-8?q?J=C3=BCrgen?= <j@elsewhere.test>"}, "Jürgen <j@elsewhere.test>"),
        ({"Reply-To": "Jürgen <j@elsewhere.test>"}, "Jürgen <j@elsewhere.test>"),
    ],
)  # fmt: skip
def test_reply_to_may_stand_in_the_headers(scene: Scene, headers: dict[str, str], reply_to: str) -> None:
    to = f"reply{abs(hash(reply_to + next(iter(headers))))}@one.test"
    assert sent(scene, to=to, headers=headers).status == 200
    assert scene.mail_to(to)["Reply-To"] == reply_to


WORDS = st.sampled_from(
    ["=?", "?=", "utf-8", "?b?", "?q?", "4pyT", "=FF", "<", ">", '"', ",", "a@one.test", "\\", "(", ":"]
)


@hypothesis.given(st.one_of(st.text(), st.lists(WORDS).map("".join)))
@hypothesis.example("=?utf-16?b?2A==?= <a@one.test>")
@hypothesis.example("=?no-charset?q?a?= <a@one.test>")
def test_any_reply_to_is_read_or_refused(text: str) -> None:
    try:
        letter = mailerlogic_fields.read(MINIMAL | {"headers": {"Reply-To": text}})
    except Problem as problem:
        assert problem.kind is Kind.BAD_REQUEST
    else:
        assert letter.reply_to
        assert letter.headers == ()


@pytest.mark.parametrize(
    ("key", "members", "author"),
    [
        ("full", {"author": ..., "domain": SHARED}, f"noreply@{SHARED}"),
        ("full", {"author": ..., "domain": BYOC.upper()}, f"noreply@{BYOC}"),
        ("full", {"author": ...}, f"noreply@{BYOC}"),
        ("second-ready", {"author": ...}, "noreply@second-ready.example"),
        ("default-sender", {"author": ...}, "desk@default-sender.example"),
        ("default-sender", {"author": ..., "domain": "first-default-sender.example"},
         "noreply@first-default-sender.example"),
        ("default-sender", {"author": ..., "domain": "default-sender.example"}, "desk@default-sender.example"),
    ],
)  # fmt: skip
def test_whom_it_is_from_where_it_does_not_say(scene: Scene, key: str, members: dict[str, Any], author: str) -> None:
    to = f"from{abs(hash((key, str(members))))}@one.test"
    answer = sent(scene, key=key, to=to, **members)
    assert answer.status == 200, answer.body
    assert scene.mail_to(to)["From"] == author
    assert answer.json["message_id"].endswith(author.partition("@")[2] + ">")


# -- refused: contract 4 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"to": ...}, ["to: is required"]),
        ({"subject": ...}, ["subject: is required"]),
        ({"subject": ""}, ["subject: "]),
        ({"to": ..., "subject": ..., "text": ...}, ["to: is required", "subject: is required", "text or html missing"]),
        ({"text": ...}, ["text or html missing"]),
        ({"text": None, "html": None}, ["text or html missing"]),
        ({"to": "bad"}, ["to: "]),
        ({"to": ["ana@one.test"]}, ["to: "]),
        ({"to": "ana@one.test, bo@one.test"}, ["to: "]),
        ({"author": "Hello <hello@byoc.test.example>"}, ["from: "]),
        ({"author": "hello"}, ["from: "]),
        ({"domain": "not a domain"}, ["domain: "]),
        ({"domain": SHARED}, ["domain: is not the domain of"]),
        ({"reply_to": "help"}, ["reply_to: "]),
        ({"cc": "bo@one.test"}, ["cc: must be a list"]),
        ({"cc": ["bo"], "bcc": [7]}, ["cc.0: ", "bcc.0: "]),
        ({"cc": people(50)}, ["cc: to, cc and bcc have 51 recipients together"]),
        ({"cc": people(25), "bcc": people(25)}, ["51 recipients together"]),
        ({"cc": people(51), "bcc": people(51)}, ["cc: ", "bcc: ", "103 recipients together"]),
        ({"subject": "s" * 999}, ["subject: "]),
        ({"subject": "a\r\nBcc: x@one.test"}, ["subject: must be one line"]),
        ({"text": "a\0b"}, ["text: has a NUL"]),
        ({"html": "\ud800"}, ["html: has half of a surrogate pair"]),
        ({"track_opens": "yes", "track_clicks": 1}, ["track_opens: ", "track_clicks: "]),
        ({"tag": "t" * 65}, ["tag: "]),
        ({"tag": "two words"}, ["tag: "]),
        ({"stream_type": "marketing"}, ["stream_type: "]),
        ({"metadata": "x"}, ["metadata: "]),
        ({"metadata": {"n" * 65: "v"}}, ["metadata: "]),
        ({"metadata": {"n": "v" * 501}}, ["metadata: "]),
        ({"metadata": {f"n{number}": "v" for number in range(51)}}, ["metadata: "]),
        ({"headers": {"X-A": 7}}, ["headers.X-A: must be a string"]),
        ({"headers": {"X-A": "a\r\nBcc: x@one.test"}}, ["headers.X-A: must be one line"]),
        ({"headers": {"X A": "a"}}, ["headers.X A: "]),
        ({"headers": {"Bcc": "x@one.test", "From": "x@one.test"}}, ["headers.Bcc: ", "headers.From: "]),
        ({"headers": {"Reply-To": "nobody"}}, ["headers.Reply-To: "]),
        ({"headers": {"Reply-To": ""}}, ["headers.Reply-To: "]),
        ({"headers": {"Reply-To": "=?utf-8?b?YQ0KQmNjOiB4QG9uZS50ZXN0?= <a@one.test>"}}, ["character"]),
        ({"headers": {f"X-{number}": "v" for number in range(101)}}, ["headers: "]),
        ({"headers": "x"}, ["headers: "]),
        ({"icalEvent": "hello"}, ["icalEvent: "]),
        ({"attachments": [{}]}, ["attachments.0.filename: ", "attachments.0.content: ", "attachments.0.contentType: "]),
        ({"attachments": [file(contentType=..., content_type="a/b")]}, ["attachments.0.contentType: is required"]),
        ({"attachments": [file(contentType="x")]}, ["attachments.0.contentType: "]),
        ({"attachments": [file(content="%%%")]}, ["attachments.0.content: is not base64"]),
        ({"attachments": [file(encoding="hex")]}, ["attachments.0.encoding: "]),
        ({"attachments": [file(filename="a\nb")]}, ["attachments.0.filename: must be one line"]),
        ({"attachments": [file(filename="")]}, ["attachments.0.filename: "]),
        ({"attachments": [file(filename="a" * 256)]}, ["attachments.0.filename: "]),
        ({"attachments": [file()] * 101}, ["attachments: "]),
        ({"attachments": [file(10 * MB + 1)]}, ["attachments.0.content: is over 10 MB"]),
        ({"attachments": [file(9 * MB)] * 3}, ["attachments: are over 25 MB together"]),
        ({"attachments": [file(10 * MB), file(10 * MB), file(4 * MB)], "html": "x" * (MB + 1)},
         ["attachments: are over 25 MB together with the html"]),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_bad_fields(scene: Scene, members: dict[str, Any], words: list[str]) -> None:
    answer = sent(scene, **members)
    assert (answer.status, answer.json["error"]) == (400, "validation_error"), answer.body
    assert list(answer.json) == ["error", "message"]
    assert all(each in answer.json["message"] for each in words), answer.json


@pytest.mark.parametrize(
    "members",
    [
        {"cc": ["x"] * 100_000},
        {"attachments": [{}] * 100_000},
        {"headers": {f"X {number}": 7 for number in range(100_000)}},
        {"metadata": {f"n{number}": 7 for number in range(100_000)}},
    ],
    ids=["cc", "attachments", "headers", "metadata"],
)
def test_a_crowd_of_faults_is_not_told_one_by_one(scene: Scene, members: dict[str, Any]) -> None:
    answer = sent(scene, **members)
    assert (answer.status, answer.json["error"]) == (400, "validation_error")
    assert len(answer.body) < 20_000


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"to":"a","to":"b"}'])
@pytest.mark.parametrize("path", [SEND, BATCH])
def test_broken_json(scene: Scene, path: str, body: bytes) -> None:
    answer = scene.call("POST", path, body, key="send_only")
    assert (answer.status, list(answer.json), answer.json["error"]) == (400, ["error", "message"], "validation_error")


@pytest.mark.parametrize("key", ["full", "send_only", "scoped", "mailerlogic", "sendfleet", "sendex"])
@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_every_key_of_ours_is_good_in_either_header(scene: Scene, key: str, header: Any) -> None:
    for path in (SEND, "/mailerlogic/api/v1/send", "/mailerlogic/api/send"):
        answer = scene.call("POST", path, MINIMAL, key=key, header=header)
        assert (answer.status, answer.json.get("status")) == (200, "queued")


@pytest.mark.parametrize("key", ["", "revoked", "expired", "ml_live_wrong", "no key at all"])
def test_a_key_that_is_none_is_an_error_alone(scene: Scene, key: str) -> None:
    for path in (SEND, BATCH, "/api/batch", "/mailerlogic/api/v1/send", "/mailerlogic/api/send"):
        answer = scene.call("POST", path, {}, key=key)
        assert (answer.status, answer.json) == (401, {"error": "unauthorized"})


@pytest.mark.parametrize(
    ("key", "members", "status", "error"),
    [
        ("full", {"author": "a@nobodys.test"}, 403, "domain_not_verified"),
        ("full", {"author": "a@suspended.example"}, 403, "domain_not_verified"),
        ("full", {"author": "a@dkim.test.example"}, 403, "domain_not_verified"),
        ("full", {"author": ..., "domain": "claim.test.example"}, 403, "domain_not_verified"),
        ("full", {"author": "a@nobodys.test", "domain": BYOC}, 403, "domain_not_verified"),
        ("unready", {"author": ...}, 403, "domain_not_verified"),
        ("domainless", {"author": ...}, 403, "domain_not_verified"),
        ("full", {"author": ..., "domain": "nobodys.test"}, 404, "domain_not_found"),
        ("full", {"domain": "nobodys.test"}, 404, "domain_not_found"),
        ("full", {"author": ..., "domain": "suspended.example"}, 404, "domain_not_found"),
        ("suspended", {"author": "a@suspended.example"}, 403, "account_suspended"),
        ("suspended", {"author": ..., "domain": "nobodys.test"}, 403, "account_suspended"),
        ("unapproved", {"author": "a@unapproved.example"}, 403, "not_approved"),
        ("modeless", {"author": "a@modeless.example"}, 403, "forbidden"),
        ("scoped", {"author": f"a@{SHARED}"}, 403, "forbidden"),
        ("full", {"author": "a@transactional.test.example", "stream_type": "broadcast"}, 403, "forbidden"),
        ("full", {"to": GONE}, 403, "recipient_suppressed"),
        ("full", {"cc": [GONE.upper()]}, 403, "recipient_suppressed"),
        ("full", {"to": NO_MX}, 400, "invalid_recipient"),
        ("full", {"bcc": [NULL_MX]}, 400, "invalid_recipient"),
        ("spent", {"author": "a@spent.example"}, 429, "quota_exceeded"),
    ],
)
def test_refusals(scene: Scene, key: str, members: dict[str, Any], status: int, error: str) -> None:
    answer = sent(scene, key=key, **members)
    reason = {"reason": error} if status == 403 else {}
    assert (answer.status, without(answer.json, "message")) == (status, {"error": error} | reason)
    assert answer.json["message"]
    assert ("retry-after" in answer.headers) == (status == 429)


def test_six_hundred_a_minute_are_counted_for_a_whole_customer(scene: Scene) -> None:
    left = []
    for key, path in (("published-too", SEND), ("published-two", BATCH), ("published-too", "/api/batch")):
        answer = scene.call("POST", path, {}, key=key)
        assert (answer.status, answer.headers["x-ratelimit-limit"]) == (400, "600")
        left.append(int(answer.headers["x-ratelimit-remaining"]))
    assert left == [599, 598, 597]


def test_too_many_requests(scene: Scene) -> None:
    for _ in range(2):
        assert sent(scene, key="rated mailerlogic").status == 200
    over = sent(scene, key="rated mailerlogic")
    assert (over.status, list(over.json), over.json["error"]) == (429, ["error", "message"], "rate_limit_exceeded")
    assert (over.headers["x-ratelimit-limit"], over.headers["x-ratelimit-remaining"]) == ("2", "0")
    assert re.fullmatch(r"\d{10}", over.headers["x-ratelimit-reset"])
    assert 1 <= int(over.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "error"),
    [
        ("GET", SEND, {}, 405, "method_not_allowed"),
        ("GET", BATCH, {}, 405, "method_not_allowed"),
        ("DELETE", "/mailerlogic/api/send", {}, 405, "method_not_allowed"),
        ("POST", "/api/v1/bulk-send", {}, 404, "not_found"),
        ("POST", "/api/bulk-send", {}, 404, "not_found"),
        ("POST", "/mailerlogic/api/v1/bulk-send", {}, 404, "not_found"),
        ("GET", "/mailerlogic/api/v1/events/1", {}, 404, "not_found"),
        ("GET", "/mailerlogic/api/v1/domains", {}, 404, "not_found"),
        ("GET", "/mailerlogic", {}, 404, "not_found"),
        ("POST", SEND, {"Content-Type": "text/plain"}, 415, "unsupported_media"),
        ("POST", BATCH, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415, "unsupported_media"),
        ("POST", SEND, {"Content-Length": str(41 << 20)}, 413, "too_large"),
    ],
)
def test_what_is_no_route_of_its(
    scene: Scene, method: str, path: str, headers: dict[str, str], status: int, error: str
) -> None:
    answer = scene.call(method, path, b"{}" if method == "POST" else None, key="send_only", **headers)
    assert (answer.status, list(answer.json), answer.json["error"]) == (status, ["error", "message"], error)
    assert status != 405 or answer.headers["allow"] == "POST"


@pytest.mark.parametrize("kind", list(Kind))
def test_every_trouble_has_an_answer_of_its_form(kind: Kind) -> None:
    status, body = refuse(Problem(kind), Asked("r", ""))
    members = {401: ["error"], 403: ["error", "message", "reason"]}.get(status, ["error", "message"])
    assert list(body) == members
    assert status <= 500
    assert (status == 500) == (body["error"] == "internal_error")


# -- many: contract 5 ------------------------------------------------------------------------------------------------


def test_each_mail_of_a_batch_is_judged_alone(scene: Scene) -> None:
    answer = batched(
        scene,
        given(to="first@one.test"),
        given(to="bad"),
        given(to=GONE),
        given(to=7),
        given(author="a@nobodys.test"),
        given(author=..., domain="nobodys.test"),
        7,
        given(to="jürgen\ud800@one.test"),
        given(to="last@one.test", text=..., html="<p>b</p>", attachments=[file(contentType=...)], icalEvent=INVITE),
    )
    assert answer.status == 200
    assert (answer.json["total"], answer.json["queued"], answer.json["failed"]) == (9, 2, 7)
    results = answer.json["results"]
    assert [each["index"] for each in results] == list(range(9))
    assert [each["to"] for each in results] == [
        "first@one.test", "bad", GONE, "", "ana@one.test", "ana@one.test", "", "jürgen?@one.test", "last@one.test",
    ]  # fmt: skip
    for each, to in ((results[0], "first@one.test"), (results[8], "last@one.test")):
        assert without(each, "index", "to") == {
            "status": "queued",
            "email_id": str(UUID(each["email_id"])),
            "message_id": f"<{each['email_id']}@{BYOC}>",
        }
        assert scene.mail_to(to)["Message-ID"] == each["message_id"]
    assert [(each["status"], each["error"]) for each in results[1:8]] == [
        ("failed", "validation_error"),
        ("failed", "recipient_suppressed"),
        ("failed", "validation_error"),
        ("failed", "domain_not_verified"),
        ("failed", "domain_not_found"),
        ("failed", "validation_error"),
        ("failed", "validation_error"),
    ]
    assert all(each["message"] for each in results[1:8])
    assert results[2]["reason"] == "recipient_suppressed"


def test_a_batch_in_which_all_fail_is_answered_alike(scene: Scene) -> None:
    answer = batched(scene, {}, given(to=GONE))
    assert (answer.status, answer.json["total"], answer.json["queued"], answer.json["failed"]) == (200, 2, 0, 2)


def test_five_hundred_are_a_batch(scene: Scene) -> None:
    mails = [given(to=f"many{number}@one.test") for number in range(500)]
    answer = batched(scene, *mails)
    assert (answer.status, answer.json["queued"]) == (200, 500)
    assert len({each["email_id"] for each in answer.json["results"]}) == 500
    over = batched(scene, *mails, given())
    assert (over.status, over.json["error"]) == (400, "validation_error")
    assert not scene.was_sent_to("ana500@one.test")


@pytest.mark.parametrize("body", [{}, {"emails": []}, {"emails": {}}, {"emails": None}, {"emails": "x"}])
def test_a_batch_without_mails_is_refused(scene: Scene, body: dict[str, Any]) -> None:
    answer = scene.call("POST", BATCH, body, key="send_only")
    assert (answer.status, list(answer.json), answer.json["error"]) == (400, ["error", "message"], "validation_error")


def test_the_quota_ends_within_a_batch(scene: Scene) -> None:
    mails = [given(author="a@thrifty.example", to=f"thrifty{number}@one.test") for number in range(3)]
    answer = batched(scene, *mails, key="thrifty")
    assert [each["status"] for each in answer.json["results"]] == ["queued", "queued", "failed"]
    assert answer.json["results"][2]["error"] == "quota_exceeded"


def test_the_old_paths_with_what_they_required(scene: Scene) -> None:
    """v0: no `v1` in the paths, and a `customer_id` in a batch. An old key says whose `/api/send` it is."""
    for path in ("/api/batch", "/mailerlogic/api/batch", "/mailerlogic/api/v1/batch"):
        body = {"customer_id": "0b0f4a52-3c0e-4c9f-9b2c-1f0f3d9f7a10", "emails": [MINIMAL]}
        answer = scene.call("POST", path, body, key="mailerlogic")
        assert (answer.status, answer.json["queued"]) == (200, 1)
    single = sent(scene, key="mailerlogic", path="/api/send")
    assert (single.status, single.json["status"]) == (200, "queued")
    assert sent(scene, key="mailerlogic", path="/api/send", to=...).json["error"] == "validation_error"
    by_bearer = scene.call("POST", "/api/send", MINIMAL, key="mailerlogic", header="authorization")
    assert (by_bearer.status, by_bearer.json["status"]) == (200, "queued")
    wrong = sent(scene, key="ml_live_wrong", path="/api/send")
    assert (wrong.status, wrong.json) == (401, {"error": "unauthorized"})
    other = sent(scene, key="send_only", path="/api/send")
    assert (other.status, other.json) == (400, {"message": ["This field is required."]})


def test_what_comes_under_one_idempotency_key_is_sent_once(scene: Scene) -> None:
    mails = [given(to="once@one.test"), given(to="bad"), given(to=GONE)]
    first, again = (batched(scene, *mails, Idempotency_Key="orders 9") for _ in range(2))
    assert first.status == again.status == 200
    assert first.json == again.json
    other = batched(scene, *mails, given(), Idempotency_Key="orders 9")
    assert (other.status, other.json["error"]) == (409, "idempotency_conflict")
    single = given(to="once-alone@one.test")
    answers = [scene.call("POST", SEND, single, key="send_only", Idempotency_Key="orders 9") for _ in range(2)]
    assert answers[0].json == answers[1].json
    assert scene.call("POST", "/mailerlogic/api/send", single, key="send_only", Idempotency_Key="orders 9").json == (
        answers[0].json
    )
    scene.raw_to("once@one.test")
    scene.raw_to("once-alone@one.test")


# -- the largest: last, for whoever looks for a mail is told of all that were sent -------------------------------------


# aiohttp warns of what aiobotocore does with every body over 1 MB.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_files_of_twenty_five_megabytes_together_are_taken(scene: Scene) -> None:
    html = "<p>Thanks</p>".ljust(MB)
    files = [file(10 * MB, filename="a"), file(10 * MB, filename="b"), file(4 * MB, filename="c")]
    assert sent(scene, to="large@one.test", html=html, attachments=files).status == 200
    mail = scene.mail_to("large@one.test")
    assert [len(part.get_payload(decode=True)) for part in mail.iter_attachments()] == [10 * MB, 10 * MB, 4 * MB]
