"""What follows from an attempt: when the next is, when there is none, and when a webhook is given up. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from relay.store.clock import milliseconds, rfc3339
from relay.store.webhooks.outbox import Fate, Run

# After the first failure, the second, and so on: eight tries more, over some 42 hours.
WAITS = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=12),
    timedelta(hours=24),
)
JITTER = 0.1  # of a wait, added at random: what failed together does not come together again
LONGEST_ASKED = timedelta(hours=24)  # that a receiver may ask a post to wait
LONGEST_REST = timedelta(minutes=1)  # of a webhook that only fails: one attempt a minute, whatever waits for it
LONGEST_REST_ASKED = timedelta(hours=1)
FAILS_AFTER = 3  # failures in a row, before which it may be the event and not the receiver
GONE = HTTPStatus.GONE
ASK_FOR_PATIENCE = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
GIVE_UP_AFTER = timedelta(days=3)
FEWEST_FAILURES = 10  # in these days: two bad moments with silence between them are no three days of failure


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one post. `took`: milliseconds. `status` None: no answer, and `said` why. `body`: its beginning."""

    status: int | None
    took: int
    said: str = ""
    retry_after: timedelta | None = None
    body: bytes = field(default=b"", repr=False)

    @property
    def is_taken(self) -> bool:
        return self.status is not None and HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


@dataclass(frozen=True, slots=True)
class Next:
    """`wait` where it is tried again LATER."""

    fate: Fate
    wait: timedelta | None = None


def after(answer: Answer, failures: int, retries: int, chance: float) -> Next:
    """What becomes of a post, so many `failures` having come before. `chance`: of [0, 1).

    What is gone is tried again like the rest: if the webhook is ever enabled again, nothing is missing.
    """
    if answer.is_taken:
        return Next(Fate.TAKEN)
    if failures >= min(retries, len(WAITS)):
        return Next(Fate.DEAD)
    wait = WAITS[failures]
    if answer.status in ASK_FOR_PATIENCE and answer.retry_after is not None:
        wait = max(wait, min(answer.retry_after, LONGEST_ASKED))
    return Next(Fate.LATER, wait * (1 + JITTER * chance))


def rest_after(answer: Answer, in_a_row: int) -> timedelta:
    """How long nothing more is posted to a webhook of which so many attempts in a row failed, this one the last.

    So a receiver that is away costs an attempt a minute, and not its whole outbox again and again.
    """
    rest = timedelta(0)
    if answer.status == GONE:
        rest = LONGEST_REST  # it is disabled meanwhile
    elif in_a_row >= FAILS_AFTER:
        rest = min(timedelta(seconds=1 << min(in_a_row - FAILS_AFTER, 10)), LONGEST_REST)
    if answer.status in ASK_FOR_PATIENCE and answer.retry_after is not None:
        rest = max(rest, min(answer.retry_after, LONGEST_REST_ASKED))
    return rest


def reason_to_disable(answer: Answer, run: Run, now: int) -> str:
    """Why a webhook is not posted to any more. "": it is."""
    if answer.status == GONE:
        return "its receiver answered 410 Gone"
    if run.since is None or run.failures < FEWEST_FAILURES or now - run.since < milliseconds(GIVE_UP_AFTER):
        return ""
    return f"nothing but failures since {rfc3339(run.since, 'seconds')}, {run.failures} in a row"


_SECONDS = re.compile(r"[0-9]{1,9}")


def asked_to_wait(header: str | None, now: int) -> timedelta | None:
    """Retry-After (RFC 9110 section 10.2.3), in seconds or as a date. None for what is neither, or over."""
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=int(text))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    wait = at.replace(tzinfo=at.tzinfo or UTC) - datetime.fromtimestamp(now / 1000, UTC)
    return wait if wait > timedelta(0) else None
