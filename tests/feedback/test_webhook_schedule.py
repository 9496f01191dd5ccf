"""What follows from an attempt: tables of the schedule, of rests, and of when a webhook is given up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.feedback.webhooks.schedule import (
    LONGEST_ASKED,
    LONGEST_REST,
    LONGEST_REST_ASKED,
    WAITS,
    Answer,
    Next,
    after,
    asked_to_wait,
    reason_to_disable,
    rest_after,
)
from relay.store.webhooks.outbox import Fate, Run

NOW = 1_800_000_000_000
DAY = 86_400_000
OK, FAILED, NONE = Answer(204, 10), Answer(500, 10), Answer(None, 10, "no connection")


def test_eight_tries_more_in_the_words_of_the_docs() -> None:
    waits = [after(FAILED, failures, 8, 0.0) for failures in range(9)]
    assert [each.wait for each in waits[:8]] == [*WAITS]
    assert waits[8] == Next(Fate.DEAD)
    assert sum(WAITS, timedelta()) == timedelta(hours=41, minutes=42, seconds=30)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_taken(status: int) -> None:
    assert after(Answer(status, 1), 3, 8, 0.5) == Next(Fate.TAKEN)


@pytest.mark.parametrize("status", [None, 199, 300, 301, 302, 304, 400, 404, 410, 418, 429, 500, 503, 599])
def test_all_else_is_tried_again_and_then_is_not(status: int | None) -> None:
    assert after(Answer(status, 1), 0, 1, 0.0) == Next(Fate.LATER, WAITS[0])
    assert after(Answer(status, 1), 1, 1, 0.0) == Next(Fate.DEAD)
    assert after(Answer(status, 1), 0, 0, 0.0) == Next(Fate.DEAD)


@pytest.mark.parametrize(
    ("status", "asked", "failures", "wait"),
    [
        (429, timedelta(seconds=1), 0, WAITS[0]),  # no sooner than it would be
        (429, timedelta(hours=2), 0, timedelta(hours=2)),
        (503, timedelta(hours=2), 0, timedelta(hours=2)),
        (503, timedelta(days=400), 0, LONGEST_ASKED),
        (503, timedelta(minutes=1), 4, WAITS[4]),
        (500, timedelta(hours=2), 0, WAITS[0]),  # only who says why may ask
        (429, None, 0, WAITS[0]),
    ],
)
def test_what_a_receiver_asks_for(status: int, asked: timedelta | None, failures: int, wait: timedelta) -> None:
    assert after(Answer(status, 1, retry_after=asked), failures, 8, 0.0).wait == wait


def test_what_failed_together_does_not_come_together_again() -> None:
    waits = {after(FAILED, 2, 8, chance / 10).wait for chance in range(10)}
    assert len(waits) == 10
    assert all(WAITS[2] <= wait <= WAITS[2] * 1.1 for wait in waits if wait is not None)


@pytest.mark.parametrize(
    ("in_a_row", "seconds"), [(1, 0), (2, 0), (3, 1), (4, 2), (5, 4), (8, 32), (9, 60), (10_000, 60)]
)
def test_who_only_fails_is_left_in_peace(in_a_row: int, seconds: int) -> None:
    assert rest_after(NONE, in_a_row) == timedelta(seconds=seconds)


def test_who_asks_is_left_in_peace_at_once() -> None:
    assert rest_after(Answer(503, 1, retry_after=timedelta(minutes=5)), 1) == timedelta(minutes=5)
    assert rest_after(Answer(429, 1, retry_after=timedelta(days=5)), 1) == LONGEST_REST_ASKED
    assert rest_after(Answer(410, 1), 1) == LONGEST_REST


@pytest.mark.parametrize(
    ("answer", "run", "is_over"),
    [
        (Answer(410, 1), Run(NOW, 1), True),
        (FAILED, Run(NOW - 3 * DAY, 10), True),
        (NONE, Run(NOW - 3 * DAY, 10), True),
        (FAILED, Run(NOW - 3 * DAY + 1, 1000), False),
        (FAILED, Run(NOW - 30 * DAY, 9), False),  # silence is no failure
        (OK, Run(None, 0), False),
    ],
    ids=["gone", "three-days", "nobody-there", "not-yet", "too-few", "well"],
)
def test_when_a_webhook_is_given_up(answer: Answer, run: Run, is_over: bool) -> None:
    assert bool(reason_to_disable(answer, run, NOW)) is is_over


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, None),
        ("", None),
        ("120", timedelta(seconds=120)),
        (" 0 ", timedelta(0)),
        ("-1", None),
        ("1.5", None),
        ("99999999999999", None),
        ("Fri, 15 Jan 2027 08:10:00 GMT", timedelta(minutes=10)),
        ("Fri, 15 Jan 2027 07:50:00 GMT", None),
        ("Fri, 15 Jan 2027 09:10:00 +0100", timedelta(minutes=10)),
        ("Fri, 99 Foo 2027 08:10:00 GMT", None),
        ("soon", None),
        ("\u0661", None),
    ],
    ids=lambda value: None,
)
def test_retry_after(header: str | None, wait: timedelta | None) -> None:
    assert asked_to_wait(header, NOW) == wait
