"""Says when to leave a silent resolver alone. Reads no clock and asks nothing."""

from __future__ import annotations

import math

# Seconds without lookups: at most one mail in 30 s, and soon one in 5 min, pays for finding out that nothing changed.
FIRST_PAUSE = 30.0
LONGEST_PAUSE = 300.0


class Breaker:
    """When to leave a silent resolver alone. Pauses double; after each, one question goes through as a probe.

    Only silence counts, and REFUSED: this resolver does not serve us. SERVFAIL is an answer, and says that one domain
    is broken; it must not blind us to the others.
    """

    def __init__(self) -> None:
        self.silences = 0  # in a row
        self.openings = 0
        self._pause = 0.0
        self._until = -math.inf

    def lets_through(self, now: float) -> bool:
        if now < self._until:
            return False
        self._until = now + self._pause  # who comes now is the probe, and the others wait for what it finds
        return True

    def open(self, now: float) -> float:
        """Returns the seconds until the next probe."""
        self.openings += 1
        self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self._until = now + self._pause
        return self._pause

    def close(self) -> bool:
        """Begin anew. Returns whether it was open."""
        was_open = self._pause > 0
        self.silences, self._pause, self._until = 0, 0.0, -math.inf
        return was_open
