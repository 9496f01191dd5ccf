"""Decides when the events of an SES account are missed. Pure: moments are milliseconds since 1970, spans timedeltas."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from relay.declared import Via
from relay.store.clock import milliseconds, rfc3339

UNREAD_FOR = timedelta(minutes=10)  # a queue that does not answer for a moment is nobody's loss
SETTLED_AFTER = timedelta(minutes=10)  # a server that was down finds its events waiting, and reads them first
CLOCKS_DIFFER = timedelta(seconds=10)  # between the machines that share a database, at most
CALM = 0.5  # of the backlog: below, it is over


class Cause(Enum):
    """What is wrong, the likeliest reason of the others first."""

    UNREAD = "unread"  # its queue does not answer, or an operator has to mend what brings its events
    BACKLOG = "backlog"  # they come faster than they are heard
    SILENCE = "silence"  # mail goes out, and nothing is heard of it


@dataclass(frozen=True, slots=True)
class Limits:
    """`silence`: how long mail may wait for news. `backlog`: how many events may wait in a queue."""

    silence: timedelta
    backlog: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of an account's feedback. A moment of None: never, or nobody knows.

    `sent_at`: when mail last left; `told_at`: when it was last heard what became of some. `owed_since`: as the last
    look had it. `asked_at`: when its queue last answered. `silent_since`: the alarm is on.
    """

    via: Via
    sent_at: int | None = None
    told_at: int | None = None
    owed_since: int | None = None
    asked_at: int | None = None
    waiting: int | None = None
    fault: str = ""
    silent_since: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """What follows; without a `cause` all is well. `owed_since`: mail left then, and since nothing was heard of any."""

    owed_since: int | None = None
    silent_since: int | None = None
    cause: Cause | None = None


def judge(sight: Sight, limits: Limits, now: int, up_for: timedelta) -> Gap:
    """`up_for`: how long whoever looks has been running. No alarm begins before it had time to hear what waited."""
    if sight.via is Via.NONE:
        return Gap()
    owed = _owed(sight)
    found = _found(sight, owed, limits, now, up_for)
    if found is None or (sight.silent_since is None and up_for < SETTLED_AFTER):
        return Gap(owed)
    cause, since = found
    return Gap(owed, since if sight.silent_since is None else sight.silent_since, cause)


def _owed(sight: Sight) -> int | None:
    """Of mail that left before the last news nothing is missed: a quiet night is none to worry about."""
    told = sight.told_at
    if sight.owed_since is not None and (told is None or told < sight.owed_since):
        return sight.owed_since
    if sight.sent_at is None or (told is not None and sight.sent_at <= told + milliseconds(CLOCKS_DIFFER)):
        return None
    return sight.sent_at


def _found(sight: Sight, owed: int | None, limits: Limits, now: int, up_for: timedelta) -> tuple[Cause, int] | None:
    began = now - milliseconds(up_for)
    asked = began if sight.asked_at is None else sight.asked_at
    if (sight.via is Via.SQS or sight.fault) and now - asked > milliseconds(UNREAD_FOR):
        return Cause.UNREAD, asked
    most = limits.backlog if sight.silent_since is None else limits.backlog * CALM
    if sight.waiting is not None and sight.waiting > most:
        return Cause.BACKLOG, now
    if owed is not None and now - owed >= milliseconds(limits.silence):
        return Cause.SILENCE, owed
    return None


def words(account: str, sight: Sight, gap: Gap) -> str:
    """The alarm in one sentence."""
    assert gap.silent_since is not None
    since = rfc3339(gap.silent_since, "minutes").replace("T", " ").replace("Z", " UTC")
    silent = f"feedback for account {account} has been silent since {since}"
    match gap.cause:
        case Cause.UNREAD:
            return f"{silent}: {sight.fault or 'nobody reads its queue'}"
        case Cause.BACKLOG:
            return f"feedback for account {account} is late: {sight.waiting:,} events wait in its queue"
    return f"{silent}: mail went out, and of none of it came a Delivery or a Bounce"
