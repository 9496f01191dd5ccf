"""Starts the processes of a run and ends them again, whatever happens. Only loopback addresses."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

START_WITHIN = 30.0  # seconds
STOP_WITHIN = 30.0
RUN_WITHIN = 300.0  # seconds for one load; a server that needs more is reported as stuck


class BenchError(Exception):
    """A process did not do what it is there for. The text says which."""


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


def python(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


@contextlib.contextmanager
def started(
    command: Sequence[str], log: Path, *, stdout: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block runs. What it says goes to `log`."""
    with log.open("ab") as file:
        # A group of its own: Ctrl-C reaches us, and we end what we started in order.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout or file, stderr=file, process_group=0, env=environment
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then after a while SIGKILL to the whole group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_WITHIN)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(
    what: str, is_so: Callable[[], bool], within: float, process: subprocess.Popen[bytes] | None = None
) -> None:
    """Raises BenchError if it does not come true in `within` seconds, or the process ends before."""
    deadline = time.monotonic() + within
    while not is_so():
        if process is not None and process.poll() is not None:
            raise BenchError(f"{what}: the process ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {within:.0f} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def output(command: Sequence[str], within: float = RUN_WITHIN) -> str:
    """Run to the end and return what it printed. Raises BenchError if it fails or takes too long."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    )
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired as exc:
        raise BenchError(f"{' '.join(command)}: not within {within:.0f} s") from exc
    finally:
        end(process)
    if process.returncode != 0:
        raise BenchError(f"{' '.join(command)}: {err.decode('utf-8', 'replace').strip()[-500:]}")
    return out.decode("utf-8")
