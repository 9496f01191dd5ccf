"""`python -m bench`: runs the measurement, prints the report and keeps it."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from bench import line_up, machine
from bench.peers.target import Peer
from bench.report import Report
from bench.rounds import Found, Plan, measured

RESULTS = Path(__file__).parent / "results"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Relay beside its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over so many (default: 5)")
    parser.add_argument("--messages", type=int, default=3000, help="in each measured load (default: 3000)")
    parser.add_argument("--sessions", type=int, default=20, help="connections at once (default: 20)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="servers whose name has this in it")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: one round of few messages; no figures to quote"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the result goes (default: bench/results/)")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where servers keep files; a real disk")
    return parser.parse_args()


def plan_of(given: argparse.Namespace) -> Plan:
    has_smtp_source = shutil.which("smtp-source") is not None
    if given.quick:
        return Plan(rounds=1, messages=100, warm_up=20, sessions=given.sessions, with_smtp_source=False)
    return Plan(given.rounds, given.messages, 200, given.sessions, has_smtp_source)


def named(only: list[str]) -> list[Peer]:
    return [peer for peer in line_up.PEERS if not only or any(name in peer.name for name in only)]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    given = arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="relay-bench-", dir=given.folder))
    folder.chmod(0o755)  # Postfix works as a user of its own
    found: list[Found] = []
    chosen = named(given.only)
    skipped = {peer.name: peer.missing() for peer in chosen if peer.missing()}
    possible = [peer for peer in chosen if peer.name not in skipped]
    before = machine.look(folder)
    try:
        # Closed here and now, whatever stops us: that is what ends the servers.
        with contextlib.closing(measured(plan_of(given), possible, folder, say)) as measuring:
            for each in measuring:
                found.append(each)
    except KeyboardInterrupt:
        say("interrupted: what was measured so far follows")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = Report(before, found, skipped)
    print("\n".join(report.lines()))
    file: Path = given.json or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report.as_json(), indent=1) + "\n", "utf-8")
    say(f"kept in {file}")
    return 1 if report.faults else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
