"""MailerLogic's own routes of webhooks (MailerLogic contract 8), over the rows that management has, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from relay.http.dialects.mailerlogic_webhooks import One
from relay.message import public_id_of, uuid_of
from tests.http_edge.managed import Managed, managing

PATH = "/customer/webhooks"
URL = "http://127.0.0.1:9/hook"
ALL = ["email.sent", "email.delivered", "email.bounced", "email.complained", "email.failed", "email.opened"]
ALL += ["email.clicked", "email.unsubscribed"]


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("mailerlogic")) as managed:
        yield managed


def made(managed: Managed, key: str | None = None, **fields: Any) -> dict[str, Any]:
    body = {"url": URL, "events": ["email.bounced"], **fields}
    answer = managed.ask("POST", PATH, body, key=managed.full if key is None else key)
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json["webhook"]
    One.model_validate_json(json.dumps(answer.json))
    assert answer.headers["location"] == f"/api/v1{PATH}/{found['id']}"
    return found


def domain_id(managed: Managed, name: str) -> str:
    return uuid_of(managed.ask("GET", f"/domains/{name}").json["id"])


def test_a_webhook_by_their_routes(managed: Managed) -> None:
    wanted = [domain_id(managed, name) for name in ("acme.example", "scoped.example")]
    said = {"name": "shop", "description": "theirs", "domain_ids": wanted, "colour": "red"}
    hook = made(managed, **said, events=["email.failed", "email.bounced"])
    assert hook.pop("secret").startswith("whsec_")
    assert hook["domains"] == [
        {"id": wanted[0], "domain": "acme.example"},
        {"id": wanted[1], "domain": "scoped.example"},
    ]
    assert (hook["domain_ids"], hook["name"], hook["is_active"]) == (wanted, "shop", True)
    assert hook["events"] == ["email.bounced", "email.failed"]
    path = f"{PATH}/{hook['id']}"
    assert managed.ask("GET", path, key=managed.full).json == {"webhook": hook}
    assert hook in managed.ask("GET", PATH, key=managed.full).json["webhooks"]

    ours = managed.ask("GET", f"/webhooks/{public_id_of(hook['id'])}", key=managed.full).json
    assert (ours["dialect"], ours["url"]) == ("mailerlogic", URL)
    assert sorted(ours["events"]) == ["email.bounced", "email.failed", "email.rejected", "email.suppressed"]

    changes = {"domain_ids": [], "events": ["email.sent"], "is_active": False, "name": "till"}
    changed = managed.ask("PUT", path, changes, key=managed.full).json["webhook"]
    assert [changed[name] for name in changes] == [None, ["email.sent"], False, "till"]
    assert changed["domains"] == []
    assert managed.ask("PUT", path, {"is_active": True}, key=managed.full).json["webhook"]["events"] == ["email.sent"]
    assert managed.ask("DELETE", path, key=managed.full).status == 204
    assert managed.ask("GET", path, key=managed.full).status == 404


def test_what_management_chose_is_said_in_their_words(managed: Managed) -> None:
    made_here = managed.webhook(dialect="mailerlogic", events=["*"], domains=["acme.example", "gone.example"])
    hook = managed.ask("GET", f"{PATH}/{uuid_of(made_here)}", key=managed.full).json["webhook"]
    assert hook["events"] == ALL
    assert [each["domain"] for each in hook["domains"]] == ["acme.example"]


def test_one_that_is_not_active_begins_so(managed: Managed) -> None:
    assert made(managed, is_active=False)["is_active"] is False


def test_the_older_member_names_one_domain(managed: Managed) -> None:
    wanted = domain_id(managed, "acme.example")
    assert made(managed, domain_id=wanted)["domain_ids"] == [wanted]


def test_only_their_own(managed: Managed) -> None:
    native, theirs = managed.webhook(), made(managed)
    for path in (f"{PATH}/{uuid_of(native)}", f"{PATH}/nope", f"{PATH}/{uuid_of('0' * 24)}"):
        for method in ("GET", "PUT", "DELETE"):
            answer = managed.ask(method, path, key=managed.full)
            assert (answer.status, answer.json["error"]) == (404, "not_found")
    ids = [each["id"] for each in managed.ask("GET", PATH, key=managed.full).json["webhooks"]]
    assert theirs["id"] in ids
    assert uuid_of(native) not in ids
    assert managed.ask("GET", f"{PATH}/{theirs['id']}", key=managed.other).status == 404
    assert managed.ask("GET", PATH, key=managed.other).json == {"webhooks": []}
    assert managed.ask("GET", f"{PATH}/{theirs['id']}", key=managed.scoped).status == 404
    own = made(managed, managed.scoped, domain_ids=[domain_id(managed, "scoped.example")])
    assert managed.ask("GET", PATH, key=managed.scoped).json["webhooks"] == [
        {name: value for name, value in own.items() if name != "secret"}
    ]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "validation_error"),
        ({"url": "https://10.0.0.1/", "events": ["email.sent"]}, 400, "validation_error"),
        ({"url": "ftp://one.test/", "events": ["email.sent"]}, 400, "validation_error"),
        ({"url": URL, "events": ["email.queued"]}, 400, "validation_error"),
        ({"url": URL, "events": []}, 400, "validation_error"),
        ({"url": URL, "events": ["email.sent"], "domain_ids": [uuid_of("0" * 24)]}, 400, "validation_error"),
        ({"url": URL, "events": ["email.sent"], "domain_ids": ["nope"]}, 400, "validation_error"),
    ],
)
def test_refusals_are_in_their_words(managed: Managed, body: dict[str, Any], status: int, error: str) -> None:
    answer = managed.ask("POST", PATH, body, key=managed.full)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert answer.json.keys() == {"error", "message"}


def test_who_may_not(managed: Managed) -> None:
    body = {"url": URL, "events": ["email.sent"]}
    for key, status in (("", 401), (managed.send_only, 403), (managed.scoped, 403)):
        answer = managed.ask("POST", PATH, body, key=key)
        assert answer.status == status
        assert "request_id" not in answer.json, "that would be the native form"
