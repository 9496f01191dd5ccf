"""One measurement, and the order of all of them: round after round, each server fresh and alone."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import letter
from bench.peers.target import Peer, Target
from bench.processes import RUN_WITHIN, BenchError, output, python

ONE = "one a connection"
REUSED = "reused"
HTTP = "HTTP"
BATCHES = "HTTP, 50 a request"
BATCH = 50

BENCH = "bench"
SMTP_SOURCE = "smtp-source"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. `warm_up` messages go before each measured load and do not count."""

    rounds: int
    messages: int
    warm_up: int
    sessions: int
    with_smtp_source: bool


@dataclass(frozen=True, slots=True)
class Measurement:
    """One load on one server. Rates in messages a second, waits in seconds (dot to 250, or request to 202)."""

    round: int
    peer: str
    pattern: str
    generator: str
    accept: float
    end_to_end: float | None = None
    p50: float | None = None
    p99: float | None = None
    failures: int = 0
    memory: int | None = None  # octets resident afterwards
    work: float | None = None  # seconds of processor time a message cost the server, until it had settled


@dataclass(frozen=True, slots=True)
class Idle:
    """What a server keeps resident before its first load, in octets."""

    round: int
    peer: str
    memory: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A load that came to nothing."""

    round: int
    peer: str
    reason: str


Found = Measurement | Idle | Fault


def measured(
    plan: Plan, peers: Sequence[Peer], folder: Path, say: Callable[[str], None]
) -> Generator[Found, None, None]:
    """All rounds: A B C, A B C, and so on. A server that fails loses its figures of that round."""
    for number in range(1, plan.rounds + 1):
        for peer in peers:
            say(f"round {number} of {plan.rounds}: {peer.name}")
            place = Path(tempfile.mkdtemp(prefix="peer-", dir=folder))
            place.chmod(0o755)
            try:
                with peer.running(place) as target:
                    yield from _loads(plan, number, peer, target)
            except (BenchError, OSError) as exc:
                yield Fault(number, peer.name, str(exc))
            finally:
                shutil.rmtree(place, ignore_errors=True)


def _loads(plan: Plan, number: int, peer: Peer, target: Target) -> Iterator[Found]:
    if target.pid is not None:
        yield Idle(number, peer.name, resident(target.pid))
    if target.smtp_port is not None:
        for pattern in (ONE, REUSED):
            command = python("bench.load", "--port", target.smtp_port, "--sessions", plan.sessions)
            command += ["--reuse"] if pattern == REUSED else []
            yield _one(plan, number, peer, target, pattern, command)
            if peer.by_smtp_source and plan.with_smtp_source:
                yield _by_smtp_source(plan, number, peer, target, pattern)
    if target.http_port is not None:
        command = python("bench.http_load", "--port", target.http_port, "--sessions", plan.sessions)
        command += ["--key", target.key or "none"]
        yield _one(plan, number, peer, target, HTTP, command)
        if target.key:  # a server that takes batches, and not one that only answers
            yield _one(plan, number, peer, target, BATCHES, [*command, "--batch", str(BATCH)])


def _one(plan: Plan, number: int, peer: Peer, target: Target, pattern: str, command: list[str]) -> Measurement:
    before = target.far_end.count() if target.far_end else 0
    output([*command, "--messages", str(plan.warm_up)])
    if target.far_end:
        target.far_end.reached(before + plan.warm_up, RUN_WITHIN)
    target.settle()
    worked = processor_time(target.pid) if target.pid else 0.0
    result = json.loads(output([*command, "--messages", str(plan.messages)]))
    started: float = result["started_at"]
    end_to_end = None
    if target.far_end:
        arrived_at = target.far_end.reached(before + plan.warm_up + plan.messages, RUN_WITHIN)
        end_to_end = plan.messages / (arrived_at - started)
    target.settle()
    return Measurement(
        round=number,
        peer=peer.name,
        pattern=pattern,
        generator=BENCH,
        accept=plan.messages / (result["finished_at"] - started),
        end_to_end=end_to_end,
        p50=result["p50"],
        p99=result["p99"],
        failures=result["failures"],
        memory=resident(target.pid) if target.pid else None,
        work=(processor_time(target.pid) - worked) / plan.messages if target.pid else None,
    )


def _by_smtp_source(plan: Plan, number: int, peer: Peer, target: Target, pattern: str) -> Measurement:
    """Postfix's generator, written in C: it costs the machine less. Its time includes its start."""
    command = [shutil.which("smtp-source") or "", "-s", str(plan.sessions), "-m", str(plan.messages)]
    command += ["-l", str(letter.SIZE), "-f", letter.SENDER, "-t", letter.RECIPIENT]
    command += ["-d"] if pattern == REUSED else []
    before = target.far_end.count() if target.far_end else 0
    worked = processor_time(target.pid) if target.pid else 0.0
    started = time.monotonic()
    output([*command, f"127.0.0.1:{target.smtp_port}"])
    finished = time.monotonic()
    if target.far_end:
        target.far_end.reached(before + plan.messages, RUN_WITHIN)
    target.settle()
    return Measurement(
        round=number,
        peer=peer.name,
        pattern=pattern,
        generator=SMTP_SOURCE,
        accept=plan.messages / (finished - started),
        work=(processor_time(target.pid) - worked) / plan.messages if target.pid else None,
    )


def processor_time(pid: int) -> float:
    """Seconds that all threads of a process have worked: less noisy than any rate where others share the machine."""
    user, system = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")
