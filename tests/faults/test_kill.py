"""Killed again and again while clients send: everything acknowledged reaches SES, and duplicates are counted."""

from __future__ import annotations

import random
import smtplib
import sqlite3
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import processes
from tests.processes import Relay, Sandbox, wait_until

CLIENTS = 8
BODY = "x" * 2000


@dataclass
class Accounts:
    """What the clients were told."""

    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def client(relay: Relay, number: int, accounts: Accounts, stopping: threading.Event) -> None:
    """Send without pause; note only what got its 250."""
    sequence = 0
    domain = "byoc.example" if number % 2 else "shared.example"
    while not stopping.is_set():
        try:
            with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=10) as smtp:
                while not stopping.is_set():
                    sequence += 1
                    name = f"{number}-{sequence}"
                    text = f"From: me@{domain}\r\nTo: you@dest.example\r\nSubject: {name}\r\n\r\n{BODY}\r\n"
                    smtp.sendmail(f"me@{domain}", ["you@dest.example"], text)
                    with accounts.lock:
                        accounts.acknowledged.add(name)
        except (smtplib.SMTPException, OSError):
            with accounts.lock:
                accounts.refused += 1
            time.sleep(0.01)


def arrivals(sandbox: Sandbox) -> Counter[str]:
    def subject(raw: bytes) -> str:
        return raw.partition(b"\r\nSubject: ")[2].partition(b"\r\n")[0].decode()

    return Counter(subject(message["raw"]) for message in sandbox.messages())


def counted_duplicates(folder: Path) -> tuple[int, int]:
    """Deliveries still open, and possible duplicates as the relay counts them."""
    with sqlite3.connect(f"file:{folder}/relay.db?mode=ro", uri=True) as db:
        (open_,) = db.execute("select count(*) from deliveries where finished_at is null").fetchone()
        (possible,) = db.execute("select coalesce(sum(possible_duplicates), 0) from deliveries").fetchone()
    db.close()
    return open_, possible


def kill_loop(folder: Path, kills: int) -> None:
    # A rate no test reaches: the pace is not what is tested here.
    with (
        processes.sandbox("--rate", "100000") as sandbox,
        processes.relay(folder, sandbox.url) as relay,
    ):
        relay.start()
        accounts, stopping = Accounts(), threading.Event()
        clients = [
            threading.Thread(target=client, args=(relay, number, accounts, stopping)) for number in range(CLIENTS)
        ]
        for thread in clients:
            thread.start()
        seeded = random.Random(1)
        try:
            for _ in range(kills):
                time.sleep(seeded.uniform(0.4, 0.8))
                relay.kill()
                relay.start()
        finally:
            stopping.set()
            for thread in clients:
                thread.join()
        wait_until(lambda: counted_duplicates(folder)[0] == 0, "an empty queue", 120)
        found = arrivals(sandbox)
        _, possible = counted_duplicates(folder)
        lost = accounts.acknowledged - found.keys()
        duplicates = sum(count - 1 for count in found.values())
        print(
            f"\nkills {kills}  acknowledged {len(accounts.acknowledged)}  arrived {len(found)}  lost {len(lost)}  "
            f"duplicates {duplicates}  reported as possible {possible}  stored but not acknowledged "
            f"{len(found.keys() - accounts.acknowledged)}"
        )
        assert relay.stop() == 0
    assert len(accounts.acknowledged) > 10 * kills
    assert lost == set()
    assert duplicates <= possible


def test_nothing_acknowledged_is_lost_in_20_kills(tmp_path: Path) -> None:
    kill_loop(tmp_path, 20)


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_in_200_kills(tmp_path: Path) -> None:
    kill_loop(tmp_path, 200)
