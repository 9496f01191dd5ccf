"""Lists a page at a time, filters, and what has not changed since it was last asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.http_edge.managed import DATABASES, Managed, managing

MANY = 23


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("lists"), request.param) as managed:
        for number in range(MANY):
            managed.tenant(plan="free" if number % 2 else None)
            managed.account(region=("eu-west-1", "us-east-1")[number % 2], tenant=("acme", None)[number % 3 == 0])
            managed.key(permission=("send_only", "full", "admin")[number % 3])
            managed.suppression()
        for _ in range(5):
            managed.domain(mode="shared", account="operator")
        yield managed


def walked(managed: Managed, path: str, limit: int, key: str) -> list[list[Any]]:
    """Every page, until there is no next one."""
    pages: list[list[Any]] = []
    cursor = ""
    while True:
        answer = managed.ask("GET", f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}", key=key)
        assert answer.status == 200, answer.body
        assert answer.json.keys() == {"data", "total", "next_cursor"}
        pages.append(answer.json["data"])
        total = answer.json["total"]
        if answer.json["next_cursor"] is None:
            flat = [item for page in pages for item in page]
            assert total in {len(flat), None}
            return pages
        cursor = f"&cursor={answer.json['next_cursor']}"


PATHS = {
    "/tenants": "name",
    "/tenants?plan=free": "name",
    "/ses-accounts": "name",
    "/ses-accounts?region=us-east-1": "name",
    "/domains": "domain",
    "/domains?mode=shared": "domain",
    "/keys": "id",
    "/keys?permission=full": "id",
    "/suppressions?tenant=acme": "address",
    "/suppressions?tenant=acme&q=GONE-1": "address",
}


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
@pytest.mark.parametrize("path", PATHS)
def test_the_pages_together_are_the_list(managed: Managed, path: str, limit: int) -> None:
    is_a_tenants = path.startswith(("/domains", "/keys", "/suppressions"))
    for key in [managed.operator, managed.full] if is_a_tenants else [managed.operator]:
        [whole] = walked(managed, path, 100, key)
        pages = walked(managed, path, limit, key)
        names = [item[PATHS[path]] for page in pages for item in page]
        assert [item for page in pages for item in page] == whole
        assert names == sorted(set(names))
        assert {len(page) for page in pages[:-1]} <= {limit}
        assert len(pages[-1]) or len(pages) == 1


def test_fifty_are_a_page_where_nobody_says(managed: Managed) -> None:
    for number in range(60):
        managed.ask("POST", "/suppressions", {"address": f"p{number:02}@fifty.test"}, key=managed.other)
    answer = managed.ask("GET", "/suppressions", key=managed.other).json
    assert len(answer["data"]) == 50
    assert answer["next_cursor"]


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        ("/tenants?plan=free", "plan", {"free"}),
        ("/tenants?approval=approved", "approval", {"approved"}),
        ("/tenants?status=active", "status", {"active"}),
        ("/ses-accounts?tenant=acme", "tenant", {"acme"}),
        ("/ses-accounts?region=us-east-1", "region", {"us-east-1"}),
        ("/domains?mode=shared", "mode", {"shared"}),
        ("/domains?status=pending", "status", {"pending"}),
        ("/domains?account=acme-ses", "account", {"acme-ses"}),
        ("/domains?tenant=acme", "tenant", {"acme"}),
        ("/domains", "tenant", {"acme", "default"}),
        ("/keys", "tenant", {"acme", "default", "umbra"}),
        ("/keys?tenant=umbra", "tenant", {"umbra"}),
        ("/keys?permission=send_only", "permission", {"send_only"}),
        ("/keys?revoked=false", "status", {"valid"}),
        ("/suppressions?tenant=acme&reason=manual", "reason", {"manual"}),
        ("/suppressions?tenant=acme&source=api", "source", {"api"}),
    ],
)
def test_filters(managed: Managed, path: str, field: str, values: set[str]) -> None:
    assert {item[field] for item in managed.ask("GET", path).json["data"]} == values


def test_filters_that_nothing_fits(managed: Managed) -> None:
    for path in ("/tenants?status=suspended", "/domains?account=none", "/keys?revoked=true", "/suppressions?q=zz"):
        answer = managed.ask("GET", path).json
        assert (answer["data"], answer["next_cursor"]) == ([], None)


@pytest.mark.parametrize(
    ("path", "method", "body"),
    [
        ("/tenants/acme", "PATCH", {"tier": "gold"}),
        ("/ses-accounts/acme-ses", "PATCH", {"rate": 7}),
        ("/domains/acme.example", "PATCH", {"include_subdomains": True}),
        ("/domains/acme.example/records", "", None),
        ("/domains/acme.example/records?format=zone", "", None),
        ("/keys/{key}", "PATCH", {"name": "renamed"}),
        ("/suppressions/{address}?tenant=acme", "", None),
        ("/stats", "", None),
    ],
)
def test_what_has_not_changed_is_not_sent_again(managed: Managed, path: str, method: str, body: Any) -> None:
    path = path.format(key=managed.key()["id"], address=managed.suppression())
    first = managed.ask("GET", path)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    for known in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
        again = managed.ask("GET", path, If_None_Match=known)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert managed.ask("HEAD", path, If_None_Match=tag).status == 304
    assert managed.ask("GET", path, If_None_Match='W/"x"').status == 200
    assert managed.ask("GET", path, If_None_Match=tag, key="").status == 401
    assert managed.ask("GET", path, If_None_Match=tag, key=managed.send_only).status == 403
    if method:
        assert managed.ask(method, path, body).status == 200
        changed = managed.ask("GET", path, If_None_Match=tag)
        assert changed.status == 200
        assert changed.headers["etag"] != tag
