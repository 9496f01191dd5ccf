"""SIGTERM under load: out within 30 s, nothing acknowledged lost, waiting clients told."""

from __future__ import annotations

import smtplib
import socket
import time
from pathlib import Path

from tests import processes
from tests.faults.load import arrivals, counted_duplicates, sending
from tests.processes import wait_until


def test_sigterm_under_load(tmp_path: Path) -> None:
    with processes.sandbox("--rate", "100000") as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        relay.start()
        with sending(relay) as accounts:
            idle = socket.create_connection(("127.0.0.1", relay.smtp), timeout=10)
            assert idle.recv(100).startswith(b"220 ")
            wait_until(lambda: len(accounts.acknowledged) > 300, "some load")
            started = time.monotonic()
            assert relay.stop() == 0
            took = time.monotonic() - started
            assert idle.recv(200).startswith(b"421 4.3.2 ")
            assert idle.recv(200) == b""
            idle.close()
        # What was in the queue when it stopped leaves after the next start, each once.
        relay.start()
        wait_until(lambda: counted_duplicates(tmp_path)[0] == 0, "an empty queue", 60)
        found = arrivals(sandbox)
        print(f"\nstopped in {took:.1f} s  acknowledged {len(accounts.acknowledged)}")
        assert took < 30
        assert accounts.acknowledged - found.keys() == set()
        assert max(found.values()) == 1
        assert counted_duplicates(tmp_path)[1] == 0


def test_a_call_under_way_is_waited_for(tmp_path: Path) -> None:
    with processes.sandbox() as sandbox, processes.relay(tmp_path, sandbox.url) as relay:
        relay.start()
        sandbox.fault(fault={"slow": 3})
        with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=10) as smtp:
            smtp.sendmail(
                "me@byoc.example", ["you@dest.example"], "From: me@byoc.example\r\nSubject: slow\r\n\r\nhi\r\n"
            )
        wait_until(lambda: arrivals(sandbox), "the call")
        assert relay.stop() == 0
        assert counted_duplicates(tmp_path) == (0, 0)
