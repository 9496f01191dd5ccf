"""The pure decisions of dispatch as tables: what follows an attempt, pacing, stops."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.delivery import Delivery, OnUnknown, RetryPolicy, State
from relay.dispatch.stops import SICK_AFTER, Stops
from relay.errors import Kind, Problem
from relay.message import Mode, Stream
from relay.routing.standing import ACCOUNT
from tests.dispatch.test_stops import opens

NOW = 1_800_000_000_000
POLICY = RetryPolicy(jitter=lambda: 0.0)


def delivery(failures: int = 0, age: timedelta = timedelta(0)) -> Delivery:
    first_due_at = NOW - int(age / timedelta(milliseconds=1))
    return Delivery(
        1, 2, "p", 3, "d.example", Stream.TRANSACTIONAL, Mode.BYOC, ("a@b.c",), 9, 4, failures, 0, first_due_at
    )


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 30), (2, 60), (3, 120), (4, 240), (5, 480), (6, 960), (7, 1800), (8, 1800), (54, 1800)],
)
def test_delays_double_to_half_an_hour(failures: int, seconds: int) -> None:
    assert POLICY.delay(failures) == timedelta(seconds=seconds)
    assert RetryPolicy(jitter=lambda: 1.0).delay(failures) == timedelta(seconds=seconds) * 0.9


def test_54_failures_take_about_a_day() -> None:
    whole = sum((POLICY.delay(failures) for failures in range(1, 54)), timedelta(0))
    assert timedelta(hours=22) < whole < timedelta(hours=26)


# fmt: off
AFTER = [
    # what SES said           failures  age                  state          due in   failures then
    (Kind.SES_REJECTED,         0, timedelta(0),             State.FAILED,  None,    0),
    (Kind.SES_UNAVAILABLE,      0, timedelta(0),             State.QUEUED,  30_000,  1),
    (Kind.SES_UNAVAILABLE,      3, timedelta(hours=1),       State.QUEUED,  240_000, 4),
    (Kind.SES_UNAVAILABLE,     53, timedelta(hours=1),       State.FAILED,  None,    54),
    (Kind.SES_UNAVAILABLE,      3, timedelta(hours=25),      State.FAILED,  None,    4),
    (Kind.SES_THROTTLED,        3, timedelta(hours=1),       State.QUEUED,  0,       3),
    (Kind.SES_QUOTA,            3, timedelta(hours=1),       State.QUEUED,  0,       3),
    (Kind.SES_PAUSED,           0, timedelta(0),             State.QUEUED,  0,       0),
    (Kind.SES_UNVERIFIED,       0, timedelta(0),             State.QUEUED,  0,       0),
    (Kind.SES_DENIED,           0, timedelta(hours=25),      State.FAILED,  None,    0),
    (Kind.SES_UNKNOWN_OUTCOME,  0, timedelta(0),             State.UNKNOWN, 120_000, 1),
    (Kind.SES_UNKNOWN_OUTCOME, 60, timedelta(hours=25),      State.UNKNOWN, 120_000, 61),
    (Kind.INTERNAL,             0, timedelta(0),             State.QUEUED,  30_000,  1),
]
# fmt: on


@pytest.mark.parametrize(("kind", "failures", "age", "state", "due_in", "then"), AFTER)
def test_what_follows(kind: Kind, failures: int, age: timedelta, state: State, due_in: int | None, then: int) -> None:
    found = POLICY.after(
        kind, delivery(failures, age), NOW, account="a", window=timedelta(seconds=120), detail="because"
    )
    assert (found.state, found.failures, found.kind) == (state, then, kind)
    assert found.due_at == (None if due_in is None else NOW + due_in)
    assert (found.delivery_id, found.seen_attempt, found.detail) == (1, 4, "because")


@pytest.mark.parametrize(
    ("policy", "failures", "age_hours", "expected"),
    [
        (OnUnknown.RETRY, 0, 0, (State.QUEUED, NOW)),
        (OnUnknown.RETRY, 1, 0, (State.QUEUED, NOW + 30_000)),
        (OnUnknown.RETRY, 54, 0, (State.FAILED, None)),
        (OnUnknown.RETRY, 0, 25, (State.FAILED, None)),
        (OnUnknown.FAIL, 0, 0, (State.FAILED, None)),
    ],
)
def test_an_unknown_outcome_is_resolved(
    policy: OnUnknown, failures: int, age_hours: int, expected: tuple[State, int | None]
) -> None:
    decided = RetryPolicy(on_unknown=policy, jitter=lambda: 0.0)
    assert decided.resolve(failures, NOW - age_hours * 3_600_000, NOW) == expected


# -- stops -----------------------------------------------------------------------------------------------------------


def test_a_stopped_domain_leaves_the_others_alone_and_is_probed_ever_more_rarely() -> None:
    stops = Stops()
    assert stops.hold("a.example", Kind.SES_UNVERIFIED, "why", 0.0)
    assert not stops.is_open("a.example")
    assert stops.is_open("b.example")
    assert stops.due(29.0) == []
    assert stops.due(30.0) == ["a.example"]
    stops.begin_probe("a.example")
    assert stops.due(30.0) == []  # one at a time
    assert opens(stops, "a.example") is None
    assert not stops.hold("a.example", Kind.SES_UNVERIFIED, "why", 31.0)
    assert stops.due(90.0) == []
    assert stops.due(91.0) == ["a.example"]
    stops.begin_probe("a.example")
    assert stops.succeeded("a.example") == ["a.example"]
    assert stops.is_open("a.example")


def test_a_probe_that_says_nothing_is_made_again_after_the_same_wait() -> None:
    stops = Stops()
    stops.hold(ACCOUNT, Kind.SES_PAUSED, "why", 0.0)
    stops.begin_probe(ACCOUNT)
    stops.end_probe(ACCOUNT, 40.0)
    assert opens(stops, "x.example") == 70.0
    stops.end_probe(ACCOUNT, 50.0)  # no probe is under way: nothing changes
    assert opens(stops, "x.example") == 70.0


def test_calls_that_were_under_way_neither_lengthen_nor_end_a_stop() -> None:
    stops = Stops()
    stops.hold(ACCOUNT, Kind.SES_PAUSED, "why", 0.0)
    for _ in range(20):
        stops.hold(ACCOUNT, Kind.SES_PAUSED, "why", 1.0)
    assert opens(stops, "x.example") == 30.0
    assert stops.succeeded("a.example") == []
    assert not stops.answered()
    assert not stops.is_open("a.example")


def test_waits_double_up_to_their_longest() -> None:
    stops, now = Stops(), 0.0
    stops.hold(ACCOUNT, Kind.SES_DENIED, "why", now)
    for _ in range(12):
        now = opens(stops, "x.example") or 0.0
        stops.begin_probe(ACCOUNT)
        stops.hold(ACCOUNT, Kind.SES_DENIED, "why", now)
    stop = stops.stop_of("x.example")
    assert stop is not None
    assert stop.wait == 900


def test_five_failures_in_a_row_make_an_account_sick_and_any_answer_ends_it() -> None:
    stops = Stops()
    for _ in range(SICK_AFTER - 1):
        assert not stops.failed("refused", 0.0)
    stops.answered()
    for _ in range(SICK_AFTER - 1):
        assert not stops.failed("refused", 0.0)
    assert stops.failed("refused", 0.0)
    assert stops.is_sick
    assert opens(stops, "x.example") == 1.0
    stops.begin_probe(ACCOUNT)
    stops.failed("refused", 1.0)
    assert opens(stops, "x.example") == 3.0
    assert stops.answered()
    assert not stops.is_sick


def test_an_account_that_is_stopped_is_probed_before_its_domains() -> None:
    stops = Stops()
    stops.hold("a.example", Kind.SES_UNVERIFIED, "why", 0.0)
    stops.hold(ACCOUNT, Kind.SES_QUOTA, "why", 0.0)
    assert stops.due(100.0) == []  # the domain's time has come, the account's has not
    assert stops.due(901.0) == [ACCOUNT]


def test_what_the_directory_closes_stays_closed_whatever_ses_says() -> None:
    stops = Stops()
    suspended = Problem(Kind.SUSPENDED, "since today")
    stops.close({"x.example": suspended})
    stops.hold("x.example", Kind.SES_UNVERIFIED, "why", 0.0)
    assert not stops.is_open("x.example")
    assert stops.is_open("y.example")
    assert stops.of("x.example") == (Kind.SUSPENDED, "since today")
    assert opens(stops, "x.example") is None  # nobody probes it
    assert stops.due(10_000.0) == []
    assert stops.succeeded("x.example") == []
    stops.close({ACCOUNT: Problem(Kind.SES_PAUSED, "by hand")})
    assert not stops.is_open("y.example")
    assert stops.due(10_000.0) == []
    stops.close({})
    assert stops.is_open("y.example")
    assert stops.of("x.example") == (Kind.SES_UNVERIFIED, "why")  # SES's own stop was there all the time
    assert stops.due(10_000.0) == ["x.example"]


def test_what_stopped_an_account_is_probed_at_once_when_it_is_reached_otherwise() -> None:
    stops = Stops()
    stops.hold(ACCOUNT, Kind.SES_DENIED, "no", 0)
    assert stops.due(1) == []
    stops.look_again(1)
    assert (stops.due(1), stops.is_open("a.example")) == ([ACCOUNT], False)
