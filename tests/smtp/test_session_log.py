"""Sessions that failed, from the socket to `relay smtp`: why, and what was said, without secrets and content."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.declared import Permission
from relay.smtp import record
from relay.store import smtp_failures
from relay.store.beside import with_database
from relay.store.clock import milliseconds, now_ms
from relay.store.directory.paging import Asked
from relay.store.smtp_failures import Failure, Reason
from tests.cli.program import found, relay
from tests.support import World, wait_for
from tests.wire import Wire

SECRET = "relay_abcdefgh.this-is-no-key-of-ours"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("failures")) as world:
        yield world


def failure(world: World, client: str) -> tuple[dict[str, Any], list[str]]:
    """What is kept of the one session of this client that failed: as it is listed, and what was said."""
    [listed] = wait_for(lambda: found(world.folder, "smtp", "failures", "--client", client))
    shown = found(world.folder, "smtp", "failure", listed["id"])
    return listed, shown["transcript"]


def encrypted(world: World, source: str) -> Wire:
    wire = Wire(world.starttls, source=source)
    wire.reply()
    wire.say("EHLO client.test")
    assert wire.say("STARTTLS").startswith("220 ")
    wire.start_tls()
    wire.say("EHLO client.test")
    return wire


def test_a_wrong_key(world: World) -> None:
    response = base64.b64encode(f"\0any\0{SECRET}".encode()).decode()
    with encrypted(world, "127.0.0.11") as wire:
        assert wire.say(f"auth plain {response}").startswith("535 ")
        wire.say("QUIT")
    listed, said = failure(world, "127.0.0.11")
    assert (listed["reason"], listed["tenant"], listed["key"]) == ("auth", None, None)
    assert "unknown" in listed["sentence"]
    assert "C: AUTH plain <response>" in said
    everything = json.dumps([listed, said])
    assert not any(secret in everything for secret in (SECRET, response, SECRET[:16], response[:16]))


def test_a_password_that_is_not_base64(world: World) -> None:
    with encrypted(world, "127.0.0.12") as wire:
        assert wire.say("AUTH LOGIN").startswith("334 ")
        assert wire.say("YW55").startswith("334 ")
        assert wire.say(SECRET).startswith("501 ")
        assert wire.say("MAIL FROM:<me@shared.example>").startswith("530 ")
    listed, said = failure(world, "127.0.0.12")
    assert (listed["reason"], listed["sentence"]) == ("auth", "AUTH LOGIN password is not base64")
    assert "C: <AUTH LOGIN password>" in said
    assert "this-is" not in json.dumps([listed, said])


def test_a_login_at_the_second_try_is_no_failure(world: World) -> None:
    with encrypted(world, "127.0.0.13") as wire:
        assert wire.say("AUTH PLAIN AAAA").startswith("501 ")
        response = base64.b64encode(f"\0any\0{world.key}".encode()).decode()
        assert wire.say(f"AUTH PLAIN {response}").startswith("235 ")
        assert wire.say("QUIT").startswith("221 ")
    with encrypted(world, "127.0.0.14") as wire:
        wire.say("AUTH PLAIN AAAA")
    failure(world, "127.0.0.14")
    assert found(world.folder, "smtp", "failures", "--client", "127.0.0.13") == []


def test_a_refused_message(world: World) -> None:
    response = base64.b64encode(f"\0any\0{world.key}".encode()).decode()
    with encrypted(world, "127.0.0.15") as wire:
        assert wire.say(f"AUTH PLAIN {response}").startswith("235 ")
        wire.envelope("me@shared.example", "ana@dest.example")
        content = ["From: me@foo.test", "Subject: a secret subject", "", "and a secret body", "."]
        assert wire.say("\r\n".join(content)).startswith("550 ")
        wire.say("QUIT")
    listed, said = failure(world, "127.0.0.15")
    assert (listed["reason"], listed["tenant"]) == ("refused", "default")
    assert world.key.startswith(listed["key"])
    assert "foo.test is not registered" in listed["sentence"]
    assert {"C: MAIL FROM:<me@shared.example>", "C: RCPT TO:<ana@dest.example>"} < set(said)
    [size] = [line for line in said if line.startswith("C: <message, ")]
    assert size.endswith(" octets>")
    assert "secret" not in json.dumps([listed, said])


def test_a_client_that_leaves_in_the_middle(world: World) -> None:
    response = base64.b64encode(f"\0any\0{world.key}".encode()).decode()
    with encrypted(world, "127.0.0.16") as wire:
        wire.say(f"AUTH PLAIN {response}")
        wire.envelope("me@shared.example", "ana@dest.example")
        wire.send("From: me@shared.example\r\nSubject: half a message")
    listed, said = failure(world, "127.0.0.16")
    assert listed["reason"] == "cut"
    assert "half a message" not in json.dumps([listed, said])


def test_a_session_without_a_fault_leaves_nothing(world: World) -> None:
    with Wire(world.plain) as wire:
        wire.open("me@shared.example", "ana@dest.example")
        assert wire.say("From: me@shared.example\r\n\r\nhi\r\n.").startswith("250 ")
        wire.say("QUIT")
    with Wire(world.starttls, source="127.0.0.17") as wire:
        wire.reply()
        wire.say("EHLP client.test")
    failure(world, "127.0.0.17")
    assert found(world.folder, "smtp", "failures", "--client", "127.0.0.1") == []


def test_a_storm_is_counted_and_not_kept(world: World) -> None:
    several = record.A_MINUTE_EACH + 10
    for _ in range(several):
        with Wire(world.starttls, source="127.0.0.18") as wire:
            wire.reply()
            wire.say("EHLP client.test")
    operator = world.new_key(Permission.ADMIN)
    path = "/api/v1/smtp-failures?reason=protocol&limit=100&client=127.0.0.18"

    def listed() -> list[Any]:
        answer = world.call("GET", path, key=operator)
        return list(answer.json["data"]) if answer.status == 200 else []

    # The minute may end in the middle of it.
    kept = wait_for(lambda: at if len(at := listed()) >= record.A_MINUTE_EACH else [])
    assert len(kept) <= several
    metrics = world.call("GET", "/metrics").body.decode()
    [counted] = [
        line for line in metrics.splitlines() if line.startswith('relay_smtp_failures_total{reason="protocol"}')
    ]
    assert float(counted.split()[-1]) >= several


def test_what_failed_just_before_the_end_is_kept(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        with Wire(world.starttls, source="127.0.0.19") as wire:
            wire.reply()
            wire.say("EHLP client.test")
        settings = world.settings
    page = with_database(settings, lambda db, _: smtp_failures.listed(db, Asked()))
    assert [each.client for each in page.items] == ["127.0.0.19"]
    assert "EHLP ..." in relay(tmp_path, "smtp", "failure", f"{page.items[0].id:024x}")


def test_a_server_that_starts_deletes_what_is_over(tmp_path: Path) -> None:
    def note(db: Any, sealer: Any) -> None:
        usual: dict[str, Any] = {
            "listener": "25",
            "tenant_id": None,
            "key_id": None,
            "sentence": "left",
            "transcript": "",
        }
        for client, age in (("127.0.0.20", timedelta(days=8)), ("127.0.0.21", timedelta(days=6))):
            at = now_ms() - milliseconds(age)
            kept = Failure(client=client, at=at, reason=Reason.CUT, **usual)
            smtp_failures.note(db, [[smtp_failures.seal(sealer, kept)]])

    with World(tmp_path) as world:
        pass
    with_database(world.settings, note)
    assert len(found(tmp_path, "smtp", "failures")) == 2
    with World(tmp_path):
        [left] = wait_for(lambda: at if len(at := found(tmp_path, "smtp", "failures")) < 2 else [])
        assert left["client"] == "127.0.0.21"
