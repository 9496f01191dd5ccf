"""Sender domains by API: registered, with their records and checks; claims, modes, and names in any spelling."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from relay.sealing import api_key_prefix
from tests.http_edge.managed import DATABASES, Managed, managing


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("domains"), request.param) as managed:
        yield managed


def test_a_list_item_and_a_domain_are_those_of_sendex_and_more(managed: Managed) -> None:
    [item] = [each for each in managed.ask("GET", "/domains").json["data"] if each["domain"] == "acme.example"]
    assert {"id", "domain", "status", "created_at", "verified_at"} <= item.keys()
    one = managed.ask("GET", "/domains/acme.example").json
    assert item.items() <= one.items()
    assert re.fullmatch(r"[0-9a-f]{24}", one["id"])
    assert (one["mode"], one["tenant"], one["account"], one["region"]) == ("byoc", "acme", "acme-ses", "eu-west-1")


def test_a_byoc_domain(managed: Managed) -> None:
    body = {"domain": "Byoc-1.EXAMPLE", "mode": "byoc", "configuration_set": "main", "streams": ["broadcast"]}
    answer = managed.ask("POST", "/domains", body, key=managed.full, X_Request_Id="add-byoc")
    assert (answer.status, answer.headers["location"]) == (201, "/api/v1/domains/byoc-1.example")
    made = answer.json
    assert (made["status"], made["account"]) == ("pending", "acme-ses")
    assert made["claim"]["expires_at"]  # nobody takes a name for good that SES never verified
    assert made["options"]["configuration_sets"] == dict.fromkeys(("transactional", "shared", "broadcast"), "main")
    assert made["options"]["streams"] == ["broadcast"]
    assert [each["type"] for each in made["records"] if each["purpose"] == "dkim"] == ["CNAME"] * 3
    checks = {each["purpose"]: each for each in made["checks"]}
    assert checks["dkim"]["status"] == "missing"
    assert checks["dkim"]["required"] is True
    assert checks["dkim"]["expected"]
    entries = managed.audited("domain byoc-1.example")
    assert entries[-1].action == "domain.add"
    assert {(entry.actor, entry.request_id) for entry in entries} == {
        (f"key {api_key_prefix(managed.full)}", "add-byoc")
    }
    for spelling in ("BYOC-1.example", "byoc-1.example."):
        assert managed.ask("GET", f"/domains/{spelling}", key=managed.full).json["id"] == made["id"]


def test_a_shared_domain_is_claimed_by_a_record(managed: Managed) -> None:
    body = {"domain": "claimed.example", "mode": "shared", "account": "operator", "tenant": "acme"}
    made = managed.made("/domains", body)
    assert re.fullmatch(r"\d{4}-.*\.\d{3}Z", made["claim"]["expires_at"])
    [claim] = [each for each in made["records"] if each["purpose"] == "claim"]
    assert claim["name"] == "_relay-challenge.claimed.example"
    assert re.fullmatch(r"relay-tenant=acme token=[0-9a-f]{32}", claim["value"])
    taken = managed.ask("POST", "/domains", {"domain": "claimed.example", "mode": "byoc"}, key=managed.other)
    assert (taken.status, taken.json["reason"]) == (409, "conflict")
    assert "acme" not in taken.json["message"]


def test_who_vouches_is_the_operator(managed: Managed) -> None:
    body = {"domain": "vouched.example", "mode": "shared", "account": "operator", "tenant": "acme", "vouched": True}
    refused = managed.ask("POST", "/domains", body, key=managed.full)
    assert (refused.status, refused.json["reason"]) == (403, "forbidden")
    assert managed.ask("GET", "/domains/vouched.example").status == 404
    vouched = managed.made("/domains", body)
    assert vouched["claim"] is None
    assert not [each for each in vouched["records"] if each["purpose"] == "claim"]


def test_how_the_operators_account_is_used_is_the_operators_to_say(managed: Managed) -> None:
    name = managed.domain(mode="shared", account="operator")
    body = {"domain": f"new-{name}", "mode": "shared", "account": "operator"}
    assert managed.ask("POST", "/domains", body, key=managed.full).json["reason"] == "forbidden"
    for fields in (
        {"streams": ["broadcast"]},
        {"configuration_set": "x"},
        {"ses_tenant": "t"},
        {"account": "operator"},
    ):
        answer = managed.ask("PATCH", f"/domains/{name}", fields, key=managed.full)
        assert (answer.status, answer.json["reason"]) == (403, "forbidden")
        assert managed.ask("PATCH", f"/domains/{name}", fields).status == 200
    assert managed.ask("PATCH", f"/domains/{name}", {"include_subdomains": True}, key=managed.full).status == 200


def test_verify_looks_now(managed: Managed) -> None:
    name = managed.domain()
    before = managed.ask("GET", f"/domains/{name}").json
    answer = managed.ask("POST", f"/domains/{name}/verify", key=managed.full)
    assert answer.status == 200
    assert answer.json["checked_at"] > before["checked_at"]
    assert managed.ask("POST", "/domains/absent.example/verify", key=managed.full).status == 404


def test_records_in_both_forms(managed: Managed) -> None:
    one = managed.ask("GET", "/domains/acme.example").json
    answer = managed.ask("GET", "/domains/acme.example/records", key=managed.full)
    assert answer.json == {"data": one["records"], "total": len(one["records"]), "next_cursor": None}
    zone = managed.ask("GET", "/domains/acme.example/records?format=zone", key=managed.full)
    assert zone.headers["content-type"].startswith("text/plain")
    lines = zone.body.decode().splitlines()
    assert lines[0] == "$ORIGIN acme.example."
    assert len(lines) == 1 + len(one["records"])


def test_the_mode_stays(managed: Managed) -> None:
    answer = managed.ask("PATCH", "/domains/acme.example", {"mode": "shared"}, key=managed.full)
    assert (answer.status, answer.json["reason"]) == (409, "conflict")
    assert "remove the domain and add it again" in answer.json["message"]
    assert managed.ask("PATCH", "/domains/acme.example", {"mode": "byoc"}, key=managed.full).status == 200


def test_options_change_one_by_one(managed: Managed) -> None:
    name = managed.domain(configuration_set="main")
    changed = managed.ask("PATCH", f"/domains/{name}", {"default_sender": f"hi@{name}"}, key=managed.full).json
    assert changed["options"]["default_sender"] == f"hi@{name}"
    assert changed["options"]["configuration_sets"]["broadcast"] == "main"
    wrong = managed.ask("PATCH", f"/domains/{name}", {"default_sender": "hi@elsewhere.example"}, key=managed.full)
    assert wrong.status == 400
    assert managed.ask("PATCH", f"/domains/{name}", {"default_sender": None}).json["options"]["default_sender"] is None
    for wanted in (50, 1, None):
        answer = managed.ask("PATCH", f"/domains/{name}", {"recipients_per_call": wanted}, key=managed.full)
        assert answer.json["options"]["recipients_per_call"] == wanted
    for wrong_number in (0, 51, "all"):
        body = {"recipients_per_call": wrong_number}
        assert managed.ask("PATCH", f"/domains/{name}", body, key=managed.full).status == 400


def test_the_accounts_of_others_cannot_be_used(managed: Managed) -> None:
    byoc = {"domain": "umbra.example", "mode": "byoc"}
    for account in ("acme-ses", "absent"):
        assert managed.ask("POST", "/domains", byoc | {"account": account}, key=managed.other).status == 404
    assert managed.ask("POST", "/domains", byoc | {"account": "operator"}, key=managed.other).status == 400
    assert managed.ask("GET", "/domains/umbra.example").status == 404
    assert managed.made("/domains", byoc, key=managed.other)["account"] == "umbra-ses"
    assert managed.ask("PATCH", "/domains/umbra.example", {"account": "acme-ses"}, key=managed.other).status == 404


def test_a_domain_is_removed(managed: Managed) -> None:
    name = managed.domain()
    assert managed.ask("DELETE", f"/domains/{name}", key=managed.full).status == 204
    assert managed.ask("GET", f"/domains/{name}", key=managed.full).status == 404
    assert managed.audited(f"domain {name}")[0].action == "domain.remove"


def test_a_name_in_its_own_script_is_the_same(managed: Managed) -> None:
    made = managed.made("/domains", {"domain": "bücher.example", "mode": "byoc"}, key=managed.full)
    assert made["domain"] == "xn--bcher-kva.example"
    assert managed.ask("GET", "/domains/b%C3%BCcher.example", key=managed.full).json["id"] == made["id"]


def test_the_files_own_is_changed_in_the_file(managed: Managed) -> None:
    for method, body in (("PATCH", {"include_subdomains": True}), ("DELETE", None)):
        answer = managed.ask(method, "/domains/shared.example", body)
        assert answer.status == 409
        assert "declared in the configuration file" in answer.json["message"]


def test_who_is_not_approved_makes_no_identity_in_the_operator_s_account(managed: Managed) -> None:
    body = {"domain": "not-yet.example", "mode": "shared"}
    answer = managed.ask("POST", "/domains", body, key=managed.other)
    assert (answer.status, answer.json["reason"]) == (403, "not_approved")
    assert managed.ask("GET", "/domains/not-yet.example").status == 404
