"""Whole messages over HTTP: sent as they are, to whom their header or the query names."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Problem
from relay.http.emails.raw import addressees_of, subject_of
from relay.message import Field
from relay.routing.headers import HeaderField
from tests.support import Answer, World, wait_for

HEADER = b"From: News <news@shared.example>\r\nTo: Ana <ana@one.test>\r\nSubject: Hi\r\n"
MESSAGE = HEADER + b"\r\nHi Ana\r\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("raw")) as world:
        world.suppress("gone@one.test")
        wait_for(lambda: post(world, MESSAGE, "gone@one.test").status == 422)
        yield world


def post(world: World, message: bytes, *recipients: str, **headers: str) -> Answer:
    query = urlencode([("recipient", each) for each in recipients])
    return world.call("POST", f"/api/v1/emails?{query}", message, Content_Type="message/rfc822", **headers)


# -- stories ---------------------------------------------------------------------------------------------------------


def test_a_message_is_sent_as_it_is(world: World) -> None:
    body = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nX-Odd:  two  spaces\t\r\n\r\nGr\xc3\xbc\xc3\x9fe \r\n"
    message = (
        b'From: News <news@shared.example>\r\nTo: Ana <to@one.test>,\r\n "B, o" <to2@one.test>\r\n'
        b"Cc: undisclosed-recipients:;, Team: cc@one.test;\r\nBcc: bcc@one.test\r\n"
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" + body
    )
    answer = post(world, message)
    assert answer.status == 202, answer.body
    told = answer.json
    assert (told["from"], told["to"]) == ("news@shared.example", ["to@one.test", "to2@one.test"])
    assert (told["cc"], told["bcc"], told["subject"]) == (["cc@one.test"], ["bcc@one.test"], "Grüße")
    assert (told["mode"], told["message_id"]) == ("shared", f"<{told['id']}@shared.example>")
    [sent] = world.sent_to("bcc@one.test")
    assert set(sent["recipients"]) == {"to@one.test", "to2@one.test", "cc@one.test", "bcc@one.test"}
    assert sent["raw"].endswith(body)
    assert b"bcc@one.test" not in sent["raw"]
    assert email.message_from_bytes(sent["raw"])["Received"].startswith("by relay.test with HTTP id")
    seen = world.call("GET", f"/api/v1/emails/{told['id']}").json
    assert (seen["subject"], seen["to"], seen["bcc"]) == ("Grüße", ["to@one.test", "to2@one.test"], ["bcc@one.test"])


def test_recipients_of_the_query_go_before_those_of_the_header(world: World) -> None:
    message = HEADER.replace(b"ana@", b"shown@") + b"Cc: and more\r\n\r\nx\r\n"
    answer = post(world, message, "other@one.test", "shown@one.test", "Other@ONE.test", "other@one.test")
    assert answer.status == 202, answer.body
    assert (answer.json["to"], answer.json["cc"]) == (["shown@one.test"], [])
    assert answer.json["bcc"] == ["other@one.test", "Other@one.test"]
    [sent] = world.sent_to("other@one.test")
    assert sorted(sent["recipients"]) == ["Other@one.test", "other@one.test", "shown@one.test"]


def test_options_in_the_header_count(world: World) -> None:
    answer = post(world, HEADER.replace(b"ana@", b"opt@") + b"X-Relay-Tag: welcome\r\nX-Relay-Stream: shared\r\n\r\nx")
    seen = world.call("GET", f"/api/v1/emails/{answer.json['id']}").json
    assert (seen["tag"], seen["stream"]) == ("welcome", "shared")
    assert b"X-Relay" not in world.sent_to("opt@one.test")[0]["raw"]


def test_newlines_are_mended(world: World) -> None:
    assert post(world, MESSAGE.replace(b"ana@", b"unix@").replace(b"\r\n", b"\n")).status == 202
    raw = world.sent_to("unix@one.test")[0]["raw"]
    assert raw.count(b"\n") == raw.count(b"\r\n")


# aiohttp warns of what aiobotocore does with every body over 1 MB.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_large_messages(world: World) -> None:
    most = (b"x" * 98 + b"\r\n") * 390_000
    assert post(world, HEADER.replace(b"ana@", b"large@") + b"\r\n" + most).status == 202
    assert world.sent_to("large@one.test")[0]["raw"].endswith(most)
    world.forget_messages()
    answer = post(world, MESSAGE + most + b"x" * (4 << 20))
    assert (answer.status, answer.json["reason"]) == (413, "too_large")


def test_a_key_in_the_request_counts_once(world: World) -> None:
    message = MESSAGE.replace(b"ana@", b"once@")
    first = post(world, message, Idempotency_Key="raw")
    again = post(world, message, Idempotency_Key="raw")
    assert (first.status, again.status) == (202, 202)
    assert again.json == first.json
    for other in (post(world, message + b"x", Idempotency_Key="raw"),
                  post(world, message, "else@one.test", Idempotency_Key="raw")):  # fmt: skip
        assert (other.status, other.json["reason"]) == (409, "idempotency_conflict")
    assert post(world, MESSAGE, "gone@one.test", Idempotency_Key="free").status == 422
    assert post(world, MESSAGE, Idempotency_Key="free").status == 202
    world.sent_to("once@one.test")


def test_a_key_in_the_header_counts_once(world: World) -> None:
    message = HEADER.replace(b"ana@", b"once2@") + b"X-Relay-Idempotency-Key: k\r\n\r\nx"
    first, again = post(world, message), post(world, message)
    assert first.json["id"] == again.json["id"]
    world.sent_to("once2@one.test")


def test_a_rehearsal_checks_and_sends_nothing(world: World) -> None:
    def rehearsed(message: bytes, **query: str) -> Answer:
        path = f"/api/v1/emails?{urlencode({'dry_run': 'true', **query})}"
        return world.call("POST", path, message, Content_Type="message/rfc822")

    answer = rehearsed(MESSAGE.replace(b"ana@", b"dry@"))
    assert (answer.status, answer.json["dry_run"], answer.json["mode"]) == (200, True, "shared")
    assert (answer.json["id"], answer.json["message_id"], answer.json["to"]) == (None, None, ["dry@one.test"])
    assert rehearsed(MESSAGE, recipient="gone@one.test").status == 422
    assert rehearsed(HEADER + HEADER[-13:] + b"\r\nx").status == 400
    assert rehearsed(MESSAGE, dry_run="maybe").json["param"] == "dry_run"
    assert rehearsed(MESSAGE.replace(b"ana@", b"wet@"), dry_run="false").status == 202
    world.sent_to("wet@one.test")
    assert not [message for message in world.messages() if "dry@one.test" in message["recipients"]]


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "recipients", "status", "reason", "param"),
    [
        (b"", [], 400, "bad_request", None),
        (b"x", [], 400, "bad_request", None),
        (b"\xff\0", [], 400, "bad_request", None),
        (MESSAGE.replace(b"From", b"Form"), [], 400, "bad_request", None),
        (b"From: a@shared.example\r\n" + MESSAGE, [], 400, "bad_request", None),
        (MESSAGE.replace(b"news@shared", b"news@nobody"), [], 422, "domain_not_registered", None),
        (MESSAGE.replace(b"To: ", b"X-To: "), [], 400, "bad_request", "recipient"),
        (MESSAGE.replace(b"Ana <ana@one.test>", b"undisclosed-recipients:;"), [], 400, "bad_request", "recipient"),
        (MESSAGE.replace(b"Ana <ana@one.test>", b"Ana"), [], 400, "bad_address", None),
        (MESSAGE.replace(b"Ana <", b"Ana, <"), [], 400, "bad_address", None),
        (MESSAGE.replace(b"Ana <ana@one.test>", b", ".join(b"p%d@one.test" % n for n in range(51))), [], 400,
         "bad_request", "to"),
        (MESSAGE, [f"p{n}@one.test" for n in range(51)], 400, "bad_request", "to"),
        (MESSAGE, ["nobody"], 400, "bad_address", None),
        (MESSAGE, ["Ana <ana@one.test>"], 400, "bad_address", None),
        (MESSAGE, ["ana@one.test\r\n"], 202, None, None),
        (MESSAGE, ["gone@one.test"], 422, "recipient_suppressed", "bcc"),
        (MESSAGE.replace(b"ana@", b"gone@"), [], 422, "recipient_suppressed", "to"),
        (HEADER + b"X-Relay-Tag: two words\r\n\r\nx", [], 400, "bad_request", "x-relay-tag"),
        (HEADER + HEADER[-13:] + b"\r\nx", [], 400, "bad_request", "subject"),
        (b"X: " + b"x" * (300 << 10) + b"\r\n" + MESSAGE, [], 400, "bad_request", None),
        (MESSAGE.replace(b"<ana@", b"<" + b"a" * (33 << 10) + b"@"), [], 400, "bad_request", "to"),
    ],
)  # fmt: skip
def test_refused(
    world: World, message: bytes, recipients: list[str], status: int, reason: str | None, param: str | None
) -> None:
    answer = post(world, message, *recipients)
    assert (answer.status, answer.json.get("reason"), answer.json.get("param")) == (status, reason, param), answer.body


def test_who_may(world: World) -> None:
    assert post(world, MESSAGE, Authorization="Bearer wrong").status == 401
    assert post(world, MESSAGE, Content_Encoding="gzip").status == 415


# -- tables ----------------------------------------------------------------------------------------------------------


def fields(**values: bytes) -> list[HeaderField]:
    return [HeaderField(name, name.encode() + b": " + value + b"\r\n") for name, value in values.items()]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ({"to": b"a@b.test"}, [("a@b.test", "to")]),
        ({"to": b"a@b.test, a@b.test", "cc": b"a@b.test"}, [("a@b.test", "to")]),
        ({"bcc": b"A <a@b.test>", "to": b"c@d.test"}, [("c@d.test", "to"), ("a@b.test", "bcc")]),
        ({"to": b'"a, b: c;" <a@b.test> (x, y)'}, [("a@b.test", "to")]),
        (
            {"to": b"G: a@b.test, B <c@d.test>;, e@f.test"},
            [(each, "to") for each in ("a@b.test", "c@d.test", "e@f.test")],
        ),
        ({"to": b"=?utf-8?q?a=2Cb?= <a@b.test>,,"}, [("a@b.test", "to")]),
        ({"to": "Jürgen <j@xn--bcher-kva.test>".encode()}, [("j@xn--bcher-kva.test", "to")]),
    ],
)
def test_whom_a_header_names(header: dict[str, bytes], found: list[tuple[str, str]]) -> None:
    assert [(str(each.address), each.field.value) for each in addressees_of(fields(**header), [])] == found


@pytest.mark.parametrize(
    "value",
    [
        b"<a@b.test",
        b'"a <a@b.test>',
        b"a@b.test c@d.test",
        b"a@b.test <c@d.test>",
        b"a\x01@b.test",
        b"=?utf-8?q?a@b.test?=",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(value: bytes) -> None:
    with pytest.raises(Problem):
        addressees_of(fields(to=value), [])


@given(st.binary(max_size=200).filter(lambda value: b"\n" not in value), st.lists(st.text(max_size=10), max_size=2))
def test_any_header_names_somebody_or_is_refused(value: bytes, wanted: list[str]) -> None:
    try:
        assert all(each.field in Field for each in addressees_of(fields(to=value), wanted))
    except Problem as problem:
        assert problem.detail.isprintable()


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        (b"Hi", "Hi"),
        (b"=?utf-8?b?w7w=?= =?latin-1?q?=FC?= x", "üü x"),
        ("Grüße".encode(), "Grüße"),
        (b"\xff", ""),
        (b"=?nothing?q?x?=", ""),
        (b"=?utf-8?b?A?=", ""),
        (b"=?utf-8?q?=00?=", ""),
        (b"x" * 5000, ""),
        (b"", ""),
    ],
)
def test_subjects(value: bytes, subject: str) -> None:
    assert subject_of(fields(subject=value)) == subject


@given(st.binary(max_size=100))
def test_any_subject_can_be_told_and_stored(value: bytes) -> None:
    found: Any = subject_of(fields(subject=value.replace(b"\n", b"")))
    assert "\0" not in found.encode("utf-8").decode()
