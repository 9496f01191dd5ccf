"""What is to be gone is gone from the files, for who has the master key, too, once the log was next emptied."""

from __future__ import annotations

import json
import smtplib
import sqlite3
import time
from pathlib import Path

import pytest

from relay.store.proving import empty_log
from tests import processes
from tests.cli.program import started
from tests.faults.attacker import recover
from tests.faults.load import arrivals, at_rest, counted_duplicates
from tests.processes import wait_until

SECRET = b"the launch code is 0000-4711"
# Where SQLite's log is emptied: relay.dispatch.sweeps.TRUNCATE_EVERY, and once more at the end.
NEXT_EMPTYING = 75.0


def send(port: int, domain: str, fields: str = "") -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as smtp:
        header = f"From: me@{domain}\r\nTo: ana@dest.example\r\nSubject: s\r\n{fields}\r\n"
        text = header.encode() + SECRET + b"\r\n"
        smtp.sendmail(f"me@{domain}", ["ana@dest.example"], text)


@pytest.mark.soak
def test_the_log_is_emptied_within_a_minute(tmp_path: Path) -> None:
    with processes.sandbox() as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        relay.start()
        send(relay.smtp, "byoc.example")
        wal = tmp_path / "relay.db-wal"
        wait_until(lambda: sandbox.messages() and wal.stat().st_size == 0, "the emptying of the log", NEXT_EMPTYING)


def test_byoc_content_is_gone_once_ses_has_it(tmp_path: Path) -> None:
    database, master = tmp_path / "relay.db", tmp_path / "master.key"
    with processes.sandbox() as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        relay.start()
        # SES takes its time: the message waits in the database, durable and sealed.
        sandbox.fault(account="customer", fault={"slow": 4})
        send(relay.smtp, "byoc.example")
        before = recover(database, master, tmp_path / "before")
        assert any(SECRET in part for part in before), "the attacker must be able to read what is there"
        assert SECRET not in database.read_bytes() + Path(f"{database}-wal").read_bytes()

        wait_until(lambda: counted_duplicates(tmp_path)[0] == 0, "SES's acceptance")
        assert arrivals(sandbox)
        wait_until(lambda: at_rest(tmp_path, "select count(*) from contents") == [(0,)], "the sweep of its bytes")
        empty_the_log(Path(f"{database}-wal"), tmp_path)
        after = recover(database, master, tmp_path / "after")
        assert not any(SECRET in part for part in after)
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
            assert db.execute("select count(*) from contents").fetchone() == (0,)
            assert db.execute("select address from recipients").fetchall() == [(None,)]
            assert db.execute("select mail_from, header_from, subject from messages").fetchall() == [(None, None, None)]
        db.close()
        assert b"ana@dest.example" not in database.read_bytes()
        assert SECRET.decode() not in relay.log.read_text()
        assert "ana@dest.example" not in relay.log.read_text()


def test_shared_content_stays_readable_with_the_master_key_only(tmp_path: Path) -> None:
    database, master = tmp_path / "relay.db", tmp_path / "master.key"
    with processes.sandbox() as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        relay.start()
        send(relay.smtp, "shared.example")
        wait_until(lambda: counted_duplicates(tmp_path)[0] == 0, "SES's acceptance")
        time.sleep(1.5)  # a sweep later
        assert relay.stop() == 0
        assert any(SECRET in part for part in recover(database, master, tmp_path / "work"))
        assert SECRET not in database.read_bytes()


def files_hold(folder: Path, what: bytes) -> list[str]:
    """The files of the database, its log and its lock that have it, in any case."""
    found = [each for each in folder.iterdir() if each.name.startswith("relay.db")]
    return sorted(each.name for each in found if what.lower() in each.read_bytes().lower())


def empty_the_log(wal: Path, folder: Path) -> None:
    """As the proof does: at once, where the server would take up to a minute."""
    wait_until(
        lambda: empty_log(folder / "relay.db") is not None and wal.stat().st_size == 0, "the emptying of the log"
    )


def test_attachments_are_gone_for_who_has_every_key(tmp_path: Path) -> None:
    database, master = tmp_path / "relay.db", tmp_path / "master.key"
    with processes.sandbox() as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        relay.start()
        text = b"From: me@shared.example\r\nSubject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n"
        with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=10) as smtp:
            file = b"--b\r\nContent-Type: a/b\r\n\r\n" + SECRET + b"\r\n--b--\r\n"
            smtp.sendmail("me@shared.example", ["ana@dest.example"], text + file)
        (sent,) = wait_until(lambda: sandbox.messages(), "SES's acceptance")
        assert SECRET in sent["raw"]

        def is_slim() -> bool:
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
                (open_deliveries, slim_at) = db.execute("select open_deliveries, slim_at from messages").fetchone()
            db.close()
            return (open_deliveries, slim_at) == (0, None)

        wait_until(is_slim, "the dropping of the attachment")
        empty_the_log(Path(f"{database}-wal"), tmp_path)
        after = recover(database, master, tmp_path / "after")
        assert any(b"Hello" in part for part in after)
        assert not any(SECRET in part for part in after)
        assert SECRET.decode() not in relay.log.read_text()


def test_a_person_that_is_erased_is_in_no_file(tmp_path: Path) -> None:
    database, master = tmp_path / "relay.db", tmp_path / "master.key"
    with processes.sandbox() as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        relay.start()
        send(relay.smtp, "shared.example")
        wait_until(lambda: sandbox.messages(), "SES's acceptance")
        send(relay.smtp, "shared.example", f"X-Relay-Send-At: {int(time.time()) + 86_400}\r\n")
        assert files_hold(tmp_path, b"ana@dest.example")

        done = started(tmp_path, "erase", "Ana@dest.example", "--yes", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["recipients"], told["cancelled"], told["contents"]) == (2, 1, 2)
        empty_the_log(Path(f"{database}-wal"), tmp_path)
        assert files_hold(tmp_path, b"ana@dest.example") == []
        assert not any(SECRET in part for part in recover(database, master, tmp_path / "after"))
        assert "ana@dest.example" not in relay.log.read_text()
        assert len(sandbox.messages()) == 1


def test_the_log_of_messages_is_in_no_file_when_its_time_is_over(tmp_path: Path) -> None:
    """With the time moved on by hand, for an hour and 90 days are long: what is deleted is the server's doing."""
    database = tmp_path / "relay.db"
    extra = "retention: {content: 0}\n"
    with processes.sandbox() as sandbox, processes.relay(tmp_path, sandbox.url, extra=extra) as relay:
        relay.start()
        send(relay.smtp, "shared.example")
        wait_until(lambda: sandbox.messages(), "SES's acceptance")
        wait_until(lambda: counted_duplicates(tmp_path)[0] == 0, "its settlement")
        assert relay.stop() == 0
        assert files_hold(tmp_path, b"ana@dest.example")
        age(database, days=100)
        relay.start()  # which sweeps
        wait_until(lambda: count(database, "messages") == 0, "the sweep of the log")
        assert count(database, "recipients") == count(database, "deliveries") == count(database, "contents") == 0
        empty_the_log(Path(f"{database}-wal"), tmp_path)
        assert files_hold(tmp_path, b"ana@dest.example") == []


def age(database: Path, days: int) -> None:
    """As if all mail had come so long ago: ids are made of the time."""
    ms = days * 86_400_000
    with sqlite3.connect(database) as db:
        db.execute("pragma secure_delete = on")
        db.execute("pragma defer_foreign_keys = on")
        for table, column in (("deliveries", "message_id"), ("contents", "message_id"), ("messages", "id")):
            db.execute(f"update {table} set {column} = {column} - ?", (ms << 21,))
    db.close()


def count(database: Path, table: str) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        (found,) = db.execute(f"select count(*) from {table}").fetchone()
    db.close()
    return int(found)
