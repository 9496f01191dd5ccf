"""Clients that send without pause and note what was acknowledged, and what arrived of it."""

from __future__ import annotations

import contextlib
import smtplib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import Relay, Sandbox

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


@contextlib.contextmanager
def sending(relay: Relay) -> Iterator[Accounts]:
    """Eight clients send for as long as the block lasts."""
    accounts, stopping = Accounts(), threading.Event()
    clients = [threading.Thread(target=client, args=(relay, number, accounts, stopping)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    try:
        yield accounts
    finally:
        stopping.set()
        for thread in clients:
            thread.join()


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
