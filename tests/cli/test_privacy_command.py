"""`relay queue show ID --privacy`: what is gone, what is left and until when, checked against the files themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.program import found, refused, relay
from tests.support import World, wait_for


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("privacy")) as world:
        yield world


def send(world: World, domain: str, **members: Any) -> str:
    body = {"from": f"me@{domain}", "to": "ana@privacy.test", "subject": "Salary", "text": "Hi"} | members
    answer = world.call("POST", "/api/v1/emails", body)
    assert answer.status == 202, answer.body
    return str(answer.json["id"])


def prove(world: World, public_id: str) -> Any:
    return found(world.folder, "queue", "show", public_id, "--privacy")


def sent(world: World, public_id: str) -> Any:
    wait_for(lambda: world.call("GET", f"/api/v1/emails/{public_id}").json["status"] == "sent")
    wait_for(lambda: (proof := prove(world, public_id))["content_key_left"] or not proof["content_parts_left"])
    return prove(world, public_id)


def in_days(days: int, at: str) -> bool:
    return abs(datetime.fromisoformat(at) - datetime.now(UTC) - timedelta(days=days)) < timedelta(minutes=5)


def test_byoc_mail_is_gone_and_that_can_be_shown(world: World) -> None:
    proof = sent(world, send(world, "byoc.example"))
    assert proof["content"] == "destroyed: nothing of it is left"
    assert proof["content_destroyed_at"]
    assert (proof["content_key_left"], proof["content_parts_left"]) == (False, 0)
    assert (proof["recipients"], proof["recipients_with_address"], proof["recipients_with_hash"]) == (1, 0, 1)
    assert proof["left"] == ["messages.rfc_message_id", "recipients.address_hash"]
    assert {"messages.mail_from", "messages.subject", "recipients.address", "deliveries.detail"} < set(proof["empty"])
    assert in_days(90, proof["rows_until"])
    proof = wait_for(lambda: (now := prove(world, proof["id"]))["log_emptied_at"] and now)
    assert "holds nothing" in proof["log"]
    files = [world.folder / name for name in ("relay.db", "relay.db-wal")]
    assert all(b"ana@privacy.test" not in each.read_bytes() for each in files if each.exists())


def test_what_is_kept_is_said_with_its_end(world: World) -> None:
    proof = sent(world, send(world, "shared.example"))
    assert proof["content"] == "kept, sealed"
    assert proof["content_key_left"]
    assert in_days(90, proof["content_until"])
    assert {"messages.subject", "messages.mail_from", "recipients.address"} < set(proof["left"])

    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
    waiting = send(world, "byoc.example", scheduled_at=at)
    proof = prove(world, waiting)
    assert proof["content"] == "kept, sealed, until the message is final"
    told = relay(world.folder, "queue", "show", waiting, "--privacy")
    assert "content_key_left  yes" in told
    relay(world.folder, "queue", "cancel", waiting)
    assert prove(world, waiting)["content"] == "destroyed: nothing of it is left"


def test_a_backup_that_may_hold_it_is_named(world: World) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
    waiting = send(world, "byoc.example", scheduled_at=at)
    backup = world.folder / "relay.db.0004.1.backup"
    backup.touch()
    relay(world.folder, "queue", "cancel", waiting)
    assert prove(world, waiting)["in_backups"] == ["relay.db.0004.1.backup"]
    os.utime(backup, (1, 1))
    later = send(world, "byoc.example")
    assert sent(world, later)["in_backups"] == []


def test_a_message_that_is_not_there_is_not_there(world: World) -> None:
    assert "there is no message" in refused(world.folder, "queue", "show", "0" * 24, "--privacy")
