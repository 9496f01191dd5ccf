"""`python -m bench.large`: how long others wait while large messages are taken and sent, and what memory that needs.

Two clients send 25 MB messages one after the other, each of which goes on to the SES stand-in at once. Meanwhile a
third says NOOP every 2 ms and measures how long its answer takes. Everything is a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from bench import letter
from bench.__main__ import say
from bench.peers import relay
from bench.peers.target import Target
from bench.processes import RUN_WITHIN, BenchError, output, python

MB = 1 << 20
WANTED = 0.050  # seconds, the 99th percentile of a NOOP (design: what it must hold)
PAUSE = 0.002  # seconds between two NOOPs
NOOPS = 90  # on a connection: whoever says nothing else is let go
QUIET = 3.0  # seconds of NOOPs with nothing else going on
_TEXT = b"The quick brown fox jumps over the lazy dog, and so on to the end of the line. "
KINDS = {
    "lines of 80 octets": _TEXT[:-2] + b"\r\n",  # as nearly all mail is: nothing has to be changed
    "bare LF": _TEXT[:-1] + b"\n",
    "lines of 2,000 octets": _TEXT * 25 + b"\r\n",  # re-encoded
    "one line": _TEXT,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--size", type=int, default=25, help="of a message, in MB (default: 25)")
    parser.add_argument("--messages", type=int, default=6, help="each client sends so many (default: 6)")
    parser.add_argument("--clients", type=int, default=2, help="that send at once (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go, too")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where servers keep files; a real disk")
    parser.add_argument("--upload", nargs=2, metavar=("PORT", "KIND"), help=argparse.SUPPRESS)
    return parser.parse_args()


# -- clients ---------------------------------------------------------------------------------------------------------


class Client:
    """An SMTP connection after EHLO."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), RUN_WITHIN)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")
        self._reply()
        self.say(b"EHLO bench.example\r\n")

    def say(self, octets: bytes) -> None:
        self._socket.sendall(octets)
        reply = self._reply()
        if reply[:1] not in (b"2", b"3"):
            raise BenchError(f"{octets[:40]!r} was answered {reply!r}")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _reply(self) -> bytes:
        while (line := self._lines.readline())[3:4] == b"-":
            pass
        return line


def upload(port: int, kind: str, size: int, messages: int) -> None:
    """One client's whole load; prints how long each message took, in seconds."""
    line = KINDS[kind]
    body = letter.smtp(0, 1000) + line * (size * MB // len(line))
    client = Client(port)
    took = []
    for _ in range(messages):
        start = time.monotonic()
        client.say(f"MAIL FROM:<{letter.SENDER}>\r\n".encode())
        client.say(f"RCPT TO:<{letter.RECIPIENT}>\r\n".encode())
        client.say(b"DATA\r\n")
        client.say(body + b"\r\n.\r\n")
        took.append(time.monotonic() - start)
    print(json.dumps(took))


@dataclass
class Prober:
    """Says NOOP until stopped."""

    port: int
    waits: list[float] = field(default_factory=list)  # seconds

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            with contextlib.closing(Client(self.port)) as client:
                for _ in range(NOOPS):
                    start = time.monotonic()
                    client.say(b"NOOP\r\n")
                    self.waits.append(time.monotonic() - start)
                    time.sleep(PAUSE)


@contextlib.contextmanager
def probing(port: int) -> Iterator[Prober]:
    prober, stop = Prober(port), threading.Event()
    thread = threading.Thread(target=prober.run, args=(stop,))
    thread.start()
    try:
        yield prober
    finally:
        stop.set()
        thread.join()


# -- the measurement -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    kind: str
    quiet: list[float] = field(repr=False)
    busy: list[float] = field(repr=False)
    upload: float  # seconds in the median
    all_sent: float  # seconds from the first octet to the last message at SES
    memory: tuple[int, int, int]  # MB resident: before, at most, 5 s after

    def line(self) -> str:
        verdict = "holds" if percentile(self.busy) < WANTED else "MISSED"
        return (
            f"{self.kind:<24}{ms(percentile(self.quiet))}{ms(median(self.busy))}{ms(percentile(self.busy))}"
            f"{ms(max(self.busy))}{self.upload:>9.2f} s{self.all_sent:>9.1f} s"
            f"{self.memory[0]:>7}{self.memory[1]:>6}{self.memory[2]:>6} MB  {verdict}"
        )


HEADING = (
    f"{'':<24}{'p99 quiet':>11}{'p50':>11}{'p99':>11}{'max':>11}{'250 after':>11}{'all sent':>11}"
    "   memory before/top/after"
)


def percentile(waits: list[float]) -> float:
    return quantiles(waits, n=100)[98]


def ms(seconds: float) -> str:
    return f"{seconds * 1000:>8.1f} ms"


def memory(pid: int | None, what: str) -> int:
    """VmRSS or VmHWM, in MB."""
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(text.partition(f"{what}:")[2].split()[0]) >> 10


def measure(kind: str, given: argparse.Namespace, target: Target) -> Figures:
    assert target.smtp_port is not None
    assert target.far_end is not None
    before = memory(target.pid, "VmRSS")
    with probing(target.smtp_port) as prober:
        time.sleep(QUIET)
        quiet = list(prober.waits)
        prober.waits.clear()
        start = time.monotonic()
        common = ("--size", given.size, "--messages", given.messages, "--upload", target.smtp_port, kind)
        took: list[float] = []
        uploads = [
            threading.Thread(target=lambda: took.extend(json.loads(output(python("bench.large", *common)))))
            for _ in range(given.clients)
        ]
        for each in uploads:
            each.start()
        for each in uploads:
            each.join()
        done_at = target.far_end.reached(given.clients * given.messages, RUN_WITHIN)
        busy = list(prober.waits)
    time.sleep(5)
    after = (before, memory(target.pid, "VmHWM"), memory(target.pid, "VmRSS"))
    return Figures(kind, quiet, busy, median(took), done_at - start, after)


def main() -> int:
    given = arguments()
    if given.upload:
        upload(int(given.upload[0]), given.upload[1], given.size, given.messages)
        return 0
    found: list[Figures] = []
    print(HEADING)
    for kind in KINDS:
        folder = Path(tempfile.mkdtemp(prefix="relay-bench-", dir=given.folder))
        try:
            with relay.running(folder) as target:
                found.append(measure(kind, given, target))
            print(found[-1].line(), flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        figures = {
            each.kind: {
                "p99_ms": percentile(each.busy) * 1000,
                "max_ms": max(each.busy) * 1000,
                "memory_mb": each.memory,
            }
            for each in found
        }
        given.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        say(f"kept in {given.json}")
    return 0 if all(percentile(each.busy) < WANTED for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
