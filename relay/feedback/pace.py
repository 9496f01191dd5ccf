"""How fast the events of an account are read: by how full the answers of its queue are, and who else is busy."""

from __future__ import annotations

from collections.abc import Sequence

MOST_RECEIVES = 4  # in flight at once
FULL = 0.7  # of what could have come
# Of the time, while mail is accepted. With the calls to SQS, accepting is a tenth slower then; with 0.15 a fifth.
SHARE = 0.12
LONGEST_REST = 10.0  # seconds: what was received is not to be handed out again meanwhile
LONGEST_BACKOFF = 60.0  # seconds


def receives(before: int, answers: Sequence[int], full: int) -> int:
    """How many to make at once after these, which brought so many messages each: more while they are full, or nearly.

    SQS does not always give as many as it could.
    """
    brought = sum(answers)
    if brought >= FULL * before * full:
        return min(before * 2, MOST_RECEIVES)
    return max(before // 2, 1) if brought else 1


class Courtesy:
    """What all feeds together leave to who else needs the database. Moments are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def wait(self, now: float) -> float:
        """Seconds until work may begin."""
        return max(0.0, self._free_at - now)

    def worked(self, span: float, now: float, *, is_busy: bool) -> None:
        """So many seconds, until now. `is_busy`: others waited for the database meanwhile."""
        if is_busy:
            rest = span * (1 / SHARE - 1)
            self._free_at = min(max(now, self._free_at) + rest, now + LONGEST_REST)


def backoff(failures: int) -> float:
    """Seconds until the next try after so many failures in a row, 1 or more."""
    return min(2.0 ** min(failures - 1, 10), LONGEST_BACKOFF)
