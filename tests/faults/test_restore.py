"""Backups that are restored after everything in them was sent, keys changed under load, and commands that are killed at each step."""

from __future__ import annotations

import asyncio
import json
import smtplib
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from relay.cli.starting import create_key
from relay.declared import Permission
from relay.sealing import MasterKey
from relay.store import backup, database
from relay.store.database import parse_url
from relay.store.directory import installation
from relay.store.store import open_store
from tests import processes
from tests.cli.program import configure, relay
from tests.faults.load import arrivals, counted_duplicates, sending
from tests.processes import Relay, wait_until
from tests.store.stories import message, put


def command(server: Relay, *arguments: str) -> dict[str, int]:
    """What a command prints for programs, beside the server or without it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "relay", *arguments, "--config", str(server.config)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout) if "--json" in arguments else {}
    return found


def send(server: Relay, subject: str, *fields: str) -> None:
    with smtplib.SMTP("127.0.0.1", server.smtp, timeout=10) as smtp:
        head = ("From: me@byoc.example", "To: you@dest.example", f"Subject: {subject}", *fields)
        text = "".join(f"{field}\r\n" for field in head) + "\r\nhi\r\n"
        smtp.sendmail("me@byoc.example", ["you@dest.example"], text)


def make_due(folder: Path) -> None:
    """Tomorrow is today: what is scheduled for then goes now."""
    with closing(sqlite3.connect(folder / "relay.db")) as db:
        db.execute("update deliveries set due_at = first_due_at - 86400000 where state = 'queued'")
        db.execute("update installation set generation = generation + 1")
        db.commit()


def test_yesterday_s_mail_is_not_sent_twice(tmp_path: Path) -> None:
    with processes.sandbox("--rate", "100000") as sandbox, processes.relay(tmp_path, sandbox.url) as server:
        server.start()
        send(server, "sent before")
        wait_until(lambda: arrivals(sandbox)["sent before"], "its arrival")
        for number in range(30):
            send(server, f"unsent {number}", f"X-Relay-Send-At: {int(time.time()) + 86_400}")
        unsent = command(server, "backup", str(tmp_path / "copy"), "--json")["unsent"]
        make_due(tmp_path)
        wait_until(lambda: counted_duplicates(tmp_path)[0] == 0, "an empty queue", 90)
        before = arrivals(sandbox)
        assert len(before) == sum(before.values()) == 31
        server.kill()
        assert command(server, "restore", str(tmp_path / "copy"), "--json")["held"] == unsent == 30
        server.start()
        send(server, "after the restore")
        wait_until(lambda: arrivals(sandbox)["after the restore"], "new mail")
        wait_until(lambda: counted_duplicates(tmp_path)[0] == unsent, "only what is held to be open")
        assert arrivals(sandbox) == before + Counter(["after the restore"])
        # Let go, it goes a second time, and each is counted as what it may be: a duplicate.
        command(server, "queue", "release", "--restored")
        make_due(tmp_path)
        wait_until(lambda: counted_duplicates(tmp_path)[0] == 0, "an empty queue", 60)
        duplicates = sum(count - 1 for count in arrivals(sandbox).values())
        assert duplicates == unsent == counted_duplicates(tmp_path)[1]
        assert server.stop() == 0


@pytest.mark.soak
def test_a_new_master_key_under_load(tmp_path: Path) -> None:
    """Half a minute of it is the wait for what was sealed before; the server is stopped by SIGKILL right after."""
    with processes.sandbox("--rate", "100000") as sandbox, processes.relay(tmp_path, sandbox.url) as server:
        server.start()
        old = MasterKey.read(tmp_path / "master.key")
        with sending(server) as accounts:
            wait_until(lambda: len(accounts.acknowledged) > 100, "some load")
            rotating = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "relay", "master-key", "rotate", "--config", str(server.config)],
                stdout=subprocess.DEVNULL,
            )
            # Killed in the middle of it, with both keys in the file, and again after.
            wait_until(lambda: MasterKey.read(tmp_path / "master.key").has_older, "a new key")
            server.kill()
            server.start()
            wait_until(lambda: len(accounts.acknowledged) > 400, "more load")
            rotating.kill()
            rotating.wait()
            server.kill()
        command(server, "master-key", "rotate")  # taken up, without a server
        new = MasterKey.read(tmp_path / "master.key")
        assert (new.count, new.fingerprint == old.fingerprint) == (1, False)
        server.start()
        wait_until(lambda: counted_duplicates(tmp_path)[0] == 0, "an empty queue", 60)
        found = arrivals(sandbox)
        assert accounts.acknowledged - found.keys() == set()
        assert sum(count - 1 for count in found.values()) <= counted_duplicates(tmp_path)[1]
        assert server.stop() == 0
        assert "part 0 of the content" not in server.log.read_text()


# -- killed at each step ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation with 20 queued messages, and a backup of it from before they were."""
    made = tmp_path / "made"
    made.mkdir()
    configure(made)
    create_key(made / "config.yaml", "first", Permission.FULL)
    relay(made, "backup", str(made / "copy"))

    async def fill() -> None:
        async with open_store(parse_url("relay.db", made), MasterKey.read(made / "master.key")) as store:
            tenant = await store.read(installation.default_tenant)
            for _ in range(20):
                await put(store, message(store, tenant))

    asyncio.run(fill())
    return made


def killed_at_each_step(folder: Path, stride: int, *arguments: str) -> list[Path]:
    """The folder as each kill left it, at each step or, for the suite, at some of them."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.faults.cut", str(folder), str(stride), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.splitlines()]


def opened(folder: Path) -> int:
    """How many contents the key file of a folder opens; it has to be all there are, and the installation key."""
    master = MasterKey.read(folder / "master.key")
    with closing(sqlite3.connect(folder / "relay.db")) as db:
        rows = db.execute("select id, wrapped_key from messages where wrapped_key is not null").fetchall()
        [(wrapped_installation,)] = db.execute("select wrapped_key from installation").fetchall()
    master.unwrap(wrapped_installation, b"installation")
    for message_id, wrapped in rows:
        master.unwrap(wrapped, b"content of %d" % message_id)
    return len(rows)


EACH = [9, pytest.param(1, marks=pytest.mark.soak)]


@pytest.mark.parametrize("stride", EACH)
def test_a_rotation_killed_at_any_step_leaves_everything_readable_and_goes_on(folder: Path, stride: int) -> None:
    before = MasterKey.read(folder / "master.key").fingerprint
    left = killed_at_each_step(folder, stride, "master-key", "rotate")
    assert len(left) > 15 / stride
    counts = set()
    for each in left:
        assert opened(each) == 20, each
        counts.add(MasterKey.read(each / "master.key").count)
    assert counts == {1, 2}
    for each in left[:-1:4]:
        if MasterKey.read(each / "master.key").has_older:
            relay(each, "master-key", "rotate")
            assert MasterKey.read(each / "master.key").count == 1
            assert opened(each) == 20
    assert MasterKey.read(left[-1] / "master.key").fingerprint != before


@pytest.mark.parametrize("stride", EACH)
def test_a_restore_killed_at_any_step_leaves_the_one_database_or_the_other(folder: Path, stride: int) -> None:
    left = killed_at_each_step(folder, stride, "restore", str(folder / "copy"))
    assert len(left) > 15 / stride
    seen = []
    for each in left:
        with closing(sqlite3.connect(each / "relay.db")) as db:
            assert db.execute("pragma integrity_check").fetchone() == ("ok",)
            [(count,)] = db.execute("select count(*) from messages").fetchall()
        seen.append(count)
        assert backup.look(each / "copy").messages == 0
    assert set(seen) == {0, 20}
    assert seen == sorted(seen, reverse=True)  # once it is the new one, it stays so


@pytest.mark.parametrize("stride", EACH)
def test_a_backup_killed_at_any_step_is_whole_or_not_there(folder: Path, stride: int) -> None:
    left = killed_at_each_step(folder, stride, "backup", str(folder / "another"))
    assert len(left) > 5 / stride
    there = [each for each in left if (each / "another").exists()]
    assert left[0] not in there
    assert {backup.look(each / "another").messages for each in there} == {20}
    assert left[-1] in there


@pytest.mark.soak
def test_a_writer_is_not_held_up_by_a_backup(tmp_path: Path) -> None:
    """How long single commits take, with 300 MB being copied beside them and without."""
    path = tmp_path / "relay.db"
    database.migrate_sqlite(parse_url("relay.db", tmp_path))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("create table filling (octets blob)")
        db.execute("begin")
        for _ in range(300):
            db.execute("insert into filling values (randomblob(1048576))")
        db.execute("commit")

    def commits(until: subprocess.Popen[bytes] | None) -> list[float]:
        took = []
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("pragma synchronous = full")
            while (until.poll() is None) if until else len(took) < 300:
                started = time.perf_counter()
                db.execute("insert into filling values (randomblob(5000))")
                took.append((time.perf_counter() - started) * 1000)
                time.sleep(0.005)
        return sorted(took)

    alone = commits(None)
    code = (
        "import sys; from pathlib import Path; from relay.store import copying; copying.copy(*map(Path, sys.argv[1:]))"
    )
    beside = commits(subprocess.Popen([sys.executable, "-c", code, str(path), str(tmp_path / "copy")]))
    for name, took in (("alone", alone), ("beside a backup", beside)):
        print(
            f"\n{name}: {len(took)} commits, median {took[len(took) // 2]:.1f} ms, "
            f"99 % {took[len(took) * 99 // 100]:.1f} ms, most {took[-1]:.1f} ms"
        )
    assert beside[len(beside) * 99 // 100] < 100
