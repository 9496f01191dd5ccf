"""What keeps a feed from being read, by what fails: a line in the log when it begins, and another at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from relay import log


@dataclass(slots=True)
class _Trouble:
    words: str
    began_at: float
    times: int = 1


class Troubles:
    """Of one account. `changed` is called when one begins or ends."""

    def __init__(self, account: str, changed: Callable[[], None]) -> None:
        self._account = account
        self._changed = changed
        self._now: dict[str, _Trouble] = {}

    @property
    def first(self) -> str:
        """The oldest in words; "" without any."""
        return next((each.words for each in self._now.values()), "")

    def has(self, work: str) -> bool:
        return work in self._now

    def count(self, work: str) -> int:
        """How often it failed since it began to."""
        return self._now[work].times if work in self._now else 0

    def begin(self, work: str, said: str, remedy: str) -> None:
        """It failed, whether for the first time or again; what is said of it may have become something else."""
        words = f"{said}: {remedy}" if remedy else said
        if (known := self._now.get(work)) is not None:
            known.words, known.times = words, known.times + 1
            return
        self._now[work] = _Trouble(words, time.monotonic())
        log.trouble("feed.failed", account=self._account, work=work, reason=said, remedy=remedy)
        self._changed()

    def end(self, work: str) -> None:
        """It was done."""
        if (ended := self._now.pop(work, None)) is not None:
            log.event("feed.mended", account=self._account, work=work, seconds=round(time.monotonic() - ended.began_at))
            self._changed()
