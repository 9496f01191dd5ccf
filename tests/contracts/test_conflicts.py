"""Four dialects at one origin: the points in which they could get in each other's way (conflicts.md, section 9)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.message import PREFIX, public_id_of, uuid_of
from tests.contracts.scene import BYOC, GONE, IMPORTED, NO_MX, NULL_MX, Header, Scene
from tests.contracts.speaking import (
    DIALECTS,
    MAILERLOGIC,
    NATIVE,
    SENDEX,
    SENDFLEET,
    SENDMUX,
    Dialect,
    Mail,
)
from tests.dns_server import SILENT, DnsServer
from tests.support import Answer, World

MAIL = Mail(f"shop@{BYOC}")

by_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=[each.name for each in DIALECTS])
FORMS = {
    "sendfleet": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "sendex": r"[0-9a-f]{24}",
    "mailerlogic": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "sendmux": r"eml_[0-9a-z]{24}",
    "native": r"[0-9a-f]{24}",
}


def is_in(dialect: Dialect, answer: Answer) -> bool:
    """Whether a refusal is in the shape of this dialect and of no other."""
    body = answer.json
    if dialect is SENDMUX:
        return body.keys() == {"ok", "error", "meta"} and body["ok"] is False
    if dialect is SENDFLEET:
        return "detail" in body or all(isinstance(each, list) for each in body.values())
    is_native = isinstance(body["error"], str) and "request_id" in body
    return is_native != (dialect is MAILERLOGIC)


# -- 1: keys ---------------------------------------------------------------------------------------------------------


@by_dialect
@pytest.mark.parametrize("key", ["full", "send_only", *IMPORTED])
@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_any_valid_key_works_in_every_dialect(scene: Scene, dialect: Dialect, key: str, header: Header) -> None:
    answer = scene.call("POST", dialect.path, dialect.say(MAIL), key=key, header=header)
    assert answer.status == dialect.success, answer.body
    assert re.fullmatch(FORMS[dialect.name], dialect.id_of(answer.json))


@by_dialect
@pytest.mark.parametrize(
    "key", ["", "revoked", "expired", "sk_live_" + "x" * 48, "smx_mbx_x", "ml_live_x", "a1b2c3d4.nobody"]
)
def test_a_bad_key_is_refused_in_the_words_of_the_dialect(scene: Scene, dialect: Dialect, key: str) -> None:
    answer = dialect.send(scene, MAIL, key)
    assert answer.status == 401
    body = answer.json
    match dialect.name:
        case "sendfleet":
            assert body.keys() == {"detail"}
        case "mailerlogic":
            assert body.keys() == {"error"}
        case "sendmux":
            assert (body["ok"], body["error"]["code"]) == (False, "authentication_required")
        case _:
            assert (body["error"], bool(body["message"])) == ("unauthorized", True)
    assert not key or scene.key(key) not in answer.body.decode()


@by_dialect
def test_where_two_keys_are_given_the_dialects_header_counts(scene: Scene, dialect: Dialect) -> None:
    other: dict[str, str] = {"Authorization": "Bearer no-key-at-all"}
    if dialect.header == "authorization":
        other = {"X-API-Key": "no-key-at-all"}
    assert dialect.send(scene, MAIL, **other).status == dialect.success
    swapped: Header = "authorization" if dialect.header == "x-api-key" else "x-api-key"
    wrong = {"X-API-Key": "no-key-at-all"} if dialect.header == "x-api-key" else {"Authorization": "Bearer no-key"}
    assert scene.call("POST", dialect.path, dialect.say(MAIL), header=swapped, **wrong).status == 401


# -- 2: the path that two share --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/send", "/api/send/", "/sendfleet/api/send", "/sendfleet/api/send/"])
@pytest.mark.parametrize("key", ["sendfleet", "sendfleet bare", "full", "sendex"])
def test_without_the_slash_it_is_sendfleets(scene: Scene, path: str, key: str) -> None:
    answer = scene.call("POST", path, SENDFLEET.say(MAIL), key=key)
    assert (answer.status, answer.json["success"]) == (200, True)
    refused = scene.call("POST", path, {"to": "nope"}, key=key)
    assert refused.status == 400
    assert is_in(SENDFLEET, refused)


def test_without_the_slash_and_with_a_key_of_theirs_it_is_mailerlogics(scene: Scene) -> None:
    for path in ("/api/send", "/mailerlogic/api/send"):
        for header in ("x-api-key", "authorization"):
            answer = scene.call("POST", path, MAILERLOGIC.say(MAIL), key="mailerlogic", header=header)
            assert (answer.status, answer.json["status"]) == (200, "queued"), answer.body
    assert scene.call("POST", "/api/send/", MAILERLOGIC.say(MAIL), key="mailerlogic").status == 400
    unknown = scene.call("POST", "/api/send", MAILERLOGIC.say(MAIL), key="ml_live_nobody")
    assert (unknown.status, unknown.json.keys()) == (401, {"error"})
    assert scene.call("POST", "/sendfleet/api/send", MAILERLOGIC.say(MAIL), key="mailerlogic").status == 400


# -- 3: the path that Sendmux would have, too ------------------------------------------------------------------------


def test_domains_are_the_native_ones(scene: Scene) -> None:
    full, send_only, nobody = (scene.call("GET", "/api/v1/domains", key=key) for key in ("full", "send_only", ""))
    assert (full.status, send_only.status, nobody.status) == (200, 403, 401)
    assert full.json["data"][0].keys() >= {"domain", "status"}
    assert (send_only.json["error"], nobody.json["error"]) == ("forbidden", "unauthorized")
    assert all(is_in(NATIVE, each) for each in (send_only, nobody))
    theirs = scene.call("GET", "/api/v1/domains", key="sendmux root", header="authorization")
    assert theirs.json["data"] == full.json["data"]  # the path alone picks the dialect, whatever the key looks like
    assert is_in(SENDMUX, scene.call("GET", "/sendmux/api/v1/domains"))


# -- 4: ids ----------------------------------------------------------------------------------------------------------


@by_dialect
@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("GET", "/emails/{}", {200}),
        ("GET", "/emails/{}/events", {200}),
        ("GET", "/emails/{}/content", {200, 410}),
        ("POST", "/emails/{}/cancel", {200, 409}),
        ("POST", "/emails/{}/hold", {200, 409}),
        ("POST", "/emails/{}/release", {200, 409}),
        ("POST", "/emails/{}/retry", {200, 409}),
        ("POST", "/emails/{}/reschedule", {200, 409}),
    ],
)
def test_an_id_is_taken_in_each_of_its_forms(
    scene: Scene, dialect: Dialect, method: str, path: str, statuses: set[int]
) -> None:
    told = dialect.id_of(dialect.send(scene, MAIL).json)
    body = {"scheduled_at": f"{datetime.now(UTC) + timedelta(hours=1):%FT%TZ}"} if "reschedule" in path else None
    bare = public_id_of(told)
    assert bare is not None
    for form in (bare, PREFIX + bare, uuid_of(bare), bare.upper(), uuid_of(bare).upper()):
        answer = scene.call(method, "/api/v1" + path.format(form), body)
        assert answer.status in statuses, (form, answer.body)
        if method == "GET" and path == "/emails/{}":
            assert answer.json["id"] == bare
    unknown = "0" * 24
    for form in (unknown, PREFIX + unknown, uuid_of(unknown), bare[:-1], "x"):
        assert scene.call(method, "/api/v1" + path.format(form), body).status == 404, form


# -- 5 and 6: what one takes and another does not --------------------------------------------------------------------


@by_dialect
def test_an_unknown_member(scene: Scene, dialect: Dialect) -> None:
    answer = dialect.send(scene, MAIL, a_member_of_tomorrow={"x": [1]})
    if dialect is SENDMUX:
        assert (answer.status, dialect.told(answer.json)) == (422, "validation_error")
        assert answer.json["error"]["errors"][0]["code"] == "unrecognized_keys"
    else:
        assert answer.status == dialect.success, answer.body


def people(dialect: Dialect, count: int) -> dict[str, Any]:
    """So many recipients in cc and bcc, besides the one in `to`."""
    addresses = [f"p{number}@one.test" for number in range(count)]
    named: list[Any] = [{"email": each} for each in addresses] if dialect is SENDMUX else list(addresses)
    return {"cc": named[: count // 2], "bcc": named[count // 2 :]}


@by_dialect
def test_fifty_recipients_and_one_more(scene: Scene, dialect: Dialect) -> None:
    if dialect is SENDFLEET:  # one it is, and cc is no member
        several = scene.call("POST", dialect.path, {**dialect.say(MAIL), "to": ["a@one.test", "b@one.test"]})
        assert (several.status, several.json.keys()) == (400, {"to"})
        return
    assert dialect.send(scene, MAIL, **people(dialect, 49)).status == dialect.success
    answer = dialect.send(scene, MAIL, **people(dialect, 50))
    assert answer.status == (422 if dialect is SENDMUX else 400), answer.body
    assert is_in(dialect, answer)


# -- 7: recipients that take no mail ---------------------------------------------------------------------------------

SUPPRESSED = {
    "sendfleet": (422, "recipient_suppressed"),
    "sendex": (422, "recipient_suppressed"),
    "mailerlogic": (403, "recipient_suppressed"),
    "sendmux": (422, "validation_error"),
    "native": (422, "recipient_suppressed"),
}
INVALID = {
    "sendfleet": (422, "invalid_recipient"),
    "sendex": (422, "invalid_recipient"),
    "mailerlogic": (400, "invalid_recipient"),
    "sendmux": (422, "validation_error"),
    "native": (422, "invalid_recipient"),
}


@by_dialect
@pytest.mark.parametrize(("to", "expected"), [(GONE, SUPPRESSED), (NO_MX, INVALID), (NULL_MX, INVALID)])
def test_recipients_that_take_no_mail(
    scene: Scene, dialect: Dialect, to: str, expected: dict[str, tuple[int, str]]
) -> None:
    answer = dialect.send(scene, Mail(f"shop@{BYOC}", to=to))
    assert (answer.status, dialect.told(answer.json)) == expected[dialect.name], answer.body
    assert is_in(dialect, answer)
    if dialect is SENDMUX:
        assert answer.json["error"]["param"] == "to.email"
    if dialect is MAILERLOGIC and answer.status == 403:
        assert answer.json["reason"] == "recipient_suppressed"
    assert not scene.was_sent_to(to)


# -- 8: rates --------------------------------------------------------------------------------------------------------

TOO_MANY = {
    "sendfleet": None,  # the contract has no word for it
    "sendex": "too_many_requests",
    "mailerlogic": "rate_limit_exceeded",
    "sendmux": "rate_limit_exceeded",
    "native": "too_many_requests",
}


@pytest.mark.parametrize("dialect", [SENDFLEET, MAILERLOGIC, SENDMUX, NATIVE], ids=lambda each: each.name)
def test_too_many_requests(scene: Scene, dialect: Dialect) -> None:
    """Two are what the key has, in whichever dialect: of its own rate none gets another share by speaking another."""
    key = f"rated {dialect.name}"
    answers = [dialect.send(scene, MAIL, key) for _ in range(3)]
    assert {each.send(scene, MAIL, key).status for each in (SENDFLEET, SENDEX, MAILERLOGIC, SENDMUX, NATIVE)} == {429}
    assert [each.status for each in answers] == [dialect.success, dialect.success, 429]
    assert [each.headers["x-ratelimit-limit"] for each in answers] == ["2"] * 3
    assert [each.headers["x-ratelimit-remaining"] for each in answers] == ["1", "0", "0"]
    assert all(int(each.headers["x-ratelimit-reset"]) > 1_700_000_000 for each in answers)
    assert 0 < int(answers[2].headers["retry-after"]) <= 60
    assert is_in(dialect, answers[2])
    assert dialect.told(answers[2].json) == TOO_MANY[dialect.name]
    if dialect is SENDFLEET:
        assert answers[2].json.keys() == {"success", "detail"}


@pytest.mark.parametrize(
    ("dialect", "limit", "is_shared"),
    [(SENDFLEET, "60", False), (MAILERLOGIC, "600", True), (SENDMUX, "1800", False)],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_published_rates(scene: Scene, dialect: Dialect, limit: str, is_shared: bool) -> None:
    """MailerLogic's is of a tenant, whichever key asks."""
    answers = [dialect.send(scene, Mail("a@published-too.example"), f"published-{which}") for which in ("too", "two")]
    assert [each.headers["x-ratelimit-limit"] for each in answers] == [limit, limit]
    left = [int(limit) - int(each.headers["x-ratelimit-remaining"]) for each in answers]
    assert left == ([1, 2] if is_shared else [1, 1])


# -- 9: once ---------------------------------------------------------------------------------------------------------


@by_dialect
def test_a_replay_and_a_conflict(scene: Scene, dialect: Dialect) -> None:
    to = f"once-{dialect.name}@one.test"
    once = {"Idempotency_Key": f"order 9 {dialect.name}"}
    first, again = (dialect.send(scene, Mail(f"shop@{BYOC}", to=to), **once) for _ in range(2))
    assert first.status == again.status == dialect.success
    assert dialect.id_of(first.json) == dialect.id_of(again.json)
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    other = dialect.send(scene, Mail(f"shop@{BYOC}", to=to, subject="another"), **once)
    assert other.status == 409, other.body
    assert is_in(dialect, other)
    if dialect is SENDMUX:
        assert dialect.told(other.json) == "idempotency_conflict"
        assert other.json["error"]["retryable"] is False
    assert len(scene.world.sent_to(to)) == 1


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A relay that waits for a DNS that does not answer."""
    with (
        DnsServer({"silent.test": SILENT}) as dns,
        World(
            tmp_path_factory.mktemp("slow"),
            mx={"policy": "enforce", "on_trouble": "defer"},
            dns={"nameservers": [dns.nameserver]},
        ) as world,
    ):
        yield world


def test_the_first_in_hand(slow: World) -> None:
    """Of two at a time one is refused at once; the other waits, in vain, and says so with when to come back."""
    body = SENDMUX.say(Mail("shop@shared.example", to="ana@silent.test"))

    def send(_: int) -> Answer:
        return slow.call("POST", SENDMUX.path, body, Idempotency_Key="order-9")

    with ThreadPoolExecutor(2) as threads:
        busy, late = sorted(threads.map(send, range(2)), key=lambda answer: answer.status)
    assert (busy.status, SENDMUX.told(busy.json)) == (409, "idempotency_conflict")
    assert busy.json["error"]["retryable"] is False
    assert (late.status, SENDMUX.told(late.json)) == (503, "service_unavailable")
    assert late.json["error"]["retryable"] is True
    assert int(late.headers["retry-after"]) > 0
    assert late.json["error"]["param"] == "to.email"


# 10, one event rendered by four webhook formatters, comes with the webhooks.
