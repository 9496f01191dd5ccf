"""Crowds of hostile HTTP clients: who behaves is served all the while, and memory stays bounded. Part of the soak.

Each prints a line for the table in docs/reliability.md.
"""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from pathlib import Path
from statistics import quantiles

import psutil
import pytest

from tests import processes
from tests.faults.crowd import gathered
from tests.processes import Relay

pytestmark = pytest.mark.soak

SECONDS = 30.0
MOST_MEMORY = 450 << 20  # octets resident: the budget for messages, twice for what is parsed, and the process itself
BODY = json.dumps({"from": "me@shared.example", "to": "you@dest.example", "subject": "good", "text": "x" * 5000})


def send(relay: Relay, key: str) -> int:
    """One message on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", relay.http, timeout=30)
    try:
        connection.request("POST", "/api/v1/emails", BODY, {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def serve_good_client(relay: Relay, key: str, seconds: float) -> tuple[list[float], Counter[str], int]:
    """How long each message took, what went wrong, and the most that was resident meanwhile."""
    took: list[float] = []
    failures: Counter[str] = Counter()
    most = 0
    assert relay.process is not None
    process = psutil.Process(relay.process.pid)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        try:
            status = send(relay, key)
        except (OSError, http.client.HTTPException) as exc:
            failures[type(exc).__name__] += 1
        else:
            if status == 202:
                took.append(time.monotonic() - begun)
            else:
                failures[str(status)] += 1
        most = max(most, process.memory_info().rss)
        time.sleep(0.05)
    return took, failures, most


@pytest.mark.parametrize(
    ("behaviour", "count"),
    [
        ("idle", 1200),
        ("slow-head", 300),
        ("slow-body", 60),
        ("not-reading", 300),
        ("ahead", 60),
        ("endless", 20),
        ("bombs", 10),
    ],
)
def test_a_good_client_beside_hostile_ones(tmp_path: Path, behaviour: str, count: int) -> None:
    with processes.sandbox("--rate", "100000") as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        key, theirs = relay.key(), relay.key()
        relay.start()
        assert relay.process is not None
        before = psutil.Process(relay.process.pid).memory_info().rss
        assert send(relay, key) == 202
        with gathered(relay.http, behaviour, count, theirs, module="tests.faults.http_crowd"):
            took, failures, most = serve_good_client(relay, key, SECONDS)
        p99 = quantiles(took, n=100)[98]
        print(
            f"\nHTTP {behaviour}  clients {count}  good messages {len(took)}  failed {dict(failures)}  "
            f"p99 {p99 * 1000:.0f} ms  longest {max(took) * 1000:.0f} ms  memory {before >> 20}, at most {most >> 20} MB"
        )
        assert relay.stop() == 0
        assert "Traceback" not in relay.log.read_text()
    assert not failures
    assert p99 < 1
    assert most < MOST_MEMORY
