"""`python -m bench.suppressions`: the rate of accepting with a long suppression list, beside an empty one.

Each round starts both servers, each fresh and alone, with sending paced to a trickle: accepting is nearly all they do.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from bench.__main__ import say
from bench.peers import relay
from bench.peers.target import Peer, Target
from bench.processes import output, python
from bench.rounds import BENCH, Fault, Found, Measurement, Plan, measured

EMPTY, LONG = "empty list", "long list"
WANTED = 0.9  # of the rate with an empty list


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.suppressions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="medians are over so many (default: 5)")
    parser.add_argument("--messages", type=int, default=1500, help="in each measured load (default: 1500)")
    parser.add_argument("--sessions", type=int, default=20, help="connections at once (default: 20)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the long list (default: 1,000,000)")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where servers keep files; a real disk")
    return parser.parse_args()


def write_list(file: Path, rows: int) -> None:
    """As a real one: in no order, of a thousand domains."""
    numbers = random.Random(rows)
    with file.open("w", encoding="ascii") as out:
        out.write("address,reason\n")
        out.writelines(
            f"user.{numbers.getrandbits(40):x}.{number:x}@example-{number % 997}.com,bounce\n" for number in range(rows)
        )


def build(place: Path, rows: int) -> Path:
    """A database with a list of so many, as `relay suppression import` makes it."""
    place.mkdir()
    config, file = place / "config.yaml", place / "list.csv"
    config.write_text("database: relay.db\nhttp: {address: '127.0.0.1:0'}\n")
    write_list(file, rows)
    output(python("relay", "suppression", "import", file, "--config", config))
    return place


@contextlib.contextmanager
def on_a_copy(folder: Path, *, of: Path) -> Iterator[Target]:
    """A relay on a database that was built before."""
    for name in ("relay.db", "master.key"):
        shutil.copy(of / name, folder)
    with relay.running(folder, rate=relay.TRICKLE, is_measured_to_ses=False) as target:
        yield target


def lines(found: list[Found]) -> Iterator[str]:
    """For each pattern the medians, and the median of the ratios within each round."""
    rates: dict[str, dict[int, dict[str, Measurement]]] = defaultdict(lambda: defaultdict(dict))
    for each in found:
        if isinstance(each, Measurement) and each.generator == BENCH:
            rates[each.pattern][each.round][each.peer] = each
    yield f"{'':<20}{'empty':>10}{'long':>10}{'ratio':>8}{'p99 empty':>12}{'p99 long':>12}"
    for pattern, rounds in rates.items():
        pairs = [(each[EMPTY], each[LONG]) for each in rounds.values() if len(each) == 2]
        if not pairs:
            continue
        ratio = median(long.accept / empty.accept for empty, long in pairs)
        empty_rate, long_rate = (median(pair[side].accept for pair in pairs) for side in (0, 1))
        waits = [median((pair[side].p99 or 0) * 1000 for pair in pairs) for side in (0, 1)]
        verdict = "holds" if ratio >= WANTED else "MISSED"
        yield (
            f"{pattern:<20}{empty_rate:>8.0f}/s{long_rate:>8.0f}/s{ratio:>8.2f}"
            f"{waits[0]:>9.1f} ms{waits[1]:>9.1f} ms  {verdict}"
        )


def main() -> int:
    given = arguments()
    folder = Path(tempfile.mkdtemp(prefix="relay-bench-", dir=given.folder))
    try:
        say(f"importing {given.rows:,} rows")
        peers = (
            Peer(EMPTY, partial(on_a_copy, of=build(folder / "empty", 0))),
            Peer(LONG, partial(on_a_copy, of=build(folder / "long", given.rows))),
        )
        plan = Plan(given.rounds, given.messages, 200, given.sessions, with_smtp_source=False)
        with contextlib.closing(measured(plan, peers, folder, say)) as measuring:
            found = list(measuring)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines(found)))
    faults = [each for each in found if isinstance(each, Fault)]
    for each in faults:
        say(f"round {each.round}, {each.peer}: {each.reason}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
