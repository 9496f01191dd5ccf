"""`relay suppression`, as a program: one address, whole files, and a million of them in little memory."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Done, run

ROOT = Path(__file__).parents[2]
MB = 1 << 20


@dataclass(frozen=True)
class Measured:
    returncode: int
    stdout: str
    stderr: str
    memory: int  # the most it had resident, in octets
    seconds: float


def high_water(pid: int) -> int:
    """The most a process had resident, in octets; 0 once it has ended."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


class Installation:
    """A configuration with its database, which no server has open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "config.yaml").write_text('database: relay.db\nhttp: {address: "127.0.0.1:0"}\n')

    def run(self, *arguments: str, stdin: bytes = b"") -> Done:
        return run(self.folder, "suppression", *arguments, stdin=stdin)

    def measured(self, *arguments: str, stdin: bytes = b"") -> Measured:
        """As a process of its own."""
        (self.folder / "stdin").write_bytes(stdin)
        out, err = self.folder / "stdout", self.folder / "stderr"
        started = time.monotonic()
        with (self.folder / "stdin").open("rb") as source, out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "relay", "suppression", *arguments],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=source,
                stdout=stdout,
                stderr=stderr,
            )
            memory = 0
            while process.poll() is None:  # its own high-water mark: what wait4 says begins with ours, from before exec
                memory = max(memory, high_water(process.pid))
                time.sleep(0.01)
        seconds = time.monotonic() - started
        return Measured(process.returncode, out.read_text(), err.read_text(), memory, seconds)

    def json(self, *arguments: str, stdin: bytes = b"") -> Any:
        done = self.run(*arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_an_address_comes_and_goes(here: Installation) -> None:
    added = here.json("add", "Ana@Dest.example", "--reason", "bounce", "--note", "hard", "--expires", "30d")
    assert (added["address"], added["reason"], added["note"], added["is_new"]) == (
        "ana@dest.example",
        "bounce",
        "hard",
        True,
    )
    assert added["expires_at"] > added["created_at"]
    again = here.run("add", "ana@dest.example")
    assert "already (bounce)" in again.stdout
    assert [each["address"] for each in here.json("list")] == ["ana@dest.example"]
    assert here.json("list", "--reason", "complaint") == []
    assert here.json("list", "--everyone") == []
    assert here.json("remove", "ANA@dest.example") == {"address": "ana@dest.example", "was_listed": True}
    assert here.json("remove", "ANA@dest.example")["was_listed"] is False
    assert "Nobody" in here.run("list").stdout


def test_a_search_looks_at_both_lists(here: Installation) -> None:
    here.run("add", "ana@dest.example")
    here.run("add", "ana@other.example", "--everyone")
    found = here.json("search", "ANA")
    assert [(each["list"], each["address"]) for each in found] == [
        ("everyone", "ana@other.example"),
        ("default", "ana@dest.example"),
    ]
    assert [each["list"] for each in here.json("search", "@dest.example")] == ["default"]
    assert [each["list"] for each in here.json("search", "ana", "--everyone")] == ["everyone"]


def test_what_is_wrong_is_said(here: Installation) -> None:
    for arguments in (
        ["add", "nope"],
        ["add", "a@dest.example", "--expires", "soon"],
        ["add", "a@dest.example", "--expires", "2020-01-01T00:00:00Z"],
        ["add", "a@dest.example", "--tenant", "nobody"],
        ["list", "--cursor", "é"],
        ["import", "-"],
    ):
        done = here.run(*arguments)
        assert done.returncode == os.EX_DATAERR, arguments
        assert len(done.stderr.splitlines()) == 1
        assert "Traceback" not in done.stderr
    assert here.run("import", "missing.csv").returncode == os.EX_OSERR


def test_a_list_goes_out_and_comes_back(here: Installation) -> None:
    here.run("add", "=1+1@dest.example", "--note", "=HYPERLINK(1)")
    here.run("add", "bo@dest.example", "--reason", "complaint", "--expires", "12h")
    before = here.json("list")
    out = here.run("export", "list.csv")
    assert "2 addresses" in out.stderr
    assert out.stdout == ""
    file = here.folder / "list.csv"
    assert file.stat().st_mode & 0o077 == 0
    assert "'=1+1@dest.example,manual,manual,'=HYPERLINK(1)," in file.read_text()
    assert here.run("export").stdout == file.read_text()
    lines = [json.loads(line) for line in here.run("export", "--json").stdout.splitlines()]
    assert lines == before
    for each in before:
        here.run("remove", each["address"])
    assert here.json("import", "list.csv") == {"rows": 2, "added": 2, "known": 0, "bad": 0, "faults": []}
    assert here.json("import", "list.csv")["known"] == 2
    assert here.json("list") == before


def test_bad_rows_are_named_and_left_out(here: Installation) -> None:
    file = b"address\n" + b"".join(f"bad{number}\n".encode() for number in range(25)) + b"ok@dest.example\n"
    done = here.run("import", "-", stdin=file)
    assert done.returncode == 0
    assert done.stdout == "26 rows: 1 added, 0 known, 25 bad\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("line 2: bad0 is not an address")
    assert lines[-1] == "... and 5 more"
    strict = here.run("import", "-", "--strict", stdin=b"address\nnew@dest.example\n" + file[8:])
    assert strict.returncode == os.EX_DATAERR
    assert "line 3: bad0" in strict.stderr
    assert [each["address"] for each in here.json("list")] == ["ok@dest.example"]


# -- many ------------------------------------------------------------------------------------------------------------


def write_list(file: Path, rows: int) -> None:
    numbers = random.Random(rows)
    with file.open("w") as out:
        out.write("address,reason,created_at\n")
        for number in range(rows):
            out.write(
                f"user.{numbers.getrandbits(40):x}.{number:x}@example-{number % 997}.com,BOUNCE,2025-01-01T00:00:00Z\n"
            )


class Mail:
    """What a server does beside a command: small durable writes, each timed."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.waits: list[float] = []

    def __enter__(self) -> Mail:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        db = sqlite3.connect(self._database, isolation_level=None, timeout=5)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE mail (id INTEGER PRIMARY KEY)")
        while not self._stop.wait(0.002):
            started = time.monotonic()
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO mail DEFAULT VALUES")
            db.execute("COMMIT")
            self.waits.append(time.monotonic() - started)
        db.close()


@pytest.fixture(params=[20_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def rows(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


def test_a_long_list_takes_little_memory_and_lets_mail_through(here: Installation, rows: int) -> None:
    here.measured("list")  # makes the database
    write_list(here.folder / "long.csv", rows)
    with Mail(here.folder / "relay.db") as mail:
        taken = here.measured("import", "long.csv")
    assert taken.stdout == f"{rows:,} rows: {rows:,} added, 0 known, 0 bad\n"
    assert "\x1b" not in taken.stderr  # no progress bar in a pipe
    waits = sorted(mail.waits)
    given = here.measured("export", "out.csv")
    assert (here.folder / "out.csv").read_bytes().count(b"\n") == rows + 1
    print(
        f"{rows:,} rows: import {taken.seconds:.1f} s with {taken.memory / MB:.0f} MB, "
        f"export {given.seconds:.1f} s with {given.memory / MB:.0f} MB; {len(waits)} writes beside it waited "
        f"{waits[len(waits) // 2] * 1000:.0f} ms at the median, {waits[len(waits) * 99 // 100] * 1000:.0f} ms at the "
        f"99th percentile, {waits[-1] * 1000:.0f} ms at most"
    )
    assert taken.memory < 200 * MB
    assert given.memory < 200 * MB
    assert waits[len(waits) // 2] < 0.1
    assert waits[-1] < 2
