"""The count of `bench.ses_stand_in`, which runs as a process of its own."""

from __future__ import annotations

import json
import urllib.request

from bench.processes import BenchError, wait_for

FAST = 100_000.0  # recipients a second: never what limits


class StandIn:
    """The count of the SES stand-in."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/count"

    def count(self) -> int:
        return self._seen()[0]

    def reached(self, goal: int, within: float) -> float:
        wait_for(f"SES has {goal} mails", lambda: self.count() >= goal, within)
        count, last_at = self._seen()
        if count != goal:
            raise BenchError(f"SES was given {count} mails, not {goal}")
        return last_at

    def _seen(self) -> tuple[int, float]:
        with urllib.request.urlopen(self._url, timeout=5) as answer:
            seen = json.load(answer)
        return seen["count"], seen["last_at"]
