"""Killed again and again while clients send: everything acknowledged reaches SES, and duplicates are counted."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import processes
from tests.faults.load import Accounts, at_rest, counted_duplicates, sending, subject
from tests.processes import Sandbox, wait_until

OPEN = "select count(*) from deliveries where state = 'sending'"
REPORTED = "select id, possible_duplicates from deliveries where possible_duplicates > 0"


@dataclass
class Account:
    """What was sent, against what arrived."""

    acknowledged: set[str]
    arrived: set[str] = field(default_factory=set)
    calls: Counter[int] = field(default_factory=Counter)  # by delivery
    reported: dict[int, int] = field(default_factory=dict)  # by delivery: how often it may have gone twice
    open_at_kills: list[int] = field(default_factory=list)

    def count(self, sandbox: Sandbox, folder: Path) -> None:
        for each in sandbox.messages():
            self.arrived.add(subject(each["raw"]))
            self.calls[int(each["tags"]["relay_id"])] += 1
        self.reported = dict(at_rest(folder, REPORTED))

    def show(self, tries: int) -> None:
        print(
            f"\nkills {len(self.open_at_kills)}  sent {tries}  acknowledged {len(self.acknowledged)}  "
            f"arrived {len(self.arrived)}  lost {len(self.acknowledged - self.arrived)}  "
            f"duplicates {sum(self.calls.values()) - len(self.calls)}  reported {sum(self.reported.values())}  "
            f"open at kills {sum(self.open_at_kills)} (at most {max(self.open_at_kills)})  "
            f"stored but not acknowledged {len(self.arrived - self.acknowledged)}"
        )

    def check(self) -> None:
        assert self.acknowledged - self.arrived == set()
        assert {each: count - 1 for each, count in self.calls.items() if count - 1 > self.reported.get(each, 0)} == {}
        assert sum(self.reported.values()) <= sum(self.open_at_kills)


def kill_loop(folder: Path, kills: int, acknowledged: int) -> None:
    """At least so many kills, and until so many messages were acknowledged."""
    # A rate no test reaches: the pace is not what is tested here.
    with (
        processes.sandbox("--rate", "100000") as sandbox,
        processes.relay(folder, sandbox.url) as relay,
    ):
        relay.config.write_text(relay.config.read_text().replace("http: {", "http: {requests_per_minute: 1000000, "))
        key = relay.key()
        relay.start()
        seeded = random.Random(1)
        with sending(relay, key) as clients:
            account = Account(clients.acknowledged)
            while len(account.open_at_kills) < kills or len(clients.acknowledged) < acknowledged:
                time.sleep(seeded.uniform(0.4, 0.8))
                relay.kill()
                account.open_at_kills.append(at_rest(folder, OPEN)[0][0])
                relay.start()
        wait_until(lambda: counted_duplicates(folder)[0] == 0, "an empty queue", 120)
        account.count(sandbox, folder)
        account.show(tries(clients))
        assert relay.stop() == 0
    account.check()
    assert any(name.startswith("http") for name in clients.acknowledged)


def tries(clients: Accounts) -> int:
    return len(clients.acknowledged) + clients.refused


def test_nothing_acknowledged_is_lost_in_10_kills(tmp_path: Path) -> None:
    kill_loop(tmp_path, 10, 200)


@pytest.mark.soak
def test_nothing_of_20_000_acknowledged_is_lost_in_200_kills(tmp_path: Path) -> None:
    kill_loop(tmp_path, 200, 20_000)
