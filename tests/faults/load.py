"""Clients that send without pause and note what was acknowledged, and what arrived of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import smtplib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import Relay, Sandbox

CLIENTS = 8
BODY = "x" * 2000


@dataclass
class Accounts:
    """What the clients were told."""

    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def domain_of(number: int) -> str:
    return "byoc.example" if number % 2 else "shared.example"


def client(relay: Relay, number: int, accounts: Accounts, stopping: threading.Event) -> None:
    """Send without pause; note only what got its 250."""
    sequence = 0
    domain = domain_of(number)
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


def http_client(relay: Relay, number: int, key: str, accounts: Accounts, stopping: threading.Event) -> None:
    """The same over HTTP; note only what got its 202."""
    sequence = 0
    fields = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    letter = {"from": f"me@{domain_of(number // 2)}", "to": ["you@dest.example"], "text": BODY}
    while not stopping.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", relay.http, timeout=10)
        try:
            while not stopping.is_set():
                sequence += 1
                name = f"http-{number}-{sequence}"
                connection.request("POST", "/api/v1/emails", json.dumps(letter | {"subject": name}), fields)
                answer = connection.getresponse()
                answer.read()
                with accounts.lock:
                    if answer.status == 202:
                        accounts.acknowledged.add(name)
                    else:
                        accounts.refused += 1
        except (http.client.HTTPException, OSError):
            with accounts.lock:
                accounts.refused += 1
            time.sleep(0.01)
        finally:
            connection.close()


@contextlib.contextmanager
def sending(relay: Relay, key: str = "") -> Iterator[Accounts]:
    """Eight clients send for as long as the block lasts; with a key, half of them over HTTP."""
    accounts, stopping = Accounts(), threading.Event()
    clients = [
        threading.Thread(target=http_client, args=(relay, number, key, accounts, stopping))
        if key and number % 4 > 1
        else threading.Thread(target=client, args=(relay, number, accounts, stopping))
        for number in range(CLIENTS)
    ]
    for thread in clients:
        thread.start()
    try:
        yield accounts
    finally:
        stopping.set()
        for thread in clients:
            thread.join()


def subject(raw: bytes) -> str:
    return (b"\r\n" + raw).partition(b"\r\nSubject: ")[2].partition(b"\r\n")[0].decode()


def arrivals(sandbox: Sandbox) -> Counter[str]:
    return Counter(subject(message["raw"]) for message in sandbox.messages())


def at_rest(folder: Path, question: str) -> list[tuple[Any, ...]]:
    """Ask the database, whether a server has it or not, without writing to it."""
    with contextlib.closing(sqlite3.connect(f"file:{folder}/relay.db?mode=ro", uri=True)) as db:
        return db.execute(question).fetchall()


def counted_duplicates(folder: Path) -> tuple[int, int]:
    """Deliveries still open, and possible duplicates as the relay counts them."""
    [found] = at_rest(
        folder, "select count(*) - count(finished_at), coalesce(sum(possible_duplicates), 0) from deliveries"
    )
    return found[0], found[1]
