"""How much memory this process may have, by its container or its machine; and how it is given back."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

BLOCK = 128 << 10  # octets; glibc's own first choice, which it raises as it goes
M_MMAP_THRESHOLD = -3  # mallopt(3)
FILES = {"": "memory.max", "memory": "memory.limit_in_bytes"}  # by controller: version 2 of cgroups has none


def allowed(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> int:
    """In octets. The least of the machine's own and the limits of each group that the process is in."""
    return min([_machine(), *_limits(groups, mounted)])


def _machine() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _limits(groups: Path, mounted: Path) -> list[int]:
    """Limits of the process's groups and of those above them. None where there are no cgroups, or none are shown."""
    found: list[int] = []
    try:
        lines = groups.read_text("utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in FILES:
                root = mounted / controller
                # Inside a container the path may be the host's own name for it; the container's is the root then.
                for place in (root / path.lstrip("/"), *(root / path.lstrip("/")).parents):
                    found += _limit(place / FILES[controller])
                    if place == root:
                        break
    return found


def _limit(file: Path) -> list[int]:
    try:
        text = file.read_text("ascii").strip()
    except OSError:
        return []
    return [int(text)] if text.isdecimal() else []  # "max": none


def give_back_large_blocks() -> None:
    """Have glibc return large blocks to the system as soon as they are free.

    It stops doing so once it has seen a few of them, and then a burst of large messages stays in memory: 244 MB instead
    of 186 after six of 25 MB, for a tenth of their processor time (measured). Other C libraries need no telling.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, BLOCK)


def leave_alone() -> None:
    """Have the garbage collector never look again at what is there now, which is there to stay.

    Going through it all takes a tenth of a second (measured), in which the event loop stands still.
    """
    gc.collect()
    gc.freeze()
