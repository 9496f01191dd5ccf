"""`relay backup` beside a running server, and `relay restore` once it has stopped."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relay.store import database
from tests import databases
from tests.cli.program import Done, configure, found, relay, run
from tests.support import World
from tests.wire import Wire

DAY = 86_400


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("backup")) as world:
        yield world


def wait_in(world: World, to: str) -> None:
    """A message that is queued for tomorrow."""
    with Wire(world.plain) as wire:
        wire.reply()
        for line in ("EHLO a", "MAIL FROM:<me@shared.example>", f"RCPT TO:<{to}>", "DATA"):
            assert wire.say(line)[0] in "23"
        fields = f"From: me@shared.example\r\nX-Relay-Send-At: {int(time.time()) + DAY}\r\n\r\nHi\r\n."
        assert wire.say(fields.encode()).startswith("250")


def unusable(folder: Path, *arguments: str, code: int = os.EX_UNAVAILABLE) -> str:
    done = run(folder, *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_backup_is_made_beside_a_server_and_restored_elsewhere(world: World, tmp_path: Path) -> None:
    wait_in(world, "ana@later.example")
    said = relay(world.folder, "backup", str(tmp_path / "copy"))
    assert "NOT in it" in said
    assert str(world.folder / "master.key") in said
    assert "1 deliveries unsent; checked" in said
    elsewhere = configure(tmp_path)
    (elsewhere / "master.key").write_bytes((world.folder / "master.key").read_bytes())
    said = relay(elsewhere, "restore", "copy")
    assert "1 deliveries were unsent and are held" in said
    assert "queue release --restored" in said
    [shown] = found(elsewhere, "queue", "list", "--state", "held")
    assert shown["reason"] == "restored"
    assert "may have been sent since" in relay(elsewhere, "queue", "show", shown["id"])
    assert relay(elsewhere, "queue", "release", "--restored") == "1 deliveries are queued\n"
    assert found(elsewhere, "queue", "list", "--state", "held") == []


def test_for_programs(world: World, tmp_path: Path) -> None:
    told = found(world.folder, "backup", str(tmp_path / "copy"))
    assert told["file"] == str(tmp_path / "copy")
    assert told["octets"] == (tmp_path / "copy").stat().st_size
    elsewhere = configure(tmp_path)
    (elsewhere / "master.key").write_bytes((world.folder / "master.key").read_bytes())
    assert found(elsewhere, "restore", "copy")["aside"] is None
    assert (tmp_path / found(elsewhere, "restore", "copy")["aside"]).exists()


def test_nothing_is_restored_under_a_running_server(world: World, tmp_path: Path) -> None:
    relay(world.folder, "backup", str(tmp_path / "copy"))
    assert "another relay is serving" in unusable(world.folder, "restore", str(tmp_path / "copy"))
    assert "another relay is serving" in unusable(world.folder, "restore", "--mark")


def test_it_needs_the_master_key_that_it_was_made_with(world: World, tmp_path: Path) -> None:
    relay(world.folder, "backup", str(tmp_path / "copy"))
    elsewhere = configure(tmp_path)
    assert "is missing: put back the copy of it" in unusable(elsewhere, "restore", "copy")
    assert not (tmp_path / "master.key").exists()
    (tmp_path / "master.key").write_text("x" * 43 + "=")
    assert "not the one this database was made with" in unusable(elsewhere, "restore", "copy")
    assert not (tmp_path / "relay.db").exists()


def test_nothing_is_replaced_by_a_backup(world: World, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("mine")
    assert "exists already" in unusable(world.folder, "backup", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "mine"


def test_either_a_file_or_a_mark(world: World, tmp_path: Path) -> None:
    for arguments in ((), ("copy", "--mark")):
        assert "give a backup to restore, or --mark" in unusable(
            world.folder, "restore", *arguments, code=os.EX_DATAERR
        )


def test_a_database_that_was_put_back_by_other_means_is_marked(world: World, tmp_path: Path) -> None:
    wait_in(world, "bo@later.example")
    relay(world.folder, "backup", str(tmp_path / "relay.db"))
    elsewhere = configure(tmp_path)
    (elsewhere / "master.key").write_bytes((world.folder / "master.key").read_bytes())
    assert found(elsewhere, "restore", "--mark")["held"] >= 1
    with closing(sqlite3.connect(tmp_path / "relay.db")) as db:
        states = db.execute("select distinct state from deliveries where finished_at is null").fetchall()
    assert states == [("held",)]


def test_on_postgresql_its_own_tools_copy_and_relay_marks(tmp_path: Path) -> None:
    url = databases.postgresql()
    folder = configure(tmp_path, database=databases.setting(url))
    relay(folder, "migrate")
    relay(folder, "key", "create", "first")  # makes the keys of the installation
    assert "pg_dump" in unusable(folder, "backup", "copy")
    assert "pg_restore" in unusable(folder, "restore", "copy")
    assert json.loads(relay(folder, "restore", "--mark", "--json")) == {"messages": None, "held": 0, "aside": None}


def test_where_nothing_is_there_is_nothing_to_do(tmp_path: Path) -> None:
    folder = configure(tmp_path)
    assert "there is no database" in unusable(folder, "backup", "copy")
    assert "there is no backup" in unusable_with_key(folder, "restore", "copy").stderr
    assert "there is no database" in unusable_with_key(folder, "restore", "--mark").stderr
    assert not (tmp_path / "relay.db").exists()


def unusable_with_key(folder: Path, *arguments: str) -> Done:
    from relay.sealing import MasterKey

    MasterKey.read_or_create(folder / "master.key")
    done = run(folder, *arguments)
    assert done.returncode == os.EX_UNAVAILABLE
    return done


def test_the_copy_of_an_upgrade_can_be_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `relay serve` writes before it changes the schema is a backup like any other."""
    folder = configure(tmp_path)
    relay(folder, "key", "create", "first")
    monkeypatch.setattr(database, "check_revision", lambda db: False)
    monkeypatch.setattr(database, "upgrade", lambda db: None)
    database.migrate_sqlite(databases.sqlite(tmp_path))
    monkeypatch.undo()
    [copy] = tmp_path.glob("*.backup")
    assert found(folder, "restore", str(copy))["messages"] == 0
    assert [each["name"] for each in found(folder, "key", "list")] == ["first"]
