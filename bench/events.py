"""`python -m bench.events`: how many events of SES are heard a second, and what that costs who sends mail meanwhile.

Every event is new, of mail that is there, and comes by a queue: received, understood, written durably, deleted. What is
accepted is measured alone and while events are heard, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sqlite3
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import letter
from bench.__main__ import say
from bench.peers.stand_in import FAST, StandIn
from bench.processes import START_WITHIN, free_port, listens, output, python, started, wait_for
from bench.rounds import processor_time

WANTED_RATE, WANTED_ACCEPT = 2000.0, 0.8  # events a second; of what is accepted alone
PLENTY = 1_000_000  # events: more than are heard while mail is accepted

CONFIG = """\
database: relay.db
hostname: relay.bench.example
smtp: {{listeners: [{{address: "127.0.0.1:{smtp}", tls: none, trusted_networks: [127.0.0.0/8]}}]}}
ses_accounts:
  main:
    region: eu-west-1
    endpoint_url: http://127.0.0.1:{ses}
    credentials: {{access_key_id: bench, secret_access_key: bench}}
    rate: {rate}
    feedback: {{via: {via}, endpoint_url: "http://127.0.0.1:{sqs}"}}
domains:
  {domain}: {{mode: shared, account: main, configuration_set: relay}}
standing: {{enforce: "off"}}
mx: {{policy: off}}
dns: {{nameservers: []}}
"""


@dataclass(frozen=True)
class Round:
    """Events a second alone, and what one cost the process in seconds; messages accepted a second alone, and beside
    so many events a second."""

    alone: float
    work: float
    accepted: float
    beside: float
    events_beside: float


class Queue:
    """The stand-in for SQS, in its own process."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def fill(self, events: int) -> None:
        self._ask(f"/fill?events={events}")

    def seen(self) -> dict[str, float]:
        return self._ask("/seen")

    def _ask(self, path: str) -> dict[str, float]:
        with urllib.request.urlopen(self._url + path, timeout=5) as answer:
            found: dict[str, float] = json.load(answer)
        return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.events", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="in each measurement (default: 20,000)")
    parser.add_argument("--messages", type=int, default=5000, help="that events are about, and in each load")
    parser.add_argument("--rounds", type=int, default=3, help="medians are over so many (default: 3)")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where files are kept; a real disk")
    return parser.parse_args()


def write_config(folder: Path, *, smtp: int, ses: int, sqs: int, rate: float, via: str) -> Path:
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(smtp=smtp, ses=ses, sqs=sqs, rate=rate, via=via, domain=letter.DOMAIN))
    return config


@contextlib.contextmanager
def serving(folder: Path, *, rate: float, mail: Path | None = None) -> Iterator[tuple[int, StandIn, Queue, int]]:
    """A relay: its SMTP port, the count of SES, the queue, and its process."""
    smtp, ses, sqs = free_port(), free_port(), free_port()
    config = write_config(folder, smtp=smtp, ses=ses, sqs=sqs, rate=rate, via="sqs" if mail else "none")
    with contextlib.ExitStack() as stack:
        command = python("bench.ses_stand_in", "--port", ses, "--rate", rate)
        stand_in = stack.enter_context(started(command, folder / "ses.log"))
        wait_for("the SES stand-in listens", lambda: listens(ses), START_WITHIN, stand_in)
        if mail is not None:
            command = python("bench.sqs_stand_in", "--port", sqs, "--mail", mail)
            queue = stack.enter_context(started(command, folder / "sqs.log"))
            wait_for("the SQS stand-in listens", lambda: listens(sqs), START_WITHIN, queue)
        command = python("relay", "serve", "--config", config)
        relay = stack.enter_context(started(command, folder / "relay.log"))
        wait_for("relay listens", lambda: listens(smtp), START_WITHIN, relay)
        time.sleep(1)  # GetAccount is answered
        yield smtp, StandIn(ses), Queue(sqs), relay.pid


def send(folder: Path, messages: int) -> Path:
    """Real messages that SES took. Returns a file that says which."""
    with serving(folder, rate=FAST) as (port, ses, _, _):
        load(port, messages)
        ses.reached(messages, 120)
        time.sleep(1)  # the last settlements
    which = (
        "SELECT d.id, d.ses_message_id, r.address FROM deliveries d JOIN recipients r ON r.delivery_id = d.id "
        "WHERE d.state = 'sent' ORDER BY d.id"
    )
    with contextlib.closing(sqlite3.connect(folder / "relay.db")) as db:
        rows = db.execute(which).fetchall()
    file = folder / "mail.json"
    file.write_text(json.dumps(rows), "utf-8")
    return file


def load(port: int, messages: int) -> float:
    """Messages accepted a second, over reused connections."""
    command = python("bench.load", "--port", port, "--sessions", 20, "--reuse", "--messages", messages)
    result = json.loads(output(command))
    return float(messages / (result["finished_at"] - result["started_at"]))


def hear(queue: Queue, events: int, pid: int) -> tuple[float, float]:
    """Events a second, and the processor time of one."""
    worked = processor_time(pid)
    queue.fill(events)
    wait_for("the events are heard", lambda: queue.seen()["deleted"] >= events, 300)
    seen = queue.seen()
    return events / (seen["last_at"] - seen["first_at"]), (processor_time(pid) - worked) / events


def measure(folder: Path, events: int, messages: int, rounds: int) -> list[Round]:
    say(f"{messages:,} messages are sent")
    mail = send(folder, messages)
    found = []
    # Sending is at a trickle: what is measured is accepting, and hearing.
    with serving(folder, rate=0.1, mail=mail) as (port, _, queue, pid):
        load(port, 200)
        hear(queue, 2000, pid)
        for number in range(1, rounds + 1):
            say(f"round {number} of {rounds}")
            alone, work = hear(queue, events, pid)
            accepted = load(port, messages)
            queue.fill(PLENTY)
            began, before = time.monotonic(), queue.seen()["deleted"]
            beside = load(port, messages)
            heard = (queue.seen()["deleted"] - before) / (time.monotonic() - began)
            queue.fill(0)
            time.sleep(1)
            found.append(Round(alone, work, accepted, beside, heard))
    return found


def lines(found: list[Round]) -> Iterator[str]:
    yield f"{'events/s alone':>15}{'us of work':>12}{'accepted/s':>12}{'beside':>13}{'ratio':>8}{'events/s then':>15}"
    for each in found:
        ratio = each.beside / each.accepted
        yield (
            f"{each.alone:>15,.0f}{each.work * 1e6:>12,.0f}{each.accepted:>12,.0f}{each.beside:>13,.0f}{ratio:>8.2f}"
            f"{each.events_beside:>15,.0f}"
        )
    rate, ratio = median(each.alone for each in found), median(each.beside / each.accepted for each in found)
    yield f"{rate:,.0f} events a second (wanted: {WANTED_RATE:,.0f})  {'holds' if rate >= WANTED_RATE else 'MISSED'}"
    verdict = "holds" if ratio >= WANTED_ACCEPT else "MISSED"
    yield f"{ratio:.2f} of what is accepted alone (wanted: {WANTED_ACCEPT})  {verdict}"


def main() -> int:
    given = arguments()
    folder = Path(tempfile.mkdtemp(prefix="relay-events-", dir=given.folder))
    try:
        found = measure(folder, given.events, given.messages, given.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
