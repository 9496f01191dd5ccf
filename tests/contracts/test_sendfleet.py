"""SendFleet's contract as tables: each field, each limit at it and one over, each error row, each header."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest

from relay.errors import Kind, Problem
from relay.http.dialects.dialect import Asked
from relay.http.dialects.sendfleet import refuse
from tests.contracts.scene import (
    BYOC,
    GONE,
    NO_MX,
    NULL_MX,
    SHARED,
    WARNING,
    Scene,
    tree,
    without,
)
from tests.support import Answer

SEND = "/api/send/"
MINIMAL = {"to": "ana@one.test", "from_email": f"billing@{BYOC}", "message": "Invoice 77 is ready."}
WHOLE = MINIMAL | {
    "from_name": "Billing",
    "subject": "Invoice 77",
    "html": "<p>Invoice 77 is ready.</p>",
    "reply_to": "help@elsewhere.test",
}
REQUIRED, NULL, BLANK = "This field is required.", "This field may not be null.", "This field may not be blank."
NO_STRING, NO_EMAIL = "Not a valid string.", "Enter a valid email address."


def too_long(most: int) -> str:
    return f"Ensure this field has no more than {most} characters."


def sent(scene: Scene, *, key: str = "send_only", path: str = SEND, **members: Any) -> Answer:
    """The smallest good request with members replaced, or left out where it is ...."""
    body = {name: value for name, value in {**MINIMAL, **members}.items() if value is not ...}
    return scene.call("POST", path, body, key=key)


def content(part: Any) -> str:
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n")


# -- accepted: contract 3 and 4 --------------------------------------------------------------------------------------


def test_the_smallest_request_is_accepted(scene: Scene) -> None:
    answer = sent(scene, to="smallest@one.test")
    assert answer.status == 200
    assert answer.json == {
        "success": True,
        "message": "Queued through your SES account.",
        "message_id": str(UUID(answer.json["message_id"])),
        "mode": "byoc",
    }
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]
    assert int(answer.headers["x-ratelimit-remaining"]) < int(answer.headers["x-ratelimit-limit"])
    mail = scene.mail_to("smallest@one.test")
    assert (mail["From"], mail["To"], mail["Subject"]) == (MINIMAL["from_email"], "smallest@one.test", "(no subject)")
    assert (tree(mail), content(mail)) == ("text/plain", MINIMAL["message"])
    assert mail["Reply-To"] is None


def test_every_field_is_in_the_mail(scene: Scene) -> None:
    assert scene.call("POST", SEND, WHOLE | {"to": "whole@one.test"}).status == 200
    mail = scene.mail_to("whole@one.test")
    [author] = mail["From"].addresses
    assert (author.display_name, author.addr_spec) == ("Billing", MINIMAL["from_email"])
    assert (mail["Subject"], mail["Reply-To"]) == ("Invoice 77", "help@elsewhere.test")
    assert tree(mail) == ["multipart/alternative", "text/plain", "text/html"]
    assert [content(part) for part in mail.iter_parts()] == [WHOLE["message"], WHOLE["html"]]


@pytest.mark.parametrize(
    "members",
    [
        {"from_name": "n" * 156},
        {"from_name": ""},
        {"from_name": None},
        {"from_name": "Ünï Code, Inc."},
        {"subject": "s" * 256},
        {"subject": ""},
        {"subject": None},
        {"html": ""},
        {"html": None},
        {"reply_to": None},
        {"message": "."},
        {"message": "Grüße\r\n" * 100_000},
        {"to": " ana@one.test "},
        {"to": "ana@BÜCHER.test"},
        {"anything": {"else": [1]}, "cc": "x@one.test", "attachments": 7},
    ],
    ids=lambda members: str(members)[:40],
)
def test_what_is_within_the_limits_is_taken(scene: Scene, members: dict[str, Any]) -> None:
    assert sent(scene, **members).status == 200


def test_a_shared_domain_is_told_what_its_dns_lacks(scene: Scene) -> None:
    answer = sent(scene, from_email=f"a@{SHARED}")
    assert answer.status == 200
    assert without(answer.json, "message_id") == {
        "success": True,
        "message": "Queued.",
        "mode": "shared",
        "warnings": [WARNING],
    }


@pytest.mark.parametrize(
    ("key", "author"),
    [("default-sender", "desk@default-sender.example"), ("second-ready", "noreply@second-ready.example")],
)
def test_without_from_email_it_is_the_default_sender_or_the_first_verified_domain(
    scene: Scene, key: str, author: str
) -> None:
    to = f"from-{key}@one.test"
    assert sent(scene, key=key, to=to, from_email=...).status == 200
    assert scene.mail_to(to)["From"] == author


def test_an_id_is_good_wherever_an_id_is_taken(scene: Scene) -> None:
    given = sent(scene).json["message_id"]
    digits = given.replace("-", "")
    native = digits[:12] + digits[13:16] + digits[23:]  # without what fills a UUID
    assert re.fullmatch(r"[0-9a-f]{24}", native)
    for form in (given, given.upper(), native, f"eml_{native}"):
        assert scene.call("GET", f"/api/v1/emails/{form}", key="full").json["id"] == native


# -- refused: contract 5 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "faults"),
    [
        ({"to": ...}, {"to": [REQUIRED]}),
        ({"message": ...}, {"message": [REQUIRED]}),
        ({"to": ..., "message": ...}, {"to": [REQUIRED], "message": [REQUIRED]}),
        ({"to": None, "message": None}, {"to": [NULL], "message": [NULL]}),
        ({"to": "", "message": ""}, {"to": [BLANK], "message": [BLANK]}),
        ({"to": "  ", "message": " \t\r\n"}, {"to": [BLANK], "message": [BLANK]}),
        ({"message": ..., "html": "<p>Hi</p>"}, {"message": [REQUIRED]}),
        ({"to": "not-an-address"}, {"to": [NO_EMAIL]}),
        ({"to": ["ana@one.test"]}, {"to": [NO_STRING]}),
        ({"to": "ana@one.test,bo@one.test"}, {"to": [NO_EMAIL]}),
        ({"to": "Ana <ana@one.test>"}, {"to": [NO_EMAIL]}),
        ({"to": "jürgen@one.test"}, {"to": [NO_EMAIL]}),
        ({"to": "ana@one.test\r\nBcc: bo@one.test"}, {"to": [NO_EMAIL]}),
        ({"from_email": "billing"}, {"from_email": [NO_EMAIL]}),
        ({"from_email": ""}, {"from_email": [BLANK]}),
        ({"from_email": 7}, {"from_email": [NO_STRING]}),
        ({"reply_to": "help"}, {"reply_to": [NO_EMAIL]}),
        ({"reply_to": ""}, {"reply_to": [BLANK]}),
        ({"from_name": "n" * 157}, {"from_name": [too_long(156)]}),
        ({"subject": "s" * 257}, {"subject": [too_long(256)]}),
        ({"from_name": "n" * 157, "subject": "s" * 257},
         {"from_name": [too_long(156)], "subject": [too_long(256)]}),
        ({"subject": 7, "message": {}, "html": []},
         {"subject": [NO_STRING], "message": [NO_STRING], "html": [NO_STRING]}),
        ({"subject": "a\r\nBcc: bo@one.test"}, {"subject": ["must be one line, without control characters"]}),
        ({"from_name": "a\nb"}, {"from_name": ["must be one line, without control characters"]}),
        ({"message": "a\0b"}, {"message": ["has a NUL character"]}),
        ({"html": "\ud800"}, {"html": ["has half of a surrogate pair"]}),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_bad_fields_are_a_map_of_texts(scene: Scene, members: dict[str, Any], faults: dict[str, list[str]]) -> None:
    answer = sent(scene, **members)
    assert (answer.status, answer.json) == (400, faults)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"7", b"\xff", b'{"to":"a","to":"b"}', b'{"a":NaN}'])
def test_broken_json_is_a_detail(scene: Scene, body: bytes) -> None:
    answer = scene.call("POST", SEND, body, key="send_only", Content_Type="application/json")
    assert (answer.status, list(answer.json)) == (400, ["detail"])


@pytest.mark.parametrize("key", ["full", "send_only", "scoped", "sendfleet", "sendfleet bare", "sendex", "mailerlogic"])
@pytest.mark.parametrize("path", [SEND, "/sendfleet/api/send/", "/sendfleet/api/send"])
def test_every_key_of_ours_is_good(scene: Scene, key: str, path: str) -> None:
    answer = sent(scene, key=key, path=path)
    assert (answer.status, answer.json.get("success")) == (200, True)


@pytest.mark.parametrize("key", ["", "revoked", "expired", "sf_live_a1b2c3d4.wrong", "no key at all"])
@pytest.mark.parametrize("path", [SEND, "/api/send", "/sendfleet/api/send/", "/sendfleet/api/send"])
def test_a_key_that_is_none_is_a_detail_alone(scene: Scene, key: str, path: str) -> None:
    answer = sent(scene, key=key, path=path, to=...)
    assert (answer.status, list(answer.json)) == (401, ["detail"])


def test_x_api_key_counts_where_both_headers_are_there(scene: Scene) -> None:
    good, bad = scene.key("send_only"), "nobody's"
    for own, other, status in ((good, bad, 200), (bad, good, 401)):
        headers = {"X-API-Key": own, "Authorization": f"Bearer {other}", "Content-Type": "application/json"}
        assert scene.world.call("POST", SEND, MINIMAL, key="", **headers).status == status
    assert scene.call("POST", SEND, MINIMAL, key="send_only", header="authorization").status == 200


@pytest.mark.parametrize(
    ("key", "members", "status", "error"),
    [
        ("suspended", {"from_email": "a@suspended.example"}, 403, "sending_suspended"),
        ("unapproved", {"from_email": "a@unapproved.example"}, 403, "unauthorized"),
        ("scoped", {"from_email": f"a@{SHARED}"}, 403, "unauthorized"),
        ("modeless", {"from_email": "a@modeless.example"}, 403, "domain_mode_mismatch"),
        ("full", {"from_email": "a@nobodys.test"}, 403, "domain_not_registered"),
        ("full", {"from_email": "a@suspended.example"}, 403, "domain_not_registered"),
        ("domainless", {"from_email": ...}, 403, "domain_not_registered"),
        ("unready", {"from_email": ...}, 403, "domain_not_registered"),
        ("full", {"from_email": "a@claim.test.example"}, 403, "domain_not_verified"),
        ("unready", {"from_email": "a@unready.example"}, 403, "domain_not_verified"),
        ("full", {"from_email": "a@dkim.test.example"}, 403, "dkim_not_verified"),
        ("full", {"to": GONE}, 422, "recipient_suppressed"),
        ("full", {"to": GONE.upper()}, 422, "recipient_suppressed"),
        ("full", {"to": GONE, "from_email": f"a@{SHARED}"}, 422, "recipient_suppressed"),
        ("full", {"to": NO_MX}, 422, "invalid_recipient"),
        ("full", {"to": NULL_MX}, 422, "invalid_recipient"),
        ("spent", {"from_email": "a@spent.example"}, 429, "usage_limit_exceeded"),
    ],
)  # fmt: skip
def test_a_refusal_has_a_slug_to_branch_on(
    scene: Scene, key: str, members: dict[str, Any], status: int, error: str
) -> None:
    answer = sent(scene, key=key, **members)
    assert (answer.status, without(answer.json, "detail")) == (status, {"success": False, "error": error})
    assert answer.json["detail"]
    assert ("retry-after" in answer.headers) == (status == 429)


@pytest.mark.parametrize(
    ("key", "members", "expected"),
    [
        ("revoked", {"to": ...}, 401),
        ("suspended", {"to": ..., "from_email": "a@nobodys.test"}, 400),
        ("suspended", {"from_email": "a@nobodys.test", "to": GONE}, "sending_suspended"),
        ("suspended", {"from_email": ...}, "sending_suspended"),
        ("full", {"from_email": "a@nobodys.test", "to": GONE}, "domain_not_registered"),
        ("full", {"from_email": "a@dkim.test.example", "to": GONE}, "dkim_not_verified"),
        ("spent", {"from_email": "a@spent.example", "to": NULL_MX}, "invalid_recipient"),
        ("spent", {"from_email": "a@spent.example"}, "usage_limit_exceeded"),
    ],
)
def test_the_order_in_which_things_are_looked_at(
    scene: Scene, key: str, members: dict[str, Any], expected: int | str
) -> None:
    answer = sent(scene, key=key, **members)
    assert expected == (answer.status if isinstance(expected, int) else answer.json.get("error"))


def test_more_than_sixty_a_minute_are_refused_without_a_slug(scene: Scene) -> None:
    answers = [sent(scene, key="published", to=..., path=path) for path in [SEND, "/api/send"] * 30]
    assert {answer.status for answer in answers} == {400}
    assert [int(answer.headers["x-ratelimit-remaining"]) for answer in answers] == list(range(59, -1, -1))
    over = sent(scene, key="published")
    assert (over.status, over.headers["x-ratelimit-limit"]) == (429, "60")
    assert without(over.json, "detail") == {"success": False}
    assert 1 <= int(over.headers["retry-after"]) <= 60
    assert scene.call("POST", "/api/v1/emails", {}, key="published").status == 400  # each dialect counts for itself


def test_a_key_with_a_rate_of_its_own_has_that_one(scene: Scene) -> None:
    assert [sent(scene, key="rated").status for _ in range(3)] == [200, 200, 429]


def test_what_comes_under_one_idempotency_key_is_sent_once(scene: Scene) -> None:
    body = MINIMAL | {"to": "once@one.test"}
    first, again = (scene.call("POST", SEND, body, Idempotency_Key="invoice 77") for _ in range(2))
    without_slash = scene.call("POST", "/api/send", body, Idempotency_Key="invoice 77")
    assert first.status == again.status == 200
    assert first.json == again.json == without_slash.json
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    other = scene.call("POST", SEND, body | {"subject": "other"}, Idempotency_Key="invoice 77")
    assert (other.status, other.json["success"], other.json["error"]) == (409, False, "idempotency_conflict")
    scene.raw_to("once@one.test")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", SEND, {}, 405),
        ("PUT", "/sendfleet/api/send", {}, 405),
        ("POST", "/sendfleet/api/nothing/", {}, 404),
        ("GET", "/sendfleet/api/v1/emails", {}, 404),
        ("GET", "/sendfleet", {}, 404),
        ("POST", "/sendfleet//api/send/", {}, 404),
        ("POST", SEND, {"Content-Type": "text/plain"}, 415),
        ("POST", SEND, {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", SEND, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ("POST", SEND, {"Content-Type": "application/json", "Content-Length": str(41 << 20)}, 413),
    ],
)
def test_what_the_framework_refuses_is_a_detail_alone(
    scene: Scene, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = scene.call(method, path, b'{"to": "a"}' if method != "GET" else None, key="send_only", **headers)
    assert (answer.status, list(answer.json)) == (status, ["detail"])
    assert answer.headers["content-type"] == "application/json"
    assert status != 405 or answer.headers["allow"] == "POST"


def test_a_body_has_to_say_what_it_is(scene: Scene) -> None:
    answer = scene.call("POST", SEND, b"{}", key="send_only")
    assert (answer.status, list(answer.json)) == (415, ["detail"])


SLUGS = {"queue_error": 502, "byoc_not_configured": 503, "usage_limit_exceeded": 429}


@pytest.mark.parametrize(
    ("kind", "slug"),
    [
        (Kind.INTERNAL, "queue_error"),
        (Kind.OVERLOADED, "queue_error"),
        (Kind.STORAGE_FULL, "queue_error"),
        (Kind.STORAGE_DOWN, "queue_error"),
        (Kind.DNS_DOWN, "queue_error"),
        (Kind.SES_DENIED, "byoc_not_configured"),
        (Kind.SES_CONFIG, "byoc_not_configured"),
        (Kind.NO_CREDITS, "usage_limit_exceeded"),
    ],
)
def test_what_is_hard_to_bring_about(kind: Kind, slug: str) -> None:
    told = refuse(Problem(kind, "why"), Asked("r", ""))
    assert told == (SLUGS[slug], {"success": False, "error": slug, "detail": "why"})


@pytest.mark.parametrize("kind", list(Kind))
def test_every_trouble_has_an_answer_of_one_of_the_three_forms(kind: Kind) -> None:
    status, body = refuse(Problem(kind), Asked("r", ""))
    assert 400 <= status < 600
    assert set(body) in ({"detail"}, {"success", "detail"}, {"success", "error", "detail"})
