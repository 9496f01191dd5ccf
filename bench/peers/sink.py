"""Postfix's own `smtp-sink`, to which relays of mail pass it on, and the counter that it prints."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.processes import START_WITHIN, free_port, listens, started, wait_for


@contextlib.contextmanager
def sinking(folder: Path) -> Iterator[Sink]:
    port = free_port()
    command = [shutil.which("smtp-sink") or "", "-c", "-u", "nobody", f"127.0.0.1:{port}", "512"]
    with started(command, folder / "sink.log", stdout=subprocess.PIPE) as process:
        wait_for("smtp-sink listens", lambda: listens(port), START_WITHIN, process)
        yield Sink(process, port)


class Sink:
    """A running sink. `port` is where it takes mail."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._seen: list[tuple[int, float]] = [(0, 0.0)]
        self._process = process
        self.port = port
        threading.Thread(target=self._read, daemon=True).start()

    def count(self) -> int:
        return self._seen[-1][0]

    def reached(self, goal: int, within: float) -> float:
        wait_for(f"the sink has {goal} mails", lambda: self.count() >= goal, within, self._process)
        return next(at for count, at in self._seen if count >= goal)

    def _read(self) -> None:
        assert self._process.stdout is not None
        while chunk := os.read(self._process.stdout.fileno(), 1 << 16):
            if counts := re.findall(rb"mesg=(\d+)", chunk):
                self._seen.append((int(counts[-1]), time.monotonic()))
