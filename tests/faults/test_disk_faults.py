"""A disk that fails, is slow, is full or is somebody else's: temporary answers, nothing lost, and back by itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import smtplib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.faults import tampered
from tests.faults.load import arrivals, at_rest, counted_duplicates
from tests.processes import Relay, Sandbox, answers, wait_until

APP = "me@shared.example"
COUNT = "select count(*) from messages"


@contextlib.contextmanager
def serving(folder: Path, extra: str = "") -> Iterator[tuple[Relay, Sandbox, str]]:
    with (
        processes.sandbox("--rate", "100000") as sandbox,
        processes.relay(folder, sandbox.url, extra=extra) as relay,
    ):
        key = relay.key()
        relay.start()
        yield relay, sandbox, key


def letter(subject: str) -> str:
    return f"From: {APP}\r\nTo: you@dest.example\r\nSubject: {subject}\r\n\r\nhi\r\n"


def by_smtp(relay: Relay, subject: str) -> tuple[int, bytes]:
    """The reply that decides: to the first command that is refused, or to the end of the message."""
    with smtplib.SMTP("127.0.0.1", relay.smtp, timeout=60) as smtp:
        smtp.ehlo()
        for ask in (lambda: smtp.mail(APP), lambda: smtp.rcpt("you@dest.example"), lambda: smtp.data(letter(subject))):
            reply = ask()
            if reply[0] >= 400:
                break
        return reply


def by_http(relay: Relay, key: str, subject: str) -> tuple[int, Any, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", relay.http, timeout=60)
    with contextlib.closing(connection):
        body = {"from": APP, "to": ["you@dest.example"], "text": "hi", "subject": subject}
        fields = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/emails", json.dumps(body), fields)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers["Retry-After"]


def readiness(relay: Relay) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", relay.http, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["faults"]


def settled(relay: Relay) -> bool:
    return counted_duplicates(relay.folder)[0] == 0


def is_back(relay: Relay) -> None:
    wait_until(lambda: readiness(relay) == (200, {}), "the recovery")


def pid_of(relay: Relay) -> int:
    assert relay.process is not None
    return relay.process.pid


def accounted(relay: Relay, sandbox: Sandbox, acknowledged: set[str]) -> None:
    """All of it and nothing else, more than once only where that was reported, and a sound file."""
    wait_until(lambda: settled(relay), "an empty queue")
    found = arrivals(sandbox)
    assert found.keys() == acknowledged
    assert found.total() - len(found) <= counted_duplicates(relay.folder)[1]
    assert at_rest(relay.folder, "pragma integrity_check") == [("ok",)]
    assert relay.stop() == 0


def test_an_fsync_that_fails(tmp_path: Path) -> None:
    with serving(tmp_path) as (relay, sandbox, key):
        assert by_smtp(relay, "before")[0] == 250
        wait_until(lambda: settled(relay), "an empty queue")
        with tampered.injecting(pid_of(relay), "fdatasync:error=EIO", tmp_path):
            for number in range(3):
                assert by_smtp(relay, f"refused-{number}")[1].startswith(b"4.3.0 ")
                status, body, again = by_http(relay, key, f"refused-http-{number}")
                assert (status, body["reason"]) == (503, "storage_down")
                assert again is not None
            status, faults = readiness(relay)
            assert status == 503
            assert "disk I/O error" in faults["database"]
            assert at_rest(tmp_path, COUNT) == [(1,)]
            assert answers(f"http://127.0.0.1:{relay.http}/healthz")
        is_back(relay)
        assert by_smtp(relay, "after")[0] == 250
        assert by_http(relay, key, "after-http")[0] == 202
        accounted(relay, sandbox, {"before", "after", "after-http"})
        said = relay.log.read_text()
        assert said.count("store.unavailable") == said.count("store.available") == 1


def test_an_fsync_that_fails_under_a_call_to_ses(tmp_path: Path) -> None:
    """What SES took while nothing can be written is written as soon as something can, and not sent again."""
    with serving(tmp_path) as (relay, sandbox, _):
        sandbox.fault(fault={"slow": 1.5})
        assert by_smtp(relay, "under way")[0] == 250
        with tampered.injecting(pid_of(relay), "fdatasync:error=EIO", tmp_path):
            wait_until(lambda: "store.unavailable" in relay.log.read_text(), "the trouble")
            assert at_rest(tmp_path, "select state from deliveries") == [("sending",)]
        is_back(relay)
        accounted(relay, sandbox, {"under way"})
        assert counted_duplicates(tmp_path) == (0, 0)


@pytest.mark.soak
def test_a_disk_that_takes_two_seconds(tmp_path: Path) -> None:
    with serving(tmp_path) as (relay, sandbox, _):
        with tampered.injecting(pid_of(relay), "fdatasync:delay_enter=2000000:when=1..2", tmp_path):
            with ThreadPoolExecutor(1) as beside, smtplib.SMTP("127.0.0.1", relay.smtp, timeout=30) as idle:
                idle.noop()
                started = time.monotonic()
                waiting = beside.submit(by_smtp, relay, "slow")
                took = []
                while not waiting.done():
                    began = time.monotonic()
                    assert idle.noop()[0] == 250
                    took.append(time.monotonic() - began)
                    time.sleep(0.1)  # more of them would be too many for an idle session
                assert waiting.result()[0] == 250
                assert time.monotonic() - started >= 2
        took.sort()
        median, longest = (round(1000 * each) for each in (took[len(took) // 2], took[-1]))
        print(f"\nNOOP beside a disk that takes 2 s: {len(took)}, median {median} ms, longest {longest} ms")
        assert median < 100
        assert longest < 1000  # a loop that waits for the disk would make one of them wait for 2 s
        accounted(relay, sandbox, {"slow"})


def test_a_full_disk(tmp_path: Path) -> None:
    with tampered.tmpfs(tmp_path / "disk", "24m") as disk:
        with serving(disk, "limits: {max_message_size: 1MB}\n") as (relay, sandbox, key):
            sandbox.fault(fault="hang", times=None)  # what is accepted now waits
            queued = {f"early-{number}" for number in range(5)}
            assert {by_smtp(relay, each)[0] for each in queued} == {250}
            nearly_full(disk, relay, sandbox, key, queued)
            queued |= wholly_full(disk, relay, key)
            assert by_smtp(relay, "after")[0] == 250
            accounted(relay, sandbox, {*queued, "after"})


def nearly_full(disk: Path, relay: Relay, sandbox: Sandbox, key: str, queued: set[str]) -> None:
    """Less than one more message needs: nothing more is taken, and what the queue writes has room."""
    room = fill(disk, 1 << 20)
    refused(relay, key)
    sandbox.clear_faults()
    relay.kill()  # with the calls that hang
    relay.start()
    wait_until(lambda: settled(relay), "the draining of the queue on a disk that is nearly full")
    assert arrivals(sandbox).keys() == queued
    os.unlink(room)
    is_back(relay)


def wholly_full(disk: Path, relay: Relay, key: str) -> set[str]:
    """Somebody else takes what is left, after the look at MAIL: commits fail. What was acknowledged all the same."""
    acknowledged: set[str] = set()
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(smtplib.SMTP("127.0.0.1", relay.smtp, timeout=60)) for _ in range(12)]
        for smtp in sessions:
            smtp.ehlo()
            smtp.mail(APP)
            smtp.rcpt("you@dest.example")
        room = fill(disk, 0)
        said = []
        for number, smtp in enumerate(sessions):
            code, words = smtp.data(letter(f"large-{number}") + "x" * 900_000 + "\r\n")
            said.append(words[:6])
            if code == 250:  # there may be room in the log for some
                acknowledged.add(f"large-{number}")
        assert set(said) - {b"2.0.0 "} == {b"4.3.1 "}
    refused(relay, key)
    os.unlink(room)
    is_back(relay)
    return acknowledged


def refused(relay: Relay, key: str) -> None:
    wait_until(lambda: "disk" in readiness(relay)[1], "the discovery")  # the disk is looked at once a second
    assert by_smtp(relay, "refused")[1].startswith(b"4.3.1 ")
    status, body, again = by_http(relay, key, "refused")
    assert (status, body["reason"]) == (503, "storage_full")
    assert again is not None


def fill(disk: Path, leave: int) -> Path:
    """A file that takes what room there is but so much."""
    file = disk / "filling"
    found = os.statvfs(disk)
    with file.open("wb") as writing:
        os.posix_fallocate(writing.fileno(), 0, found.f_bavail * found.f_frsize - leave)
    return file


def held_by_another_process(folder: Path, seconds: float, clients: int) -> None:
    with serving(folder) as (relay, sandbox, key):
        said: list[tuple[int, bytes]] = []
        acknowledged = {"before"}
        assert by_smtp(relay, "before")[0] == 250
        wait_until(lambda: settled(relay), "an empty queue")

        def client(number: int) -> None:
            sequence = 0
            while time.monotonic() < ends_at:
                sequence += 1
                name = f"{number}-{sequence}"
                reply = by_smtp(relay, name)
                said.append(reply)
                if reply[0] == 250:
                    acknowledged.add(name)

        with tampered.locked(folder / "relay.db"):
            started = time.monotonic()
            ends_at = started + seconds
            with ThreadPoolExecutor(1) as beside:
                over_http = beside.submit(by_http, relay, key, "refused")
                tampered.together(clients, client)
            # A batch that meets the lock waits for it once, not each of its messages by itself.
            assert time.monotonic() - started < seconds + 15
            assert {reply[1][:6] for reply in said} == {b"4.3.0 "}
            assert over_http.result()[1]["reason"] == "storage_down"
        is_back(relay)
        assert by_smtp(relay, "after")[0] == 250
        accounted(relay, sandbox, {*acknowledged, "after"})
        print(f"\nlocked for {seconds} s: {len(said)} answers, all temporary; lost 0")


@pytest.mark.soak
def test_a_database_that_another_process_has_locked(tmp_path: Path) -> None:
    held_by_another_process(tmp_path, 1, 20)


@pytest.mark.soak
def test_a_database_that_another_process_has_locked_for_30_seconds(tmp_path: Path) -> None:
    held_by_another_process(tmp_path, 30, 50)
