"""The Sendex contract as tables, at the paths that it shares with the native API and below its own mount."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from relay.errors import Kind, Problem
from relay.http.dialects.dialect import Asked
from relay.http.dialects.native import refuse
from tests.contracts.scene import BYOC, GONE, NO_MX, NULL_MX, SHARED, Scene, tree
from tests.support import Answer

PATHS = ("/api/v1/emails", "/sendex/api/v1/emails")
MINIMAL: dict[str, Any] = {"from": f"news@{BYOC}", "to": "ana@one.test", "subject": "Hi", "text": "Hi Ana"}

pytestmark = pytest.mark.parametrize("path", PATHS)


def given(**members: Any) -> dict[str, Any]:
    """The smallest good request with members replaced (`author` is `from`), or left out where None."""
    renamed = {"from" if name == "author" else name: value for name, value in members.items()}
    return {name: value for name, value in {**MINIMAL, **renamed}.items() if value is not None}


def people(count: int, name: str = "p") -> list[str]:
    return [f"{name}{number}@one.test" for number in range(count)]


def file(size: int = 5, **members: Any) -> dict[str, Any]:
    return {"filename": "a.bin", "content": base64.b64encode(b"x" * size).decode(), **members}


def post(scene: Scene, path: str, body: Any, key: str = "full", **more: str) -> Answer:
    return scene.call("POST", path, body, key=key, header="authorization", **more)


def refused(answer: Answer, status: int, error: str) -> dict[str, Any]:
    """A refusal's body, after what must hold of every one (contract 6)."""
    body: dict[str, Any] = answer.json
    assert (answer.status, body["error"]) == (status, error), body
    assert isinstance(body["message"], str)
    assert body["message"]
    return body


# -- accepted (contract 4) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "echo"),
    [
        ({}, {"to": ["ana@one.test"], "cc": [], "bcc": []}),
        ({"to": ["ana@one.test"]}, {"to": ["ana@one.test"]}),
        ({"to": people(2), "cc": "c@one.test", "bcc": "b@one.test"},
         {"to": people(2), "cc": ["c@one.test"], "bcc": ["b@one.test"]}),
        ({"cc": ["c@one.test"], "bcc": ["b@one.test"]}, {"cc": ["c@one.test"], "bcc": ["b@one.test"]}),
        ({"to": people(50)}, {"to": people(50)}),
        ({"to": people(20, "t"), "cc": people(15, "c"), "bcc": people(15, "b")}, {"bcc": people(15, "b")}),
        ({"from_name": "Example"}, {"from": f"news@{BYOC}"}),
        ({"reply_to": "help@elsewhere.test"}, {}),
        ({"text": None, "html": "<p>Hi</p>"}, {}),
        ({"html": "<p>Hi</p>"}, {}),
        ({"subject": "Grüße"}, {"subject": "Grüße"}),
        ({"attachments": []}, {}),
        ({"attachments": [file()]}, {}),
        ({"attachments": [file(content_type="application/pdf")]}, {}),
        ({"a_member_of_tomorrow": {"x": [1]}}, {}),
        ({"author": f"news@{SHARED}"}, {"from": f"news@{SHARED}"}),
    ],
)  # fmt: skip
def test_what_is_taken(scene: Scene, path: str, members: dict[str, Any], echo: dict[str, Any]) -> None:
    answer = post(scene, path, given(**members))
    assert answer.status == 202, answer.body
    body = answer.json
    assert {"id", "from", "to", "cc", "bcc", "subject", "created_at"} <= body.keys()
    assert re.fullmatch(r"[0-9a-f]{24}", body["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["created_at"])
    assert {name: body[name] for name in echo} == echo


def test_everything_arrives(scene: Scene, path: str) -> None:
    to = f"all{len(path)}@one.test"
    body = given(
        to=to,
        from_name="Ünï Code",
        cc=["copy@one.test"],
        bcc=[f"hidden{len(path)}@one.test"],
        reply_to="help@elsewhere.test",
        html="<b>Hi</b>",
        attachments=[{**file(), "filename": "Grüße.pdf", "content_type": "application/pdf"}],
    )
    assert post(scene, path, body).status == 202
    found = scene.mail_to(to)
    [author] = found["From"].addresses
    assert (author.display_name, author.addr_spec) == ("Ünï Code", f"news@{BYOC}")
    assert (found["Cc"], found["Reply-To"], found["Bcc"]) == ("copy@one.test", "help@elsewhere.test", None)
    leaves = ["multipart/alternative", "text/plain", "text/html"]
    assert tree(found) == ["multipart/mixed", leaves, "application/pdf"]
    assert scene.was_sent_to(f"hidden{len(path)}@one.test")


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's, of bodies over 1 MB
def test_the_largest_files(scene: Scene, path: str) -> None:
    """7 MB each, 10 MB together."""
    most = [file(7 << 20), file(3 << 20)]
    if path == PATHS[0]:
        assert post(scene, path, given(attachments=most)).status == 202
    refused(post(scene, path, given(attachments=[file((7 << 20) + 1)])), 400, "bad_request")
    refused(post(scene, path, given(attachments=[*most, file(1)])), 400, "bad_request")


@pytest.mark.parametrize("key", ["full", "send_only", "scoped", "sendex", "sendmux mailbox"])
def test_keys_that_may_send(scene: Scene, path: str, key: str) -> None:
    assert post(scene, path, MINIMAL, key).status == 202
    assert scene.call("POST", path, MINIMAL, key=key, header="x-api-key").status == 202


# -- refused (contract 6) --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"author": None}, "from"),
        ({"to": None}, "to"),
        ({"subject": None}, "subject"),
        ({"text": None}, "text"),
        ({"author": "nope"}, "from"),
        ({"author": 7}, "from"),
        ({"from_name": "a\r\nb"}, "from_name"),
        ({"to": "nope"}, "to.0"),
        ({"to": []}, "to"),
        ({"to": people(51)}, "to"),
        ({"to": people(20), "cc": people(20), "bcc": people(11)}, "to"),
        ({"cc": ["nope"]}, "cc.0"),
        ({"bcc": 7}, "bcc"),
        ({"reply_to": "nope"}, "reply_to.0"),
        ({"subject": 7}, "subject"),
        ({"subject": "a\nb"}, "subject"),
        ({"text": 7}, "text"),
        ({"html": 7}, "html"),
        ({"attachments": {}}, "attachments"),
        ({"attachments": [{}]}, "attachments.0.filename"),
        ({"attachments": [file(content="%")]}, "attachments.0.content"),
    ],
)
def test_bad_requests(scene: Scene, path: str, members: dict[str, Any], param: str) -> None:
    assert refused(post(scene, path, given(**members)), 400, "bad_request")["param"] == param


@pytest.mark.parametrize("octets", [b"", b"{", b"[]", b"\xff", b'{"to":1,"to":2}'])
def test_what_is_no_json_object(scene: Scene, path: str, octets: bytes) -> None:
    refused(post(scene, path, octets), 400, "bad_request")


@pytest.mark.parametrize(
    ("key", "members", "status", "error"),
    [
        ("", {}, 401, "unauthorized"),
        ("sk_live_" + "x" * 48, {}, 401, "unauthorized"),
        ("revoked", {}, 401, "unauthorized"),
        ("expired", {}, 401, "unauthorized"),
        ("scoped", {"author": f"a@{SHARED}"}, 403, "forbidden"),
        ("modeless", {"author": "a@modeless.example"}, 403, "forbidden"),
        ("unapproved", {"author": "a@unapproved.example"}, 403, "forbidden"),
        ("suspended", {"author": "a@suspended.example"}, 403, "account_suspended"),
        ("full", {"author": "a@nobody.example"}, 422, "unprocessable_entity"),
        ("full", {"author": "a@dkim.test.example"}, 422, "unprocessable_entity"),
        ("full", {"author": "a@claim.test.example"}, 422, "unprocessable_entity"),
        ("full", {"to": NO_MX}, 422, "invalid_recipient"),
        ("full", {"cc": NULL_MX}, 422, "invalid_recipient"),
        ("full", {"to": GONE}, 422, "recipient_suppressed"),
        ("full", {"to": ["ana@one.test", GONE]}, 422, "recipient_suppressed"),
        ("spent", {"author": "a@spent.example"}, 429, "too_many_requests"),
    ],
)
def test_what_may_not_be_sent(
    scene: Scene, path: str, key: str, members: dict[str, Any], status: int, error: str
) -> None:
    answer = post(scene, path, given(**members), key)
    refused(answer, status, error)
    assert status != 401 or answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        (Kind.NO_CREDITS, 402, "insufficient_credits"),
        (Kind.RATE_LIMITED, 429, "too_many_requests"),
        (Kind.INTERNAL, 500, "internal_server_error"),
        (Kind.SES_UNAVAILABLE, 502, "bad_gateway"),
        (Kind.SES_DENIED, 502, "bad_gateway"),
    ],
)
def test_refusals_that_are_hard_to_bring_about(path: str, kind: Kind, status: int, error: str) -> None:
    found, body = refuse(Problem(kind), Asked("req_1", ""))
    assert (found, body["error"]) == (status, error), path


# -- keys and other paths (contract 2 and 3) -------------------------------------------------------------------------


def test_a_send_only_key_reads_nothing(scene: Scene, path: str) -> None:
    sent = post(scene, path, MINIMAL, "send_only").json["id"]
    domains = path.replace("emails", "domains")
    for asked in (f"{path}/{sent}", domains, f"{domains}/{BYOC}"):
        refused(scene.call("GET", asked, key="send_only"), 403, "forbidden")
        assert scene.call("GET", asked).status == 200
    assert scene.call("GET", f"{path}/{sent}").json["id"] == sent


def test_lists(scene: Scene, path: str) -> None:
    answer = scene.call("GET", path.replace("emails", "domains"))
    assert {"data", "total"} <= answer.json.keys()
    assert answer.json["total"] == len(answer.json["data"])
    assert {"id", "domain", "status", "created_at", "verified_at"} <= answer.json["data"][0].keys()
    one = scene.call("GET", path.replace("emails", f"domains/{BYOC}")).json
    assert {"id", "domain", "status", "region", "created_at", "verified_at"} <= one.keys()


@pytest.mark.parametrize("beyond", ["audiences", "broadcasts", "nothing"])
def test_what_is_not_served(scene: Scene, path: str, beyond: str) -> None:
    refused(scene.call("GET", path.replace("emails", beyond)), 404, "not_found")
    refused(scene.call("GET", f"{path}/000000000000000000000000"), 404, "not_found")
