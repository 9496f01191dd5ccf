"""Killed again and again while clients send: everything acknowledged reaches SES, and duplicates are counted."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests import processes
from tests.faults.load import arrivals, counted_duplicates, sending
from tests.processes import wait_until


def kill_loop(folder: Path, kills: int) -> None:
    # A rate no test reaches: the pace is not what is tested here.
    with (
        processes.sandbox("--rate", "100000") as sandbox,
        processes.relay(folder, sandbox.url) as relay,
    ):
        relay.start()
        seeded = random.Random(1)
        with sending(relay) as accounts:
            for _ in range(kills):
                time.sleep(seeded.uniform(0.4, 0.8))
                relay.kill()
                relay.start()
        wait_until(lambda: counted_duplicates(folder)[0] == 0, "an empty queue", 120)
        found = arrivals(sandbox)
        _, possible = counted_duplicates(folder)
        lost = accounts.acknowledged - found.keys()
        duplicates = sum(count - 1 for count in found.values())
        print(
            f"\nkills {kills}  acknowledged {len(accounts.acknowledged)}  arrived {len(found)}  lost {len(lost)}  "
            f"duplicates {duplicates}  reported as possible {possible}  stored but not acknowledged "
            f"{len(found.keys() - accounts.acknowledged)}"
        )
        assert relay.stop() == 0
    assert len(accounts.acknowledged) > 10 * kills
    assert lost == set()
    assert duplicates <= possible


def test_nothing_acknowledged_is_lost_in_20_kills(tmp_path: Path) -> None:
    kill_loop(tmp_path, 20)


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_in_200_kills(tmp_path: Path) -> None:
    kill_loop(tmp_path, 200)
