"""The same relay on PostgreSQL: migrated by command, sending, and two of them on one database."""

from __future__ import annotations

import smtplib
import subprocess
import sys
from pathlib import Path

from relay.config import load
from relay.store import listing
from relay.store.beside import with_database
from tests import databases, processes
from tests.faults.load import arrivals
from tests.processes import Relay, wait_until


def send(relay: Relay, subject: str, domain: str = "byoc.example") -> None:
    with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=20) as smtp:
        text = f"From: me@{domain}\r\nSubject: {subject}\r\nTo: you@dest.example\r\n\r\nhi\r\n"
        smtp.sendmail(f"me@{domain}", ["you@dest.example"], text)


def run(relay: Relay, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "relay", *arguments, "-c", str(relay.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_relay_on_postgresql(tmp_path: Path) -> None:
    with processes.sandbox("--rate", "100000") as sandbox:
        url = databases.setting(databases.postgresql())
        first_folder, second_folder = tmp_path / "first", tmp_path / "second"
        for folder in (first_folder, second_folder):
            folder.mkdir()
        with (
            processes.relay(first_folder, sandbox.url, url) as first,
            processes.relay(second_folder, sandbox.url, url) as second,
        ):
            refused = run(first, "serve")
            assert "run `relay migrate` first" in refused.stderr
            assert run(first, "migrate").returncode == 0
            first.start()
            (second_folder / "master.key").write_text((first_folder / "master.key").read_text())
            second.start()
            for number in range(20):
                send(first, f"first-{number}")
                send(second, f"second-{number}", "shared.example")  # its lanes are the first's: queued, and taken there
            expected = {f"{name}-{number}" for name in ("first", "second") for number in range(20)}
            wait_until(lambda: arrivals(sandbox).keys() == expected, "everything's arrival")
            assert max(arrivals(sandbox).values()) == 1
            assert first.stop() == 0
            # The lanes go to whoever is left.
            send(second, "third")
            wait_until(lambda: "third" in arrivals(sandbox), "the lanes' hand-over", 30)
            assert second.stop() == 0
            open_ = with_database(load(second.config), lambda db, _: listing.depths(db))
            assert open_ == []
