"""How fast a lane goes: the rate, what a throttle does to it, the daily quota, and how many calls at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dispatch.allowance import Allowance
from relay.dispatch.estimates import Backlog
from relay.dispatch.pacing import Pace
from relay.dispatch.quota import concerns
from relay.dispatch.slots import BUSY_CEILING, FLOOR, Slots
from relay.message import Stream
from relay.ses.wire import Quota

T, S, B = Stream
HOUR = 3600.0


def test_a_lane_starts_with_a_second_of_tokens_and_refills_at_its_rate() -> None:
    pace = Pace.at_rate(14, 0.0)
    assert pace.startable(0.0) == 14
    pace.spend(14)
    assert pace.startable(0.0) == 0
    assert pace.startable(0.5) == 7
    assert pace.startable(100.0) == 14  # never more than a second ahead


def test_a_call_larger_than_the_bucket_waits_for_a_full_one_and_leaves_it_in_debt() -> None:
    pace = Pace.at_rate(10, 0.0)
    assert pace.can_start(50, 0.0)
    pace.spend(50)
    assert not pace.can_start(1, 3.9)
    assert pace.can_start(1, 4.2)
    assert not pace.can_start(50, 4.2)
    assert pace.can_start(50, 5.1)


def test_a_slow_account_still_sends() -> None:
    pace = Pace.at_rate(0.5, 0.0)
    assert pace.can_start(1, 0.0)
    pace.spend(1)
    assert not pace.can_start(1, 1.9)
    assert pace.can_start(1, 2.1)


def test_a_throttle_halves_the_rate_for_five_seconds_then_it_grows_back_and_feels_for_what_was_too_much() -> None:
    pace = Pace.at_rate(100, 0.0)
    pace.slow(1.0)
    assert (pace.rate, pace.startable(1.0)) == (50, 0)
    pace.advance(6.0)
    assert pace.rate == 50
    pace.advance(8.0)
    assert pace.rate == pytest.approx(60)
    pace.advance(14.0)
    assert pace.rate == pytest.approx(90)
    pace.advance(16.0)
    assert pace.rate == pytest.approx(91)
    pace.advance(100.0)
    assert pace.rate == 100


def test_it_grows_alike_however_often_it_is_looked_at() -> None:
    often, once = Pace.at_rate(100, 0.0), Pace.at_rate(100, 0.0)
    for pace in (often, once):
        pace.slow(0.0)
    for tenth in range(200):
        often.advance(tenth / 10)
    once.advance(19.9)
    assert often.rate == pytest.approx(once.rate)


def test_calls_that_were_under_way_at_a_throttle_say_nothing_new() -> None:
    pace = Pace.at_rate(100, 0.0)
    for call in range(50):
        pace.slow(1.0 + call / 100)
    assert (pace.rate, pace.throttles) == (50, 50)


def test_a_storm_of_throttles_does_not_stop_the_lane() -> None:
    pace = Pace.at_rate(100, 0.0)
    for second in range(50):
        pace.slow(float(second))
    assert pace.rate == 5


def test_live_limits_replace_the_configured_rate() -> None:
    pace = Pace.at_rate(1, 0.0)
    pace.retune(100, 0.0)
    assert (pace.full, pace.rate) == (90, 90)
    pace.slow(0.0)
    pace.retune(200, 0.0)
    assert (pace.full, pace.rate) == (180, 90)  # a slow-down keeps its proportion


def test_a_lower_rate_holds_at_once_and_the_live_limits_after_it() -> None:
    pace = Pace.at_rate(100, 0)
    pace.assume(1, 0)
    assert (pace.rate, pace.startable(0)) == (1, 1)
    pace.retune(10, 1)
    assert (pace.full, pace.rate) == (9, 9)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), max_size=60), st.floats(1, 500))
def test_no_more_than_the_rate_allows_ever_starts(steps: list[tuple[float, int]], rate: float) -> None:
    pace = Pace.at_rate(rate, 0.0)
    now, started, largest = 0.0, 0, 0
    for wait, recipients in steps:
        now += wait
        if pace.can_start(recipients, now):
            pace.spend(recipients)
            started += recipients
            largest = max(largest, recipients)
    # A second's worth at the start, the rate since then, and at most one call's overdraft.
    assert started <= rate + rate * now + largest + 1


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60), st.floats(0.1, 1000))
def test_the_rate_stays_between_its_bounds(steps: list[tuple[float, bool]], full: float) -> None:
    pace, now = Pace.at_rate(full, 0.0), 0.0
    for wait, is_throttled in steps:
        now += wait
        pace.advance(now)
        if is_throttled:
            pace.slow(now)
        assert 0.05 * full <= pace.rate * 1.000001
        assert pace.rate <= full
        assert pace.tokens <= pace.burst
    pace.advance(now + 5 + 20 / 0.5 + 100)
    pace.advance(now + 1000)
    assert pace.rate == pytest.approx(full)


# -- the daily quota -------------------------------------------------------------------------------------------------


def test_without_a_quota_nothing_is_kept() -> None:
    allowance = Allowance(0.1)
    allowance.begin(10**6)
    assert allowance.left(B) == float("inf")
    allowance.learn(None, 5.0, 0.0)
    assert not allowance.is_used_up(T)


# fmt: off
LEFT = [
    # reserve  quota  sent   transactional  other
    (0.1,      1000,    0,   980,           900),
    (0.1,      1000,  895,    85,             5),
    (0.1,      1000,  900,    80,             0),
    (0.1,      1000,  980,     0,             0),
    (0.1,      1000, 1200,     0,             0),
    (0.0,      1000,    0,   980,           980),
    (1.0,      1000,    0,   980,             0),
    (0.1,       200,  179,    17,             1),
    (0.1,         0,    0,     0,             0),
]
# fmt: on


@pytest.mark.parametrize(("reserve", "daily", "sent", "transactional", "other"), LEFT)
def test_the_rest_of_a_quota_is_for_transactional_mail(
    reserve: float, daily: float, sent: float, transactional: int, other: int
) -> None:
    allowance = Allowance(reserve)
    allowance.learn(daily, sent, 0.0)
    assert (allowance.left(T), allowance.left(S), allowance.left(B)) == (transactional, other, other)


def test_what_is_sent_counts_at_once_and_what_ses_refused_does_not() -> None:
    allowance = Allowance(0.1)
    allowance.learn(1000, 100, 0.0)
    for _ in range(3):
        allowance.begin(10)
    assert allowance.used() == 130
    allowance.end(10, 1.0, is_sent=True)
    allowance.end(10, 1.0, is_sent=False)
    assert allowance.used() == 120
    allowance.learn(1000, 110, 2.0)  # the third may be in it, or not
    assert allowance.used() == 120
    allowance.end(10, 3.0, is_sent=True)
    assert allowance.used() == 120


def test_what_was_counted_here_is_there_though_ses_is_late() -> None:
    allowance = Allowance(0.1)
    for _ in range(50):
        allowance.begin(10)
        allowance.end(10, 10.0, is_sent=True)
    allowance.learn(1000, 0, 20.0)
    assert allowance.used() == 500
    allowance.learn(1000, 700, 30.0)
    assert (allowance.used(), allowance.others()) == (700, 200)


def test_the_window_moves_on() -> None:
    allowance = Allowance(0.0)
    for hour in range(24):
        allowance.begin(10)
        allowance.end(10, hour * HOUR, is_sent=True)
    allowance.learn(245, 240, 23 * HOUR)
    assert allowance.is_used_up(T)
    allowance.learn(245, 230, 24 * HOUR + 61)
    assert (allowance.used(), allowance.is_used_up(T)) == (230, False)


@given(
    st.integers(1, 5000),
    st.floats(0, 0.5),
    st.lists(st.tuples(st.sampled_from(list(Stream)), st.integers(1, 50), st.floats(0, 600), st.booleans())),
)
def test_no_quota_is_ever_exceeded(daily: int, reserve: float, steps: list[tuple[Stream, int, float, bool]]) -> None:
    """Whoever asks before each call, and sends only what is left, stays within it, whenever SES is asked."""
    allowance, now, log = Allowance(reserve), 0.0, list[tuple[float, int]]()
    allowance.learn(daily, 0, now)
    for stream, recipients, wait, asks in steps:
        now += wait
        if asks:
            allowance.learn(daily, sum(count for at, count in log if at > now - 86_400), now)
        if allowance.left(stream) >= recipients:
            allowance.begin(recipients)
            log.append((now, recipients))
            allowance.end(recipients, now, is_sent=True)
        assert sum(count for at, count in log if at > now - 86_400) <= daily * 0.98


# -- slots -----------------------------------------------------------------------------------------------------------


def seen(seconds: float, recipients: int, most: int = 200) -> Slots:
    slots = Slots(most)
    for _ in range(200):
        slots.observe(seconds, recipients)
    return slots


# fmt: off
AT_ONCE = [
    # rate   seconds  recipients  most  load   calls at once
    (12.6,   0.150,    1,         200,  0.0,   FLOOR),
    (180.0,  0.150,    1,         200,  0.0,   41),
    (900.0,  0.150,    1,         200,  0.0,   200),   # the ceiling: 203 would be wanted
    (900.0,  0.050,    1,         200,  0.0,   68),
    (900.0,  0.150,   50,         200,  0.0,   5),
    (900.0,  0.150,    1,          10,  0.0,   10),    # as configured
    (900.0,  0.150,    1,         200,  0.95,  BUSY_CEILING),
    (0.9,    0.150,    1,           1,  0.0,   1),
]
# fmt: on


@pytest.mark.parametrize(("rate", "seconds", "recipients", "most", "load", "expected"), AT_ONCE)
def test_as_many_calls_at_once_as_rate_and_latency_need(
    rate: float, seconds: float, recipients: int, most: int, load: float, expected: int
) -> None:
    assert seen(seconds, recipients, most).at_once(rate, load) == pytest.approx(expected, abs=1)


def test_a_call_that_timed_out_says_little_of_the_others() -> None:
    slots = seen(0.1, 1)
    slots.observe(60.0, 1)
    assert slots.latency < 0.16


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50))), st.floats(0.1, 5000), st.integers(1, 300))
def test_slots_stay_between_their_bounds(calls: list[tuple[float, int]], rate: float, most: int) -> None:
    slots = Slots(most)
    for seconds, recipients in calls:
        slots.observe(seconds, recipients)
    assert min(FLOOR, most) <= slots.at_once(rate) <= most


# -- estimates -------------------------------------------------------------------------------------------------------

# fmt: off
WORK = [
    # (domain, stream, tenant, recipients) ...                             for              ahead    work until then
    ([("a", T, 1, 100)],                                                   ("a", T, 1),     100,     100),
    ([],                                                                   ("a", T, 1),     1,       1),
    ([("a", T, 1, 100), ("b", T, 2, 1000)],                                ("a", T, 1),     100,     200),
    ([("a", T, 1, 1000), ("b", T, 2, 10)],                                 ("a", T, 1),     1000,    1010),
    ([("a", T, 1, 100), ("b", T, 1, 1000), ("c", T, 2, 50)],               ("a", T, 1),     100,     250),
    ([("b", B, 2, 50_000)],                                                ("a", T, 1),     9,       10),      # one in ten
    ([("a", T, 1, 90), ("b", B, 2, 50_000)],                               ("a", T, 1),     90,      100),
    ([("a", T, 1, 90), ("b", B, 2, 50_000)],                               ("b", B, 2),     50_000,  50_090),
    ([("a", T, 1, 90_000), ("b", B, 2, 5)],                                ("b", B, 2),     5,       50),
]
# fmt: on


@pytest.mark.parametrize(("waiting", "of", "ahead", "work"), WORK)
def test_the_work_before_a_delivery(
    waiting: list[tuple[str, Stream, int, float]], of: tuple[str, Stream, int], ahead: int, work: float
) -> None:
    backlog = Backlog(((name, stream), tenant, recipients) for name, stream, tenant, recipients in waiting)
    assert backlog.work_before(of[:2], of[2], ahead) == pytest.approx(work)


# -- what an operator is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, []),
        ({"is_production": False}, ["ask for production access"]),
        ({"enforcement": "PROBATION"}, ["under review"]),
        ({"enforcement": "SHUTDOWN", "is_production": False}, ["ask for production access", "shut down"]),
    ],
)
def test_what_ses_says_of_an_account_is_passed_on(said: dict[str, Any], words: list[str]) -> None:
    quota = Quota(
        **{"rate": 14, "daily": 50_000, "sent_today": 0, "is_sending_enabled": True, "is_production": True} | said
    )
    found = concerns(quota)
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))
