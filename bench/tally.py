"""What a load generator has to do, has done, and how long each answer took."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

MAX_FAILURES = 50  # a server that refuses more is not being measured


class Tally:
    """Counts down `messages`. What fails is put back, so that exactly so many are accepted."""

    def __init__(self, messages: int) -> None:
        self.messages = messages
        self.failures = 0
        self.started_at = time.monotonic()  # the same clock in every process of the machine
        self.finished_at = 0.0
        self._left = messages
        self._waits: list[float] = []

    @property
    def has_more(self) -> bool:
        return self._left > 0

    def take(self) -> int | None:
        """The number of the next message, or None when all are taken."""
        if self._left == 0:
            return None
        self._left -= 1
        return self.messages - self._left

    def accepted(self, waited: float) -> None:
        """One was acknowledged, `waited` seconds after its last octet was sent."""
        self._waits.append(waited)
        self.finished_at = time.monotonic()

    def failed(self, reason: str, *, is_taken: bool = True) -> None:
        """Something was not acknowledged; a message that was taken for it is sent again."""
        self.failures += 1
        self._left += is_taken
        if self.failures > MAX_FAILURES:
            raise SystemExit(f"{self.failures} failures; the last: {reason}")

    def as_json(self) -> str:
        """The result as one line. Exits where not every message was accepted."""
        if len(self._waits) != self.messages:
            raise SystemExit(f"{len(self._waits)} of {self.messages} messages were accepted")
        waits = sorted(self._waits)
        return json.dumps(
            {
                "messages": self.messages,
                "failures": self.failures,
                "started_at": self.started_at,
                "finished_at": self.finished_at,
                "p50": waits[len(waits) // 2],
                "p99": waits[len(waits) * 99 // 100],
            }
        )


async def drive(tally: Tally, port: int, sessions: int, session: Callable[[], Any]) -> Tally:
    """Keep so many sessions open until every message is accepted.

    `session` makes a protocol whose future `is_over` tells its end.
    """

    async def keep_going() -> None:
        loop = asyncio.get_running_loop()
        while tally.has_more:
            _, protocol = await loop.create_connection(session, "127.0.0.1", port)
            await protocol.is_over

    async with asyncio.TaskGroup() as tasks:
        for _ in range(sessions):
            tasks.create_task(keep_going())
    return tally


def arguments() -> argparse.ArgumentParser:
    """What every load generator is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--messages", type=int, default=1000)
    return parser
