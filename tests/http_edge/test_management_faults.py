"""What is wrong with a management request: all of it in one answer, and nothing secret in any."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.http_edge.managed import DATABASES, Managed, managing

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("faults"), request.param) as managed:
        yield managed


BODIES: list[tuple[str, str, Any, set[str]]] = [
    ("POST", "/tenants", {}, {"name"}),
    ("POST", "/tenants", {"name": "Not A Slug", "contact": "nobody", "colour": 1}, {"name", "contact", "colour"}),
    (
        "POST",
        "/tenants",
        {"name": "t", "approved": "yes", "settings": {"mx_policy": "maybe", "retention_content": "soon", "x": 1}},
        {"approved", "settings.mx_policy", "settings.retention_content", "settings.x"},
    ),
    ("PATCH", "/tenants/acme", {"plan": 7, "settings": None, "name": "other"}, {"plan", "settings", "name"}),
    ("POST", "/tenants/acme/suspend", {}, {"reason"}),
    ("POST", "/tenants/acme/suspend", {"reason": ""}, {"reason"}),
    ("POST", "/tenants/acme/suspend", {"reason": "two\nlines"}, {"reason"}),
    ("POST", "/tenants/acme/resume", {"note": "x" * 999, "reason": "?"}, {"note", "reason"}),
    ("POST", "/tenants/acme/decline", {}, {"note"}),
    (
        "POST",
        "/tenants/acme/approval",
        {"expected_volume": 0},
        {"use_case", "company", "website", "expected_volume"},
    ),
    ("POST", "/ses-accounts", {"rate": 0, "concurrency": 0}, {"name", "region", "rate", "concurrency"}),
    (
        "POST",
        "/ses-accounts",
        {
            "name": "a",
            "region": "eu-west-1",
            "credentials": {"access_key_id": "A", "role_arn": "arn:aws:iam::1:role/x"},
        },
        {"credentials.role_arn"},
    ),
    (
        "POST",
        "/ses-accounts",
        {"name": "a", "region": "nowhere", "endpoint_url": "ftp://x"},
        {"region", "endpoint_url"},
    ),
    ("PATCH", "/ses-accounts/acme-ses", {"region": "eu-west-2", "tenant": "umbra"}, {"region", "tenant"}),
    ("POST", "/ses-accounts/acme-ses/test", {"really": True}, {"really"}),
    ("POST", "/domains", {}, {"domain", "mode"}),
    (
        "POST",
        "/domains",
        {"domain": "not a domain", "mode": "both", "streams": [], "vouched": 1, "default_sender": "x"},
        {"domain", "mode", "streams", "vouched", "default_sender"},
    ),
    (
        "POST",
        "/domains",
        {"domain": "d.example", "mode": "byoc", "mail_from": "-", "ses_tenant": ""},
        {"mail_from", "ses_tenant"},
    ),
    ("PATCH", "/domains/acme.example", {"configuration_sets": {"weekly": "x"}}, {"configuration_sets.weekly"}),
    ("DELETE", "/domains/acme.example", {"really": True}, {"really"}),
    (
        "POST",
        "/keys",
        {"permission": "root", "domains": [], "rate_per_minute": 0},
        {"name", "permission", "domains", "rate_per_minute"},
    ),
    ("POST", "/keys", {"name": "k", "secret": "short"}, {"secret"}),
    ("POST", "/keys", {"name": "k", "expires_at": "2001-01-01T00:00:00Z"}, {"expires_at"}),
    ("POST", "/keys", {"name": "k", "expires_at": "9999-12-31T23:59:59-12:00"}, {"expires_at"}),
    ("POST", "/keys", {"name": "k", "expires_at": "2030-01-01T00:00:00"}, {"expires_at"}),
    ("POST", "/keys", {"name": "k", "expires_at": 4102444800}, {"expires_at"}),
    ("POST", "/keys", {"name": "half \ud800"}, {"name"}),
    ("PATCH", "/keys/{key}", {"permission": "admin", "secret": SECRET}, {"permission", "secret"}),
    ("POST", "/keys/{key}/rotate", {"overlap": "a while"}, {"overlap"}),
    ("POST", "/keys/{key}/rotate", {"overlap": "400d"}, {"overlap"}),
    ("POST", "/keys/{key}/rotate", {"overlap": "9" * 30 + "d"}, {"overlap"}),
    ("POST", "/suppressions", {}, {"address"}),
    (
        "POST",
        "/suppressions",
        {"address": "nobody", "reason": "x" * 201, "note": "a\0b", "expires_at": "soon", "source": "me"},
        {"address", "reason", "note", "expires_at", "source"},
    ),
    ("POST", "/suppressions", {"address": "ünï@one.test", "reason": ""}, {"address", "reason"}),
]


@pytest.mark.parametrize(("method", "path", "body", "faults"), BODIES)
def test_every_fault_of_a_body_is_told(managed: Managed, method: str, path: str, body: Any, faults: set[str]) -> None:
    answer = managed.ask(method, path.format(key=managed.key()["id"] if "{" in path else ""), body)
    assert (answer.status, answer.json["error"], answer.json["reason"]) == (400, "bad_request", "bad_request")
    assert {fault["param"].removesuffix(".[key]") for fault in answer.json["errors"]} == faults
    assert all(fault["message"] for fault in answer.json["errors"])


@pytest.mark.parametrize(
    ("path", "faults"),
    [
        ("/tenants?limit=0&cursor=%01&status=gone&colour=red", {"limit", "cursor", "status", "colour"}),
        ("/tenants?limit=101", {"limit"}),
        ("/tenants?limit=5&limit=6", {"limit"}),
        ("/tenants?approval=yes&plan=", set()),
        ("/tenants/acme?verbose=1", {"verbose"}),
        ("/ses-accounts?tenant=Not%20A%20Slug&region=%01", {"tenant", "region"}),
        ("/domains?status=ok&mode=none&account=*&verified=1", {"status", "mode", "account", "verified"}),
        ("/domains/acme.example/records?format=bind", {"format"}),
        ("/keys?permission=root&revoked=maybe", {"permission", "revoked"}),
        ("/suppressions?everyone=yes&q=%20&reason=%0a", {"everyone", "q", "reason"}),
        ("/suppressions?everyone=true&tenant=acme", {""}),
        ("/stats?from=yesterday&to=2026-13-01&tenant=*", {"from", "to", "tenant"}),
        ("/stats?from=2026-02-02&to=2026-02-01", {""}),
        ("/stats?from=2024-01-01&to=2026-02-01", {""}),
        ("/stats?from=2026-02-30", {"from"}),
    ],
)
def test_every_fault_of_a_query_is_told(managed: Managed, path: str, faults: set[str]) -> None:
    answer = managed.ask("GET", path)
    assert (answer.status, answer.json["reason"]) == (400, "bad_request")
    assert {fault["param"] for fault in answer.json["errors"]} >= faults


def test_faults_of_query_and_body_come_together(managed: Managed) -> None:
    answer = managed.ask("POST", "/suppressions?colour=red", {"address": "nobody"})
    assert {fault["param"] for fault in answer.json["errors"]} == {"colour", "address"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"  ", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"name": NaN}', 400),
        (b"\xff", 400),
        (b'{"name":' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
        (b'{"name": "' + b"x" * (64 << 10) + b'"}', 413),
    ],
)
def test_what_is_no_small_json_object_is_refused(managed: Managed, body: bytes, status: int) -> None:
    answer = managed.ask("POST", "/tenants", body)
    assert answer.status == status, answer.body
    assert answer.json["request_id"]


def test_no_body_says_nothing(managed: Managed) -> None:
    for body in (None, b"", {}):
        assert managed.ask("POST", f"/ses-accounts/{managed.account()}/pause", body).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/tenants/%01",
        "/tenants/a%0Ab",
        "/tenants/%F0%9F%92%A9",
        "/ses-accounts/%01",
        "/domains/%01",
        "/domains/..",
        "/domains/-.example",
        "/domains/" + "x" * 3000,
        "/domains/%C3%BC.example",
        "/keys/%01",
        "/keys/0x1",
        "/keys/" + "f" * 24,
        "/keys/" + "%D9%A1" * 24,  # decimal digits, of another script
        "/keys/________________________",
        "/suppressions/%01@one.test",
        "/suppressions/nobody",
        "/suppressions/",
        "/suppressions/a%25b@one.test",
    ],
)
def test_odd_names_are_only_not_there(managed: Managed, path: str) -> None:
    answer = managed.ask("GET", path)
    assert (answer.status, answer.json["reason"]) == (404, "not_found"), answer.body


@pytest.mark.parametrize("path", ["/tenants", "/ses-accounts", "/domains", "/suppressions", "/keys"])
@pytest.mark.parametrize("cursor", ["a", "%21", "====", "%C3%BC", "AA", "Y2hhbmdlZA", "x" * 1001])
def test_cursors_that_are_not_ours_do_no_harm(managed: Managed, path: str, cursor: str) -> None:
    for key in (managed.operator, managed.full):
        assert managed.ask("GET", f"{path}?cursor={cursor}", key=key).status in {200, 400, 403}


def test_a_cursor_of_no_number_the_database_has_is_refused(managed: Managed) -> None:
    for number in (1 << 63, -(1 << 70), 10**400):
        cursor = base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")
        for key in (managed.operator, managed.full):
            assert managed.ask("GET", f"/keys?cursor={cursor}", key=key).status == 400


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_no_answer_has_a_secret_that_came_in(managed: Managed) -> None:
    given = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": SECRET}
    body = {"name": "kept", "region": "eu-west-1", "credentials": given, "endpoint_url": managed.world.sandbox_url}
    answers = [
        managed.ask("POST", "/ses-accounts", body | {"rate": "fast"}),
        managed.ask("POST", "/ses-accounts", body | {"credentials": {**given, "profile": "p"}}),
        managed.ask("POST", "/ses-accounts", body | {"credentials": {**given, "secret_access_key": [SECRET]}}),
        managed.ask("POST", "/ses-accounts", body | {"credentials": {"access_key_id": SECRET + "\n"}}),
        managed.ask("POST", "/ses-accounts", body),
        managed.ask("POST", "/ses-accounts", body),
        managed.ask("GET", "/ses-accounts/kept"),
        managed.ask("GET", "/ses-accounts"),
        managed.ask("POST", "/ses-accounts/kept/test"),
        managed.ask("PATCH", "/ses-accounts/kept", {"credentials": given}),
        managed.ask("POST", "/keys", {"name": "k", "secret": SECRET, "permission": "nothing"}),
        managed.ask("POST", "/keys", {"name": "k", "secret": SECRET}),
        managed.ask("POST", "/keys", {"name": "k", "secret": SECRET}),
    ]
    assert [answer.status for answer in answers].count(201) == 2
    assert not [answer.body for answer in answers if SECRET.encode() in answer.body]
    shown = managed.ask("GET", "/ses-accounts/kept").json["credentials"]
    assert shown == {"type": "static", "access_key_id": "AKIAEXAMPLE", "secret_last_four": SECRET[-4:]}
    for target in ("account kept", f"key {answers[-2].json['id']}"):
        assert not [entry for entry in managed.audited(target) if SECRET in str(entry)]
    for file in managed.world.folder.glob("relay.db*"):
        assert SECRET.encode() not in file.read_bytes()
