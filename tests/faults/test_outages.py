"""SES and the DNS down for an hour, with every span of the policy divided: what waited is sent after it, once each."""

from __future__ import annotations

import contextlib
import functools
import json
import smtplib
import sqlite3
import time
import urllib.request
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from relay.delivery import RetryPolicy
from relay.dispatch import dispatcher, stops
from relay.dns import breaker
from relay.sandbox.accounts import Account
from tests.dns_server import NXDOMAIN, SILENT, DnsServer, records
from tests.support import World, wait_for

FASTER = 600  # an hour is six seconds
HOUR = 3600 / FASTER
APP = "app@shared.example"
MAILS = 150
RATE = 100.0  # recipients a second


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PROBE", "LONGEST"):
        monkeypatch.setattr(stops, name, {kind: span / FASTER for kind, span in getattr(stops, name).items()})
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE"):
        monkeypatch.setattr(breaker, name, getattr(breaker, name) / FASTER)
    spans = {name: getattr(RetryPolicy(), name) / FASTER for name in ("first", "cap")}
    monkeypatch.setattr(dispatcher, "RetryPolicy", functools.partial(RetryPolicy, **spans))


def script(world: World, **what: Any) -> None:
    body = json.dumps(what).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{world.sandbox_url}/faults", body, headers, method="POST")):
        pass


def clear(world: World) -> None:
    with urllib.request.urlopen(urllib.request.Request(f"{world.sandbox_url}/faults", method="DELETE")):
        pass


def send(world: World, *addresses: str) -> None:
    with smtplib.SMTP("127.0.0.1", world.plain, timeout=20) as smtp:
        for each in addresses:
            smtp.sendmail(APP, [each], f"From: {APP}\r\nTo: {each}\r\nSubject: x\r\n\r\nhi\r\n")


def ask(world: World, question: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{world.folder}/relay.db?mode=ro", uri=True)) as db:
        return db.execute(question).fetchall()


def failures(world: World) -> int:
    [(found,)] = ask(world, "select sum(failures) from deliveries")
    assert isinstance(found, int)
    return found


def is_drained(world: World) -> bool:
    return ask(world, "select count(*) from deliveries where finished_at is null") == [(0,)]


def calls(world: World, result: str) -> float:
    lines = world.call("GET", "/metrics").body.decode().splitlines()
    found = [line for line in lines if line.startswith("relay_ses_calls_total") and f'"{result}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def in_any_second(moments: list[float]) -> int:
    return max(sum(1 for each in moments if start <= each < start + 1) for start in moments)


OUTAGES = {
    "failing": {"error": "InternalFailure", "status": 500, "message": "An error occurred."},
    "busy": {"error": "ServiceUnavailable", "status": 503, "message": None},
}


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("outage", ["failing", pytest.param("busy", marks=pytest.mark.soak)])
def test_ses_down_for_an_hour(tmp_path: Path, outage: str) -> None:
    accounts = [
        Account("operator", ("shared.example",), daily_quota=-1, rate=RATE),
        Account("customer", ("byoc.example",)),
    ]
    with World(tmp_path, accounts=accounts) as world:
        script(world, fault=OUTAGES[outage], times=None)
        people = [f"p{number}@dest.example" for number in range(MAILS)]
        began = time.monotonic()
        send(world, *people)  # acknowledged as ever
        wait_for(lambda: world.call("GET", "/readyz").json["faults"])
        burned, tried = failures(world), calls(world, "ses_unavailable")
        time.sleep(max(0.0, began + HOUR - time.monotonic()))  # the outage itself
        probes = calls(world, "ses_unavailable") - tried
        # Calls that were under way when it was found sick may still have burned one each.
        assert failures(world) <= burned + 20
        assert 1 <= probes <= 20 + HOUR / (60 / FASTER) + 10  # one at a time, 1 s doubling to a minute
        clear(world)
        over = time.time()
        wait_for(lambda: is_drained(world))
        found = world.messages()
        assert Counter(each["recipients"][0] for each in found) == dict.fromkeys(people, 1)
        assert ask(world, "select distinct state from deliveries") == [("sent",)]
        assert calls(world, "ses_throttled") == 0
        moments = [_seconds(each["received_at"]) for each in found]
        print(
            f"\nSES {outage} for an hour: {MAILS} waited, {failures(world)} failures in all, {probes:.0f} probes, "
            f"the last was sent {max(moments) - over:.1f} s after; at most {in_any_second(moments)} a second"
        )
        assert in_any_second(moments) <= 2 * 0.9 * RATE + 1  # the rate, and a second of it saved up
        assert max(ask(world, "select failures from deliveries"))[0] <= 3


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("on_trouble", ["accept", pytest.param("defer", marks=pytest.mark.soak)])
def test_the_dns_down_for_an_hour(tmp_path: Path, on_trouble: str) -> None:
    people = [f"p{number}@d{number}.test" for number in range(10_000)]  # no two of one domain: nothing is in the cache
    with DnsServer(otherwise=SILENT) as server:
        mx = {"policy": "enforce", "on_trouble": on_trouble}
        with World(tmp_path, mx=mx, dns={"nameservers": [server.nameserver], "timeout": "1s"}) as world:
            began = time.monotonic()
            said = []
            while time.monotonic() < began + HOUR:  # all of the outage
                said.append(reply(world, people[len(said)]))
            longest = max(took for _, took in said)
            asked = server.asked.total()
            if on_trouble == "accept":
                assert {code for code, _ in said} == {250}
                wait_for(lambda: is_drained(world))
                assert len(world.messages()) == len(said)
            else:
                assert {code for code, _ in said} == {451}
            assert longest < 3  # a breaker: mail does not crawl behind a dead resolver
            server.otherwise = NXDOMAIN
            server.zone["alive.test"] = records("MX 10 mx.alive.test.")
            # Back by itself: a domain that takes mail is taken again, and one that does not exist is refused.
            wait_for(lambda: reply(world, "ann@nowhere.test")[0] == 550)
            assert reply(world, "ann@alive.test")[0] == 250
            print(
                f"\nDNS silent for an hour, {on_trouble}: {len(said)} answers, the longest after {longest:.1f} s, "
                f"{asked} questions asked"
            )
            assert asked < len(said)


def reply(world: World, address: str) -> tuple[int, float]:
    """What decides over a message to this address, and how many seconds it took."""
    began = time.monotonic()
    with smtplib.SMTP("127.0.0.1", world.plain, timeout=20) as smtp:
        smtp.ehlo()
        smtp.mail(APP)
        code, _ = smtp.rcpt(address)
        if code == 250:
            code, _ = smtp.data(f"From: {APP}\r\nTo: {address}\r\nSubject: x\r\n\r\nhi\r\n")
    return code, time.monotonic() - began
