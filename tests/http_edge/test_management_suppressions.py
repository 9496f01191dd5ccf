"""Suppression lists and figures by API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from relay.sealing import api_key_prefix
from tests.http_edge.managed import DATABASES, ROOT, Managed, managing
from tests.support import wait_for


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("suppressions"), request.param) as managed:
        yield managed


def test_an_address_is_put_on_a_list_once(managed: Managed) -> None:
    body = {
        "address": "Ana@ONE.test",
        "reason": "asked us to",
        "note": "by phone",
        "expires_at": "2090-01-01T00:00:00Z",
    }
    answer = managed.ask("POST", "/suppressions", body, key=managed.full, X_Request_Id="stop-ana")
    assert answer.status == 201
    made = answer.json
    assert made == {
        "address": "ana@one.test",
        "tenant": "acme",
        "reason": "asked us to",
        "source": "api",
        "note": "by phone",
        "created_at": made["created_at"],
        "expires_at": "2090-01-01T00:00:00.000Z",
    }
    location = answer.headers["location"].removeprefix(ROOT)
    assert managed.ask("GET", location, key=managed.full).json == made
    assert managed.ask("GET", location).json == made

    again = managed.ask("POST", "/suppressions", {"address": "ana@one.test", "reason": "other"}, key=managed.full)
    assert (again.status, again.json) == (200, made)
    assert "location" not in again.headers
    [entry] = managed.audited("suppression ana@one.test")
    assert (entry.actor, entry.request_id) == (f"key {api_key_prefix(managed.full)}", "stop-ana")

    assert managed.ask("DELETE", "/suppressions/ANA@one.test", key=managed.full).status == 204
    for method in ("GET", "DELETE"):
        assert managed.ask(method, "/suppressions/ana@one.test", key=managed.full).status == 404
    assert [entry.action for entry in managed.audited("suppression ana@one.test")] == [
        "suppression.remove",
        "suppression.add",
    ]


def test_lists_are_apart(managed: Managed) -> None:
    address = {"address": "bo@one.test"}
    assert managed.ask("POST", "/suppressions", address, key=managed.full).status == 201
    assert managed.ask("POST", "/suppressions", address, key=managed.other).status == 201
    assert managed.ask("POST", "/suppressions", address).status == 201
    assert managed.ask("POST", "/suppressions?everyone=true", address).json["tenant"] is None
    assert managed.ask("POST", "/suppressions?everyone=true", {**address, "tenant": "acme"}).status == 400
    assert managed.ask("DELETE", "/suppressions/bo@one.test", key=managed.full).status == 204
    assert managed.ask("GET", "/suppressions/bo@one.test?tenant=umbra").status == 200
    assert managed.ask("GET", "/suppressions/bo@one.test?everyone=true").status == 200
    assert managed.ask("DELETE", "/suppressions/bo@one.test?everyone=true").status == 204


def test_everyones_list_is_the_operators(managed: Managed) -> None:
    address = {"address": "cy@one.test"}
    made = managed.ask("POST", "/suppressions?everyone=true", address)
    assert made.headers["location"] == f"{ROOT}/suppressions/cy@one.test?everyone=true"
    for method, path, body in (
        ("GET", "/suppressions?everyone=true", None),
        ("POST", "/suppressions?everyone=true", address),
        ("GET", "/suppressions/cy@one.test?everyone=true", None),
        ("DELETE", "/suppressions/cy@one.test?everyone=true", None),
    ):
        answer = managed.ask(method, path, body, key=managed.full)
        assert (answer.status, answer.json["reason"]) == (403, "forbidden")
    listed = managed.ask("GET", "/suppressions?everyone=true").json["data"]
    assert "cy@one.test" in {each["address"] for each in listed}


def test_what_is_suppressed_is_refused_at_once(managed: Managed) -> None:
    mail = {"from": "a@shared.example", "to": "dee@one.test", "subject": "Hi", "text": "Hi"}
    key = managed.usable(tenant="default", permission="full")
    assert managed.ask("POST", "/suppressions", {"address": "dee@one.test"}, key=key).status == 201
    refused = managed.ask("POST", "/emails", mail, key=key)
    assert (refused.status, refused.json["reason"]) == (422, "recipient_suppressed")
    assert managed.ask("DELETE", "/suppressions/dee@one.test", key=key).status == 204
    assert managed.ask("POST", "/emails", mail, key=key).status == 202


# -- figures ---------------------------------------------------------------------------------------------------------


def test_figures_say_what_was_sent_and_what_is_left(managed: Managed) -> None:
    tenant = managed.tenant(plan="free", approved=True)
    domain = managed.domain(tenant=tenant, mode="byoc", account="customer", vouched=True)
    key = managed.usable(tenant=tenant, permission="full")
    before = managed.ask("GET", "/stats", key=key).json
    assert before["month"] == {
        "name": before["month"]["name"],
        "messages": 0,
        "recipients": 0,
        "quota": 100,
        "left": 100,
        "starts_anew_at": before["month"]["starts_anew_at"],
    }
    assert (before["tenant"], before["plan"], before["daily_guideline"]) == (tenant, "free", 10)
    assert len(before["days"]) == 30
    assert managed.ask("GET", f"/stats?tenant={tenant}").json == before
    assert domain


def test_figures_count_messages_and_recipients(managed: Managed) -> None:
    mail = {"from": "a@shared.example", "to": [f"p{n}@one.test" for n in range(3)], "subject": "Hi", "text": "Hi"}
    key = managed.usable(tenant="default", permission="full")
    today = str(datetime.now(UTC).date())

    def sent() -> tuple[int, int]:
        found = managed.ask("GET", "/stats", key=key).json
        day = {each["date"]: each for each in found["days"]}[today]
        assert found["month"]["recipients"] >= day["recipients"]
        return day["messages"], day["recipients"]

    messages, recipients = sent()
    for _ in range(2):
        assert managed.ask("POST", "/emails", mail, key=key).status == 202
    wait_for(lambda: sent() == (messages + 2, recipients + 6))


def test_figures_of_the_days_that_are_asked_for(managed: Managed) -> None:
    found = managed.ask("GET", "/stats?from=2026-02-27&to=2026-03-02").json
    assert [each["date"] for each in found["days"]] == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert {each["messages"] for each in found["days"]} == {0}
    later = datetime.now(UTC).date() + timedelta(days=3)
    assert [each["date"] for each in managed.ask("GET", f"/stats?from={later}").json["days"]] == [str(later)]
