"""A lane's pace, turns and slots against an account of SES, by a clock of its own: nothing here waits for real.

The account is SES's token bucket as its team described it. A call reaches it some time after it began, and is answered
later.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from relay.dispatch.pacing import Pace
from relay.dispatch.slots import Slots
from relay.dispatch.turns import Room, Turns
from relay.message import Stream
from relay.store.queue import Queue

T, S, B = Stream
EPOCH = 1_800_000_000_000
MOMENT = 0.005


@dataclass
class Bucket:
    """Any token that is left lets a whole call through, and the debt is paid off in refusals (SES fact 3)."""

    rate: float
    tokens: float
    at: float = 0.0

    def takes(self, recipients: int, now: float) -> bool:
        self.tokens, self.at = min(self.rate, self.tokens + (now - self.at) * self.rate), now
        if self.tokens <= 0:
            return False
        self.tokens -= recipients
        return True


@dataclass
class Scene:
    """One lane and its account. `latency`: of a call, in seconds. `others`: what else the account is used for."""

    rate: float
    latency: Callable[[random.Random], float] = lambda numbers: numbers.uniform(0.05, 0.25)
    size: int = 1
    now: float = 0.0
    throttles: int = 0
    calls: int = 0
    most_at_once: int = 0
    sent: list[tuple[float, Queue, float]] = field(
        default_factory=list
    )  # when, of which queue, and since when it waited

    def __post_init__(self) -> None:
        self.numbers = random.Random(14)
        self.bucket = Bucket(self.rate, self.rate)
        self.pace = Pace.at_rate(1.0, 0.0)
        self.pace.retune(self.rate, 0.0)
        self.slots, self.turns = Slots(200), Turns()
        self.waiting: dict[Queue, deque[float]] = {}
        self._order = itertools.count()
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._in_flight = 0

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._coming, (self.now + seconds, next(self._order), what))

    def put(self, queue: Queue, count: int) -> None:
        self.turns.assign(
            {name: number for number, name in enumerate(sorted({name for name, _ in [*self.waiting, queue]}))}
        )
        self.turns.advance(self._wall)
        self.waiting.setdefault(queue, deque()).extend([self.now] * count)
        self.turns.note(queue, self._wall, count)

    @property
    def _wall(self) -> int:
        return EPOCH + round(self.now * 1000)

    def run(self, until: float | None = None) -> None:
        """To that moment, or until all is sent."""
        while (until is None or self.now < until) and (
            until is not None or self._in_flight or any(self.waiting.values())
        ):
            self._start()
            wakes = self.now + max(MOMENT, self.pace.wait())
            if self._coming and self._coming[0][0] <= wakes:
                self.now, _, what = heapq.heappop(self._coming)
                what()
            else:
                self.now = wakes

    def _start(self) -> None:
        free = self.slots.at_once(self.pace.rate) - self._in_flight
        tokens = self.pace.startable(self.now)
        if free <= 0 or not tokens:
            return
        for share in self.turns.plan(self._wall, Room(free, tokens)):
            waiting = self.waiting[share.queue]
            taken = [waiting.popleft() for _ in range(min(share.deliveries, len(waiting)))]
            next_due = self._wall if waiting else None
            self.turns.took(share, len(taken), len(taken) * self.size, next_due, is_drained=not waiting)
            for since in taken:
                self.pace.spend(self.size)
                self._begin(share.queue, since)

    def _begin(self, queue: Queue, since: float) -> None:
        self._in_flight += 1
        self.most_at_once = max(self.most_at_once, self._in_flight)
        self._call(queue, since, self.now)

    def _call(self, queue: Queue, since: float, began: float) -> None:
        self.calls += 1
        took = self.latency(self.numbers)
        self.later(took * self.numbers.uniform(0.2, 0.6), lambda: self._arrive(queue, since, began, took))

    def _arrive(self, queue: Queue, since: float, began: float, took: float) -> None:
        if not self.bucket.takes(self.size, self.now):
            self.throttles += 1
            self.later(took * 0.4, lambda: self._throttled(queue, since, began))
            return
        self.sent.append((self.now, queue, since))
        self.later(took * 0.4, lambda: self._ended(began))

    def _throttled(self, queue: Queue, since: float, began: float) -> None:
        """As an attempt does: once more in place, a second later."""
        self.pace.slow(self.now)

        def again() -> None:
            self.pace.spend(self.size)
            self._call(queue, since, began)

        self.later(1.0, again)

    def _ended(self, began: float) -> None:
        self.slots.observe(self.now - began, self.size)
        self._in_flight -= 1


@pytest.mark.parametrize("rate", [14.0, 200.0, 1000.0])
def test_a_backlog_drains_at_the_paced_rate_without_a_throttle(rate: float) -> None:
    scene = Scene(rate)
    scene.put(("a.example", T), 2000 if rate < 100 else 20_000)
    scene.run()
    paced = len(scene.sent) / scene.now
    assert paced >= 0.95 * 0.9 * rate
    assert scene.throttles < 0.01 * len(scene.sent)
    print(
        f"\n{rate:.0f}/s: {paced / (0.9 * rate):.1%} of the paced rate, {scene.throttles} throttles, "
        f"{scene.most_at_once} calls at once"
    )


def test_slow_answers_take_more_calls_at_once_and_the_rate_stays() -> None:
    scene = Scene(200.0, latency=lambda numbers: numbers.expovariate(1 / 0.4))
    scene.put(("a.example", T), 10_000)
    scene.run()
    assert len(scene.sent) / scene.now >= 0.95 * 180
    assert scene.most_at_once > 60


def test_large_calls_cost_what_they_weigh() -> None:
    scene = Scene(14.0, size=50)
    scene.put(("a.example", T), 100)
    scene.run()
    assert 50 * len(scene.sent) / scene.now >= 0.95 * 0.9 * 14
    assert scene.throttles < 0.01 * scene.calls


def test_whoever_else_sends_from_the_account_is_left_his_part() -> None:
    """Another sender takes 6 of the 14 a second, as an unpaced one does: at once, every second."""
    scene = Scene(14.0)
    theirs = Counter[str]()

    def other() -> None:
        for _ in range(6):
            theirs["sent"] += scene.bucket.takes(1, scene.now)
        scene.later(1.0, other)

    other()
    scene.put(("a.example", T), 20_000)
    scene.run(until=1200.0)
    ours = len(scene.sent) / 1200
    print(
        f"\nothers: {theirs['sent'] / 1200:.1f}/s of 6; ours: {ours:.1f}/s of 8; {scene.throttles} throttles in {scene.calls} calls"
    )
    assert ours > 0.75 * 8
    assert theirs["sent"] > 0.8 * 6 * 1200
    assert scene.throttles < 0.05 * scene.calls


def test_a_password_reset_overtakes_50_000_newsletters() -> None:
    scene = Scene(14.0)
    scene.put(("news.example", B), 50_000)
    for second in range(10, 60, 5):
        scene.later(second, lambda: scene.put(("app.example", T), 1))
    scene.run(until=70.0)
    waits = [at - since for at, (_, stream), since in scene.sent if stream is T]
    assert len(waits) == 10
    assert max(waits) < 0.5


def test_nobody_waits_for_another_tenants_backlog() -> None:
    scene = Scene(14.0)
    for number in range(20):
        scene.put((f"busy{number}.example", T), 1000)
    scene.later(30.0, lambda: scene.put(("quiet.example", T), 1))
    scene.run(until=60.0)
    [wait] = [at - since for at, (name, _), since in scene.sent if name == "quiet.example"]
    assert wait < 2.5  # one turn of each of 20
