"""`python -m bench.backlog`: what a long queue costs: taking work, memory, and the time from a start to the first send.

Each queue is built in a database of its own: real messages in front, and behind them copies that are never reached.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import smtplib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from bench import letter
from bench.__main__ import say
from bench.peers.relay import TRICKLE
from bench.peers.stand_in import StandIn
from bench.processes import BenchError, free_port, listens, python, started, wait_for
from relay.config import load
from relay.core import Core, built
from relay.dispatch.turns import Room, Turns
from relay.store import listing
from relay.store.clock import now_ms
from relay.store.queue import Order, take
from relay.store.writer import Rank

REAL = 1000  # messages that can be sent
TAKES, AT_ONCE = 30, 20  # takes that are measured, and deliveries in each
RATE = 20.0  # recipients a second, after a restart
WATCHED = 10.0  # seconds
WANTED_COST, WANTED_START = 1.2, 5.0  # of the cost with the short queue; seconds

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
    feedback: {{via: none}}
domains:
{domains}
mx: {{policy: off}}
dns: {{nameservers: []}}
"""


@dataclass(frozen=True)
class Found:
    """`take`: seconds for one that starts AT_ONCE deliveries. `start`: seconds to the first call at SES, and how many
    octets of memory the process then has, and `WATCHED` seconds later."""

    rows: int
    domains: int
    take: float
    start: float
    memory: tuple[int, int]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.backlog", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the long queue (default: 1,000,000)")
    parser.add_argument("--domains", type=int, default=1000, help="where there are many (default: 1,000)")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where files are kept; a real disk")
    return parser.parse_args()


def names(domains: int) -> list[str]:
    return [f"d{number}.example" for number in range(domains)]


@contextlib.contextmanager
def serving(folder: Path, domains: int, rate: float) -> Iterator[tuple[int, StandIn, psutil.Process]]:
    """A relay and what stands in for SES: the port of the one, the count of the other, and the relay's process."""
    smtp, ses = free_port(), free_port()
    listed = "\n".join(f"  {name}: {{mode: shared, account: main}}" for name in names(domains))
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(smtp=smtp, ses=ses, rate=rate, domains=listed))
    with started(python("bench.ses_stand_in", "--port", ses, "--rate", rate), folder / "ses.log") as stand_in:
        wait_for("the SES stand-in listens", lambda: listens(ses), 30, stand_in)
        with started(python("relay", "serve", "--config", config), folder / "relay.log") as relay:
            yield smtp, StandIn(ses), psutil.Process(relay.pid)


def accept(folder: Path, domains: int) -> None:
    """Real messages, of all domains in turn."""
    with serving(folder, domains, TRICKLE) as (port, _, _):
        wait_for("relay listens", lambda: listens(port), 60)
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            for number in range(REAL):
                sender = f"app@{names(domains)[number % domains]}"
                text = letter.smtp(number).replace(letter.SENDER.encode(), sender.encode())
                smtp.sendmail(sender, [letter.RECIPIENT], text)


def copy(folder: Path, rows: int, domains: int) -> None:
    """Behind them, so many in all. Their content is a stub: a look at it would fail, and none is sent."""
    changed = {
        "messages": {"id": "{id}", "public_id": "printf('%024x', {id})", "domain": "{domain}"},
        "contents": {"message_id": "{id}", "sealed": "substr(t.sealed, 1, 200)"},
        "deliveries": {"id": "{id}", "message_id": "{id}", "domain": "{domain}", "due_at": str(now_ms())},
        "recipients": {"id": "{id}", "delivery_id": "{id}"},
    }
    with contextlib.closing(sqlite3.connect(folder / "relay.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        whole = " UNION ALL ".join(f"SELECT max(id) AS id FROM {name}" for name in changed if name != "contents")
        (last,) = db.execute(f"SELECT max(id) + 1 FROM ({whole})").fetchone()
        words = {"id": f"({last} + i)", "domain": f"('d' || (i % {domains}) || '.example')"}
        which = "t.state = 'queued'"
        for name, new in changed.items():
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
            values = [new[each].format(**words) if each in new else f"t.{each}" for each in columns]
            where = f"WHERE {which}" if name == "deliveries" else ""
            db.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows - REAL - 1}) "
                f"INSERT INTO {name} ({', '.join(columns)}) SELECT {', '.join(values)} "
                f"FROM n, (SELECT * FROM {name} t {where} ORDER BY rowid DESC LIMIT 1) t"
            )
        db.execute("PRAGMA journal_mode = WAL")


def restart(folder: Path, domains: int) -> tuple[float, tuple[int, int]]:
    """Seconds from a start to the first call at SES, and the memory of the process then and a while later."""
    began = time.monotonic()
    with serving(folder, domains, RATE) as (_, stand_in, process):
        wait_for("the first mail is at SES", lambda: stand_in.count() > 0, 120)
        first = time.monotonic() - began
        memory = process.memory_info().rss
        time.sleep(WATCHED)
        return first, (memory, process.memory_info().rss)


class Taking:
    """Takes from one queue, by the turns that a lane makes of what waits; `seconds` is what each take took."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._turns = Turns()
        self.seconds: list[float] = []

    async def look(self) -> None:
        self._turns.assign({name: domain.id for name, domain in self._core.senders.snapshot.domains.items()})
        self._turns.advance(now_ms())
        for queue, due_at in (await self._core.store.read(listing.waiting)).items():
            self._turns.note(queue, due_at, 0)

    async def take(self) -> None:
        began = time.perf_counter()
        shares = self._turns.plan(now_ms(), Room(AT_ONCE, float(AT_ONCE)))
        queues, most = tuple(share.queue for share in shares), tuple(share.deliveries for share in shares)
        taken = await self._core.store.write(take, Order("main", queues, AT_ONCE, AT_ONCE, most), Rank.SETTLE)
        if len(taken.started) != AT_ONCE:
            raise BenchError(f"{len(taken.started)} deliveries were taken, not {AT_ONCE}")
        for share in shares:
            self._turns.took(share, share.deliveries, share.deliveries, now_ms(), is_drained=False)
        self.seconds.append(time.perf_counter() - began)


async def takes(short: Path, long: Path) -> tuple[float, float]:
    """The median times of a take from each of two queues, in turns: what else the machine does, it does to both."""
    async with built(load(short / "config.yaml")) as one, built(load(long / "config.yaml")) as other:
        both = Taking(one), Taking(other)
        for each in both:
            await each.look()
        for _ in range(TAKES):
            for each in both:
                await each.take()
        return median(both[0].seconds), median(both[1].seconds)


def prepare(folder: Path, rows: int, domains: int) -> Path:
    say(f"{rows:,} rows of {domains:,} domains")
    folder.mkdir()
    accept(folder, domains)
    if rows > REAL:
        copy(folder, rows, domains)
    return folder


def measure(folder: Path, rows: int, domains: int) -> list[Found]:
    """A short queue and a long one."""
    short = prepare(folder / f"short-{domains}", REAL, domains)
    long = prepare(folder / f"long-{domains}", rows, domains)
    starts = [restart(each, domains) for each in (short, long)]
    costs = asyncio.run(takes(short, long))
    for each in (short, long):
        shutil.rmtree(each)
    return [
        Found(count, domains, cost, start, memory)
        for count, cost, (start, memory) in zip((REAL, rows), costs, starts, strict=True)
    ]


def lines(found: list[Found]) -> Iterator[str]:
    yield f"{'rows':>10}{'domains':>9}{'a take':>11}{'start to first send':>21}{'memory, and later':>20}"
    for each in found:
        before, after = (octets >> 20 for octets in each.memory)
        took = f"{each.take * 1000:>8.2f} ms{each.start:>19.2f} s"
        yield f"{each.rows:>10,}{each.domains:>9,}{took}{before:>12} {after:>4} MB"
    for short, long in zip(found[::2], found[1::2], strict=True):
        cost = long.take / short.take
        verdict = "holds" if cost <= WANTED_COST and long.start <= WANTED_START else "MISSED"
        more = (long.memory[1] - short.memory[1]) >> 20
        yield f"{long.domains:,} domains: cost x {cost:.2f}, {more:+} MB, {long.start:.2f} s  {verdict}"


def main() -> int:
    given = arguments()
    folder = Path(tempfile.mkdtemp(prefix="relay-backlog-", dir=given.folder))
    try:
        found = [each for domains in (1, given.domains) for each in measure(folder, given.rows, domains)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
