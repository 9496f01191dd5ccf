"""What a message says, looked at again: as JSON, whole, and no longer once it is destroyed."""

from __future__ import annotations

import base64
import io
import random
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from relay.http.emails import shown
from tests.support import World, wait_for

LARGE = random.Random(7).randbytes(6 << 20)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("content"), retention={"attachments": "90d"}) as world:
        yield world


def send(world: World, to: str, domain: str = "shared.example", **members: Any) -> str:
    body = {"from": f"me@{domain}", "to": to, "subject": "Hi", "text": "Hi"} | members
    answer = world.call("POST", "/api/v1/emails", {name: value for name, value in body.items() if value is not None})
    assert answer.status == 202, answer.body
    public_id: str = answer.json["id"]
    wait_for(lambda: world.call("GET", f"/api/v1/emails/{public_id}").json["status"] == "sent")
    return public_id


def content(world: World, public_id: str) -> Any:
    answer = world.call("GET", f"/api/v1/emails/{public_id}/content")
    assert answer.status == 200, answer.body
    shown.ContentShown.model_validate(answer.json)
    return answer.json


def file(octets: bytes, name: str = "a.pdf", **more: str) -> dict[str, str]:
    return {"filename": name, "content": base64.b64encode(octets).decode(), **more}


def test_what_was_sent_is_what_is_shown(world: World) -> None:
    text, html = "Grüße 🎈\nund .\nFrom here\n\n" + "lang " * 300, "<p>Ünï &amp; 漢字</p>\n" * 3
    public_id = send(
        world,
        "all@content.test",
        subject="Größe: 漢字 🎈 " + "long " * 30,
        from_name="Ana, the „quoted“",
        cc=["cc@content.test"],
        bcc=["bcc@content.test"],
        reply_to="help@elsewhere.test",
        text=text,
        html=html,
        attachments=[file(b"\0" * 99_999, "größe 漢字.pdf", content_type="application/pdf"), file(b"x", "plain.txt")],
    )
    seen = content(world, public_id)
    assert seen["subject"] == ("Größe: 漢字 🎈 " + "long " * 30).rstrip() or seen["subject"].startswith(
        "Größe: 漢字 🎈"
    )
    assert (seen["from"], seen["from_name"]) == ("me@shared.example", "Ana, the „quoted“")
    assert (seen["to"], seen["cc"], seen["reply_to"]) == (
        ["all@content.test"],
        ["cc@content.test"],
        ["help@elsewhere.test"],
    )
    assert "bcc@content.test" not in str(seen)
    assert seen["text"].rstrip("\n") == text.rstrip("\n")
    assert seen["html"].rstrip("\n") == html.rstrip("\n")
    assert [(each["filename"], each["size"]) for each in seen["attachments"]] == [
        ("größe 漢字.pdf", 99_999),
        ("plain.txt", 1),
    ]
    assert seen["attachments"][0]["content_type"] == "application/pdf"
    assert not seen["truncated"]


def test_raw_is_what_ses_was_given(world: World) -> None:
    public_id = send(world, "raw@content.test")
    [sent] = world.sent_to("raw@content.test")
    answer = world.call("GET", f"/api/v1/emails/eml_{public_id}/content?format=raw")
    assert (answer.status, answer.body) == (200, sent["raw"])
    assert answer.headers["content-type"] == "message/rfc822"
    assert answer.headers["content-length"] == str(len(sent["raw"]))
    assert answer.headers["content-disposition"] == f'attachment; filename="{public_id}.eml"'
    assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")


@pytest.mark.parametrize("form", ["json", "raw"])
def test_what_has_not_changed_is_not_sent_again(world: World, form: str) -> None:
    path = f"/api/v1/emails/{send(world, f'{form}-tagged@content.test')}/content?format={form}"
    tag = world.call("GET", path).headers["etag"]
    again = world.call("GET", path, If_None_Match=tag)
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert world.metric("relay_message_memory_bytes") == 0


def test_a_large_message_is_shown_and_streamed(world: World) -> None:
    public_id = send(world, "large@content.test", html="é" * 1_500_000, attachments=[file(LARGE)])
    [sent] = world.sent_to("large@content.test")
    seen = content(world, public_id)
    assert [each["size"] for each in seen["attachments"]] == [len(LARGE)]
    assert seen["truncated"]
    assert len(seen["html"].encode()) <= 1 << 20
    assert seen["html"].strip("é\n\N{REPLACEMENT CHARACTER}") == ""
    raw = world.call("GET", f"/api/v1/emails/{public_id}/content?format=raw")
    assert raw.body == sent["raw"]
    assert world.metric("relay_message_memory_bytes") == 0


def test_many_who_look_at_once_are_within_the_memory(world: World) -> None:
    public_id = send(world, "crowd@content.test", attachments=[file(LARGE)])

    def look(number: int) -> int:
        form = "raw" if number % 2 else "json"
        answer = world.call("GET", f"/api/v1/emails/{public_id}/content?format={form}")
        if answer.status == 503:
            assert "retry-after" in answer.headers
        return answer.status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(look, range(16)))
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > 0
    assert wait_for(lambda: world.metric("relay_message_memory_bytes") == 0) is True


@pytest.mark.parametrize("form", ["json", "raw"])
def test_what_is_destroyed_is_gone(world: World, form: str) -> None:
    public_id = send(world, f"{form}-gone@content.test", "byoc.example")
    destroyed_at = world.call("GET", f"/api/v1/emails/{public_id}").json["content_destroyed_at"]
    answer = world.call("GET", f"/api/v1/emails/{public_id}/content?format={form}")
    assert (answer.status, answer.json["error"], answer.json["retryable"]) == (410, "gone", False)
    assert f"was destroyed at {destroyed_at}" in answer.json["message"]
    assert world.metric("relay_message_memory_bytes") == 0


@pytest.mark.parametrize("form", ["json", "raw"])
def test_what_is_damaged_is_our_fault_and_says_nothing_of_it(world: World, form: str) -> None:
    public_id = send(world, f"{form}-damaged@content.test")
    with sqlite3.connect(world.folder / "relay.db", timeout=10) as db:
        db.execute(
            "UPDATE contents SET sealed = zeroblob(99) WHERE message_id = (SELECT id FROM messages WHERE public_id = ?)",
            [public_id],
        )
    answer = world.call("GET", f"/api/v1/emails/{public_id}/content?format={form}")
    assert (answer.status, answer.json["error"]) == (500, "internal_server_error")
    assert "part" not in answer.json["message"]
    assert world.metric("relay_message_memory_bytes") == 0


@pytest.mark.parametrize("query", ["format=eml", "format=", "format=raw&format=json", "form=raw"])
def test_forms_that_there_are(world: World, query: str) -> None:
    public_id = send(world, "forms@content.test")
    assert world.call("GET", f"/api/v1/emails/{public_id}/content?{query}").status == 400


def test_a_client_that_goes_gives_its_memory_back(world: World) -> None:
    public_id = send(world, "leaves@content.test", attachments=[file(LARGE)])
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", world.http)) as wire:
            wire.sendall(
                f"GET /api/v1/emails/{public_id}/content?format=raw HTTP/1.1\r\nHost: a\r\n"
                f"X-API-Key: {world.key}\r\n\r\n".encode()
            )
            assert io.BytesIO(wire.recv(99)).readline() == b"HTTP/1.1 200 OK\r\n"
    assert wait_for(lambda: world.metric("relay_message_memory_bytes") == 0) is True
