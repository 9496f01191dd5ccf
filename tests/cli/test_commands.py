"""The `relay` command, as a program: what it prints, and how it exits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relay.cli.main import app
from tests.cli.program import relay
from tests.cli.program import started as run
from tests.support import World, wait_for


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("cli")) as world:
        # The file says port 0; commands that talk to the server need the real one.
        file = world.folder / "config.yaml"
        raw = json.loads(file.read_text())
        raw["http"]["address"] = f"127.0.0.1:{world.http}"
        file.write_text(json.dumps(raw))
        yield world


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["init"],
        ["serve"],
        ["check"],
        ["reload"],
        ["migrate"],
        ["sandbox"],
        ["demo"],
        ["send"],
        *(["tenant", each] for each in ("list", "show", "create", "set", "suspend", "resume", "approve", "decline")),
        *(["tenant", each] for each in ("appeal", "request-approval", "usage")),
        *(["account", each] for each in ("list", "show", "add", "set", "remove", "pause", "resume")),
        *(["account", each] for each in ("test", "usage", "policies")),
        *(["domain", each] for each in ("list", "show", "add", "set", "remove", "verify", "dns")),
        *(["key", each] for each in ("create", "list", "show", "import", "rotate", "revoke", "set")),
        *(["block", each] for each in ("list", "lift")),
        *(["smtp", each] for each in ("failures", "failure")),
        ["audit"],
        ["queue", "list"],
        ["queue", "show"],
        ["queue", "retry"],
        ["queue", "cancel"],
        ["suppression", "add"],
        ["suppression", "remove"],
        ["suppression", "list"],
    ],
    ids=lambda command: " ".join(command) or "relay",
)
def test_every_command_explains_itself(command: list[str]) -> None:
    text = CliRunner().invoke(app, [*command, "--help"]).output  # in this process: there are many
    assert "Usage:" in text
    assert len(text.split()) > 15


def test_init_makes_what_serve_needs_and_shows_the_key_once(tmp_path: Path) -> None:
    first = relay(tmp_path, "init", "here", "--domain", "my.example", "--region", "eu-west-1", "--mode", "byoc")
    key = next(line for line in first.splitlines() if line.startswith("relay_"))
    assert "is fine" in relay(tmp_path, "check", "-c", "here/config.yaml")
    (listed,) = json.loads(relay(tmp_path, "key", "list", "--json", "-c", "here/config.yaml"))
    assert (listed["permission"], listed["status"]) == ("admin", "valid")
    assert key.startswith(listed["prefix"])
    for file in ("config.yaml", "master.key", "relay.db"):
        assert (tmp_path / "here" / file).stat().st_mode & 0o077 == 0
        assert key.partition(".")[2].encode() not in (tmp_path / "here" / file).read_bytes()
    again = run(tmp_path, "init", "here")
    assert (again.returncode, key in again.stdout) == (os.EX_DATAERR, False)
    assert "exists already" in again.stderr


def test_exit_codes(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("ses_accounts: {a: {reegion: x}}\n")
    assert run(tmp_path, "check", "-c", "bad.yaml").returncode == os.EX_CONFIG
    assert run(tmp_path, "serve", "-c", "bad.yaml").returncode == os.EX_CONFIG
    missing = run(tmp_path, "serve")
    assert missing.returncode == os.EX_CONFIG
    assert "relay init" in missing.stderr
    assert run(tmp_path, "no-such-command").returncode == os.EX_USAGE


def test_a_second_server_on_the_same_database_is_refused(world: World) -> None:
    done = run(world.folder, "serve", "-c", "config.yaml")
    assert done.returncode == os.EX_UNAVAILABLE
    assert "another relay is serving" in done.stderr


def test_keys_come_and_go_within_two_seconds(world: World) -> None:
    key = relay(world.folder, "key", "create", "cron", "--permission", "full").strip()
    wait_for(lambda: world.call("GET", "/api/v1/emails/x", key=key).status == 404, 2.5)
    relay(world.folder, "key", "revoke", key.partition(".")[0])
    wait_for(lambda: world.call("GET", "/api/v1/emails/x", key=key).status == 401, 2.5)
    assert run(world.folder, "key", "revoke", "relay_nobody").returncode == os.EX_DATAERR


def test_send_list_show(world: World) -> None:
    arguments = ["--from", "app@shared.example", "--to", "cli@dest.example", "--subject", "by command", "--text", "Hi"]
    public_id = relay(world.folder, "send", *arguments, "--key", world.key).strip()
    world.sent_to("cli@dest.example")
    wait_for(lambda: world.call("GET", f"/api/v1/emails/{public_id}").json["status"] == "sent")
    listed = json.loads(relay(world.folder, "queue", "list", "--json"))
    assert (listed[0]["id"], listed[0]["state"]) == (public_id, "sent")
    assert public_id in relay(world.folder, "queue", "list", "--state", "sent", "--domain", "shared.example")
    shown = json.loads(relay(world.folder, "queue", "show", public_id, "--json"))
    assert shown["changes"] == ["composed from the fields of an HTTP request"]
    assert shown["recipients"][0]["recipient"] == "cli@dest.example"
    assert "composed from the fields" in relay(world.folder, "queue", "show", public_id)
    assert run(world.folder, "queue", "retry", public_id).returncode == os.EX_DATAERR  # a conflict: it is sent
    assert run(world.folder, "queue", "cancel", public_id).returncode == os.EX_DATAERR
    assert run(world.folder, "queue", "show", "0" * 24).returncode == os.EX_DATAERR
    wrong = run(world.folder, "send", *arguments, "--key", "relay_wrong.key")
    assert (wrong.returncode, wrong.stdout) == (os.EX_DATAERR, "")


def test_suppressions(world: World) -> None:
    relay(world.folder, "suppression", "add", "Gone@Dest.example", "--reason", "asked to")
    body = {"from": "app@shared.example", "to": "gone@dest.example", "subject": "s", "text": "t"}
    assert world.call("POST", "/api/v1/emails", body).status == 422
    (listed,) = json.loads(relay(world.folder, "suppression", "list", "--json"))
    assert (listed["address"], listed["reason"]) == ("gone@dest.example", "asked to")
    relay(world.folder, "suppression", "remove", "gone@DEST.example")
    assert world.call("POST", "/api/v1/emails", body).status == 202
    assert run(world.folder, "suppression", "add", "not an address").returncode == os.EX_DATAERR
