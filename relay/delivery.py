"""The unit of the queue: its states, the only moves between them, and what follows an attempt. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, IntFlag

from relay.errors import After, Kind
from relay.message import Mode, Stream


class State(Enum):
    """Where a delivery is. Meanings and ways out: docs/states.md."""

    QUEUED = "queued"
    SENDING = "sending"
    UNKNOWN = "unknown"
    HELD = "held"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in MOVES


# Every decision moves along one of these. That SES took a delivery is a fact, not a decision: it moves any state
# that is not final to SENT.
MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.SENDING, State.CANCELLED, State.FAILED, State.HELD}),
    State.SENDING: frozenset({State.SENT, State.QUEUED, State.FAILED, State.UNKNOWN}),
    State.UNKNOWN: frozenset({State.QUEUED, State.FAILED, State.CANCELLED}),
    State.HELD: frozenset({State.QUEUED, State.CANCELLED, State.FAILED}),
}

FINAL = tuple(state for state in State if state not in MOVES)


class RecipientState(Enum):
    """What became of one address. Later events move it by rank, never back."""

    QUEUED = "queued"
    SENT = "sent"
    DELAYED = "delayed"
    SUPPRESSED = "suppressed"
    FAILED = "failed"
    REJECTED = "rejected"
    SOFT_BOUNCED = "soft_bounced"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained"


class Report(IntFlag):
    """What the sender of an SMTP message is told of a delivery by a report of its own (RFC 3461 section 4.1)."""

    NONE = 0
    SUCCESS = 1  # that SES took it: SES itself reports nothing
    FAILURE = 2
    DELAY = 4


@dataclass(frozen=True, slots=True)
class Tracking:
    """Whether opens and clicks of one message are tracked; None: as the configuration set has it."""

    opens: bool | None = None
    clicks: bool | None = None

    def otherwise(self, usual: Tracking) -> Tracking:
        """What this says, and where it says nothing, what is usual."""
        return Tracking(
            usual.opens if self.opens is None else self.opens, usual.clicks if self.clicks is None else self.clicks
        )

    @property
    def is_on(self) -> bool:
        """Whether anything is tracked for sure: its events do not tell recipients of one call apart (SES fact 1.4)."""
        return bool(self.opens or self.clicks)


class OnUnknown(Enum):
    """What to do with a delivery that SES may or may not have, once nothing more can be learnt."""

    RETRY = "retry"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One SES call for 1 to 50 recipients of one message. Times are milliseconds since 1970."""

    id: int
    message_id: int
    public_id: str
    tenant_id: int
    domain: str
    stream: Stream
    mode: Mode
    recipients: tuple[str, ...]
    size: int
    attempts: int
    failures: int
    possible_duplicates: int
    first_due_at: int
    wrapped_key: bytes | None = None
    tracking: Tracking = Tracking()
    reports: Report = Report.NONE


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an attempt came to: the move, and what is recorded with it.

    `seen_attempt` fences: a decision is written only if the delivery is still sending that attempt.
    """

    delivery_id: int
    seen_attempt: int
    state: State
    account: str
    due_at: int | None = None
    failures: int = 0
    kind: Kind | None = None
    detail: str = ""
    ses_message_id: str | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Decides what follows an attempt. Delays double from `first` to `cap`; jitter takes off up to a tenth."""

    first: timedelta = timedelta(seconds=30)
    cap: timedelta = timedelta(minutes=30)
    max_failures: int = 54
    max_unforeseen: int = 3  # failures with an answer of SES that nobody has heard of
    max_age: timedelta = timedelta(hours=24)
    on_unknown: OnUnknown = OnUnknown.RETRY
    jitter: Callable[[], float] = random.random

    def delay(self, failures: int) -> timedelta:
        """How long to wait after this many failures: 30 s, 60 s, 2 min, 4 min, 8 min ... 30 min."""
        doubled = self.first * float(2 ** min(max(failures, 1) - 1, 20))
        return min(doubled, self.cap) * (1 - 0.1 * self.jitter())

    def is_too_old(self, first_due_at: int, now: int) -> bool:
        return now - first_due_at > self.max_age / timedelta(milliseconds=1)

    def after(
        self, kind: Kind, delivery: Delivery, now: int, *, account: str, window: timedelta, detail: str
    ) -> Settlement:
        """What follows a failed attempt. `window` is how long an unknown outcome may still be learnt."""
        failures = delivery.failures + (kind.after in {After.RETRY, After.UNKNOWN})

        def move(state: State, wait: timedelta | None = None) -> Settlement:
            due_at = None if wait is None else now + int(wait / timedelta(milliseconds=1))
            return Settlement(
                delivery.id, delivery.attempts, state, account, due_at, failures, kind, detail, ses_message_id=None
            )

        if kind.after is After.UNKNOWN:
            return move(State.UNKNOWN, window)
        if kind.after is After.FAIL:
            return move(State.FAILED)
        most = self.max_unforeseen if kind is Kind.SES_UNFORESEEN else self.max_failures
        if failures >= most or self.is_too_old(delivery.first_due_at, now):
            return move(State.FAILED)
        if kind.after is After.RETRY:
            return move(State.QUEUED, self.delay(failures))
        # A throttle or a hold is no fault of the mail. Due at once: the lane decides when it looks again.
        return move(State.QUEUED, timedelta(0))

    def resolve(self, failures: int, first_due_at: int, now: int) -> tuple[State, int | None]:
        """What becomes of an unknown outcome when nothing more can be learnt: a new state and when it is due."""
        if self.on_unknown is OnUnknown.FAIL or failures >= self.max_failures or self.is_too_old(first_due_at, now):
            return State.FAILED, None
        wait = self.delay(failures) if failures else timedelta(0)  # a crash is no fault of the mail
        return State.QUEUED, now + int(wait / timedelta(milliseconds=1))
