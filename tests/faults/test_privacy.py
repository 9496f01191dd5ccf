"""byoc content: readable with the master key until SES has it, and by nobody after the log was next emptied."""

from __future__ import annotations

import smtplib
import sqlite3
import time
from pathlib import Path

from tests import processes
from tests.faults.attacker import recover
from tests.faults.load import arrivals, counted_duplicates
from tests.processes import wait_until

SECRET = b"the launch code is 0000-4711"
# Where SQLite's log is emptied: relay.dispatch.dispatcher.TRUNCATE_EVERY, and once more at the end.
NEXT_EMPTYING = 75.0


def send(port: int, domain: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as smtp:
        text = f"From: me@{domain}\r\nTo: ana@dest.example\r\nSubject: s\r\n\r\n".encode() + SECRET + b"\r\n"
        smtp.sendmail(f"me@{domain}", ["ana@dest.example"], text)


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
        wal = Path(f"{database}-wal")
        wait_until(lambda: wal.stat().st_size == 0, "the emptying of the log", NEXT_EMPTYING)
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
