"""The document, the reference and the collection: whole, the same every time, and open to everyone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from starlette.routing import Route

from relay.errors import Kind
from relay.http import app
from relay.http.dialects import sendmux_errors
from relay.http.dialects.choosing import MOUNTS
from relay.http.openapi import endpoints_of
from relay.http.openapi.document import document
from relay.http.openapi.postman import FORMAT, collection
from relay.http.openapi.reasons import REMEDIES
from relay.http.openapi.reference import page
from relay.http.table import routes_of
from tests.support import World

_TYPED = re.compile(r":\w+")  # of a part of a path
PUBLIC_URL = "https://relay.example.com"
# Routes that are no part of the reference, each with the reason.
LEFT_OUT = {
    "POST /api/v1/emails/attachments": "answers only that files are not uploaded",
    "POST /api/v1/emails/attachment-uploads": "answers only that files are not uploaded",
}
# Whose bodies are somebody else's to make.
NOT_OURS = {"/api/ses-notifications"}


def endpoints() -> list[Any]:
    described = app._endpoints()
    return [*described, *endpoints_of(described)]


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return document(endpoints(), PUBLIC_URL)


def operations(whole: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def inside(value: Any) -> Iterator[Any]:
    yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from inside(each)


# -- the document ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mount", ["", *MOUNTS])
def test_it_is_openapi_3_1_and_points_nowhere_else(mount: str) -> None:
    found = document(endpoints(), PUBLIC_URL, mount)
    OPENAPI_31_VALIDATOR.validate(found)
    assert found["servers"] == [{"url": PUBLIC_URL + mount}]
    for each in inside(found):
        if isinstance(each, dict) and isinstance(each.get("$ref"), str):
            here = found
            for part in each["$ref"].removeprefix("#/").split("/"):
                here = here[part]
    names = [operation["operationId"] for _, _, operation in operations(found)]
    assert len(names) == len(set(names))
    assert all(operation["tags"] for _, _, operation in operations(found))


def test_it_is_the_same_every_time() -> None:
    assert json.dumps(document(endpoints(), PUBLIC_URL)) == json.dumps(document(endpoints(), PUBLIC_URL))


def test_every_route_is_in_it(whole: dict[str, Any]) -> None:
    served = {
        f"{method} {_TYPED.sub('', route.path)}"
        for route in routes_of(endpoints())
        if isinstance(route, Route) and not route.path.startswith(tuple(f"{mount}/" for mount in MOUNTS))
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert served - LEFT_OUT.keys() == {f"{method} {path}" for method, path, _ in operations(whole)}


def test_a_mount_has_its_own_dialect_alone() -> None:
    sendmux = document(endpoints(), "", "/sendmux")
    assert {"/api/v1/emails/send", "/api/v1/emails/send/batch", "/api/v1/me"} <= sendmux["paths"].keys()
    assert "/api/v1/emails" not in sendmux["paths"]
    assert set(sendmux["paths"]) <= {*whole_paths(), "/api/v1/openapi.json"}
    assert "/api/v1/domains" in document(endpoints(), "", "/sendex")["paths"]


def whole_paths() -> set[str]:
    return set(document(endpoints(), "")["paths"])


def test_every_example_is_what_its_schema_says(whole: dict[str, Any]) -> None:
    """Of a request, and of a refusal."""
    count = 0
    for each in inside([whole["paths"], whole["components"]["responses"]]):
        if isinstance(each, dict) and "examples" in each and "schema" in each:
            schema = {"components": whole["components"], **each["schema"]}
            for example in each["examples"].values():
                jsonschema_rs.validator_for(schema).validate(example["value"])
                count += 1
    assert count > 100


def test_every_send_route_has_an_example(whole: dict[str, Any]) -> None:
    for method, path, operation in operations(whole):
        content = operation.get("requestBody", {}).get("content", {})
        if method == "POST" and content and path not in NOT_OURS:
            assert content["application/json"].get("examples"), path


def test_what_every_answer_carries_is_documented(whole: dict[str, Any]) -> None:
    for _, path, operation in operations(whole):
        for status, given in operation["responses"].items():
            name = given.get("$ref", "").rpartition("/")[2]
            headers = (whole["components"]["responses"][name] if name else given)["headers"].keys()
            assert "X-Request-Id" in headers
            assert ("X-RateLimit-Limit" in headers) == path.startswith("/api/")
            assert ("Retry-After" in headers) == (status == "429" or status >= "5"), path
        is_open = operation.get("security") == []
        assert is_open or "401" in operation["responses"]


# -- what is made of it ----------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """The anchors of a page, what it links to, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [str(given["id"])] if "id" in given else []
        self.links += [str(given["href"])] if tag == "a" else []
        if (
            tag in {"script", "link", "img", "iframe", "object"}
            or "style" in given
            or given.keys() & {"src", "onclick"}
        ):
            self.loads.append(tag)


def test_the_reference_explains_every_reason_and_loads_nothing(whole: dict[str, Any]) -> None:
    found = _Page(page(whole))
    assert {kind.slug for kind in Kind} == REMEDIES.keys()
    assert REMEDIES.keys() <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    assert found.loads == []
    assert {operation["operationId"] for _, _, operation in operations(whole)} <= set(found.ids)


def test_every_doc_url_leads_somewhere(whole: dict[str, Any]) -> None:
    anchors = _Page(page(whole)).ids
    urls = {
        each["doc_url"] for each in inside(whole) if isinstance(each, dict) and isinstance(each.get("doc_url"), str)
    }
    assert len(urls) > 30
    assert {url.partition("#")[2] for url in urls} <= set(anchors)
    codes = {word.code for word in vars(sendmux_errors).values() if isinstance(word, sendmux_errors.Word)}
    codes |= {word.code for word in sendmux_errors.WORDS.values()} | sendmux_errors.ROUTING
    assert codes <= set(anchors)


def test_the_collection_has_every_operation(whole: dict[str, Any]) -> None:
    """Its published schema is of draft 4, and not ours to keep here: these are its required members."""
    found = collection(whole)
    assert found["info"]["schema"] == FORMAT
    assert {"key": "base_url", "value": PUBLIC_URL} in found["variable"]
    items = [item for folder in found["item"] for item in folder["item"]]
    assert sorted(item["name"] for item in items) == sorted(f"{method} {path}" for method, path, _ in operations(whole))
    for item in items:
        url = item["request"]["url"]
        assert url["raw"] == "/".join([*url["host"], *url["path"]])
        assert [part[1:] for part in url["path"] if part.startswith(":")] == [each["key"] for each in url["variable"]]
        if "body" in item["request"]:
            json.loads(item["request"]["body"]["raw"])
    assert json.dumps(found) == json.dumps(collection(whole))


# -- over the wire ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("openapi"), http={"public_url": PUBLIC_URL}) as world:
        yield world


SERVED = ["/api/v1/openapi.json", *(f"{mount}/api/v1/openapi.json" for mount in MOUNTS), "/docs", "/docs/postman.json"]


@pytest.mark.parametrize("path", SERVED)
def test_it_is_public_and_kept_for_an_hour(world: World, path: str) -> None:
    answer = world.call("GET", path, key="")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "public, max-age=3600"
    again = world.call("GET", path, key="", If_None_Match=answer.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["cache-control"] == answer.headers["cache-control"]
    head = world.call("HEAD", path, key="")
    assert (head.status, head.headers["etag"], head.body) == (200, answer.headers["etag"], b"")


def test_the_page_may_use_its_own_style_and_nothing_else(world: World) -> None:
    answer = world.call("GET", "/docs", key="")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy


def test_what_a_refusal_points_to_is_there(world: World) -> None:
    refused = world.call("POST", "/api/v1/emails", {}).json
    url, _, anchor = refused["doc_url"].partition("#")
    assert url == f"{PUBLIC_URL}/docs"
    assert f'id="{anchor}"'.encode() in world.call("GET", "/docs", key="").body
