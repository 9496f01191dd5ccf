"""A machine that fails on demand: system calls that err or take long, small disks, and disks that lose power.

Each skips the test, with the reason, where this user or this machine cannot have it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import wait_until


def require(*programs: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@contextlib.contextmanager
def injecting(pid: int, fault: str, folder: Path) -> Iterator[None]:
    """Tamper with the system calls of a running process, all its threads: `fault` as `strace -e inject=` takes it."""
    require("strace")
    calls, output = fault.partition(":")[0], folder / "strace"
    command = [
        "strace",
        "-f",
        "-qq",
        "-p",
        str(pid),
        "-o",
        str(output),
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={fault}",
    ]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: _is_traced(pid, tracer.pid) or tracer.poll() is not None, "strace's attaching")
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"strace cannot attach here: {tracer.stderr.read()[:200]}")
        yield
    finally:
        tracer.terminate()
        tracer.communicate(timeout=30)


def _is_traced(pid: int, by: int) -> bool:
    """Whether every thread is: they are attached one by one."""
    lines = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return all(f"TracerPid:\t{by}\n" in each for each in lines)


@contextlib.contextmanager
def tmpfs(path: Path, size: str) -> Iterator[Path]:
    """A small disk."""
    with _mounted(path, "-t", "tmpfs", "-o", f"size={size}", "none"):
        yield path


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """A folder that nobody can write to, not even root."""
    with _mounted(path, "--bind", str(path)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
        yield


class Disk:
    """An ext4 file system on a file. What is in the file is what reached the disk."""

    def __init__(self, image: Path, at: Path) -> None:
        require("mkfs.ext4", "mount")
        self.image = image
        self.at = at
        with image.open("wb") as file:
            file.truncate(128 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """A mount is also what brings it back after a power cut: the journal is replayed."""
        with _mounted(self.at, "-o", "loop", str(self.image)):
            yield self.at

    def cut(self) -> None:
        """Keep what a power cut would leave now. Whoever writes has to be stopped, else the copy is torn."""
        command = ["cp", "--reflink=never", "--sparse=always", str(self.image), str(self._kept)]
        subprocess.run(command, check=True)

    def restore(self) -> None:
        """Not mounted, be what was kept."""
        self._kept.replace(self.image)

    @property
    def _kept(self) -> Path:
        return self.image.with_suffix(".cut")


@contextlib.contextmanager
def _mounted(path: Path, *arguments: str) -> Iterator[None]:
    require("mount")
    path.mkdir(exist_ok=True)
    made = subprocess.run(["mount", *arguments, str(path)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"cannot mount here: {made.stderr.strip()[:200]}")
    try:
        yield
    finally:
        # Whoever was killed a moment ago may still be leaving.
        wait_until(lambda: subprocess.run(["umount", str(path)], capture_output=True).returncode == 0, "the unmounting")


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another process holds SQLite's lock for writing."""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
            "db.execute('begin immediate'); print('held', flush=True); sys.stdin.read()",
            str(database),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
    finally:
        holder.communicate(timeout=30)


def together(count: int, work: object) -> None:
    """Run `work(number)` in so many threads at once."""
    assert callable(work)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
