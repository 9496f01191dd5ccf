"""`relay master-key`: a new key in the place of the old one, beside a running server and without one."""

from __future__ import annotations

import base64
import os
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from relay.sealing import MasterKey, SealingError
from relay.store import rewrapping
from tests import databases
from tests.cli.program import configure, found, refused, relay, run
from tests.faults.attacker import recover
from tests.support import World, wait_for
from tests.wire import Wire

DAY = 86_400


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


def send(world: World, to: str, text: str, *fields: str) -> None:
    with Wire(world.plain) as wire:
        wire.reply()
        for line in ("EHLO a", "MAIL FROM:<me@shared.example>", f"RCPT TO:<{to}>", "DATA"):
            assert wire.say(line)[0] in "23"
        head = "".join(f"{field}\r\n" for field in ("From: me@shared.example", *fields))
        assert wire.say(f"{head}\r\n{text}\r\n.".encode()).startswith("250")


def opens(folder: Path, by: MasterKey) -> int:
    """How many contents this key alone opens; it has to be all there are."""
    with closing(sqlite3.connect(folder / "relay.db")) as db:
        rows = db.execute("select id, wrapped_key from messages where wrapped_key is not null").fetchall()
        [(installation,)] = db.execute("select wrapped_key from installation").fetchall()
    by.unwrap(installation, b"installation")
    for message_id, wrapped in rows:
        by.unwrap(wrapped, b"content of %d" % message_id)
    return len(rows)


def test_beside_a_server_that_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrapping, "SETTLED", 0.2)
    monkeypatch.setattr(rewrapping, "WIDTH", 3)
    monkeypatch.setattr(rewrapping, "SLICE", 2)
    with World(tmp_path) as world:
        for number in range(7):
            send(world, f"{number}@later.example", "the code is 4711", f"X-Relay-Send-At: {int(time.time()) + DAY}")
        file = tmp_path / "master.key"
        old = MasterKey.read(file)
        before = found(tmp_path, "master-key", "status")
        assert (before["fingerprint"], before["older_keys"], before["sealed_by_older"]) == (old.fingerprint, 0, 0)
        said = relay(tmp_path, "master-key", "rotate")
        assert "7 messages and the installation key are sealed anew" in said
        new = MasterKey.read(file)
        assert (new.count, new.fingerprint == old.fingerprint) == (1, False)
        assert new.fingerprint in said
        assert file.stat().st_mode & 0o777 == 0o600
        assert opens(tmp_path, new) == 7
        with pytest.raises(SealingError):
            opens(tmp_path, old)
        [retired] = tmp_path.glob("master.key.*.retired")
        assert MasterKey.read(retired).fingerprint == old.fingerprint
        assert retired.stat().st_mode & 0o777 == 0o600
        # The server goes on: with what it took in before, and what it takes in now.
        send(world, "now@dest.example", "a new one")
        assert world.sent_to("now@dest.example")
        [queued] = found(tmp_path, "queue", "list", "--recipient", "0@later.example")
        relay(tmp_path, "queue", "retry", queued["id"])
        assert b"4711" in world.sent_to("0@later.example")[0]["raw"]
        assert world.call("GET", "/api/v1/emails").status == 200  # the API key's hash is what it was
        assert found(tmp_path, "master-key", "status")["sealed_by_older"] == 0
    with World(tmp_path) as world:  # and so does the next start
        [queued] = found(tmp_path, "queue", "list", "--recipient", "1@later.example")
        relay(tmp_path, "queue", "retry", queued["id"])
        assert b"4711" in world.sent_to("1@later.example")[0]["raw"]


def test_without_a_server_the_command_does_it(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        for number in range(3):
            send(world, f"{number}@later.example", "the code is 4711", f"X-Relay-Send-At: {int(time.time()) + DAY}")
    old = MasterKey.read(tmp_path / "master.key")
    assert "3 messages" in relay(tmp_path, "master-key", "rotate")
    new = MasterKey.read(tmp_path / "master.key")
    assert opens(tmp_path, new) == 3
    found_ = recover(tmp_path / "relay.db", tmp_path / "master.key", tmp_path / "work")
    assert any(b"4711" in each for each in found_)
    assert old.fingerprint != new.fingerprint
    changes = found(tmp_path, "audit")
    assert [each["changes"] for each in changes if each["action"] == "master_key.rotate"] == [
        {"fingerprint": [old.fingerprint, new.fingerprint]}
    ]


def test_one_that_was_cut_off_is_taken_up(tmp_path: Path) -> None:
    configure(tmp_path)
    relay(tmp_path, "key", "create", "first")
    file = tmp_path / "master.key"
    old = MasterKey.read(file)
    second = old.successor()
    second.replace(file)  # and then it was killed
    assert found(tmp_path, "master-key", "status")["sealed_by_older"] == 1
    relay(tmp_path, "master-key", "rotate")
    assert MasterKey.read(file).fingerprint == second.fingerprint  # no third one
    assert MasterKey.read(file).count == 1
    assert opens(tmp_path, MasterKey.read(file)) == 0


def test_only_one_command_at_a_time(tmp_path: Path) -> None:
    from relay.store import database

    configure(tmp_path)
    relay(tmp_path, "key", "create", "first")
    with database.alone(tmp_path / ".master.key.lock", "busy"):
        done = run(tmp_path, "master-key", "rotate")
    assert done.returncode == os.EX_UNAVAILABLE
    assert "being changed by another command" in done.stderr
    assert MasterKey.read(tmp_path / "master.key").count == 1


def test_a_file_that_the_configuration_names_is_rotated(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    file = tmp_path / "secret" / "key"
    MasterKey.create(file)
    configure(tmp_path, master_key="file:secret/key")
    relay(tmp_path, "key", "create", "first")
    before = MasterKey.read(file).fingerprint
    relay(tmp_path, "master-key", "rotate")
    assert MasterKey.read(file).fingerprint != before
    assert [each["name"] for each in found(tmp_path, "key", "list")] == ["first"]
    assert len(list((tmp_path / "secret").glob("key.*.retired"))) == 1


def test_a_key_in_the_configuration_is_changed_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrapping, "SETTLED", 0.2)
    with World(tmp_path, master_key=key(1)) as world:
        send(world, "0@later.example", "the code is 4711", f"X-Relay-Send-At: {int(time.time()) + DAY}")
        assert "previous_master_keys" in refused(tmp_path, "master-key", "rotate")
    with World(tmp_path, master_key=key(2), previous_master_keys=[key(1)]):
        status = wait_for(lambda: (now := found(tmp_path, "master-key", "status"))["older_can_go"] and now, patience=20)
        assert (status["older_keys"], status["sealed_by_older"], status["unreadable"]) == (1, 0, 0)
    assert opens(tmp_path, MasterKey.decode(key(2))) == 1
    with World(tmp_path, master_key=key(2)) as world:
        [queued] = found(tmp_path, "queue", "list")
        relay(tmp_path, "queue", "retry", queued["id"])
        assert b"4711" in world.sent_to("0@later.example")[0]["raw"]


def test_on_postgresql_it_is_changed_by_the_configuration(tmp_path: Path) -> None:
    folder = configure(tmp_path, database=databases.setting(databases.postgresql()))
    relay(folder, "migrate")
    relay(folder, "key", "create", "first")
    before = (tmp_path / "master.key").read_text()
    assert "one by one" in refused(folder, "master-key", "rotate")
    assert (tmp_path / "master.key").read_text() == before
    assert found(folder, "master-key", "status")["older_can_go"] is False


def test_a_key_of_another_database_is_refused(tmp_path: Path) -> None:
    configure(tmp_path)
    relay(tmp_path, "key", "create", "first")
    (tmp_path / "master.key").write_text(key(9))
    for command in ("rotate", "status"):
        done = run(tmp_path, "master-key", command)
        assert done.returncode == os.EX_UNAVAILABLE
        assert "not the one this database was made with" in done.stderr
    assert (tmp_path / "master.key").read_text() == key(9)


def test_nothing_tells_a_key(tmp_path: Path) -> None:
    configure(tmp_path)
    relay(tmp_path, "key", "create", "first")
    written = (tmp_path / "master.key").read_text().strip()
    done = run(tmp_path, "master-key", "rotate")
    shown = done.stdout + done.stderr + relay(tmp_path, "master-key", "status")
    fresh = (tmp_path / "master.key").read_text().strip()
    assert written not in shown
    assert fresh not in shown
    assert re.search(r"fingerprint [0-9a-f]{8};", shown)
