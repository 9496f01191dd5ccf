"""What holds for every answer, whoever gives it, and for every client, wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.http_edge.raw import Raw, request
from tests.support import World

PATH = "/api/v1/emails"
BODY = {"from": "news@shared.example", "to": "ana@one.test", "subject": "Hi", "text": "Hi Ana"}
PAGE = "https://app.example.com"
PROXY = "127.0.0.9"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("conventions")) as world:
        yield world


@pytest.fixture(scope="module")
def open_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One that pages of another origin may call, behind a proxy."""
    http = {"cors_origins": [PAGE], "trusted_proxies": [f"{PROXY}/32"]}
    logins = {"failures": 3, "failures_per_address": 3}
    with World(tmp_path_factory.mktemp("open"), http=http, logins=logins) as world:
        yield world


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/nowhere", 404),
        ("PUT", PATH, 405),
        ("POST", PATH, 202),
        ("POST", "/sendfleet/nowhere", 404),
        ("GET", "/api/v1/domains", 200),
    ],
)
def test_every_answer_protects_who_reads_it(world: World, method: str, path: str, status: int) -> None:
    said = world.call(method, path, BODY if method == "POST" else None, X_Request_Id="mine")
    assert said.status == status
    expected = {
        "x-request-id": "mine",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "cross-origin-resource-policy": "same-origin",
    }
    assert expected.items() <= said.headers.items()
    assert {"server", "x-powered-by", "strict-transport-security"}.isdisjoint(said.headers)
    assert not [name for name in said.headers if name.startswith("access-control-")]
    assert ("x-ratelimit-limit" in said.headers) == path.startswith(("/api/", "/sendfleet/"))


@pytest.mark.parametrize("given", ["", "a b", "a" * 65, "ü", "a;b", "\t"])
def test_a_request_id_that_cannot_be_is_replaced(world: World, given: str) -> None:
    with Raw(world.http) as raw:
        said = raw.send(request("/healthz", f"X-Request-Id: {given}")).answer("GET")
    assert re.fullmatch(r"req_[0-9a-f]{16}", said.headers["x-request-id"])


def test_pages_may_not_call_it(world: World) -> None:
    for method, fields in (("GET", {}), ("OPTIONS", {"Access_Control_Request_Method": "POST"})):
        said = world.call(method, PATH, key="", Origin=PAGE, **fields)
        assert not [name for name in said.headers if name.startswith("access-control-")]
    assert said.status == 405


def test_pages_that_are_named_may(open_world: World) -> None:
    asks = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization, idempotency-key"}
    said = open_world.call("OPTIONS", PATH, key="", Origin=PAGE, **asks)
    assert (said.status, said.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "POST" in said.headers["access-control-allow-methods"]
    assert "x-request-id" in said.headers
    assert "access-control-allow-credentials" not in said.headers
    for key, status in (("", 401), (open_world.key, 202)):
        said = open_world.call("POST", PATH, BODY, key=key, Origin=PAGE)
        assert (said.status, said.headers["access-control-allow-origin"]) == (status, PAGE)
        exposed = {name.strip().lower() for name in said.headers["access-control-expose-headers"].split(",")}
        assert {"x-request-id", "retry-after", "etag", "location", "x-ratelimit-remaining"} <= exposed
        assert said.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example.com", f"{PAGE}.evil.example", "null"])
def test_others_may_not(open_world: World, origin: str) -> None:
    said = open_world.call("POST", PATH, BODY, Origin=origin)
    assert said.status == 202  # what a browser may read is the browser's to judge; what is no browser needs none of it
    assert "access-control-allow-origin" not in said.headers
    said = open_world.call("OPTIONS", PATH, key="", Origin=origin, Access_Control_Request_Method="POST")
    assert "access-control-allow-origin" not in said.headers


def test_what_is_not_http_is_answered_for_pages_too(open_world: World) -> None:
    with Raw(open_world.http) as raw:
        said = raw.send(request("/healthz", f"Origin: {PAGE}", "Host: again")).answer("GET")
    assert (said.status, said.headers["access-control-allow-origin"]) == (400, PAGE)


def test_what_is_for_this_machine_is_for_nobody_behind_a_proxy(open_world: World) -> None:
    assert "faults" in open_world.call("GET", "/readyz").json
    assert open_world.call("GET", "/metrics").status == 200
    for source, fields in (
        (PROXY, {}),
        (PROXY, {"X_Forwarded_For": "127.0.0.1"}),
        (PROXY, {"X_Forwarded_For": "192.0.2.7"}),
        ("127.0.0.1", {"X_Forwarded_For": "127.0.0.1"}),  # from a proxy that the configuration does not know
    ):
        assert "faults" not in open_world.call("GET", "/readyz", source=source, **fields).json
        assert open_world.call("GET", "/metrics", source=source, **fields).status == 403


def test_failed_logins_count_for_the_client_of_a_proxy(open_world: World) -> None:
    def login(client: str, key: str = "no") -> int:
        said = open_world.call("POST", PATH, BODY, key=key, source=PROXY, X_Forwarded_For=client)
        return said.status

    assert [login("192.0.2.7") for _ in range(4)] == [401, 401, 401, 429]
    assert login("192.0.2.8") == 401  # whoever else comes through the proxy
    assert login("192.0.2.7", open_world.key) == 202
    assert open_world.call("POST", PATH, BODY, key="no", source="127.0.0.3", X_Forwarded_For="192.0.2.7").status == 401


def test_a_proxy_says_whether_tls_was_spoken(open_world: World) -> None:
    for source, header in ((PROXY, "max-age=31536000"), ("127.0.0.1", None)):
        said = open_world.call("GET", "/healthz", source=source, X_Forwarded_Proto="https")
        assert said.headers.get("strict-transport-security") == header
