"""The Sendmux contract as tables: what is asked, the status and envelope that answer, and what reaches SES."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st
from sendmux_sending.models.batch_send_success_response import BatchSendSuccessResponse
from sendmux_sending.models.connection_response import ConnectionResponse
from sendmux_sending.models.error_response import ErrorResponse
from sendmux_sending.models.send_success_response import SendSuccessResponse

from relay.errors import Kind, Problem
from relay.http.dialects.dialect import Asked
from relay.http.dialects.sendmux import SENDMUX, read, read_batch
from relay.http.dialects.sendmux_errors import refuse
from relay.http.dialects.sendmux_fields import LONGEST_BODY
from relay.http.dialects.sendmux_files import TYPES
from relay.message import public_id_of
from tests.contracts.scene import BYOC, GONE, NO_MX, NULL_MX, SHARED, Scene, tree
from tests.support import Answer, wait_for

SEND = "/api/v1/emails/send"
BATCH = "/api/v1/emails/send/batch"
MINIMAL: dict[str, Any] = {
    "from": {"email": f"shop@{BYOC}"},
    "to": {"email": "ana@one.test"},
    "subject": "Order 9",
    "html_body": "<p>Thanks</p>",
}
PDF = b"%PDF-1.7 and so on"
GROUP = "dgrp_marketing"


def given(**members: Any) -> dict[str, Any]:
    """The smallest good request with members replaced (`author` is `from`), or left out where None."""
    renamed = {"from" if name == "author" else name: value for name, value in members.items()}
    return {name: value for name, value in {**MINIMAL, **renamed}.items() if value is not None}


def person(address: str, **more: str) -> dict[str, str]:
    return {"email": address, **more}


def people(count: int, name: str = "p") -> list[dict[str, str]]:
    return [person(f"{name}{number}@one.test") for number in range(count)]


def file(filename: str = "a.pdf", content: bytes = PDF, **members: Any) -> dict[str, Any]:
    return {"filename": filename, "content": base64.b64encode(content).decode(), **members}


def post(scene: Scene, body: Any, path: str = SEND, key: str = "full", **more: str) -> Answer:
    return scene.call("POST", path, body, key=key, header="authorization", **more)


def refused(answer: Answer, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """The `error` of a refusal, after what must hold of every one (contract 3)."""
    body = answer.json
    assert (answer.status, body["error"]["code"]) == (status, code), body
    assert body.keys() == {"ok", "error", "meta"}
    assert body["ok"] is False
    assert body["meta"] == {"request_id": answer.headers["x-request-id"]}
    error: dict[str, Any] = body["error"]
    assert error.keys() <= {"code", "message", "retryable", "param", "doc_url", "errors"}
    assert error["message"]
    assert error["retryable"] is (status == 429 or status >= 500)
    assert error["doc_url"].endswith(f"/docs#{code}")
    assert error.get("param") == param
    if param is not None:
        assert error["errors"][0]["field"] == param
    assert all(each.keys() == {"field", "code", "message"} for each in error.get("errors", []))
    assert ErrorResponse.from_dict(body) is not None  # their own client reads it
    return error


# -- accepted --------------------------------------------------------------------------------------------------------

TAKEN: list[dict[str, Any]] = [
    {},
    {"author": person(f"shop@{BYOC}", name="Shop")},
    {"author": person(f"Shop@{BYOC.upper()}", name="x" * 100)},
    {"author": person(f"shop@{SHARED}")},
    {"to": person("ana@one.test", name="Ana Ünï")},
    {"to": person("ana@one.test", name="n" * 100)},
    {"to": person("a" * 64 + "@one.test")},
    {"subject": "x"},
    {"subject": "x" * 998},
    {"html_body": "x"},
    {"text_body": ""},
    {"text_body": "Thanks"},
    {"text_body": "x" * 200_000},
    {"reply_to": person("help@elsewhere.test", name="Help")},
    {"return_path": f"bounces@{BYOC}"},
    {"cc": [], "bcc": []},
    {"cc": people(49)},
    {"bcc": people(49)},
    {"cc": people(20, "c"), "bcc": people(29, "b")},
    {"cc": [person("bo@one.test", name="Bo")], "bcc": [person("cy@one.test", name="Cy")]},
    {"custom_headers": {}},
    {"custom_headers": {"X-Order": "9", "x-campaign": "v" * 500}},
    {"attachments": []},
    {"attachments": [file()]},
    {"attachments": [file(type="application/pdf", encoding="base64")]},
    {"attachments": [file(f"{number}.PDF") for number in range(10)]},
    {"attachments": [file("n" * 251 + ".txt", b"x")]},
]


@pytest.mark.parametrize("members", TAKEN)
def test_what_is_taken(scene: Scene, members: dict[str, Any]) -> None:
    answer = post(scene, given(**members))
    assert answer.status == 200, answer.body
    assert answer.json.keys() == {"ok", "data", "meta"}
    assert answer.json["ok"] is True
    assert answer.json["data"].keys() == {"message_id", "status"}
    assert re.fullmatch(r"eml_[a-z0-9]{24}", answer.json["data"]["message_id"])
    assert answer.json["data"]["status"] == "queued"
    assert answer.json["meta"] == {"request_id": answer.headers["x-request-id"]}
    assert SendSuccessResponse.from_dict(answer.json) is not None
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["cache-control"] == "no-store"
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= answer.headers.keys()
    assert answer.headers["content-type"] == "application/json"


def test_everything_arrives(scene: Scene) -> None:
    body = given(
        author=person(f"shop@{BYOC}", name='Ünï "Shop", Inc.'),
        to=person("all@one.test", name="Ana"),
        cc=[person("copy@one.test", name="Bo")],
        bcc=[person("hidden@one.test", name="Cy")],
        reply_to=person("help@elsewhere.test", name="Help"),
        subject="Grüße",
        html_body="<p>Hi {{name}} [DP_NAME]</p>",
        text_body="Hi",
        custom_headers={"X-Order": "9"},
        attachments=[file("Grüße.pdf"), file("a.csv", b"a;b"), file("b.txt", b"x", type="application/x-thing")],
    )
    answer = post(scene, body)
    raw = scene.raw_to("hidden@one.test")
    found = scene.mail_to("all@one.test")
    assert b"hidden@one.test" not in raw
    assert b"hidden" not in found.as_bytes()
    [author], [to], [cc], [reply_to] = (found[name].addresses for name in ("From", "To", "Cc", "Reply-To"))
    assert (author.display_name, author.addr_spec) == ('Ünï "Shop", Inc.', f"shop@{BYOC}")
    assert [(each.display_name, each.addr_spec) for each in (to, cc, reply_to)] == [
        ("Ana", "all@one.test"),
        ("Bo", "copy@one.test"),
        ("Help", "help@elsewhere.test"),
    ]
    assert (found["Subject"], found["X-Order"]) == ("Grüße", "9")
    leaves = ["multipart/alternative", "text/plain", "text/html"]
    assert tree(found) == ["multipart/mixed", leaves, "application/pdf", "text/csv", "application/x-thing"]
    assert [part.get_filename() for part in found.iter_attachments()] == ["Grüße.pdf", "a.csv", "b.txt"]
    public_id = public_id_of(answer.json["data"]["message_id"])
    assert found["Message-ID"] == f"<{public_id}@{BYOC}>"


@pytest.mark.parametrize("mount", ["", "/sendmux"])
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_mounts_and_credentials(scene: Scene, mount: str, header: Any) -> None:
    for key in ("full", "send_only", "scoped", "sendmux mailbox", "sendmux root", "sendex"):
        assert scene.call("POST", mount + SEND, MINIMAL, key=key, header=header).status == 200
    assert scene.call("POST", mount + BATCH, {"messages": [MINIMAL]}, header=header).status == 200


def test_a_body_needs_no_type(scene: Scene) -> None:
    octets = b'{"from":{"email":"shop@%b"},"to":{"email":"ana@one.test"},"subject":"s","html_body":"h"}' % BYOC.encode()
    assert post(scene, octets).status == 200


# -- refused: the body -----------------------------------------------------------------------------------------------

TYPE, STRING, SMALL, BIG, ENUM = "invalid_type", "invalid_string", "too_small", "too_big", "invalid_enum_value"
KEYS, CUSTOM = "unrecognized_keys", "custom"


@pytest.mark.parametrize(
    ("members", "issues"),
    [
        (dict.fromkeys(MINIMAL), [("from", TYPE), ("to", TYPE), ("subject", TYPE), ("html_body", TYPE)]),
        ({"to": person("nope"), "subject": "", "html_body": None},
         [("to.email", STRING), ("subject", SMALL), ("html_body", TYPE)]),
        ({"author": None}, [("from", TYPE)]),
        ({"author": f"shop@{BYOC}"}, [("from", TYPE)]),
        ({"author": {}}, [("from.email", TYPE)]),
        ({"author": person("nope")}, [("from.email", STRING)]),
        ({"author": person(f"jürgen@{BYOC}")}, [("from.email", STRING)]),
        ({"author": person(f"shop@{BYOC}", name="x" * 101)}, [("from.name", BIG)]),
        ({"author": person(f"shop@{BYOC}", name="a\r\nb")}, [("from.name", STRING)]),
        ({"author": person(f"shop@{BYOC}", nick="x")}, [("from.nick", KEYS)]),
        ({"to": [person("ana@one.test")]}, [("to", TYPE)]),
        ({"to": "ana@one.test"}, [("to", TYPE)]),
        ({"to": {"email": 7}}, [("to.email", STRING)]),
        ({"to": person("a" * 65 + "@one.test")}, [("to.email", STRING)]),
        ({"to": person("a@" + "b." * 125 + "test")}, [("to.email", STRING)]),
        ({"to": person("")}, [("to.email", STRING)]),
        ({"to": person("a\r\nb@one.test")}, [("to.email", STRING)]),
        ({"subject": ""}, [("subject", SMALL)]),
        ({"subject": "x" * 999}, [("subject", BIG)]),
        ({"subject": "a\nb"}, [("subject", STRING)]),
        ({"subject": "a\rb"}, [("subject", STRING)]),
        ({"subject": 7}, [("subject", TYPE)]),
        ({"html_body": ""}, [("html_body", SMALL)]),
        ({"html_body": 7}, [("html_body", TYPE)]),
        ({"html_body": "\0"}, [("html_body", STRING)]),
        ({"html_body": "\ud800"}, [("html_body", STRING)]),
        ({"text_body": 7}, [("text_body", TYPE)]),
        ({"reply_to": "x@one.test"}, [("reply_to", TYPE)]),
        ({"reply_to": person("x")}, [("reply_to.email", STRING)]),
        ({"return_path": "x"}, [("return_path", STRING)]),
        ({"return_path": "x" * 64 + "@" + "b." * 100 + "test"}, [("return_path", STRING)]),
        ({"cc": people(50)}, [("cc", BIG)]),
        ({"bcc": people(50)}, [("bcc", BIG)]),
        ({"cc": people(25, "c"), "bcc": people(25, "b")}, [("cc", BIG)]),
        ({"cc": person("a@one.test")}, [("cc", TYPE)]),
        ({"cc": [person("a@one.test"), "x"], "bcc": [person("x")]}, [("cc.1", TYPE), ("bcc.0.email", STRING)]),
        ({"custom_headers": {"X-A": "v" * 501}}, [("custom_headers.X-A", BIG)]),
        ({"custom_headers": {"X-A": "a\r\nBcc: x@one.test"}}, [("custom_headers.X-A", STRING)]),
        ({"custom_headers": {"X-A": 7}}, [("custom_headers.X-A", TYPE)]),
        ({"custom_headers": {"Reply-To": "a@one.test", "Subject": "b"}},
         [("custom_headers.Subject", CUSTOM), ("custom_headers.Reply-To", CUSTOM)]),
        ({"custom_headers": {"X-Sendmux-Delivery-Group": GROUP}},
         [("custom_headers.X-Sendmux-Delivery-Group", CUSTOM)]),
        ({"custom_headers": {"X-SES-Source-ARN": "x", "x-relay-tag": "y"}},
         [("custom_headers.X-SES-Source-ARN", CUSTOM), ("custom_headers.x-relay-tag", CUSTOM)]),
        ({"custom_headers": {"X-A": "1", "x-a": "2"}}, [("custom_headers.x-a", CUSTOM)]),
        ({"custom_headers": {"X A": "1"}}, [("custom_headers.X A", CUSTOM)]),
        ({"custom_headers": {f"X-{number}": "v" for number in range(101)}}, [("custom_headers", BIG)]),
        ({"custom_headers": []}, [("custom_headers", TYPE)]),
        ({"attachments": [file()] * 11}, [("attachments", BIG)]),
        ({"attachments": [{}]}, [("attachments.0.filename", TYPE), ("attachments.0.content", TYPE)]),
        ({"attachments": [file(""), file("n" * 252 + ".txt", b"x")]},
         [("attachments.0.filename", SMALL), ("attachments.1.filename", BIG)]),
        ({"attachments": [file("a.exe"), file("a.zip"), file("pdf"), file("a.pdf.js")]},
         [(f"attachments.{number}.filename", CUSTOM) for number in range(4)]),
        ({"attachments": [file(content=b"MZ")]}, [("attachments.0.content", CUSTOM)]),
        ({"attachments": [{"filename": "a.pdf", "content": "%%%"}]}, [("attachments.0.content", STRING)]),
        ({"attachments": [file(content=b"")]}, [("attachments.0.content", SMALL)]),
        ({"attachments": [file(type="pdf")]}, [("attachments.0.type", STRING)]),
        ({"attachments": [file(encoding="hex")]}, [("attachments.0.encoding", ENUM)]),
        ({"attachments": [file(contentType="a/b")]}, [("attachments.0.contentType", KEYS)]),
        ({"attachments": [{"attachment_id": "att_" + "a" * 24}]}, [("attachments.0.attachment_id", CUSTOM)]),
        ({"attachments": [{"attachment_id": "att_x"}]}, [("attachments.0.attachment_id", STRING)]),
        ({"attachments": [file(attachment_id="att_" + "a" * 24)]},
         [("attachments.0.attachment_id", CUSTOM), ("attachments.0.filename", KEYS), ("attachments.0.content", KEYS)]),
        ({"attachments": ["x"]}, [("attachments.0", TYPE)]),
        ({"idempotency_key": "x"}, [("idempotency_key", KEYS)]),
        ({"a\ud800": 1}, [("", CUSTOM)]),
        ({f"m{number}": 1 for number in range(100)}, [("", KEYS)]),
        ({"to": {f"m{number}": 1 for number in range(100)}}, [("to", KEYS)]),
        ({"subject": "", "delivery_group": "nope"}, [("subject", SMALL), ("delivery_group", STRING)]),
    ],
)  # fmt: skip
def test_a_body_that_breaks_the_schema(scene: Scene, members: dict[str, Any], issues: list[tuple[str, str]]) -> None:
    answer = post(scene, given(**members))
    error = refused(answer, 422, "validation_error", issues[0][0] or None)
    assert [(each["field"], each["code"]) for each in error["errors"]] == issues


def test_the_longest_bodies_are_taken_and_no_longer() -> None:
    longest = "x" * LONGEST_BODY
    assert read(given(html_body=longest, text_body=longest)).html == longest
    with pytest.raises(Problem) as caught:
        read(given(html_body=longest + "x", text_body=longest + "x"))
    assert [(each.path, each.code) for each in caught.value.faults] == [("html_body", BIG), ("text_body", BIG)]


@pytest.mark.parametrize(
    ("hint", "code"),
    [
        ("nope", "invalid_delivery_group"),
        ("", "invalid_delivery_group"),
        ([], "invalid_delivery_group"),
        (7, "invalid_delivery_group"),
        ([7], "invalid_delivery_group"),
        (["dgrp_a"] * 51, "invalid_delivery_group"),
        ("dgrp_" + "a" * 124, "invalid_delivery_group"),
        ("dgrp_A", "invalid_delivery_group"),
        (GROUP, "delivery_group_not_found"),
        ("dgrp_" + "a" * 123, "delivery_group_not_found"),
        (["dgrp_a"] * 50, "delivery_group_not_found"),
    ],
)
def test_routing_hints(scene: Scene, hint: Any, code: str) -> None:
    refused(post(scene, given(delivery_group=hint)), 422, code, "delivery_group")


@pytest.mark.parametrize(
    "octets",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}{}", b"\xff", b'{"a":NaN}', b'{"to":1,"to":2}', b"[" * 30 + b"]" * 30],
)
def test_a_body_that_is_no_json_object(scene: Scene, octets: bytes) -> None:
    refused(post(scene, octets), 400, "invalid_parameter")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content_Type": "text/plain"}, 415, "unsupported_media"),
        ({"Content_Encoding": "gzip"}, 415, "unsupported_media"),
        ({"Idempotency_Key": "x" * 256}, 400, "invalid_parameter"),
        ({"Idempotency_Key": ""}, 400, "invalid_parameter"),
        ({"Idempotency_Key": "a\tb"}, 400, "invalid_parameter"),
    ],
)
def test_headers_that_are_not_taken(scene: Scene, headers: dict[str, str], status: int, code: str) -> None:
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    refused(post(scene, MINIMAL, **renamed), status, code)


# -- refused: the rest -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "revoked", "expired", "smx_mbx_nobody", "no key at all"])
@pytest.mark.parametrize(("method", "path"), [("POST", SEND), ("POST", BATCH), ("GET", "/api/v1/me")])
def test_without_a_good_key(scene: Scene, key: str, method: str, path: str) -> None:
    body = MINIMAL if method == "POST" else None
    refused(scene.call(method, path, body, key=key, header="authorization"), 401, "authentication_required")


@pytest.mark.parametrize(
    ("key", "members", "status", "code", "param"),
    [
        ("suspended", {"author": person("a@suspended.example")}, 403, "billing_restricted", None),
        ("unapproved", {"author": person("a@unapproved.example")}, 403, "insufficient_permissions", None),
        ("modeless", {"author": person("a@modeless.example")}, 403, "insufficient_permissions", None),
        ("scoped", {"author": person(f"a@{SHARED}")}, 403, "insufficient_permissions", None),
        ("full", {"author": person("a@nobody.example")}, 404, "not_found", None),
        ("full", {"author": person("a@suspended.example")}, 404, "not_found", None),
        ("full", {"return_path": "a@nobody.example"}, 404, "not_found", None),
        ("full", {"author": person("a@dkim.test.example")}, 403, "insufficient_permissions", None),
        ("full", {"author": person("a@claim.test.example")}, 403, "insufficient_permissions", None),
        ("full", {"to": person(GONE)}, 422, "validation_error", "to.email"),
        ("full", {"cc": [person(GONE)]}, 422, "validation_error", "cc"),
        ("full", {"bcc": [person(GONE)]}, 422, "validation_error", "bcc"),
        ("full", {"to": person(NO_MX)}, 422, "validation_error", "to.email"),
        ("full", {"to": person(NULL_MX)}, 422, "validation_error", "to.email"),
        ("spent", {"author": person("a@spent.example")}, 402, "insufficient_credits", None),
    ],
)
def test_what_may_not_be_sent(
    scene: Scene, key: str, members: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    refused(post(scene, given(**members), key=key), status, code, param)
    batch = post(scene, {"messages": [given(**members)]}, BATCH, key).json
    told = batch.get("error") or batch["data"]["results"][0]["error"]
    assert told["code"] == code


# aiohttp warns of what aiobotocore does with every body over 1 MB.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_what_is_too_large(scene: Scene) -> None:
    """25 MB are the most as sent, where a file is a third larger than it is."""
    fitting, large = (file("a.txt", b"x" * size) for size in (18 << 20, 19 << 20))
    assert post(scene, given(attachments=[fitting], to=person("large@one.test"))).status == 200
    refused(post(scene, given(attachments=[large])), 413, "payload_too_large")
    assert scene.raw_to("large@one.test")


def test_a_request_that_is_too_large(scene: Scene) -> None:
    answer = post(scene, b"{}", **{"Content-Length": str(100 << 20)})
    refused(answer, 413, "payload_too_large")


def test_too_many_requests(scene: Scene) -> None:
    answers = [post(scene, MINIMAL, key="rated") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    refused(answers[2], 429, "rate_limit_exceeded")
    assert 0 < int(answers[2].headers["retry-after"]) <= 60
    refused(scene.call("GET", "/api/v1/me", key="rated"), 429, "rate_limit_exceeded")


def test_the_published_rate(scene: Scene) -> None:
    """1,800 requests a minute of one key, a batch counts once (contract 1)."""
    body = {"author": person("a@published.example")}
    first = post(scene, given(**body), key="published")
    second = post(scene, {"messages": [given(**body)] * 3}, BATCH, "published")
    assert [first.headers["x-ratelimit-limit"], second.headers["x-ratelimit-limit"]] == ["1800", "1800"]
    assert [first.headers["x-ratelimit-remaining"], second.headers["x-ratelimit-remaining"]] == ["1799", "1798"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/sendmux", 404, "not_found"),
        ("GET", "/sendmux/api/v1/domains", 404, "not_found"),
        ("GET", "/sendmux/api/v1/webhooks", 404, "not_found"),
        ("GET", "/sendmux/api/v1/emails/logs", 404, "not_found"),
        ("GET", "/sendmux/api/v1/emails/metrics", 404, "not_found"),
        ("GET", "/sendmux/api/v1/providers", 404, "not_found"),
        ("POST", "/sendmux/api/send/", 404, "not_found"),
        ("POST", "/api/v1/emails/attachments?filename=a.pdf", 404, "not_found"),
        ("GET", "/api/v1/emails/attachments/att_x", 404, "not_found"),
        ("POST", "/sendmux/api/v1/emails/attachment-uploads", 404, "not_found"),
        ("PUT", "/api/v1/emails/attachment-uploads/upl_x", 404, "not_found"),
        ("PUT", SEND, 405, "method_not_allowed"),
        ("POST", "/api/v1/me", 405, "method_not_allowed"),
    ],
)
def test_other_paths(scene: Scene, method: str, path: str, status: int, code: str) -> None:
    refused(scene.call(method, path, header="authorization"), status, code)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (Kind.DNS_DOWN, 503, "service_unavailable"),
        (Kind.OVERLOADED, 503, "service_unavailable"),
        (Kind.STORAGE_FULL, 503, "service_unavailable"),
        (Kind.STORAGE_DOWN, 503, "service_unavailable"),
        (Kind.SES_PAUSED, 503, "no_active_providers"),
        (Kind.SES_DENIED, 503, "no_active_providers"),
        (Kind.INTERNAL, 500, "internal_error"),
        (Kind.BLOCKED, 429, "rate_limit_exceeded"),
        (Kind.NO_CREDITS, 402, "insufficient_credits"),
        (Kind.IDEMPOTENCY_BUSY, 409, "idempotency_conflict"),
        (Kind.GONE, 404, "not_found"),
    ],
)
def test_refusals_that_are_hard_to_bring_about(kind: Kind, status: int, code: str) -> None:
    found, body = refuse(Problem(kind), Asked("req_1", "https://relay.test"))
    assert (found, body["error"]["code"]) == (status, code)
    assert body["error"]["retryable"] == (status == 429 or status >= 500)
    assert body["error"]["doc_url"] == f"https://relay.test/docs#{code}"


@pytest.mark.parametrize("kind", Kind)
def test_every_trouble_has_an_envelope(kind: Kind) -> None:
    _, body = refuse(Problem(kind), Asked("req_1", ""))
    SENDMUX.refusal.model_validate(body)


# -- files -----------------------------------------------------------------------------------------------------------

BEGINNINGS = {"webp": b"RIFF\x10\0\0\0WEBPVP8 "}


@pytest.mark.parametrize("extension", TYPES)
def test_files_are_what_their_names_say(extension: str) -> None:
    expected = TYPES[extension]
    good = BEGINNINGS.get(extension, expected.begins[0] + b"...")
    letter = read(given(attachments=[file(f"a.{extension}", good), file(f"B.{extension.upper()}", good)]))
    assert [each.content_type for each in letter.attachments] == [expected.media_type] * 2
    if expected.begins == (b"",):
        return
    for bad in (b"MZ\x90", b"RIFF\x10\0\0\0WAVE", b"\0", good[1:], good[:1]):
        with pytest.raises(Problem) as caught:
            read(given(attachments=[file(f"a.{extension}", bad)]))
        assert [fault.path for fault in caught.value.faults] == ["attachments.0.content"]


# -- batches ---------------------------------------------------------------------------------------------------------


def test_each_message_of_a_batch_is_judged_alone(scene: Scene) -> None:
    messages = [
        given(to=person("first@one.test")),
        given(to=person("nope")),
        given(to=person(GONE)),
        given(author=person("a@nobody.example")),
        given(delivery_group=GROUP),
        "x",
        given(to=person("last@one.test")),
    ]
    answer = post(scene, {"messages": messages}, BATCH)
    assert answer.status == 200
    assert answer.json.keys() == {"ok", "data", "meta"}
    data = answer.json["data"]
    assert BatchSendSuccessResponse.from_dict(answer.json) is not None
    assert data["summary"] == {"total": 7, "queued": 2, "failed": 5}
    assert [each["index"] for each in data["results"]] == list(range(7))
    told = [
        (each["status"], each.get("error", {}).get("code"), each.get("error", {}).get("param"))
        for each in data["results"]
    ]
    assert told == [
        ("queued", None, None),
        ("failed", "validation_error", "to.email"),
        ("failed", "validation_error", "to.email"),
        ("failed", "not_found", None),
        ("failed", "delivery_group_not_found", "delivery_group"),
        ("failed", "validation_error", None),
        ("queued", None, None),
    ]
    for each in data["results"]:
        assert (each["message_id"] is None) == (each["status"] == "failed")
        assert each["message_id"] is None or re.fullmatch(r"eml_[a-z0-9]{24}", each["message_id"])
    assert scene.raw_to("first@one.test")
    assert scene.raw_to("last@one.test")


@pytest.mark.parametrize(
    ("body", "issues"),
    [
        ({}, [("messages", TYPE)]),
        ({"messages": []}, [("messages", SMALL)]),
        ({"messages": [MINIMAL] * 101}, [("messages", BIG)]),
        ({"messages": {}}, [("messages", TYPE)]),
        ({"messages": [MINIMAL], "x": 1}, [("x", KEYS)]),
        ({"messages": [MINIMAL]} | {f"m{number}": 1 for number in range(100)}, [("", KEYS)]),
        ({"messages": [{}, given(to=person("nope"))]},
         [("messages.0.from", TYPE), ("messages.0.to", TYPE), ("messages.0.subject", TYPE),
          ("messages.0.html_body", TYPE), ("messages.1.to.email", STRING)]),
        ({"messages": ["x", given(to=person(GONE))]}, [("messages.0", TYPE), ("messages.1.to.email", CUSTOM)]),
    ],
)  # fmt: skip
def test_a_batch_that_is_refused_whole(scene: Scene, body: Any, issues: list[tuple[str, str]]) -> None:
    error = refused(post(scene, body, BATCH), 422, "validation_error", issues[0][0] or None)
    assert [(each["field"], each["code"]) for each in error["errors"]] == issues


def test_a_hundred_messages_are_taken(scene: Scene) -> None:
    answer = post(scene, {"messages": [given(to=person(f"h{number}@one.test")) for number in range(100)]}, BATCH)
    assert answer.json["data"]["summary"] == {"total": 100, "queued": 100, "failed": 0}


def test_routing_failures_are_told_by_index_though_all_fail(scene: Scene) -> None:
    answer = post(scene, {"messages": [given(delivery_group=GROUP), given(delivery_group="x")]}, BATCH)
    assert [each["error"]["code"] for each in answer.json["data"]["results"]] == [
        "delivery_group_not_found",
        "invalid_delivery_group",
    ]


def test_a_balance_that_is_short_for_all_or_for_some(scene: Scene) -> None:
    spent = {"messages": [given(author=person("a@spent.example"))] * 2}
    refused(post(scene, spent, BATCH, "spent"), 402, "insufficient_credits")
    thrifty = {"messages": [given(author=person("a@thrifty.example"))] * 3}
    answer = post(scene, thrifty, BATCH, "thrifty")
    assert answer.json["data"]["summary"] == {"total": 3, "queued": 2, "failed": 1}
    assert answer.json["data"]["results"][2]["error"]["code"] == "insufficient_credits"


def test_a_suspended_team_and_a_batch(scene: Scene) -> None:
    messages = [given(author=person("a@suspended.example"))] * 2
    refused(post(scene, {"messages": messages}, BATCH, "suspended"), 403, "billing_restricted")


# -- once ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SEND, BATCH])
def test_the_same_again_is_answered_as_before(scene: Scene, path: str) -> None:
    to = person(f"once{len(path)}@one.test")
    body = given(to=to) if path == SEND else {"messages": [given(to=to), given(to=person("nope"))]}
    key = {"Idempotency-Key": f"order-9-{len(path)}"}
    first, again = (post(scene, body, path, **key) for _ in range(2))
    assert first.status == again.status == 200
    assert first.json["data"] == again.json["data"]
    assert first.json["meta"] != again.json["meta"]
    other = given() if path == SEND else {"messages": [given()]}
    refused(post(scene, other, path, **key), 409, "idempotency_conflict")
    assert len(wait_for(lambda: scene.world.sent_to(to["email"]))) == 1


def test_a_refusal_frees_the_key(scene: Scene) -> None:
    key = {"Idempotency-Key": "k" * 255}
    for path, bad, good in ((SEND, given(subject=""), given()), (BATCH, {"messages": ["x"]}, {"messages": [given()]})):
        refused(post(scene, bad, path, **key), 422, "validation_error", "subject" if path == SEND else "messages.0")
        assert post(scene, good, path, **key).status == 200


# -- /me -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/me", "/sendmux/api/v1/me", "/api/v1/me?api=management"])
def test_whose_key_it_is(scene: Scene, path: str) -> None:
    answer = scene.call("GET", path, key="send_only", header="authorization")
    data = answer.json["data"]
    assert (answer.status, answer.json["ok"]) == (200, True)
    assert answer.json["meta"] == {"request_id": answer.headers["x-request-id"]}
    assert ConnectionResponse.from_dict(answer.json) is not None
    assert data["team"]["name"] == "acme"
    assert data["credential"].keys() == {"id", "type", "name"}
    assert (data["credential"]["type"], data["credential"]["name"], data["label"]) == ("api_key", "k", "k")
    assert (data["permissions"], data["mailboxes"]) == (["email.send"], [])
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["etag"].startswith('W/"')
    known = {"If-None-Match": answer.headers["etag"]}
    unchanged = scene.call("GET", path, key="send_only", header="authorization", **known)
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert scene.call("GET", path, key="full", header="authorization", **known).status == 200
    refused(scene.call("GET", path, key="", **known), 401, "authentication_required")


def test_ids_are_taken_in_any_form(scene: Scene) -> None:
    message_id = post(scene, given(to=person("which@one.test"))).json["data"]["message_id"]
    answer = scene.call("GET", f"/api/v1/emails/{public_id_of(message_id)}")
    assert answer.status == 200
    assert answer.json["id"] == public_id_of(message_id)


# -- whatever is sent ------------------------------------------------------------------------------------------------

NAMES = ["from", "to", "cc", "bcc", "email", "name", "subject", "html_body", "text_body", "reply_to", "return_path"]
NAMES += ["custom_headers", "delivery_group", "attachments", "filename", "content", "type", "encoding", "attachment_id"]
WORDS = st.sampled_from([*NAMES, f"a@{BYOC}", "a.pdf", "JVBERi0=", "X-A", "base64", GROUP]) | st.text(
    st.characters(codec=None), max_size=8
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(WORDS, below, max_size=4),
    max_leaves=12,
)


@given_any(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8), st.booleans())
def test_whatever_is_sent_is_taken_or_refused_in_the_envelope(members: dict[str, Any], is_over_good: bool) -> None:
    asked = Asked("req_1", "")
    value = {**MINIMAL, **members} if is_over_good else members
    for each in read_batch({"messages": [value]}):
        if isinstance(each, Problem):
            status, body = refuse(each, asked)
            assert status == 422
            SENDMUX.refusal.model_validate(body)
            json.dumps(body, ensure_ascii=False).encode()  # as it leaves
        else:
            assert each.html
            assert each.author is not None
