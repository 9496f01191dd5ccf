"""How long an HTTP client is waited for, whatever it does meanwhile. Decides, and does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

HEAD = 10.0  # seconds for a whole head, from its first octet, or from the beginning of the connection
IDLE = 75.0  # between two requests
IDLE_WHEN_CROWDED = 5.0
TURNED_AWAY = 2.0  # for a request of one that is too many, to tell it so
READING = 30.0  # to read some of an answer that is longer than what fits between us
LINGERING = 30.0  # after an answer that left some of a body unread: closed at once, it could take the answer along
LINGERING_IN_SILENCE = 2.0


class Wait(Enum):
    """What the server waits for."""

    NOTHING = "nothing"  # it is our turn; or the body's, whose deadline is with who reads it
    FIRST = "a first request"
    HEAD = "the rest of a head"
    NEXT = "another request"
    LEAVING = "the client to leave"


class Overdue(Enum):
    """What becomes of a client that took too long."""

    CLOSE = "its connection ends"
    TELL = "it is told, and its connection ends"
    ABORT = "its connection ends, and what it has not read is lost"


@dataclass(slots=True)
class Waiting:
    """One connection's wait. Moments are of the loop's clock, in seconds.

    `since`: its begin. `heard_at`: when anything came last, for one that leaves. `unread_since`: when the client last
    read some of an answer that waits to be read; None while none does.
    """

    what: Wait
    since: float
    heard_at: float = 0.0
    unread_since: float | None = None


def overdue(waiting: Waiting, now: float, *, is_crowded: bool, is_turned_away: bool) -> Overdue | None:
    """None for a client that has time left. `is_crowded`: others need the place."""
    if waiting.unread_since is not None:
        return Overdue.ABORT if now > waiting.unread_since + READING else None
    spent = now - waiting.since
    match waiting.what:
        case Wait.NOTHING:
            return None
        case Wait.FIRST:
            return Overdue.CLOSE if spent > (TURNED_AWAY if is_turned_away else HEAD) else None
        case Wait.HEAD:
            return Overdue.TELL if spent > HEAD else None
        case Wait.NEXT:
            return Overdue.CLOSE if spent > (IDLE_WHEN_CROWDED if is_crowded else IDLE) else None
        case Wait.LEAVING:
            is_over = spent > LINGERING or now > waiting.heard_at + LINGERING_IN_SILENCE
            return Overdue.ABORT if is_over else None
