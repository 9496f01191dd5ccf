"""Attachments of shared mail go once SES has it, and whoever asks is told; byoc mail is logged as its tenant wants."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from relay.http.emails import shown
from tests.cli.program import found, relay
from tests.support import World, wait_for

PDF = bytes(range(256)) * 4000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("dropped")) as world:
        yield world


def send(world: World, domain: str = "shared.example", **members: Any) -> str:
    body = {
        "from": f"me@{domain}",
        "to": "ana@dropped.test",
        "subject": "Invoice",
        "text": "Hi",
        "html": "<p>Hi",
    } | members
    answer = world.call("POST", "/api/v1/emails", body)
    assert answer.status == 202, answer.body
    public_id = str(answer.json["id"])
    wait_for(lambda: world.call("GET", f"/api/v1/emails/{public_id}").json["status"] == "sent")
    return public_id


def content(world: World, public_id: str, form: str = "json") -> Any:
    return world.call("GET", f"/api/v1/emails/{public_id}/content?format={form}")


def test_files_are_dropped_and_said_to_be(world: World) -> None:
    file = {"filename": "größe.pdf", "content": base64.b64encode(PDF).decode(), "content_type": "application/pdf"}
    public_id = send(world, attachments=[file])
    (sent,) = world.sent_to("ana@dropped.test")
    seen = wait_for(lambda: (answer := content(world, public_id).json)["attachments"][0]["dropped"] and answer)
    shown.ContentShown.model_validate(seen)
    assert seen["attachments"] == [
        {
            "filename": "größe.pdf",
            "content_type": "application/pdf",
            "size": len(PDF),
            "content_id": None,
            "dropped": True,
        }
    ]
    assert (seen["subject"], seen["text"].strip(), seen["html"].strip()) == ("Invoice", "Hi", "<p>Hi")
    assert seen["size"] == len(sent["raw"])  # what was sent, not what is kept
    raw = content(world, public_id, "raw")
    assert raw.headers["content-length"] == str(len(raw.body))
    assert len(raw.body) < 3000
    assert sent["raw"][:200] == raw.body[:200]
    assert PDF in b"".join(base64.b64decode(part) for part in sent["raw"].split(b"\r\n\r\n") if len(part) > len(PDF))
    again = world.call("GET", f"/api/v1/emails/{public_id}/content?format=raw", If_None_Match=raw.headers["etag"])
    assert again.status == 304


def test_a_message_without_files_stays_as_it_is(world: World) -> None:
    public_id = send(world, to="bo@dropped.test")
    (sent,) = world.sent_to("bo@dropped.test")
    file = {"filename": "a", "content": "eA=="}
    later = send(world, to="cy@dropped.test", attachments=[file])
    wait_for(lambda: content(world, later).json["attachments"][0]["dropped"])  # and so this was looked at, too
    assert content(world, public_id, "raw").body == sent["raw"]


@pytest.mark.parametrize(("log", "is_full"), [("full", True), ("minimal", False)])
def test_what_stays_known_of_byoc_mail_is_the_tenants_choice(world: World, log: str, is_full: bool) -> None:
    relay(world.folder, "tenant", "set", "default", "--byoc-log", log)
    assert found(world.folder, "tenant", "show", "default")["byoc_log"] == log

    def is_known() -> Any:
        public_id = send(world, "byoc.example", metadata={"order": "4711"}, to=f"{log}@dropped.test")
        proof = found(world.folder, "queue", "show", public_id, "--privacy")
        assert not proof["content_key_left"]  # content never stays
        fields = {"messages.subject", "messages.metadata", "messages.mail_from", "recipients.address"}
        assert fields <= set(proof["left"]) or fields <= set(proof["empty"])
        return (fields <= set(proof["left"])) is is_full

    wait_for(is_known)  # a running server knows it within two seconds
