"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

_PACKAGES = ("ses-relay", "aiosmtpd", "aiobotocore", "sqlalchemy", "starlette", "uvicorn")


@dataclass(frozen=True, slots=True)
class Machine:
    """`sync_ms`: the median of writing 4 KB and fdatasync. `load`: of the last minute, before the run."""

    at: str
    cores: int
    processor: str
    system: str
    python: str
    sqlite: str
    file_system: str
    sync_ms: float
    load: float
    postfix: str
    packages: dict[str, str]

    def lines(self) -> list[str]:
        return [
            f"{self.at}, {self.system}, {self.cores} cores ({self.processor}), load before the run {self.load:.1f}",
            f"Python {self.python}, SQLite {self.sqlite}, Postfix {self.postfix or 'none'}, "
            + ", ".join(f"{name} {number}" for name, number in self.packages.items()),
            f"file system {self.file_system}, fdatasync of 4 KB {self.sync_ms:.1f} ms",
        ]


def look(folder: Path) -> Machine:
    """`folder` is where the servers will keep their files."""
    return Machine(
        at=time.strftime("%Y-%m-%d %H:%M"),
        cores=len(os.sched_getaffinity(0)),
        processor=_processor(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        file_system=_file_system(folder),
        sync_ms=_sync(folder) * 1000,
        load=os.getloadavg()[0],
        postfix=_postfix(),
        packages={name: version(name) for name in _PACKAGES},
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _file_system(folder: Path) -> str:
    """The type of the mount that holds a folder."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    holding = [each for each in mounts if folder.resolve().is_relative_to(each[1])]
    return max(holding, key=lambda each: len(each[1]))[2]


def _sync(folder: Path) -> float:
    path = folder / "sync"
    times: list[float] = []
    with path.open("wb") as file:
        for _ in range(100):
            file.write(bytes(4096))
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return median(times)


def _postfix() -> str:
    if shutil.which("postconf") is None:
        return ""
    found = subprocess.run(["postconf", "-d", "-h", "mail_version"], capture_output=True, text=True, timeout=10)
    return found.stdout.strip()
