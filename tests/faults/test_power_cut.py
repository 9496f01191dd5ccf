"""Power cuts under load: what was acknowledged is on the disk, and goes on from there.

The database is on an ext4 file system of its own. The server is stopped, the image under that file system is copied as
it is, and the copy is mounted: whatever the kernel had not written to the disk by then is gone.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
import smtplib
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import processes
from tests.faults.load import arrivals, at_rest, counted_duplicates
from tests.faults.tampered import Disk
from tests.processes import Relay, wait_until

CLIENTS = 4
UNSYNCED = (sys.executable, "-W", "error", "-m", "tests.faults.unsynced")
ID = re.compile(rb"\b[0-9a-f]{24}\b")  # what the 250 calls the message


@dataclass
class Clients:
    """Send without pause until told to stop; note which messages were acknowledged, as the server calls them."""

    relay: Relay
    acknowledged: dict[str, str] = field(default_factory=dict)  # id -> subject
    stopping: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, round_: int) -> None:
        self.stopping.clear()
        self.threads = [threading.Thread(target=self.send, args=(f"{round_}-{each}",)) for each in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def send(self, name: str) -> None:
        sequence = 0
        try:
            with smtplib.SMTP("127.0.0.1", self.relay.smtp, timeout=10) as smtp:
                smtp.ehlo()
                while not self.stopping.is_set():
                    sequence += 1
                    subject = f"{name}-{sequence}"
                    smtp.mail("me@shared.example")
                    smtp.rcpt("you@dest.example")
                    text = f"From: me@shared.example\r\nTo: you@dest.example\r\nSubject: {subject}\r\n\r\nhi\r\n"
                    _, said = smtp.data(text)
                    [public_id] = ID.findall(said)
                    self.acknowledged[public_id.decode()] = subject
        except (smtplib.SMTPException, OSError):
            return  # the power is gone


def cut_under_load(relay: Relay, disk: Disk, clients: Clients, round_: int, seconds: float) -> None:
    """Stop the server where it is, and keep what the disk has."""
    clients.start(round_)
    time.sleep(seconds)
    assert relay.process is not None
    relay.process.send_signal(signal.SIGSTOP)
    disk.cut()
    relay.kill()
    clients.stop()  # what is on its way to them counts: it was said before


def left(mounted: Path, folder: Path) -> tuple[str, set[str]]:
    """What a copy of the database says of itself, and the messages in it."""
    work = Path(tempfile.mkdtemp(dir=folder))
    for name in ("relay.db", "relay.db-wal"):
        if (mounted / name).exists():
            shutil.copy(mounted / name, work)
    try:
        with contextlib.closing(sqlite3.connect(work / "relay.db")) as db:
            [(health,)] = db.execute("pragma integrity_check(1)").fetchall()
            return health, {public_id for (public_id,) in db.execute("select public_id from messages")}
    except sqlite3.DatabaseError as exc:
        return str(exc), set()


def power_cuts(folder: Path, rounds: int) -> None:
    """Cut after cut on one installation, which each time goes on with what is left of it."""
    disk = Disk(folder / "disk", folder / "mounted")
    seeded = random.Random(2)
    acknowledged: dict[str, str] = {}
    open_at_cuts = 0
    with processes.sandbox("--rate", "100000") as sandbox:
        for round_ in range(rounds + 1):
            with disk.mounted() as mounted, processes.relay(mounted, sandbox.url) as relay:
                if round_:
                    health, found = left(mounted, folder)
                    assert health == "ok"
                    assert acknowledged.keys() - found == set()
                    open_at_cuts += at_rest(mounted, "select count(*) from deliveries where state = 'sending'")[0][0]
                relay.start()
                if round_ < rounds:
                    cut_under_load(relay, disk, Clients(relay, acknowledged), round_, seeded.uniform(0.3, 0.9))
                else:
                    wait_until(lambda: counted_duplicates(mounted)[0] == 0, "an empty queue", 60)
                    arrived, reported = arrivals(sandbox), counted_duplicates(mounted)[1]
                    assert relay.stop() == 0
            if round_ < rounds:
                disk.restore()
    lost = set(acknowledged.values()) - arrived.keys()
    duplicates = arrived.total() - len(arrived)
    print(
        f"\npower cuts {rounds}  acknowledged {len(acknowledged)}  arrived {len(arrived)}  lost {len(lost)}  "
        f"duplicates {duplicates}  reported {reported}  open at cuts {open_at_cuts}"
    )
    assert len(acknowledged) > 5 * rounds
    assert lost == set()
    assert duplicates <= reported <= open_at_cuts


def test_nothing_acknowledged_is_lost_in_3_power_cuts(tmp_path: Path) -> None:
    power_cuts(tmp_path, 3)


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_in_50_power_cuts(tmp_path: Path) -> None:
    power_cuts(tmp_path, 50)


def test_a_server_that_does_not_wait_for_the_disk_is_caught(tmp_path: Path) -> None:
    """The harness itself: with `synchronous = OFF` it finds losses."""
    disk = Disk(tmp_path / "disk", tmp_path / "mounted")
    clients_said: dict[str, str] = {}
    with processes.sandbox("--rate", "100000") as sandbox:
        with disk.mounted() as mounted, processes.relay(mounted, sandbox.url) as relay:
            relay.limits = UNSYNCED
            relay.start()
            subprocess.run(["sync", "-f", str(mounted)], check=True)  # all but what comes now
            cut_under_load(relay, disk, Clients(relay, clients_said), 0, 1.0)
        disk.restore()
        with disk.mounted() as mounted:
            health, found = left(mounted, tmp_path)
    lost = clients_said.keys() - found
    print(f"\nwithout waiting for the disk: acknowledged {len(clients_said)}  lost {len(lost)}  database: {health}")
    assert lost
