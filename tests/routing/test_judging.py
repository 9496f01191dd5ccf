"""When a tenant is warned, slowed down and suspended: just below, at and just above every limit, in both presets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.following import Standing
from relay.judging import PRESETS, SENDEX, SENDFLEET, Counts, Enforce, Level, Policy, judge
from relay.message import Mode

GOOD, WARNED, SLOWED, SUSPENDED = Level


def level(policy: Policy, *counts: int, mode: Mode = Mode.SHARED, is_default: bool = False) -> Level:
    return judge(policy, Counts(*counts), mode, is_default=is_default).level


@pytest.mark.parametrize(
    ("sends", "bounces", "complaints", "expected"),
    [
        (0, 0, 0, GOOD),
        (49, 49, 49, GOOD),  # too few to judge by
        (50, 0, 0, GOOD),
        (50, 1, 0, WARNED),  # 2 %
        (50, 2, 0, SUSPENDED),  # 4 %
        (51, 1, 0, GOOD),
        (51, 2, 0, SLOWED),  # 3.9 %
        (66, 2, 0, SLOWED),  # 3.03 %
        (67, 2, 0, WARNED),  # 2.99 %
        (100, 2, 0, WARNED),
        (101, 2, 0, GOOD),
        (100, 3, 0, SLOWED),
        (10_000, 199, 0, GOOD),
        (10_000, 200, 0, WARNED),
        (10_000, 299, 0, WARNED),
        (10_000, 300, 0, SLOWED),
        (10_000, 399, 0, SLOWED),
        (10_000, 400, 0, SUSPENDED),
        (10_000, 401, 0, SUSPENDED),
        (50, 0, 1, WARNED),  # 2 %, but one complaint says little
        (50, 0, 2, SUSPENDED),
        (2500, 0, 1, WARNED),  # 0.04 %
        (2501, 0, 1, GOOD),
        (2500, 0, 2, SUSPENDED),  # 0.08 %
        (2501, 0, 2, SLOWED),
        (3333, 0, 2, SLOWED),  # 0.06 %
        (3334, 0, 2, WARNED),
        (5000, 0, 2, WARNED),
        (5001, 0, 2, GOOD),
        (10_000, 0, 7, SLOWED),
        (10_000, 0, 8, SUSPENDED),
        (10_000, 200, 8, SUSPENDED),  # the worse of both
        (10_000, 300, 4, SLOWED),
        (1_000_000_007, 40_000_000, 0, SLOWED),  # no rounding
        (1_000_000_000, 40_000_000, 0, SUSPENDED),
    ],
)
def test_as_sendfleet_does(sends: int, bounces: int, complaints: int, expected: Level) -> None:
    assert level(SENDFLEET, sends, bounces, complaints) is expected


@pytest.mark.parametrize(
    ("sends", "bounces", "complaints", "expected"),
    [
        (49, 49, 0, GOOD),
        (50, 1, 0, GOOD),  # 2 %: just reached is no trouble yet
        (49 + 1, 2, 0, SLOWED),  # 4 %
        (50, 3, 0, SUSPENDED),  # 6 %
        (50, 0, 2, SLOWED),  # complaints are bounces
        (50, 0, 3, SUSPENDED),
        (50, 1, 1, SLOWED),
        (50, 2, 1, SUSPENDED),
        (10_000, 0, 8, GOOD),  # and nothing else
        (10_000, 200, 0, GOOD),
        (10_000, 201, 0, WARNED),
        (10_000, 200, 1, WARNED),
        (10_000, 300, 0, WARNED),
        (10_000, 301, 0, SLOWED),
        (10_000, 399, 0, SLOWED),
        (10_000, 400, 0, SLOWED),
        (10_000, 401, 0, SUSPENDED),
    ],
)
def test_as_sendex_does(sends: int, bounces: int, complaints: int, expected: Level) -> None:
    assert level(SENDEX, sends, bounces, complaints) is expected


@pytest.mark.parametrize("policy", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("bounces", [2, 3, 25, 50])
def test_byoc_mail_and_the_default_tenant_are_only_warned(policy: Policy, bounces: int) -> None:
    assert level(policy, 50, bounces, 0, mode=Mode.BYOC) is WARNED
    assert level(policy, 50, bounces, 0, is_default=True) is WARNED
    assert level(policy, 50, 0, 0, mode=Mode.BYOC) is GOOD


def test_how_far_it_goes() -> None:
    assert level(replace(SENDFLEET, enforce=Enforce.WARN), 50, 50, 50) is WARNED
    assert level(replace(SENDFLEET, enforce=Enforce.OFF), 50, 50, 50) is GOOD


@pytest.mark.parametrize(
    ("policy", "counts", "reason"),
    [
        (SENDFLEET, Counts(50, 2, 0), "2 of 50 recipients in 7 days bounced (4 %; fewer than 4 % may)"),
        (SENDFLEET, Counts(2500, 0, 2), "2 of 2,500 recipients in 7 days complained (0.08 %; fewer than 0.08 % may)"),
        (SENDEX, Counts(50, 2, 1), "3 of 50 recipients in 15 days bounced or complained (6 %; at most 4 % may)"),
        (
            replace(SENDFLEET, window=timedelta(hours=36)),
            Counts(70, 5, 0),
            "5 of 70 recipients in 36 hours bounced (7.14 %; fewer than 4 % may)",
        ),
        (SENDFLEET, Counts(50, 0, 0), ""),
    ],
)
def test_the_reason_has_the_figures(policy: Policy, counts: Counts, reason: str) -> None:
    assert judge(policy, counts, Mode.SHARED, is_default=False).reason == reason


@given(st.integers(0, 5000), st.integers(0, 500), st.integers(0, 50), st.sampled_from(["sendfleet", "sendex"]))
def test_more_trouble_is_never_better_and_more_mail_never_worse(
    sends: int, bounces: int, complaints: int, preset: str
) -> None:
    policy = PRESETS[preset]
    here = level(policy, sends, bounces, complaints).badness
    assert level(policy, sends, bounces + 1, complaints).badness >= here
    assert level(policy, sends, bounces, complaints + 1).badness >= here
    if sends >= policy.min_sends:
        assert level(policy, sends + 1, bounces, complaints).badness <= here


def test_the_configuration_changes_single_numbers_of_a_preset() -> None:
    assert Standing().policy == SENDFLEET
    assert Standing(preset="sendex").policy == SENDEX
    said = {"window": "2d", "bounce_rate": 0.1, "complaint_rate": 0.003, "min_sends": 10, "warn_at": 1, "slow_to": 0.5}
    mine = Standing.model_validate({"preset": "sendex", "enforce": "warn", **said}).policy
    assert mine == replace(
        SENDEX,
        window=timedelta(days=2),
        bounce_rate=Fraction(1, 10),
        complaint_rate=Fraction(3, 1000),
        min_sends=10,
        warn_at=Fraction(1),
        slow_to=Fraction(1, 2),
        enforce=Enforce.WARN,
    )
