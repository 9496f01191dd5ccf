"""How events travel when a script disturbs them: dropped, doubled, late, out of order, broken."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from relay.sandbox.details import KINDS
from relay.sandbox.events import Event

_MOST_HELD = 100_000  # events; what is more goes at once
_MOST_COPIES = 100
_LONGEST = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Travel:
    """What befalls the events of an account.

    `duplicate`: so many more of each. `delay`: all come so many seconds later; with `shuffle` each a part of that by
    chance. `shuffle` mixes those of one mail, too. `drop`: events of these types never come. `withhold`: none comes
    until the script ends. `raw`: without SNS's envelope, as if the subscription asked for that. `corrupt`: the JSON of
    each ends in its middle.
    """

    duplicate: int = 0
    shuffle: bool = False
    delay: float = 0.0
    drop: tuple[str, ...] = ()
    withhold: bool = False
    raw: bool = False
    corrupt: bool = False

    def chosen(self, events: Sequence[Event]) -> list[Event]:
        """Those that come, as often and in the order that they begin."""
        coming = [event for event in events if event.kind not in self.drop for _ in range(1 + self.duplicate)]
        if self.shuffle:
            random.shuffle(coming)
        return coming

    def written(self, message: str) -> str:
        return message[: len(message) // 2] if self.corrupt else message

    def pause(self) -> float:
        """Seconds."""
        return random.uniform(0, self.delay) if self.shuffle else self.delay


# fmt: off
#   member       what it must be                             whether it is
MEMBERS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "duplicate": (f"0 to {_MOST_COPIES} copies",             lambda v: type(v) is int and 0 <= v <= _MOST_COPIES),
    "shuffle":   ("true or false",                           lambda v: isinstance(v, bool)),
    "delay":     (f"0 to {_LONGEST:g} seconds",              lambda v: type(v) in (int, float) and 0 <= v <= _LONGEST),
    "drop":      (f"a list with some of {', '.join(KINDS)}", lambda v: isinstance(v, list) and
                                                                       all(each in list(KINDS) for each in v)),
    "withhold":  ("true or false",                           lambda v: isinstance(v, bool)),
    "raw":       ("true or false",                           lambda v: isinstance(v, bool)),
    "corrupt":   ("true or false",                           lambda v: isinstance(v, bool)),
}
# fmt: on


def read_travel(value: object, wrong: list[str]) -> dict[str, Any]:
    """The members of a `Travel`. Adds what cannot be to `wrong`."""
    if not isinstance(value, dict) or not value:
        wrong.append(f"events: must be an object with some of {', '.join(MEMBERS)}")
        return {}
    for name, given in value.items():
        if name not in MEMBERS:
            wrong.append(f"events.{name}: unknown")
        elif not MEMBERS[name][1](given):
            wrong.append(f"events.{name}: must be {MEMBERS[name][0]}")
    return {name: tuple(given) if isinstance(given, list) else given for name, given in value.items()}


class Transit:
    """Events that are on their way. `withholds` says whether an account's have to wait."""

    def __init__(self, withholds: Callable[[str], bool]) -> None:
        self._withholds = withholds
        self._held: deque[tuple[str, Callable[[], None]]] = deque()
        self._timers: set[asyncio.TimerHandle] = set()

    def send(self, account: str, travel: Travel, arrive: Callable[[], None]) -> None:
        """Have it arrive when it is due: at once, later, or when what withholds it is over."""
        if len(self._held) + len(self._timers) >= _MOST_HELD:
            arrive()
        elif travel.withhold:
            self._held.append((account, arrive))
        elif travel.delay:
            self._later(travel.pause(), arrive)
        else:
            arrive()

    def release(self) -> None:
        """Let go what nothing withholds any more."""
        waiting, self._held = self._held, deque()
        for account, arrive in waiting:
            if self._withholds(account):
                self._held.append((account, arrive))
            else:
                arrive()

    def release_in(self, span: float) -> None:
        """Look again after so many seconds."""
        self._later(span, self.release)

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _later(self, span: float, work: Callable[[], None]) -> None:
        def ring() -> None:
            self._timers.discard(timer)
            work()

        timer = asyncio.get_running_loop().call_later(span, ring)
        self._timers.add(timer)
