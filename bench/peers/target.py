"""A server under load, as the run sees it: ports to send to, and where its mail is counted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Counter(Protocol):
    """The far end of a path."""

    def count(self) -> int:
        """How many messages have arrived."""

    def reached(self, goal: int, within: float) -> float:
        """Wait for the count; returns the moment it was reached, by the monotonic clock. Raises BenchError."""


def nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """`settle` waits until work left over from one load cannot disturb the next."""

    smtp_port: int | None = None
    http_port: int | None = None
    key: str = ""
    far_end: Counter | None = None
    settle: Callable[[], None] = nothing
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """One row's server: started afresh in an empty folder each round."""

    name: str
    running: Callable[[Path], contextlib.AbstractContextManager[Target]]
    missing: Callable[[], str] = lambda: ""  # why it cannot run here; "" if it can
    by_smtp_source: bool = False  # whether it is measured with Postfix's generator, too
