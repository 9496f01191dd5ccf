"""Haraka as an instance of its own, one process, passing all mail on to an smtp-sink.

`make bench` installs it where there is npm: npm ci --ignore-scripts --omit=optional --prefix bench/peers/haraka
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.peers.sink import sinking
from bench.peers.target import Target
from bench.processes import START_WITHIN, free_port, listens, started, wait_for

HERE = Path(__file__).parent / "haraka"
SERVER = HERE / "node_modules" / "Haraka" / "haraka.js"
LEVEL = "NOTICE"  # its default logs several lines a message; Relay and Postfix log about three
CONFIG = {
    "smtp.ini": "listen=127.0.0.1:{port}\n",
    "outbound.ini": "enable_tls=false\n",
    "log.ini": f"level={LEVEL}\n",
    "me": "haraka.bench.example\n",
    "plugins": "relaying\n",
}


def missing() -> str:
    """Why this machine cannot run it; empty if it can."""
    if shutil.which("node") is None or not SERVER.exists():
        return "Haraka is not installed (npm ci --ignore-scripts --omit=optional --prefix bench/peers/haraka)"
    return "" if shutil.which("smtp-sink") else "Postfix's smtp-sink is not installed"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Target]:
    port = free_port()
    _write(folder, port)
    with sinking(folder) as sink:
        environment = os.environ | {"HARAKA": str(folder), "FAR_END": str(sink.port)}
        with started(["node", str(SERVER)], folder / "haraka.log", environment=environment) as process:
            wait_for("Haraka listens", lambda: listens(port), START_WITHIN, process)
            yield Target(smtp_port=port, far_end=sink, settle=lambda: _drain(folder / "queue"))


def _write(folder: Path, port: int) -> None:
    shutil.copytree(SERVER.parent / "config", folder / "config")  # as `haraka --install` does
    for name in ("plugins", "queue"):
        (folder / name).mkdir()
    for name, text in CONFIG.items():
        (folder / "config" / name).write_text(text.replace("{port}", str(port)))
    shutil.copy(HERE / "relaying.js", folder / "plugins")


def _drain(queue: Path) -> None:
    """Wait until nothing is queued."""
    wait_for("Haraka's queue is empty", lambda: not any(queue.iterdir()), 60.0)
