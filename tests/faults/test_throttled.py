"""Accounts that SES keeps slow, in real time: their pace, nobody else's, and who goes first. Long, so part of the soak.

Prints a line for each, for the table in docs/reliability.md.
"""

from __future__ import annotations

import smtplib
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from tests import processes
from tests.processes import Relay, Sandbox

pytestmark = pytest.mark.soak

PACED = 0.9  # of what the account may send
BESIDE = 4000  # messages that a healthy account is given, alone and meanwhile
CLIENTS = 8  # who bring them


def send(relay: Relay, domain: str, people: Sequence[str], name: str, header: str = "") -> None:
    with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=60) as smtp:
        text = f"From: me@{domain}\r\n{header}Subject: {name}\r\n\r\nx\r\n"
        smtp.sendmail(f"me@{domain}", list(people), text)


def fill(relay: Relay, domain: str, count: int) -> None:
    with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=60) as smtp:
        for number in range(count):
            text = f"From: me@{domain}\r\nSubject: {number}\r\n\r\nx\r\n"
            smtp.sendmail(f"me@{domain}", [f"p{number}@dest.example"], text)


def fill_at_once(relay: Relay, domain: str, count: int) -> None:
    """By several clients: one alone would wait for every commit of the other lane, too."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        for filling in [clients.submit(fill, relay, domain, count // CLIENTS) for _ in range(CLIENTS)]:
            filling.result()


def arrivals(sandbox: Sandbox, account: str) -> list[float]:
    """When SES took each message of an account, in seconds since 1970."""
    return [
        datetime.fromisoformat(message["received_at"]).timestamp()
        for message in sandbox.messages()
        if message["account"] == account
    ]


def throttles(relay: Relay, account: str) -> int:
    words = [line.split() for line in relay.log.read_text().splitlines() if "lane.throttled" in line]
    return sum(f"account={account}" in each for each in words)


def attempts(relay: Relay, domain: str) -> tuple[int, int, int]:
    """Deliveries of a domain that were sent, their attempts, and their failures."""
    with sqlite3.connect(f"file:{relay.folder}/relay.db?mode=ro", uri=True) as db:
        row = db.execute(
            "select count(*), coalesce(sum(attempts), 0), coalesce(sum(failures), 0) from deliveries "
            "where domain = ? and state = 'sent'",
            (domain,),
        ).fetchone()
    db.close()
    return row[0], row[1], row[2]


def test_2000_messages_at_14_a_second_and_another_lane_at_its_full_speed(tmp_path: Path) -> None:
    count, rate, fast = 2000, 14.0, 1000.0
    accounts = ("--account", "operator=shared.example", "--account", "customer=byoc.example")
    with (
        processes.sandbox(*accounts, "--rate", str(fast)) as sandbox,
        processes.relay(tmp_path, sandbox.url) as relay,
    ):
        sandbox.fault(account="operator", set={"rate": rate})
        relay.start()
        speeds: list[float] = []

        def neighbour() -> None:
            """From the first message that is sent to the last that SES has."""
            before = attempts(relay, "byoc.example")[0]
            began = time.monotonic()
            fill_at_once(relay, "byoc.example", BESIDE)
            whole = before + BESIDE
            processes.wait_until(lambda: attempts(relay, "byoc.example")[0] == whole, "the neighbour's mail", 120)
            speeds.append(BESIDE / (time.monotonic() - began))

        neighbour()
        fill(relay, "shared.example", count)
        assert attempts(relay, "shared.example")[0] < count / 2  # most of it waits while the neighbour sends
        neighbour()
        processes.wait_until(lambda: attempts(relay, "shared.example")[0] == count, "the slow account's mail", 400)
        alone, meanwhile = speeds
        at = sorted(arrivals(sandbox, "operator"))
        drained = len(at) / (at[-1] - at[0])
        _, tried, failures = attempts(relay, "shared.example")
        refused = throttles(relay, "operator")
        print(
            f"\n14/s  sent {len(at)}  {drained:.2f}/s, {drained / (PACED * rate):.1%} of the paced rate  attempts {tried}"
            f"  failures {failures}  throttles {refused}  neighbour alone {alone:.0f}/s, meanwhile {meanwhile:.0f}/s"
        )
        assert relay.stop() == 0
    assert len(at) == count
    assert drained >= 0.95 * PACED * rate
    assert (tried, failures) == (count, 0)
    assert refused < 0.01 * count
    assert meanwhile > 0.8 * alone


def test_a_password_reset_behind_50_000_newsletters_leaves_at_once(tmp_path: Path) -> None:
    with processes.sandbox("--rate", "14") as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        relay.start()
        for start in range(0, 50_000, 1000):
            people = [f"p{number}@news.example" for number in range(start, start + 1000)]
            send(relay, "shared.example", people, "news", "List-Id: <news.shared.example>\r\n")
        waits: list[float] = []
        for number in range(10):
            time.sleep(1)
            to = f"reset{number}@dest.example"
            began = time.monotonic()
            send(relay, "shared.example", [to], "Your password")
            processes.wait_until(
                lambda to=to: [each for each in sandbox.messages() if to in each["recipients"]], to, 10
            )
            waits.append(time.monotonic() - began)
        print(f"\nbehind 50,000 newsletters  {len(waits)} password resets  longest {max(waits) * 1000:.0f} ms")
        assert relay.stop() == 0
    assert max(waits) < 2
