"""SES accounts by API: registered with each sort of credentials, proven, paused, and the file's own left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.http_edge.managed import DATABASES, Managed, managing
from tests.ses.sts_server import ACCOUNT

ROLE = "arn:aws:iam::444455556666:role/relay"


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("accounts"), request.param) as managed:
        yield managed


@pytest.mark.parametrize(
    ("credentials", "shown"),
    [
        ({}, {"type": "chain"}),
        ({"profile": "mail"}, {"type": "profile", "profile": "mail"}),
        (
            {"access_key_id": "AKIA1", "secret_access_key": "0123456789abcdefWXYZ"},
            {"type": "static", "access_key_id": "AKIA1", "secret_last_four": "WXYZ"},
        ),
        ({"access_key_id": "AKIA1", "secret_access_key": "short"}, {"type": "static", "access_key_id": "AKIA1"}),
    ],
)
def test_credentials_show_what_may_be_seen(managed: Managed, credentials: object, shown: object) -> None:
    name = managed.account(credentials=credentials)
    answer = managed.ask("GET", f"/ses-accounts/{name}").json
    assert answer["credentials"] == shown
    assert "policies" not in answer
    assert (answer["status"], answer["tenant"], answer["region"]) == ("active", None, "eu-west-1")


def test_a_role_answers_with_what_to_paste(managed: Managed) -> None:
    body = {"name": "by-role", "region": "eu-west-1", "tenant": "acme", "credentials": {"role_arn": ROLE}}
    body["endpoint_url"] = managed.world.sandbox_url
    answer = managed.ask("POST", "/ses-accounts", body)
    assert (answer.status, answer.headers["location"]) == (201, "/api/v1/ses-accounts/by-role")
    made = answer.json
    external_id = made["credentials"]["external_id"]
    assert re.fullmatch(r"[0-9a-f]{48}", external_id)
    policies = made["policies"]
    assert policies["external_id"] == external_id
    [statement] = policies["trust"]["Statement"]
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": external_id}}
    assert statement["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:user/relay"}
    assert "444455556666" in str(policies["send"])
    assert policies.keys() == {"principal", "external_id", "trust", "send", "setup", "events", "suppression", "said"}
    assert managed.ask("GET", "/ses-accounts/by-role").json == made
    [listed] = [each for each in managed.ask("GET", "/ses-accounts").json["data"] if each["name"] == "by-role"]
    assert "policies" not in listed
    changed = managed.ask("PATCH", "/ses-accounts/by-role", {"credentials": {"role_arn": ROLE + "2"}}).json
    assert changed["credentials"]["external_id"] == external_id

    refused = managed.ask("POST", "/ses-accounts/by-role/test").json
    assert refused["ok"] is False
    assert any("trust policy and ExternalId" in (each["remedy"] or "") for each in refused["findings"])
    managed.sts.roles[ROLE + "2"] = external_id
    proven = managed.ask("POST", "/ses-accounts/by-role/test").json
    assert proven["ok"] is True, proven
    assert proven["caller"]["account"] == ACCOUNT
    assert {each["check"] for each in proven["findings"]} >= {"identity", "production", "sending", "enforcement"}


def test_setting_up(managed: Managed) -> None:
    name = managed.account(feedback={"queue": "by-api"})
    shown = managed.ask("GET", f"/ses-accounts/{name}").json["feedback"]
    assert shown == {"via": "sqs", "queue": "by-api", "topics": [], "endpoint_url": None}
    planned = managed.ask("POST", f"/ses-accounts/{name}/setup", {"dry_run": True}).json
    assert (planned["dry_run"], planned["ok"], planned["refused"]) == (True, False, None)
    assert {"action": "sns:CreateTopic", "done": False} in [
        {"action": each["action"], "done": each["done"]} for each in planned["steps"]
    ]
    made = managed.ask("POST", f"/ses-accounts/{name}/setup", {"track": {"broadcast": ["opens", "clicks"]}})
    assert (made.status, made.json["ok"], made.json["refused"]) == (200, True, None)
    again = managed.ask("POST", f"/ses-accounts/{name}/setup").json
    assert (again["ok"], again["steps"]) == (True, [])
    assert {each["state"] for each in again["findings"]} == {"fine"}
    told = [each["said"] for each in again["findings"] if each["check"] == "event destination of relay-broadcast"]
    assert told == ["the topic is told of what becomes of its mail, opens, clicks"]


def test_setting_up_that_cannot_begin_says_so(managed: Managed) -> None:
    name = managed.account(credentials={"access_key_id": "nobody", "secret_access_key": "x"})
    assert managed.ask("POST", f"/ses-accounts/{name}/setup").status == 502
    refused = managed.ask("POST", f"/ses-accounts/{name}/setup", {"push": "http://relay.example"})
    assert refused.status == 400


def test_usage(managed: Managed) -> None:
    usage = managed.ask("GET", "/ses-accounts/acme-ses/usage").json
    assert (usage["name"], usage["sending_enabled"], usage["enforcement"]) == ("acme-ses", True, "HEALTHY")


def test_usage_that_aws_refuses_says_so(managed: Managed) -> None:
    name = managed.account(credentials={"access_key_id": "nobody", "secret_access_key": "x"})
    answer = managed.ask("GET", f"/ses-accounts/{name}/usage")
    assert answer.status == 502
    assert answer.json["error"] == "bad_gateway"
    assert managed.ask("POST", f"/ses-accounts/{name}/test").json["ok"] is False


def test_pause_and_resume(managed: Managed) -> None:
    name = managed.account()
    paused = managed.ask("POST", f"/ses-accounts/{name}/pause", {"reason": "AWS review"}).json
    assert (paused["status"], paused["paused_reason"]) == ("paused", "AWS review")
    assert managed.ask("POST", f"/ses-accounts/{name}/pause").status == 409
    assert managed.ask("POST", f"/ses-accounts/{name}/resume").json["status"] == "active"
    assert managed.ask("POST", f"/ses-accounts/{name}/resume").status == 409
    assert [entry.action for entry in managed.audited(f"account {name}")] == [
        "account.resume",
        "account.pause",
        "account.add",
    ]


def test_one_that_is_used_stays(managed: Managed) -> None:
    name = managed.account()
    used = managed.ask("DELETE", "/ses-accounts/acme-ses")
    assert (used.status, used.json["reason"]) == (409, "conflict")
    assert managed.ask("DELETE", f"/ses-accounts/{name}").status == 204
    assert managed.ask("DELETE", f"/ses-accounts/{name}").status == 404


def test_the_files_own_is_changed_in_the_file(managed: Managed) -> None:
    assert managed.ask("GET", "/ses-accounts/operator").json["declared_in_file"] is True
    for method, path, body in (("PATCH", "", {"rate": 5}), ("DELETE", "", None)):
        answer = managed.ask(method, f"/ses-accounts/operator{path}", body)
        assert answer.status == 409
        assert "declared in the configuration file" in answer.json["message"]
