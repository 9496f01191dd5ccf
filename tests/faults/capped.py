"""A memory cap that the kernel enforces: a cgroup of its own, of either version."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PARENTS = {"memory": "/sys/fs/cgroup/memory", "": "/sys/fs/cgroup"}  # by controller: version 1, version 2
LIMITS = ("memory.limit_in_bytes", "memory.max")
PEAKS = ("memory.max_usage_in_bytes", "memory.peak")


@dataclass(frozen=True)
class Group:
    path: Path

    @property
    def prefix(self) -> tuple[str, ...]:
        """Starts a command inside."""
        return ("/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.path))

    @property
    def peak(self) -> int:
        """Octets, page cache and all; 0 where the kernel does not say."""
        return next((int((self.path / name).read_text()) for name in PEAKS if (self.path / name).exists()), 0)

    def kills(self) -> int:
        """How many processes the kernel killed in it for want of memory."""
        for name in ("memory.oom_control", "memory.events"):
            if (self.path / name).exists():
                counts = dict(line.split() for line in (self.path / name).read_text().splitlines())
                return int(counts["oom_kill"])
        return 0


@contextlib.contextmanager
def memory(octets: int) -> Iterator[Group]:
    """A group with that limit. Skips the test where this user, or this machine, cannot have one."""
    path = next(filter(None, map(_made, Path("/proc/self/cgroup").read_text().splitlines())), None)
    if path is None:
        pytest.skip("needs a cgroup whose memory can be limited: root, and the memory controller")
    try:
        next(path / name for name in LIMITS if (path / name).exists()).write_text(str(octets))
        yield Group(path)
    finally:
        for _ in range(100):
            with contextlib.suppress(OSError):  # until its last process has gone
                path.rmdir()
                break
            time.sleep(0.1)


def _made(line: str) -> Path | None:
    _, controllers, own = line.split(":", 2)
    parents = [PARENTS[each] for each in controllers.split(",") if each in PARENTS]
    for parent in parents:
        path = Path(parent) / own.lstrip("/") / f"relay-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            path.mkdir()
            if any((path / name).exists() for name in LIMITS):
                return path
            path.rmdir()
    return None
