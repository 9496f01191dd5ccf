"""Whether a tenant sends well enough to go on: what is counted, and what follows from the counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from fractions import Fraction

from relay.message import Mode


class Level(Enum):
    """How a tenant stands by what became of its mail, from good to bad."""

    GOOD = "good"
    WARNED = "warned"
    SLOWED = "slowed"
    SUSPENDED = "suspended"

    @property
    def badness(self) -> int:
        return _BADNESS[self]


_BADNESS = {level: number for number, level in enumerate(Level)}


class Enforce(Enum):
    """How far it goes."""

    OFF = "off"  # it is counted, and nothing follows
    WARN = "warn"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Policy:
    """When a tenant is warned, slowed down and suspended. Rates are exact: at 50 sends, 2 bounces are 4 %, not nearly.

    `complaint_rate` None: complaints are not judged apart. `min_complaints`: of fewer, none has more than a warning.
    `warn_at`, `slow_at`: parts of the rates. `slow_to`: the part of a lane that is left to one who is slowed down.
    `must_exceed`: a rate that is just reached is no trouble yet.
    """

    window: timedelta
    min_sends: int
    bounce_rate: Fraction
    complaint_rate: Fraction | None
    min_complaints: int
    complaints_are_bounces: bool
    must_exceed: bool
    warn_at: Fraction = Fraction(1, 2)
    slow_at: Fraction = Fraction(3, 4)
    slow_to: Fraction = Fraction(1, 10)
    enforce: Enforce = Enforce.SUSPEND


SENDFLEET = Policy(
    window=timedelta(days=7),
    min_sends=50,
    bounce_rate=Fraction(4, 100),
    complaint_rate=Fraction(8, 10_000),
    min_complaints=2,
    complaints_are_bounces=False,
    must_exceed=False,
)
SENDEX = Policy(
    window=timedelta(days=15),
    min_sends=50,
    bounce_rate=Fraction(4, 100),
    complaint_rate=None,
    min_complaints=2,
    complaints_are_bounces=True,
    must_exceed=True,
)
PRESETS = {"sendfleet": SENDFLEET, "sendex": SENDEX}


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one window: recipients that SES accepted, and how many of them bounced for good or complained."""

    sends: int = 0
    bounces: int = 0
    complaints: int = 0

    @property
    def bounce_rate(self) -> float:
        return self.bounces / self.sends if self.sends else 0.0

    @property
    def complaint_rate(self) -> float:
        return self.complaints / self.sends if self.sends else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason`: the figures, in words for the tenant; "" where all is good."""

    level: Level
    reason: str = ""


GOOD = Verdict(Level.GOOD)


def judge(policy: Policy, counts: Counts, mode: Mode, *, is_default: bool) -> Verdict:
    """What follows from the counts. byoc sending and the default tenant's, which is the operator's own, are only
    warned."""
    if policy.enforce is Enforce.OFF or counts.sends < policy.min_sends:
        return GOOD
    worst = max(_verdicts(policy, counts), key=lambda verdict: verdict.level.badness, default=GOOD)
    may_warn_only = policy.enforce is Enforce.WARN or mode is Mode.BYOC or is_default
    if may_warn_only and worst.level.badness > Level.WARNED.badness:
        return Verdict(Level.WARNED, worst.reason)
    return worst


def _verdicts(policy: Policy, counts: Counts) -> list[Verdict]:
    verdicts = []
    bad = counts.bounces + (counts.complaints if policy.complaints_are_bounces else 0)
    if bad:
        what = "bounced or complained" if policy.complaints_are_bounces else "bounced"
        level = _level(policy, bad, counts.sends, policy.bounce_rate)
        verdicts.append(_verdict(policy, level, bad, counts.sends, what, policy.bounce_rate))
    if counts.complaints and policy.complaint_rate is not None:
        level = _level(policy, counts.complaints, counts.sends, policy.complaint_rate)
        if counts.complaints < policy.min_complaints and level is not Level.GOOD:
            level = Level.WARNED
        verdicts.append(_verdict(policy, level, counts.complaints, counts.sends, "complained", policy.complaint_rate))
    return verdicts


def _level(policy: Policy, bad: int, sends: int, limit: Fraction) -> Level:
    steps = ((Level.SUSPENDED, limit), (Level.SLOWED, limit * policy.slow_at), (Level.WARNED, limit * policy.warn_at))
    for level, rate in steps:
        is_there = bad > rate * sends if policy.must_exceed else bad >= rate * sends
        if is_there:
            return level
    return Level.GOOD


def _verdict(policy: Policy, level: Level, bad: int, sends: int, what: str, limit: Fraction) -> Verdict:
    if level is Level.GOOD:
        return GOOD
    allowed = f"at most {percent(limit)} may" if policy.must_exceed else f"fewer than {percent(limit)} may"
    return Verdict(
        level,
        f"{bad:,} of {sends:,} recipients in {days(policy.window)} {what} ({percent(Fraction(bad, sends))}; {allowed})",
    )


def percent(rate: Fraction | float) -> str:
    """With as many places as its size asks for: 4 %, 0.08 %, 12.3 %."""
    return f"{float(rate) * 100:.3g} %"


def days(span: timedelta) -> str:
    """A window as people say it."""
    number, unit = (span.days, "day") if span.seconds == 0 else (round(span / timedelta(hours=1)), "hour")
    return f"{number} {unit}{'' if number == 1 else 's'}"
