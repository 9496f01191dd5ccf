"""API keys by API: made, imported, rotated and revoked, and what becomes of who uses them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from relay.sealing import api_key_prefix
from tests.http_edge.managed import DATABASES, Managed, managing
from tests.support import wait_for


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("keys"), request.param) as managed:
        yield managed


def test_a_key_is_shown_once(managed: Managed) -> None:
    body = {
        "name": "printer",
        "domains": ["ACME.example"],
        "rate_per_minute": 5,
        "expires_at": "2090-01-01T00:00:00+02:00",
    }
    answer = managed.ask("POST", "/keys", body, key=managed.full, X_Request_Id="new-key")
    assert answer.status == 201
    made = answer.json
    secret = made.pop("key")
    assert answer.headers["location"] == f"/api/v1/keys/{made['id']}"
    assert made["prefix"] == api_key_prefix(secret)
    assert (made["permission"], made["tenant"], made["status"]) == ("send_only", "acme", "valid")
    assert (made["domains"], made["expires_at"]) == (["acme.example"], "2089-12-31T22:00:00.000Z")
    for path in (made["id"], made["prefix"]):
        seen = managed.ask("GET", f"/keys/{path}", key=managed.full)
        assert seen.json == made
        assert secret.encode() not in seen.body
    [entry] = managed.audited(f"key {made['id']}")
    assert (entry.actor, entry.action, entry.request_id) == (
        f"key {api_key_prefix(managed.full)}",
        "key.create",
        "new-key",
    )
    assert secret not in str(entry)


def test_a_key_for_a_device(managed: Managed) -> None:
    device = {"networks": ["10.2.0.0/24"], "sender": "scanner@acme.example", "recipients": ["*@acme.example"]}
    made = managed.key(device=device | {"daily": 500, "min_tls": "1.0"})
    assert made["device"] == device | {"daily": 500, "min_tls": "1.0"}
    assert made["sender_rule"] is None
    changed = managed.ask("PATCH", f"/keys/{made['id']}", {"device": device}, key=managed.full)
    assert changed.json["device"] == device | {"daily": None, "min_tls": None}
    assert managed.ask("GET", f"/keys/{made['id']}", key=managed.full).json["device"] == changed.json["device"]
    rule = {"sender": "cron@acme.example", "replaces": ["root@*"]}
    ruled = managed.ask("PATCH", f"/keys/{made['id']}", {"device": None, "sender_rule": rule}, key=managed.full)
    assert (ruled.json["device"], ruled.json["sender_rule"]) == (None, rule)


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"sender_rule": {"sender": "x@umbra.example"}}, "sender_rule.sender", "umbra.example is not registered for"),
        ({"sender_rule": {"sender": "x"}}, "sender_rule.sender", "x is not an address of the form name@domain"),
        ({"sender_rule": {"sender": "x@acme.example", "replaces": []}}, "sender_rule.replaces", "must have at least 1"),
        ({"device": {"sender": "x@acme.example", "networks": ["::/0"]}}, "device.networks.0", "is everybody"),
        ({"device": {"sender": "x@acme.example"}}, "device.networks", "is required"),
    ],
)
def test_senders_are_the_tenants_own(managed: Managed, fields: dict[str, Any], path: str, message: str) -> None:
    answer = managed.ask("POST", "/keys", {"name": "x", **fields}, key=managed.full)
    assert (answer.status, answer.json["reason"]) == (400, "bad_request")
    [fault] = answer.json["errors"]
    assert fault["param"] == path
    assert message in fault["message"]


def test_a_key_for_some_domains_makes_no_sender_of_others(managed: Managed) -> None:
    fields = {"name": "x", "domains": ["scoped.example"]}
    for sender, status in (("x@scoped.example", 201), ("x@acme.example", 400)):
        body = fields | {"sender_rule": {"sender": sender}}
        assert managed.ask("POST", "/keys", body, key=managed.scoped).status == status


def test_a_key_that_was_made_elsewhere_keeps_working(managed: Managed) -> None:
    secret = "sk_live_" + "a1B2c3D4" * 6
    body = {"name": "moved", "secret": secret, "permission": "full"}
    answer = managed.ask("POST", "/keys", body, key=managed.full)
    assert answer.status == 201
    assert secret.encode() not in answer.body
    managed.wait_for_key(secret)
    assert managed.ask("GET", "/tenants/acme", key=secret).status == 200
    again = managed.ask("POST", "/keys", body, key=managed.full)
    assert (again.status, again.json["reason"]) == (409, "conflict")


def test_both_keys_are_good_for_a_while(managed: Managed) -> None:
    old = managed.key(permission="full", domains=["acme.example"])
    managed.wait_for_key(old["key"])
    rotated = managed.ask("POST", f"/keys/{old['id']}/rotate", {"overlap": "1h"}, key=old["key"])  # by itself
    assert rotated.status == 201
    new = rotated.json
    assert rotated.headers["location"] == f"/api/v1/keys/{new['id']}"
    assert (new["replaces"], new["permission"], new["domains"]) == (old["id"], "full", ["acme.example"])
    managed.wait_for_key(new["key"])
    assert managed.ask("GET", "/keys", key=old["key"]).status == 200
    ends = managed.ask("GET", f"/keys/{old['id']}").json["expires_at"]
    assert ends is not None

    at_once = managed.ask("POST", f"/keys/{new['id']}/rotate", {"overlap": "0s"}, key=managed.full)
    assert at_once.status == 201
    wait_for(lambda: managed.ask("GET", "/keys", key=new["key"]).status == 401)
    gone = managed.ask("POST", f"/keys/{new['id']}/rotate", key=managed.full)
    assert (gone.status, gone.json["reason"]) == (409, "conflict")


def test_overlap_is_a_day_where_nobody_says(managed: Managed) -> None:
    old = managed.key()
    new = managed.ask("POST", f"/keys/{old['id']}/rotate", key=managed.full).json
    ends = managed.ask("GET", f"/keys/{old['id']}", key=managed.full).json["expires_at"]
    assert ends[11:19] == new["created_at"][11:19]
    assert ends[:10] > new["created_at"][:10]


def test_a_revoked_key_is_refused_and_stays_listed(managed: Managed) -> None:
    key = managed.key(permission="full")
    managed.wait_for_key(key["key"])
    assert managed.ask("DELETE", f"/keys/{key['id']}", key=key["key"]).status == 204  # itself
    wait_for(lambda: managed.ask("GET", "/keys", key=key["key"]).status == 401)
    assert managed.ask("GET", f"/keys/{key['id']}", key=managed.full).json["status"] == "revoked"
    listed = managed.ask("GET", "/keys?revoked=true", key=managed.full).json["data"]
    assert key["id"] in {each["id"] for each in listed}
    for method, path, body in (("DELETE", "", None), ("PATCH", "", {"name": "x"}), ("POST", "/rotate", None)):
        answer = managed.ask(method, f"/keys/{key['id']}{path}", body, key=managed.full)
        assert (answer.status, answer.json["reason"]) == (409, "conflict")


def test_a_key_is_changed(managed: Managed) -> None:
    key = managed.key(name="old name", rate_per_minute=10)
    changed = managed.ask("PATCH", f"/keys/{key['id']}", {"name": "new name"}, key=managed.full).json
    assert (changed["name"], changed["rate_per_minute"]) == ("new name", 10)
    changed = managed.ask("PATCH", f"/keys/{key['id']}", {"rate_per_minute": None, "domains": ["acme.example"]}).json
    assert (changed["rate_per_minute"], changed["domains"]) == (None, ["acme.example"])
    assert [entry.action for entry in managed.audited(f"key {key['id']}")] == ["key.change", "key.change", "key.create"]


def test_a_prefix_of_two_keys_names_neither(managed: Managed) -> None:
    for tail in ("a" * 30, "b" * 30):
        assert (
            managed.ask("POST", "/keys", {"name": "twin", "secret": f"twin0001.{tail}"}, key=managed.full).status == 201
        )
    answer = managed.ask("GET", "/keys/twin0001", key=managed.full)
    assert (answer.status, answer.json["reason"]) == (409, "conflict")
    assert managed.ask("GET", "/keys/twin0001", key=managed.other).status == 404


def test_the_operator_makes_keys_for_any_tenant(managed: Managed) -> None:
    assert managed.made("/keys", {"name": "k", "tenant": "umbra"})["tenant"] == "umbra"
    assert managed.made("/keys", {"name": "k"})["tenant"] == "default"
    assert managed.ask("POST", "/keys", {"name": "k", "tenant": "absent"}).status == 404


def test_a_key_gives_none_a_higher_rate_than_its_own(managed: Managed) -> None:
    slow = managed.key(permission="full", rate_per_minute=30)
    managed.wait_for_key(slow["key"])
    for body in ({"rate_per_minute": 31}, {"rate_per_minute": None}):
        changed = managed.ask("PATCH", f"/keys/{slow['id']}", body, key=slow["key"])
        assert (changed.status, changed.json["reason"]) == (403, "forbidden")
    for rate, status in ((None, 403), (31, 403), (30, 201)):
        made = managed.ask("POST", "/keys", {"name": "next", "rate_per_minute": rate}, key=slow["key"])
        assert made.status == status
    over = managed.ask("PATCH", f"/keys/{slow['id']}", {"rate_per_minute": 1_000_000}, key=managed.full)
    assert over.status == 403
    assert managed.ask("PATCH", f"/keys/{slow['id']}", {"rate_per_minute": 40}).status == 200  # by the operator
