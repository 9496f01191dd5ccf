"""More than fits: it refuses, and says that it is temporary; it does not die, and small mail goes on."""

from __future__ import annotations

import json
import smtplib
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests import processes
from tests.faults import capped
from tests.faults.load import counted_duplicates
from tests.processes import Relay, wait_until

MB = 1 << 20
CAP = 400 * MB
UPLOADS = 200
SMALL = "From: me@byoc.example\r\nSubject: small\r\n\r\nhi\r\n"
PATIENCE = 120.0  # seconds


def small_mail(relay: Relay, stop: threading.Event, waits: list[float], refused: list[str]) -> None:
    """A client that connects, sends one small message and leaves, over and over."""
    while not stop.is_set():
        start = time.monotonic()
        try:
            with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=60) as smtp:
                smtp.sendmail("me@byoc.example", ["you@dest.example"], SMALL)
            waits.append(time.monotonic() - start)
        except (smtplib.SMTPException, OSError) as exc:
            refused.append(repr(exc))
        time.sleep(0.05)


def resident(relay: Relay, what: str) -> int:
    """VmRSS or VmHWM, in MB."""
    assert relay.process is not None
    return int(Path(f"/proc/{relay.process.pid}/status").read_text().partition(f"{what}:")[2].split()[0]) >> 10


@pytest.mark.soak
def test_two_hundred_large_uploads_at_once_under_a_memory_cap(tmp_path: Path) -> None:
    with (
        capped.memory(CAP) as group,
        processes.sandbox("--rate", "100000") as sandbox,
        processes.relay(tmp_path, sandbox.url) as relay,
    ):
        relay.config.write_text(relay.config.read_text().replace("127.0.0.1/32", "127.0.0.0/8"))
        relay.limits = group.prefix
        relay.start()
        process, before = relay.process, resident(relay, "VmRSS")
        waits: list[float] = []
        refused: list[str] = []
        stop = threading.Event()
        small = threading.Thread(target=small_mail, args=(relay, stop, waits, refused))
        small.start()
        started = time.monotonic()
        command = [sys.executable, "-m", "tests.faults.uploads", str(relay.smtp), str(UPLOADS)]
        uploads = subprocess.run(command, capture_output=True, check=True, timeout=2 * PATIENCE)
        answers = Counter(json.loads(uploads.stdout))
        took = time.monotonic() - started
        stop.set()
        small.join()
        wait_until(lambda: counted_duplicates(tmp_path)[0] == 0, "an empty queue", PATIENCE)
        top, after = resident(relay, "VmHWM"), resident(relay, "VmRSS")
        with sqlite3.connect(f"file:{tmp_path}/relay.db?mode=ro", uri=True) as db:
            sent = Counter(dict(db.execute("select size > 1000000, count(*) from messages group by 1")))
            states = Counter(dict(db.execute("select state, count(*) from deliveries group by 1")))
        db.close()
        print(
            f"\n{UPLOADS} x 25 MB in {took:.0f} s: {dict(answers)}; small mail: {len(waits)} sent, {len(refused)} refused, "
            f"p50 {median(waits) * 1000:.0f} ms, p99 {quantiles(waits, n=100)[98] * 1000:.0f} ms, "
            f"max {max(waits) * 1000:.0f} ms; MB resident {before} before, {top} at most, {after} after; "
            f"cgroup at most {group.peak >> 20} of {CAP >> 20}"
        )
        assert relay.process is process
        assert process is not None
        assert process.poll() is None
        assert group.kills() == 0
        assert set(answers) <= {"250 2.0.0", "421 4.3.2", "452 4.3.1", "451 4.3.2"}
        assert answers["250 2.0.0"] > 0
        assert sent == {1: answers["250 2.0.0"], 0: len(waits)}  # what was acknowledged, and nothing else
        assert states == {"sent": sent.total()}
        assert refused == []
        assert quantiles(waits, n=100)[98] < 1  # seconds
