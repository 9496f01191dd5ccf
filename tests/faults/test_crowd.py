"""Crowds that keep connections and bring nothing: who behaves is served all the while. Long, so it is part of the soak.

Each prints a line for the table in docs/reliability.md.
"""

from __future__ import annotations

import resource
import smtplib
import time
import urllib.request
from pathlib import Path
from statistics import quantiles

import psutil
import pytest

from tests import processes
from tests.faults.crowd import gathered
from tests.faults.load import BODY
from tests.processes import Relay

pytestmark = pytest.mark.soak

SECONDS = 30.0
TEXT = f"From: me@shared.example\r\nTo: you@dest.example\r\nSubject: good\r\n\r\n{BODY}\r\n"


def serve_good_clients(relay: Relay, seconds: float) -> tuple[list[float], int]:
    """One message after the other, each on a connection of its own. Returns how long each took, and the failures."""
    took: list[float] = []
    failures = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        try:
            with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=30) as smtp:
                smtp.sendmail("me@shared.example", ["you@dest.example"], TEXT)
            took.append(time.monotonic() - begun)
        except (smtplib.SMTPException, OSError):
            failures += 1
        time.sleep(0.02)
    return took, failures


def connections(relay: Relay) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{relay.http}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("relay_smtp_connections "))


def measure(folder: Path, behaviour: str, count: int, limits: dict[str, int]) -> None:
    with processes.sandbox("--rate", "100000") as sandbox, processes.relay(folder, sandbox.url) as relay:
        said = "".join(f"  {name}: {value}\n" for name, value in limits.items())
        relay.config.write_text(relay.config.read_text().replace("smtp:\n", f"smtp:\n{said}", 1))
        relay.start()
        assert relay.process is not None
        before = psutil.Process(relay.process.pid).memory_info().rss
        with gathered(relay.tls, behaviour, count):
            took, failures = serve_good_clients(relay, SECONDS)
            held = connections(relay)
            memory = psutil.Process(relay.process.pid).memory_info().rss
        p99 = quantiles(took, n=100)[98]
        print(
            f"\n{behaviour}  clients {count}  connected at the end {held:.0f}  good messages {len(took)}  failed {failures}  "
            f"p99 {p99 * 1000:.0f} ms  longest {max(took) * 1000:.0f} ms  memory {before >> 20} to {memory >> 20} MB"
        )
        assert relay.stop() == 0
    assert failures == 0
    assert p99 < 1


MANY = {"max_connections": 6000, "max_connections_per_address": 50}


@pytest.mark.parametrize("behaviour", ["dripping", "keeping-alive", "in-a-handshake", "not-reading"])
def test_slow_clients(tmp_path: Path, behaviour: str) -> None:
    measure(tmp_path, behaviour, 300, {})


def test_5000_idle_connections(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 6200:
        pytest.skip(f"this machine allows {hard} descriptors; 5,000 connections need 6,200")
    measure(tmp_path, "idle", 5000, MANY)


def test_few_descriptors(tmp_path: Path) -> None:
    """120 connections where there is room for 64 descriptors in all: mail is taken and sent nevertheless."""
    with processes.sandbox("--rate", "100000") as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        relay.limits = ("prlimit", "--nofile=64:64")
        relay.start()
        with gathered(relay.tls, "idle", 120):
            took, failures = serve_good_clients(relay, SECONDS)
        print(f"\n64 descriptors  clients 120  good messages {len(took)}  turned away {failures}")
        with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=30) as smtp:
            smtp.sendmail("me@shared.example", ["last@dest.example"], TEXT)
        processes.wait_until(
            lambda: [each for each in sandbox.messages() if "last@dest.example" in each["recipients"]],
            "the last message",
        )
        assert relay.stop() == 0
    assert took
