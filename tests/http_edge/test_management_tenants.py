"""Tenants by API: what they become, what they are refused, and what is written down about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from relay.sealing import api_key_prefix
from tests.http_edge.managed import DATABASES, Managed, managing

MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("tenants"), request.param) as managed:
        yield managed


def test_a_tenant_is_made_and_changed(managed: Managed) -> None:
    body = {"name": "new", "plan": "free", "contact": "Ops@NEW.example", "settings": {"mx_policy": "warn"}}
    answer = managed.ask("POST", "/tenants", body)
    assert (answer.status, answer.headers["location"]) == (201, "/api/v1/tenants/new")
    made = answer.json
    assert re.fullmatch(r"[0-9a-f]{24}", made["id"])
    assert re.fullmatch(MOMENT, made["created_at"])
    assert (made["status"], made["approval"], made["plan"]) == ("active", "none", "free")
    assert made["contact"] == "Ops@new.example"
    assert made == managed.ask("GET", "/tenants/new").json

    changed = managed.ask("PATCH", "/tenants/new", {"settings": {"retention_content": "30d"}, "plan": None}).json
    assert changed["settings"]["mx_policy"] == "warn"
    assert changed["settings"]["retention_content"] == "2592000s"
    assert (changed["plan"], changed["contact"]) == (None, "Ops@new.example")
    assert managed.ask("PATCH", "/tenants/new", {}).json == changed

    taken = managed.ask("POST", "/tenants", {"name": "new"})
    assert (taken.status, taken.json["reason"]) == (409, "conflict")
    assert managed.ask("PATCH", "/tenants/absent", {}).status == 404


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"plan": "gold"}, 400, "there is no plan 'gold'; there is free, pro"),
        ({"plan": "pro"}, 409, "approved"),
        ({"plan": "pro", "approved": True}, 409, "contact"),
        ({"plan": "pro", "contact": "a@b.example"}, 409, "approved"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_whole(
    managed: Managed, fields: dict[str, Any], status: int, said: str
) -> None:
    name = managed.name("unfit")
    answer = managed.ask("POST", "/tenants", {"name": name, **fields})
    assert answer.status == status
    assert said in answer.json["message"]
    assert {fault["param"] for fault in answer.json["errors"]} == {"plan"}
    assert managed.ask("GET", f"/tenants/{name}").status == 404
    assert managed.audited(f"tenant {name}") == []


def test_a_plan_and_what_it_needs_may_come_together(managed: Managed) -> None:
    name = managed.tenant(approved=True)
    assert managed.ask("PATCH", f"/tenants/{name}", {"plan": "pro"}).status == 409
    assert managed.ask("GET", f"/tenants/{name}").json["plan"] is None
    answer = managed.ask("PATCH", f"/tenants/{name}", {"plan": "pro", "contact": "a@b.example"})
    assert (answer.status, answer.json["plan"]) == (200, "pro")
    assert managed.ask("PATCH", f"/tenants/{name}", {"contact": None}).status == 409


def test_standing(managed: Managed) -> None:
    name = managed.tenant()
    key = managed.usable(tenant=name, permission="full")
    suspended = managed.ask("POST", f"/tenants/{name}/suspend", {"reason": "bounces"}).json
    assert (suspended["status"], suspended["status_reason"]) == ("suspended", "bounces")
    assert suspended["status_by"] == f"key {api_key_prefix(managed.operator)}"
    assert managed.ask("POST", f"/tenants/{name}/suspend", {"reason": "again"}).status == 409
    own = managed.ask("GET", f"/tenants/{name}", key=key).json
    assert own["status_reason"] == "bounces"
    assert not own.keys() & {"status_by", "approval_by"}
    resumed = managed.ask("POST", f"/tenants/{name}/resume", {"note": "mended"}).json
    assert resumed["status"] == "active"
    assert managed.ask("POST", f"/tenants/{name}/resume").status == 409


def test_approval(managed: Managed) -> None:
    name = managed.tenant()
    key = managed.usable(tenant=name, permission="full")
    said = {"use_case": "receipts", "company": "New", "website": "https://n.example", "expected_volume": 100}
    asked = managed.ask("POST", f"/tenants/{name}/approval", said, key=key).json
    assert asked["approval"] == "requested"
    assert {**asked["application"], "requested_at": ""} == {**said, "requested_at": ""}
    assert re.fullmatch(MOMENT, asked["application"]["requested_at"])
    assert managed.ask("POST", f"/tenants/{name}/approval", said, key=key).status == 409
    assert managed.ask("POST", f"/tenants/{name}/decline", {"note": "who are you?"}).json["approval"] == "declined"
    assert managed.ask("GET", f"/tenants/{name}", key=key).json["approval_note"] == "who are you?"
    assert managed.ask("POST", f"/tenants/{name}/approval", said, key=key).status == 200
    assert managed.ask("POST", f"/tenants/{name}/approve").json["approval"] == "approved"
    assert managed.ask("POST", "/tenants/default/decline", {"note": "no"}).status == 409


def test_each_change_is_written_down(managed: Managed) -> None:
    name = managed.name("watched")
    by = f"key {api_key_prefix(managed.operator)}"
    for number, (method, path, body, action) in enumerate(
        [
            ("POST", "/tenants", {"name": name}, "tenant.create"),
            ("PATCH", f"/tenants/{name}", {"tier": "gold"}, "tenant.change"),
            ("POST", f"/tenants/{name}/suspend", {"reason": "r"}, "tenant.suspend"),
            ("POST", f"/tenants/{name}/resume", None, "tenant.resume"),
            ("POST", f"/tenants/{name}/approve", None, "tenant.approve"),
            ("POST", f"/tenants/{name}/decline", {"note": "n"}, "tenant.decline"),
        ]
    ):
        answer = managed.ask(method, path, body, X_Request_Id=f"request-{number}")
        assert answer.headers["x-request-id"] == f"request-{number}"
        newest = managed.audited(f"tenant {name}")[0]
        assert (newest.actor, newest.action, newest.request_id) == (by, action, f"request-{number}")
    assert len(managed.audited(f"tenant {name}")) == 6
    assert managed.audited(f"tenant {name}")[-1].changes == {}  # nothing but its name was said
    assert managed.ask("PATCH", f"/tenants/{name}", {"tier": "gold"}).status == 200
    assert len(managed.audited(f"tenant {name}")) == 6  # nothing changed
