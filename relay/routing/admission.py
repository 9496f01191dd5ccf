"""Decides who may connect: so many in all, so many from one address, the last places for those who are known."""

from __future__ import annotations

from collections import Counter
from enum import Enum

from relay.routing.logins import origin

# Of the places: beyond it strangers are turned away, and clients that keep one without using it are let go sooner
# (SMTP fact 1.6). The rest is for those who have brought mail before.
NEARLY = 0.8
REMEMBERED = 10_000  # addresses that have authenticated


class Crowded(Enum):
    """Why a connection cannot stay."""

    TOO_MANY = "too many connections: try again shortly"
    TOO_MANY_OF_YOURS = "too many connections from your address: close some, or ask for more"


class Admission:
    """Counts connections. One per door of a server.

    `most`: at once; `most_of_one`: from one IPv4 address, or one /64 of IPv6, which is what one subscriber has.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_strangers = max(1, int(NEARLY * most))
        self._most_of_one = most_of_one
        self._from: Counter[str] = Counter()
        self._known: dict[str, None] = {}  # oldest first
        self.count = 0

    @property
    def is_nearly_full(self) -> bool:
        return self.count >= NEARLY * self._most

    def enter(self, client: str, *, is_trusted: bool) -> Crowded | None:
        """Count a connection. Why one that is too many is; it counts until it leaves all the same."""
        whose = origin(client)
        self.count += 1
        self._from[whose] += 1
        is_known = is_trusted or whose in self._known
        if self.count > (self._most if is_known else self._most_of_strangers):
            return Crowded.TOO_MANY
        return Crowded.TOO_MANY_OF_YOURS if self._from[whose] > self._most_of_one else None

    def leave(self, client: str) -> None:
        whose = origin(client)
        self.count -= 1
        self._from[whose] -= 1
        if not self._from[whose]:
            del self._from[whose]

    def remember(self, client: str) -> None:
        """It has authenticated."""
        whose = origin(client)
        self._known.pop(whose, None)
        self._known[whose] = None
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
