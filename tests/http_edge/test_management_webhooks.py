"""Webhooks over HTTP: made and changed, secrets shown once, what was posted, and who may know of it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest

from relay.http.management.shown_webhooks import WebhookDelivery, WebhookMade, WebhookShown
from tests.http_edge.managed import DATABASES, Managed, managing

URL = "http://127.0.0.1:9/hook?token=of-the-receiver"
SCOPED = "scoped.example"


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("webhooks"), request.param) as managed:
        yield managed


def made(managed: Managed, *, key: str | None = None, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = managed.made("/webhooks", {"url": URL, **fields}, key=managed.full if key is None else key)
    WebhookMade.model_validate_json(json.dumps(found))
    return found


def test_a_secret_is_shown_once(managed: Managed) -> None:
    hook = made(managed, name="shop", events=["email.bounced", "email.complained"])
    secret = hook.pop("secret")
    assert len(b64decode(secret.removeprefix("whsec_"))) == 24
    assert (hook["tenant"], hook["dialect"], hook["retries"], hook["enabled"]) == ("acme", "native", 8, True)
    WebhookShown.model_validate_json(json.dumps(hook))
    path = f"/webhooks/{hook['id']}"
    found = managed.ask("GET", path, key=managed.full)
    assert found.json == hook == managed.ask("GET", "/webhooks/shop", key=managed.full).json
    assert managed.ask("GET", path, key=managed.full, **{"If-None-Match": found.headers["etag"]}).status == 304
    assert hook in managed.ask("GET", "/webhooks", key=managed.full).json["data"]

    rotated = managed.ask("POST", f"{path}/rotate", {"overlap": "1h"}, key=managed.full)
    assert rotated.status == 200
    another = rotated.json["secret"]
    assert another != secret
    assert rotated.json["old_secret_until"] > hook["created_at"]
    told = json.dumps([found.json, rotated.json | {"secret": ""}, *map(str, managed.audited(f"webhook {hook['id']}"))])
    assert secret not in told
    assert another not in told
    at_once = managed.ask("POST", f"{path}/rotate", {"overlap": "0s"}, key=managed.full).json
    assert at_once["old_secret_until"] is None


def test_what_changes(managed: Managed) -> None:
    path = f"/webhooks/{made(managed)['id']}"
    changed = managed.ask(
        "PATCH", path, {"name": "n", "events": ["*"], "domains": [SCOPED], "retries": 0}, key=managed.full
    )
    assert changed.status == 200
    assert [changed.json[name] for name in ("name", "events", "domains", "retries")] == ["n", ["*"], [SCOPED], 0]
    disabled = managed.ask("PATCH", path, {"enabled": False}, key=managed.full).json
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "disabled by hand")
    assert [each["id"] for each in managed.ask("GET", "/webhooks?enabled=false", key=managed.full).json["data"]] == [
        disabled["id"]
    ]
    for what in ("test", "replay"):
        refused = managed.ask("POST", f"{path}/{what}", key=managed.full)
        assert (refused.status, refused.json["reason"]) == (409, "conflict")
    enabled = managed.ask("PATCH", path, {"enabled": True, "domains": None}, key=managed.full).json
    assert (enabled["enabled"], enabled["disabled_at"], enabled["domains"]) == (True, None, None)
    assert managed.ask("DELETE", path, key=managed.full).status == 204
    assert managed.ask("GET", path, key=managed.full).status == 404
    actions = {entry.action for entry in managed.audited(f"webhook {disabled['id']}")}
    assert actions == {"webhook.create", "webhook.change", "webhook.remove"}
    assert "of-the-receiver" not in str(managed.audited(f"webhook {disabled['id']}"))


def test_what_was_posted(managed: Managed) -> None:
    hook = made(managed)
    path = f"/webhooks/{hook['id']}"
    answer = managed.ask("POST", f"{path}/test", key=managed.full)
    assert answer.status == 201
    post = answer.json
    WebhookDelivery.model_validate_json(json.dumps(post))
    assert (post["type"], post["message"]) == ("webhook.test", None)
    assert answer.headers["location"] == f"/api/v1{path}/deliveries/{post['id']}"
    [listed] = managed.ask("GET", f"{path}/deliveries", key=managed.full).json["data"]
    assert (listed["id"], listed["event_id"]) == (post["id"], post["event_id"])
    assert managed.ask("GET", f"{path}/deliveries/{post['id']}", key=managed.full).json["event_id"] == post["event_id"]
    assert managed.ask("GET", f"{path}/deliveries?state=delivered", key=managed.full).json["data"] == []
    assert managed.ask("GET", f"{path}/deliveries/{0:024x}", key=managed.full).status == 404
    other = made(managed)
    assert managed.ask("GET", f"/webhooks/{other['id']}/deliveries/{post['id']}", key=managed.full).status == 404
    again = managed.ask("POST", f"{path}/replay", {"delivery": f"{0:024x}"}, key=managed.full)
    assert (again.status, again.json["reason"]) == (404, "not_found")
    waits = managed.ask("POST", f"{path}/replay", {"delivery": post["id"]}, key=managed.full)
    assert (waits.status, waits.json["reason"]) == (409, "conflict")
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    assert managed.ask("POST", f"{path}/replay", span, key=managed.full).json == {"replayed": 0}


def test_a_key_for_some_domains_knows_of_no_more(managed: Managed) -> None:
    for fields in ({}, {"domains": ["acme.example"]}, {"domains": [SCOPED, "acme.example"]}):
        refused = managed.ask("POST", "/webhooks", {"url": URL, **fields}, key=managed.scoped)
        assert (refused.status, refused.json["reason"]) == (403, "forbidden")
        hidden = made(managed, **fields)
        assert managed.ask("GET", f"/webhooks/{hidden['id']}", key=managed.scoped).status == 404
        assert managed.ask("POST", f"/webhooks/{hidden['id']}/rotate", key=managed.scoped).status == 404
    own = made(managed, key=managed.scoped, domains=[SCOPED])
    theirs = managed.ask("GET", "/webhooks", key=managed.scoped).json
    assert [each["id"] for each in theirs["data"]] == [own["id"]]
    assert theirs["total"] is None
    for domains in (None, ["acme.example"]):
        refused = managed.ask("PATCH", f"/webhooks/{own['id']}", {"domains": domains}, key=managed.scoped)
        assert (refused.status, refused.json["reason"]) == (403, "forbidden")
    assert managed.ask("PATCH", f"/webhooks/{own['id']}", {"name": "mine"}, key=managed.scoped).status == 200


def test_nothing_in_anothers_name(managed: Managed) -> None:
    hook = made(managed)
    for tenant in ("acme", "nobody"):
        refused = managed.ask("POST", "/webhooks", {"url": URL, "tenant": tenant}, key=managed.other)
        assert (refused.status, refused.json["reason"]) == (404, "not_found")
        assert managed.ask("GET", f"/webhooks?tenant={tenant}", key=managed.other).status == 404
    assert managed.ask("DELETE", f"/webhooks/{hook['id']}", key=managed.other).status == 404
    assert made(managed, key=managed.operator, tenant="umbra")["tenant"] == "umbra"
    assert {each["tenant"] for each in managed.ask("GET", "/webhooks?tenant=umbra").json["data"]} == {"umbra"}


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "https://2130706433/", "https://[::ffff:192.168.0.1]/"])
def test_what_may_not_be_posted_to(managed: Managed, url: str) -> None:
    hook = managed.webhook()
    for answer in (
        managed.ask("POST", "/webhooks", {"url": url}, key=managed.full),
        managed.ask("PATCH", f"/webhooks/{hook}", {"url": url}, key=managed.full),
    ):
        assert (answer.status, answer.json["param"]) == (400, "url")
    assert managed.ask("PATCH", f"/webhooks/{hook}", {"url": "http://127.0.0.1:9/else"}, key=managed.full).status == 200


@pytest.mark.parametrize(
    ("body", "params"),
    [
        ({}, {"url"}),
        ({"url": "ftp://one.test/"}, {"url"}),
        ({"url": "https://user:secret@one.test/"}, {"url"}),
        ({"url": "https://one.test/#part"}, {"url"}),
        ({"url": "https://one.test:0/"}, {"url"}),
        ({"url": URL, "events": ["email.eaten"]}, {"events.0"}),
        ({"url": URL, "events": []}, {"events"}),
        ({"url": URL, "retries": 9, "dialect": "klingon", "colour": "red"}, {"retries", "dialect", "colour"}),
        ({"url": URL, "dialect": "sendfleet", "events": ["email.delayed"]}, {""}),
        ({"url": URL, "dialect": "sendmux", "events": ["domain.*"]}, {""}),
    ],
)
def test_what_is_wrong_is_said(managed: Managed, body: dict[str, Any], params: set[str]) -> None:
    answer = managed.ask("POST", "/webhooks", body, key=managed.full)
    assert (answer.status, answer.json["reason"]) == (400, "bad_request")
    assert {fault["param"] for fault in answer.json["errors"]} == params
    assert "user:secret" not in json.dumps(answer.json)


@pytest.mark.parametrize(
    ("body", "params"),
    [
        ({"delivery": "nope"}, {"delivery"}),
        ({"delivery": "0" * 24, "from": "2026-01-01T00:00:00Z"}, {""}),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, {""}),
        ({"from": "yesterday", "to": 5}, {"from", "to"}),
    ],
)
def test_what_is_wrong_with_a_replay_is_said(managed: Managed, body: dict[str, Any], params: set[str]) -> None:
    answer = managed.ask("POST", f"/webhooks/{managed.webhook()}/replay", body)
    assert (answer.status, answer.json["reason"]) == (400, "bad_request")
    assert {fault["param"] for fault in answer.json["errors"]} == params


@pytest.mark.parametrize("query", ["state=lost", "cursor=%C3%A9", "limit=0"])
def test_what_is_wrong_with_a_list_is_said(managed: Managed, query: str) -> None:
    answer = managed.ask("GET", f"/webhooks/{managed.webhook()}/deliveries?{query}")
    assert (answer.status, answer.json["reason"]) == (400, "bad_request")
