"""Rates: what is refused, for how long and what the headers say; and how mail that is never refused is spread."""

from __future__ import annotations

import itertools
import math
import threading
from collections import defaultdict
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind
from relay.routing import rates
from relay.routing.rates import Allowed, Pacer, Rates, headers, rate_of, refusal
from relay.routing.windows import Windows
from relay.settings import Http

WALL = 1_790_000_000.0


class Clock:
    """Seconds by hand, in steps that a float holds exactly."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def counted(clock: Clock) -> Rates:
    return Rates(clock, lambda: WALL + clock.now)


# -- requests ----------------------------------------------------------------------------------------------------------


def test_what_is_published() -> None:
    http = Http(address="127.0.0.1:8080")
    assert (http.requests_per_minute, http.management_requests_per_minute) == (1800, 600)


@pytest.mark.parametrize(
    ("key", "plan", "published", "rate"),
    [(5, 10, 1800, 5), (20, 10, 1800, 20), (None, 10, 1800, 10), (5, None, 600, 5), (None, None, 600, 600)],
)
def test_whose_rate_holds(key: int | None, plan: int | None, published: int, rate: int) -> None:
    assert rate_of(key, plan, published) == rate


def test_a_request_over_the_rate_waits_until_the_oldest_is_a_minute_old(clock: Clock) -> None:
    rates = counted(clock)
    assert rates.hit("send", "1", 2) == Allowed(2, 1, int(WALL) + 1060, None)
    clock.now += 10.25
    assert rates.hit("send", "1", 2) == Allowed(2, 0, int(WALL) + 1060, None)
    clock.now += 10
    assert rates.hit("send", "1", 2) == Allowed(2, 0, int(WALL) + 1060, timedelta(seconds=39.75))
    clock.now += 39.75
    assert rates.hit("send", "1", 2) == Allowed(2, 0, int(WALL) + 1071, None)


def test_scopes_and_keys_are_counted_apart(clock: Clock) -> None:
    rates = counted(clock)
    for scope, key in itertools.product(("send", "manage"), "12"):
        assert rates.hit(scope, key, 1).retry_after is None
        assert rates.hit(scope, key, 1).retry_after == timedelta(minutes=1)


def test_a_new_rate_holds_at_once(clock: Clock) -> None:
    rates = counted(clock)
    rates.hit("send", "1", 1)
    assert rates.hit("send", "1", 1).retry_after is not None
    assert rates.hit("send", "1", 3).remaining == 2


def test_headers_and_refusal() -> None:
    refused = Allowed(600, 0, 1_790_000_061, timedelta(seconds=60.5))
    assert headers(refused) == {
        "X-RateLimit-Limit": "600",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1790000061",
    }
    problem = refusal(refused)
    assert (problem.kind, problem.retry_after) == (Kind.RATE_LIMITED, timedelta(seconds=60.5))
    assert "600 requests within a minute" in problem.detail


WAITS = st.integers(0, 100).map(lambda sixteenths: sixteenths / 16) | st.sampled_from([30.0, 59.9375, 60.0, 61.0])


@given(st.integers(1, 6), st.lists(st.tuples(WAITS, st.sampled_from("ab")), max_size=80))
def test_it_counts_as_one_who_forgets_nothing(per_minute: int, hits: list[tuple[float, str]]) -> None:
    clock = Clock()
    rates = counted(clock)
    let_in: dict[str, list[float]] = defaultdict(list)
    for wait, key in hits:
        clock.now += wait
        within = [at for at in let_in[key] if at > clock.now - 60]
        allowed = rates.hit("send", key, per_minute)
        assert (allowed.retry_after is None) == (len(within) < per_minute)
        if allowed.retry_after is None:
            let_in[key].append(clock.now)
            within.append(clock.now)
        else:
            assert allowed.retry_after == timedelta(milliseconds=math.ceil((within[0] + 60 - clock.now) * 1000))
        assert allowed.remaining == per_minute - len(within)
        assert allowed.reset_at == math.ceil(WALL + within[0] + 60)


@given(st.integers(1, 5), st.lists(WAITS, min_size=1, max_size=30))
def test_who_waits_as_told_is_let_in(per_minute: int, waits: list[float]) -> None:
    clock = Clock()
    rates = counted(clock)
    for wait in waits:
        clock.now += wait
        allowed = rates.hit("send", "1", per_minute)
        if allowed.retry_after is not None:
            clock.now += allowed.retry_after.total_seconds()
            assert rates.hit("send", "1", per_minute).retry_after is None


def test_no_thread_is_started(clock: Clock) -> None:
    before = threading.active_count()
    rates = counted(clock)
    for key in range(500):
        rates.hit("send", str(key), 10)
    assert threading.active_count() == before


# -- memory ------------------------------------------------------------------------------------------------------------


def test_what_is_over_is_forgotten_by_itself(clock: Clock) -> None:
    windows = Windows(1000, clock)
    for key in range(500):
        windows.acquire_entry(str(key), 5, 60)
    clock.now += 60
    windows.acquire_entry("new", 5, 60)
    assert len(windows) == 1


def test_beyond_its_room_it_forgets_who_was_let_in_longest_ago(clock: Clock) -> None:
    windows = Windows(3, clock)
    for key in "abcad":
        windows.acquire_entry(key, 5, 60)
    assert len(windows) == 3
    assert [windows.get_moving_window(key, 5, 60)[1] for key in "abcd"] == [2, 0, 1, 1]


def test_strangers_do_not_push_out_keys(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "KEYS", 10)
    counting = counted(clock)
    counting.hit("send", "1", 1)
    for number in range(100):
        counting.hit("anonymous", f"192.0.2.{number}", 1)
    assert counting.hit("send", "1", 1).retry_after is not None


def test_a_storage_of_moving_windows_only(clock: Clock) -> None:
    windows = Windows(3, clock)
    windows.acquire_entry("a", 5, 60, 4)
    assert not windows.acquire_entry("a", 5, 60, 2)
    assert windows.check()
    windows.clear("a")
    assert windows.get_moving_window("a", 5, 60) == (clock.now, 0)
    windows.acquire_entry("b", 5, 60)
    assert windows.reset() == 1
    for ask in (lambda: windows.get("a"), lambda: windows.get_expiry("a"), lambda: windows.incr("a", 60)):
        with pytest.raises(NotImplementedError):
            ask()


# -- mail --------------------------------------------------------------------------------------------------------------


def test_a_minutes_worth_goes_at_once_and_the_rest_at_the_rate() -> None:
    pacer = Pacer()
    waits = [pacer.delay(1, 4, 100.0).total_seconds() for _ in range(8)]
    assert waits == [0, 0, 0, 0, 15, 30, 45, 60]
    assert pacer.delay(2, 4, 100.0) == timedelta(0)
    assert pacer.delay(1, 4, 145.0).total_seconds() == 30
    assert [pacer.delay(1, 4, 1000.0).total_seconds() for _ in range(5)] == [0, 0, 0, 0, 15]


def test_without_a_rate_nothing_waits_and_nothing_is_kept() -> None:
    pacer = Pacer()
    assert {pacer.delay(1, None, 100.0) for _ in range(100)} == {timedelta(0)}
    assert len(pacer) == 0


@given(st.integers(1, 90), st.lists(WAITS, min_size=1, max_size=120))
def test_no_more_is_due_than_a_bucket_that_holds_a_minutes_worth_gives(per_minute: int, waits: list[float]) -> None:
    """The bucket, counted exactly: mail waits just as long as it takes to fill, in the order in which it came."""
    pacer, now, worth, at = Pacer(), 1000.0, Fraction(per_minute), Fraction(1000)
    dues: list[float] = []
    for wait in waits:
        now += wait
        worth = min(Fraction(per_minute), worth + (Fraction(now) - at) * per_minute / 60) - 1
        at = Fraction(now)
        expected = max(Fraction(0), -worth * 60 / per_minute)
        told = pacer.delay(7, per_minute, now).total_seconds()
        assert told == pytest.approx(float(expected), abs=2e-6)
        dues.append(now + told)
    assert all(later >= earlier - 2e-6 for earlier, later in itertools.pairwise(dues))
    for (first, one), (last, other) in itertools.combinations(enumerate(dues), 2):
        assert last - first + 1 <= per_minute + (other - one + 1e-4) * per_minute / 60 + 1


def test_keys_without_mail_ahead_are_forgotten() -> None:
    pacer = Pacer()
    for key in range(20_000):
        pacer.delay(key, 60, float(key))  # a key is full again after a second
    assert len(pacer) <= 1024
    for _ in range(100):
        pacer.delay(-1, 1, 20_000.0)
    for key in range(5000):
        pacer.delay(key, 60, 20_000.0 + key)
    assert pacer.delay(-1, 1, 20_000.0).total_seconds() == 100 * 60
