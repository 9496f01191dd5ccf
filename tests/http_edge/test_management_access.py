"""Who may do what: every route of the management API, tried with every sort of key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.http.management import ROUTES
from relay.http.management.rules import Also
from tests.http_edge.managed import DATABASES, ROOT, Managed, managing
from tests.support import wait_for

PAGE = (Path(__file__).parent.parent.parent / "docs" / "management.md").read_text("utf-8")
ALSO = {
    Also.NOTHING: "",
    Also.WHOLE: "a key for all domains",
    Also.STANDING: "a tenant that is not suspended",
}
Request = tuple[str, Any]  # path, body

APPLICATION = {"use_case": "receipts", "company": "Acme", "website": "https://acme.example", "expected_volume": 1000}


def _suspended(managed: Managed) -> str:
    name = managed.tenant()
    assert managed.ask("POST", f"/tenants/{name}/suspend", {"reason": "spam"}).status == 200
    return name


def _paused(managed: Managed) -> str:
    name = managed.account()
    assert managed.ask("POST", f"/ses-accounts/{name}/pause").status == 200
    return name


def _may_ask(managed: Managed) -> str:
    managed.ask("POST", "/tenants/acme/decline", {"note": "tell us more"})
    return "acme"


def _may_appeal(managed: Managed) -> str:
    managed.ask("POST", "/tenants/acme/resume")  # it may have appealed before
    assert managed.ask("POST", "/tenants/acme/suspend", {"reason": "spam"}).status == 200
    return "acme"


# What each route is asked, of something fresh that acme has, or that is there for the operator.
ASKED: dict[str, Callable[[Managed], Request]] = {
    "GET /tenants": lambda m: ("/tenants", None),
    "POST /tenants": lambda m: ("/tenants", {"name": m.name("t")}),
    "GET /tenants/{name}": lambda m: ("/tenants/acme", None),
    "PATCH /tenants/{name}": lambda m: ("/tenants/acme", {"tier": m.name("tier")}),
    "POST /tenants/{name}/suspend": lambda m: (f"/tenants/{m.tenant()}/suspend", {"reason": "spam"}),
    "POST /tenants/{name}/resume": lambda m: (f"/tenants/{_suspended(m)}/resume", None),
    "POST /tenants/{name}/appeal": lambda m: (f"/tenants/{_may_appeal(m)}/appeal", {"note": "it was not us"}),
    "POST /tenants/{name}/approve": lambda m: (f"/tenants/{m.tenant()}/approve", {"note": "welcome"}),
    "POST /tenants/{name}/decline": lambda m: (f"/tenants/{m.tenant()}/decline", {"note": "no"}),
    "POST /tenants/{name}/approval": lambda m: (f"/tenants/{_may_ask(m)}/approval", APPLICATION),
    "GET /ses-accounts": lambda m: ("/ses-accounts", None),
    "POST /ses-accounts": lambda m: ("/ses-accounts", {"name": m.name("a"), "region": "eu-west-1"}),
    "GET /ses-accounts/{name}": lambda m: ("/ses-accounts/acme-ses", None),
    "PATCH /ses-accounts/{name}": lambda m: ("/ses-accounts/acme-ses", {"rate": 5}),
    "DELETE /ses-accounts/{name}": lambda m: (f"/ses-accounts/{m.account()}", None),
    "POST /ses-accounts/{name}/test": lambda m: ("/ses-accounts/acme-ses/test", None),
    "POST /ses-accounts/{name}/pause": lambda m: (f"/ses-accounts/{m.account()}/pause", {"reason": "later"}),
    "POST /ses-accounts/{name}/resume": lambda m: (f"/ses-accounts/{_paused(m)}/resume", None),
    "POST /ses-accounts/{name}/setup": lambda m: ("/ses-accounts/acme-ses/setup", {"dry_run": True}),
    "GET /ses-accounts/{name}/usage": lambda m: ("/ses-accounts/acme-ses/usage", None),
    "GET /domains": lambda m: ("/domains", None),
    "POST /domains": lambda m: ("/domains", {"domain": f"{m.name('d')}.example", "mode": "byoc"}),
    "GET /domains/{name}": lambda m: ("/domains/acme.example", None),
    "PATCH /domains/{name}": lambda m: ("/domains/acme.example", {"include_subdomains": True}),
    "DELETE /domains/{name}": lambda m: (f"/domains/{m.domain()}", None),
    "POST /domains/{name}/verify": lambda m: ("/domains/acme.example/verify", None),
    "GET /domains/{name}/records": lambda m: ("/domains/acme.example/records", None),
    "GET /keys": lambda m: ("/keys", None),
    "POST /keys": lambda m: ("/keys", {"name": "one more"}),
    "GET /keys/{id}": lambda m: (f"/keys/{m.key()['id']}", None),
    "PATCH /keys/{id}": lambda m: (f"/keys/{m.key()['id']}", {"name": "another name"}),
    "DELETE /keys/{id}": lambda m: (f"/keys/{m.key()['id']}", None),
    "POST /keys/{id}/rotate": lambda m: (f"/keys/{m.key()['id']}/rotate", None),
    "GET /suppressions": lambda m: ("/suppressions", None),
    "POST /suppressions": lambda m: ("/suppressions", {"address": f"{m.name('new')}@one.test"}),
    "GET /suppressions/{address}": lambda m: (f"/suppressions/{m.suppression()}", None),
    "DELETE /suppressions/{address}": lambda m: (f"/suppressions/{m.suppression()}", None),
    "GET /templates": lambda m: ("/templates", None),
    "POST /templates": lambda m: ("/templates", {"name": m.name("new"), "subject": "s", "text": "t"}),
    "POST /templates/validate": lambda m: ("/templates/validate", {"subject": "s", "text": "t"}),
    "GET /templates/{name}": lambda m: (f"/templates/{m.template()}", None),
    "PATCH /templates/{name}": lambda m: (f"/templates/{m.template()}", {"subject": "another"}),
    "DELETE /templates/{name}": lambda m: (f"/templates/{m.template()}", None),
    "GET /templates/{name}/versions": lambda m: (f"/templates/{m.template()}/versions", None),
    "POST /templates/{name}/preview": lambda m: (f"/templates/{m.template()}/preview", None),
    "GET /webhooks": lambda m: ("/webhooks", None),
    "POST /webhooks": lambda m: ("/webhooks", {"url": f"http://127.0.0.1:9/{m.name('hook')}"}),
    "GET /webhooks/{id}": lambda m: (f"/webhooks/{m.webhook()}", None),
    "PATCH /webhooks/{id}": lambda m: (f"/webhooks/{m.webhook()}", {"retries": 3}),
    "DELETE /webhooks/{id}": lambda m: (f"/webhooks/{m.webhook()}", None),
    "POST /webhooks/{id}/rotate": lambda m: (f"/webhooks/{m.webhook()}/rotate", None),
    "POST /webhooks/{id}/test": lambda m: (f"/webhooks/{m.webhook()}/test", None),
    "GET /webhooks/{id}/deliveries": lambda m: (f"/webhooks/{m.webhook()}/deliveries", None),
    "GET /webhooks/{id}/deliveries/{delivery}": lambda m: (m.webhook_post(), None),
    "POST /webhooks/{id}/replay": lambda m: (f"/webhooks/{m.webhook()}/replay", None),
    "GET /stats": lambda m: ("/stats", None),
    "GET /journal": lambda m: ("/journal", None),
    "GET /smtp-failures": lambda m: ("/smtp-failures", None),
}
# One list per tenant, and names of its own: the operator says whose, where others have no choice.
ONE_LIST = {
    "GET /suppressions/{address}",
    "DELETE /suppressions/{address}",
    "GET /templates/{name}",
    "PATCH /templates/{name}",
    "DELETE /templates/{name}",
    "GET /templates/{name}/versions",
    "POST /templates/{name}/preview",
}
# A key for scoped.example makes no key and no webhook for every domain, and registers no other domain.
BEYOND_SCOPE = {"POST /keys", "POST /domains", "POST /webhooks"}


def rows() -> Iterator[tuple[str, str, str, str]]:
    """The page's table: route, permission, what else it needs, what it does."""
    for route, permission, also, summary in re.findall(r"(?m)^\| `(\w+ /.*)` \| (.*) \| (.*?) ?\| (.*) \|$", PAGE):
        yield route, permission, also.strip(), summary


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("access"), request.param) as managed:
        yield managed


@pytest.fixture(autouse=True)
def acme_may_send(managed: Managed) -> Iterator[None]:
    yield
    managed.ask("POST", "/tenants/acme/resume")


def test_the_page_has_the_table_of_the_code() -> None:
    table = [
        (f"{rule.method} {rule.path.replace(':path', '')}", rule.permission.value, ALSO[rule.also], rule.summary)
        for rule in ROUTES
    ]
    assert list(rows()) == table


def test_every_route_is_tried() -> None:
    assert [route for route, *_ in rows()] == list(ASKED)


def expected(route: str, permission: str, also: str, caller: str) -> int:
    """The status that the page promises; 200 for any success."""
    if caller in {"nobody", "send_only"}:
        return {"nobody": 401, "send_only": 403}[caller]
    if caller == "operator":
        return 200
    if permission == "admin":
        return 403
    if caller == "scoped":
        if also == ALSO[Also.WHOLE] or route in BEYOND_SCOPE:
            return 403
        return 404 if re.search(r"/(domains|keys|webhooks)/", route) else 200
    return 404 if caller == "other" and "{" in route else 200


CALLERS = ("nobody", "send_only", "other", "scoped", "full", "operator")


@pytest.mark.parametrize(("route", "permission", "also"), [row[:3] for row in rows()], ids=[row[0] for row in rows()])
def test_a_route_is_open_to_those_that_the_page_names(managed: Managed, route: str, permission: str, also: str) -> None:
    for caller in CALLERS:
        path, body = ASKED[route](managed)
        if caller == "operator" and route in ONE_LIST:
            path += "?tenant=acme"
        key = "" if caller == "nobody" else getattr(managed, caller)
        answer = managed.ask(route.split()[0], path, body, key=key)
        status = 200 if answer.status in {200, 201, 204} else answer.status
        assert status == expected(route, permission, also, caller), (caller, answer.body)
        assert answer.headers["cache-control"] == "no-store"
        assert int(answer.headers["x-ratelimit-limit"]) == 100_000
        slug = {401: "unauthorized", 403: "forbidden", 404: "not_found"}.get(status)
        assert slug is None or answer.json["reason"] == slug


# -- isolation -------------------------------------------------------------------------------------------------------

ABSENT = {
    "/tenants/acme": "/tenants/nobody",
    "/domains/acme.example": "/domains/nowhere.example",
    "/suppressions/": "/suppressions/nobody@one.test",
    "/keys/": f"/keys/{0:024x}",
    "/templates/": "/templates/nowhere",
    "/webhooks/": f"/webhooks/{0:024x}",
}


@pytest.mark.parametrize("route", [row[0] for row in rows() if row[1] == "full" and "{" in row[0]])
def test_what_is_anothers_looks_like_what_is_not_there(managed: Managed, route: str) -> None:
    path, body = ASKED[route](managed)
    [here] = [prefix for prefix in ABSENT if path.startswith(prefix)] or ["/domains/acme.example"]
    parts = path.split("/")
    absent = "/".join([*ABSENT[here].split("/"), *parts[3:]])
    method = route.split()[0]
    theirs, none = (
        managed.ask(method, path, body, key=managed.other),
        managed.ask(method, absent, body, key=managed.other),
    )

    def said(answer: Any, name: str) -> dict[str, Any]:
        return {**answer.json, "request_id": "", "message": answer.json["message"].replace(name, "it")}

    assert theirs.status == none.status == 404
    assert said(theirs, parts[2]) == said(none, absent.split("/")[2])
    assert theirs.headers.keys() == none.headers.keys()


def test_lists_hold_nothing_of_others(managed: Managed) -> None:
    managed.suppression()
    for path in ("/domains", "/keys", "/suppressions"):
        ours = managed.ask("GET", f"{path}?limit=100", key=managed.full).json["data"]
        assert ours
        assert {item["tenant"] for item in ours} == {"acme"}
        assert not [item for item in managed.ask("GET", path, key=managed.other).json["data"] if item in ours]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/domains?tenant={}", None),
        ("GET", "/keys?tenant={}", None),
        ("GET", "/suppressions?tenant={}", None),
        ("GET", "/suppressions/a@one.test?tenant={}", None),
        ("DELETE", "/suppressions/a@one.test?tenant={}", None),
        ("GET", "/stats?tenant={}", None),
        ("GET", "/journal?tenant={}", None),
        ("POST", "/domains", {"domain": "new.example", "mode": "byoc", "tenant": "{}"}),
        ("POST", "/domains", {"domain": "new.example", "mode": "byoc", "account": "{}-ses"}),
        ("PATCH", "/domains/umbra.example", {"account": "{}-ses"}),
        ("POST", "/keys", {"name": "k", "tenant": "{}"}),
        ("POST", "/suppressions", {"address": "a@one.test", "tenant": "{}"}),
    ],
)
def test_nothing_is_done_in_anothers_name(managed: Managed, method: str, path: str, body: Any) -> None:
    managed.ask("POST", "/domains", {"domain": "umbra.example", "mode": "byoc"}, key=managed.other)
    answers = []
    for tenant in ("acme", "nobody"):
        filled = body and {name: value.replace("{}", tenant) for name, value in body.items()}
        answer = managed.ask(method, path.format(tenant), filled, key=managed.other)
        assert (answer.status, answer.json["reason"]) == (404, "not_found")
        answers.append({**answer.json, "request_id": "", "message": answer.json["message"].replace(tenant, "")})
    assert answers[0] == answers[1]


# -- domain scopes ---------------------------------------------------------------------------------------------------


def test_a_scoped_key_manages_its_domains_and_the_keys_for_them(managed: Managed) -> None:
    def ask(method: str, path: str, body: Any = None) -> Any:
        return managed.ask(method, path, body, key=managed.scoped)

    assert [item["domain"] for item in ask("GET", "/domains").json["data"]] == ["scoped.example"]
    assert ask("GET", "/domains/scoped.example").status == 200
    assert ask("GET", "/domains/acme.example").status == 404
    assert ask("PATCH", "/domains/scoped.example", {"streams": ["transactional"]}).status == 200

    made = ask("POST", "/keys", {"name": "k", "domains": ["scoped.example"], "permission": "full"})
    assert made.status == 201
    for beyond in ({"domains": ["acme.example"]}, {"domains": ["scoped.example", "acme.example"]}, {}):
        assert ask("POST", "/keys", {"name": "k", **beyond}).json["reason"] == "forbidden"
        assert ask("PATCH", f"/keys/{made.json['id']}", {"domains": None, **beyond}).json["reason"] == "forbidden"
    listed = ask("GET", "/keys").json["data"]
    assert made.json["id"] in {item["id"] for item in listed}
    assert {tuple(item["domains"]) for item in listed} == {("scoped.example",)}


def test_an_admin_key_with_domains_is_no_operators_key(managed: Managed) -> None:
    key = managed.usable(permission="admin", domains=["scoped.example"])
    assert managed.ask("GET", "/tenants", key=key).status == 403
    assert managed.ask("GET", "/ses-accounts/acme-ses", key=key).status == 403
    assert managed.ask("GET", "/tenants/umbra", key=key).status == 404
    assert managed.ask("GET", "/domains/acme.example", key=key).status == 404
    assert managed.ask("GET", "/domains/scoped.example", key=key).status == 200
    for fields in ({}, {"permission": "admin"}, {"permission": "admin", "domains": ["scoped.example"]}):
        assert managed.ask("POST", "/keys", {"name": "k", **fields}, key=key).status == 403


def test_a_key_knows_of_no_key_above_it(managed: Managed) -> None:
    above = managed.key(permission="admin")
    assert managed.ask("GET", f"/keys/{above['id']}").status == 200
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")):
        body = {"name": "mine"} if method == "PATCH" else None
        assert managed.ask(method, f"/keys/{above['id']}{path}", body, key=managed.full).status == 404
    listed = managed.ask("GET", "/keys?limit=100", key=managed.full).json["data"]
    assert above["id"] not in {item["id"] for item in listed}
    made = managed.ask("POST", "/keys", {"name": "k", "permission": "admin"}, key=managed.full)
    assert (made.status, made.json["reason"]) == (403, "forbidden")


# -- methods and names -----------------------------------------------------------------------------------------------


def test_other_methods_are_told_of_all_that_are_taken(managed: Managed) -> None:
    by_path: dict[str, set[str]] = {}
    for rule in ROUTES:
        by_path.setdefault(rule.path, set()).add(rule.method)
    for path, methods in by_path.items():
        answer = managed.ask("PUT", re.sub(r"\{.*?\}", "x", path))
        assert (answer.status, answer.json["reason"]) == (405, "method_not_allowed")
        assert {each.strip() for each in answer.headers["allow"].split(",")} == methods | (
            {"HEAD"} if "GET" in methods else set()
        )


def test_head_is_get_without_the_body(managed: Managed) -> None:
    head, get = managed.ask("HEAD", "/domains/acme.example"), managed.ask("GET", "/domains/acme.example")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["etag"] == get.headers["etag"]
    assert managed.ask("HEAD", "/domains/acme.example", key="").status == 401


def test_names_that_look_like_routes_are_names(managed: Managed) -> None:
    for name in ("suspend", "approve", "records", "stats", "test", "usage"):
        assert managed.made("/tenants", {"name": name})["name"] == name
        assert managed.ask("GET", f"/tenants/{name}").json["name"] == name
    address = "a/b+c@one.test"
    answer = managed.ask("POST", "/suppressions", {"address": address}, key=managed.full)
    assert answer.status == 201
    for path in (answer.headers["location"].removeprefix(ROOT), "/suppressions/a/b+c@one.test"):
        assert managed.ask("GET", path, key=managed.full).json["address"] == address
    assert managed.ask("DELETE", "/suppressions/a%2Fb%2Bc@ONE.test", key=managed.full).status == 204


def test_a_suspended_tenant_manages_but_makes_no_work_for_ses(managed: Managed) -> None:
    name = managed.tenant()
    domain = managed.domain(tenant=name, mode="shared", account="operator")
    key = managed.usable(tenant=name, permission="full")
    assert managed.ask("POST", f"/tenants/{name}/suspend", {"reason": "too many complaints"}).status == 200
    new = {"domain": f"{managed.name('d')}.example", "mode": "shared"}

    def refused() -> bool:
        answer = managed.ask("POST", "/domains", new, key=key)
        return answer.status == 403 and "too many complaints" in answer.json["message"]

    wait_for(refused)
    assert managed.ask("POST", f"/domains/{domain}/verify", key=key).json["reason"] == "account_suspended"
    for path in (f"/tenants/{name}", "/domains", f"/domains/{domain}", "/keys", "/suppressions", "/stats"):
        assert managed.ask("GET", path, key=key).status == 200
    assert managed.ask("POST", "/keys", {"name": "k"}, key=key).status == 201
    assert managed.ask("POST", f"/domains/{domain}/verify").status == 200  # the operator may look
