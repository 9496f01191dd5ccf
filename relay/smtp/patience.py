"""How long a client is waited for, whatever it does meanwhile (SMTP facts 1.2, 1.3, 1.6). Decides, and does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from relay.smtp.replies import Reply

STRESSED = 10.0  # seconds for a command when slots run out; 5 s still let most through (SMTP fact 1.3)
WINDOW = 60.0  # seconds over which the rate of DATA is judged
STRESSED_WINDOW = 10.0
BARE_END = 10.0  # seconds of silence after something that looks like an end of data and is none


class Wait(Enum):
    """What the server waits for."""

    NOTHING = "nothing"  # it is our turn
    COMMAND = "a command"
    DATA = "the message"
    READING = "the client to read"


@dataclass(slots=True)
class Waiting:
    """One wait. Moments are of the loop's clock, in seconds.

    `since`: its begin; for DATA that of the window over which `octets` came. `started_at`: when the message began.
    `heard_at`: when anything came last. `tail`: the last octets; `is_bare_end`: they look like an end and are none.
    """

    what: Wait = Wait.NOTHING
    since: float = 0.0
    octets: int = 0
    started_at: float = 0.0
    heard_at: float = 0.0
    tail: bytes = b""
    is_bare_end: bool = False


@dataclass(frozen=True, slots=True)
class Overdue:
    """Why a client is let go. `reply` is None for one that does not read."""

    reply: Reply | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits of one server, in seconds, and octets a second."""

    idle: float
    login: float
    data: float
    min_rate: int

    def overdue(
        self, waiting: Waiting, now: float, *, connected_at: float, is_known: bool, is_stressed: bool
    ) -> Overdue | None:
        """What to tell a client that took too long; None for one that has time left.

        A command has its time as a whole, so that an octet now and then does not extend it.
        """
        match waiting.what:
            case Wait.NOTHING:
                return None
            case Wait.DATA:
                return self._overdue_data(waiting, now, is_stressed=is_stressed)
            case Wait.READING:
                limit = min(self.idle, STRESSED) if is_stressed else self.idle
                is_late = now > waiting.since + limit
                return Overdue(None, f"did not read our replies for {limit:.0f} s") if is_late else None
        login = min(self.login, STRESSED) if is_stressed else self.login
        if not is_known and now > connected_at + login:
            return Overdue(Reply.TIMEOUT, f"did not authenticate within {login:.0f} s")
        limit = min(self.idle, STRESSED) if is_stressed else self.idle
        if now > waiting.since + limit:
            return Overdue(Reply.TIMEOUT, f"sent no whole command for {limit:.0f} s")
        return None

    def _overdue_data(self, waiting: Waiting, now: float, *, is_stressed: bool) -> Overdue | None:
        """`waiting` begins a new window when the last one is over and was good."""
        if waiting.is_bare_end and now > waiting.heard_at + BARE_END:
            return Overdue(Reply.BARE_NEWLINE, "ended its message with a bare newline and went silent")
        if now > waiting.started_at + self.data:
            return Overdue(Reply.TIMEOUT, f"did not finish its message within {self.data:.0f} s")
        window = STRESSED_WINDOW if is_stressed else WINDOW
        if now > waiting.since + window:
            if waiting.octets < self.min_rate * window:
                return Overdue(Reply.TIMEOUT, f"sent its message at less than {self.min_rate} octets a second")
            waiting.since, waiting.octets = now, 0
        return None
