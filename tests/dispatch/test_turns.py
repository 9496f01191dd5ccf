"""Whose turn it is: no queue starves, tenants get the same, ranks go in order, and lower ones keep one slot in ten."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dispatch.turns import LOWER, RANKS, Room, Turns
from relay.message import Stream
from relay.store.queue import Queue

NOW = 1_800_000_000_000
T, S, B = Stream


class Lane:
    """A lane that is always behind: what each queue holds, in recipients of its deliveries, and what went in order."""

    def __init__(self, *queues: tuple[str, Stream, list[int]], tenants: dict[str, int] | None = None) -> None:
        self.turns = Turns()
        self.turns.assign(tenants or {name: number for number, (name, _, _) in enumerate(queues)})
        self.held: dict[Queue, list[int]] = {}
        self.went: list[tuple[Queue, int]] = []
        for name, stream, sizes in queues:
            self.put((name, stream), sizes)

    def put(self, queue: Queue, sizes: list[int]) -> None:
        self.held.setdefault(queue, []).extend(sizes)
        self.turns.advance(NOW)
        self.turns.note(queue, NOW, len(sizes))

    def round(self, calls: int = 10, recipients: float = 10.0, lower: float = float("inf")) -> Counter[Queue]:
        """As a take does: one delivery may have more recipients than there is room for, if it is the first."""
        went: Counter[Queue] = Counter()
        left = recipients
        for share in self.turns.plan(NOW, Room(calls, recipients, lower)):
            taken: list[int] = []
            waiting = self.held[share.queue]
            while waiting and len(taken) < share.deliveries and (waiting[0] <= left or left == recipients):
                left -= waiting[0]
                taken.append(waiting.pop(0))
            self.went += [(share.queue, size) for size in taken]
            went[share.queue] += sum(taken)
            self.turns.took(share, len(taken), sum(taken), NOW if waiting else None, is_drained=not waiting)
        return went

    def had(self) -> Counter[Queue]:
        total: Counter[Queue] = Counter()
        for queue, size in self.went:
            total[queue] += size
        return total


def test_a_better_rank_goes_first_and_the_lower_ones_keep_one_slot_in_ten() -> None:
    lane = Lane(("t.example", T, [1] * 1000), ("s.example", S, [1] * 1000), ("b.example", B, [1] * 1000))
    for _ in range(50):
        lane.round()
    had = lane.had()
    assert had["t.example", T] == pytest.approx(450, abs=2)
    assert had["s.example", S] == pytest.approx(45, abs=2)
    assert had["b.example", B] == pytest.approx(5, abs=2)


def test_a_password_reset_is_the_first_to_go_whatever_waits() -> None:
    lane = Lane(*((f"b{number}.example", B, [1] * 100) for number in range(50)), tenants=None)
    lane.turns.assign({**{f"b{number}.example": number for number in range(50)}, "t.example": 99})
    for _ in range(20):
        lane.round()
    lane.put(("t.example", T), [1])
    assert next(iter(lane.round())) == ("t.example", T)


def test_what_went_without_waiting_counts_for_the_lower_ranks_share() -> None:
    lane = Lane(("b.example", B, [1] * 1000))
    for _ in range(LOWER - 1):
        lane.turns.passed(T, 1)
    assert not lane.turns.is_owed(T)
    lane.turns.passed(T, 1)
    assert lane.turns.is_owed(T)
    lane.round(calls=1)
    assert not lane.turns.is_owed(T)


def test_a_tenant_with_many_domains_gets_no_more_than_one_with_one() -> None:
    names = [f"m{number}.example" for number in range(20)]
    tenants = dict.fromkeys(names, 1) | {"one.example": 2}
    lane = Lane(*((name, T, [1] * 100) for name in names), ("one.example", T, [1] * 100), tenants=tenants)
    for _ in range(10):
        lane.round()
    had = lane.had()
    assert had["one.example", T] == pytest.approx(50, abs=1)
    assert all(had[name, T] == pytest.approx(2.5, abs=1) for name in names)


def test_large_calls_cost_their_tenant_what_they_weigh() -> None:
    lane = Lane(("large.example", T, [50] * 100), ("small.example", T, [1] * 9000))
    for _ in range(200):
        lane.round(recipients=10.0)
    had = lane.had()
    assert abs(had["large.example", T] - had["small.example", T]) <= 60


def test_only_as_many_of_the_lower_ranks_go_as_may() -> None:
    lane = Lane(("t.example", T, [1] * 5), ("b.example", B, [1] * 100))
    assert lane.round(calls=50, recipients=50.0, lower=8.0) == {("t.example", T): 5, ("b.example", B): 3}
    assert lane.round(calls=50, recipients=50.0, lower=0.0) == {}


def test_stopped_domains_take_no_part_and_come_back() -> None:
    lane = Lane(("a.example", T, [1] * 9), ("b.example", T, [1] * 9))
    lane.turns.stop({"a.example"})
    assert not lane.round(calls=3)["a.example", T]
    assert [share.queue for share in lane.turns.due_of("a.example", NOW)] == [("a.example", T)]
    lane.turns.note(("a.example", T), NOW)  # what comes for it meanwhile does not bring it back
    assert not lane.round(calls=3)["a.example", T]
    lane.turns.stop(frozenset())
    assert lane.round(calls=3)["a.example", T]


def test_what_is_for_later_takes_part_when_it_is_due() -> None:
    turns = Turns()
    turns.assign({"a.example": 1, "b.example": 2})
    turns.note(("a.example", T), NOW + 5000)
    turns.note(("b.example", B), NOW + 3000)
    assert turns.plan(NOW, Room(9, 9.0)) == []
    assert (turns.next_due(NOW), turns.is_behind(B, NOW)) == (NOW + 3000, False)
    turns.note(("a.example", T), NOW + 1000)  # something sooner came
    assert turns.next_due(NOW) == NOW + 1000
    assert turns.is_behind(T, NOW + 1000)
    assert [share.queue for share in turns.plan(NOW + 3000, Room(9, 9.0))] == [("a.example", T), ("b.example", B)]


def test_a_clock_that_is_set_back_makes_nothing_due_that_is_not() -> None:
    """Else the lane would ask the database for it all the time, until the clock has caught up."""
    turns = Turns()
    turns.assign({"a.example": 1, "b.example": 1})
    turns.note(("a.example", T), NOW)
    turns.plan(NOW + 5000, Room(9, 9.0))
    [share] = turns.plan(NOW, Room(9, 9.0))
    turns.took(share, 1, 1, NOW + 3000, is_drained=True)
    turns.note(("b.example", T), NOW + 4000)
    assert turns.plan(NOW, Room(9, 9.0)) == []
    assert turns.next_due(NOW) == NOW + 3000
    assert len(turns.plan(NOW + 4000, Room(9, 9.0))) == 2


def test_what_comes_while_a_take_is_under_way_is_not_forgotten() -> None:
    turns = Turns()
    turns.assign({"a.example": 1})
    turns.note(("a.example", T), NOW)
    [share] = turns.plan(NOW, Room(9, 9.0))
    turns.note(("a.example", T), NOW)
    turns.took(share, 1, 1, None, is_drained=True)
    assert turns.next_due(NOW) == NOW
    [share] = turns.plan(NOW, Room(9, 9.0))
    turns.took(share, 0, 0, None, is_drained=True)
    assert (turns.next_due(NOW), len(turns)) == (None, 0)


def test_queues_of_domains_that_went_another_way_are_forgotten() -> None:
    lane = Lane(("a.example", T, [1]), ("b.example", T, [1]))
    lane.turns.assign({"b.example": 1})
    assert [share.queue for share in lane.turns.plan(NOW, Room(9, 9.0))] == [("b.example", T)]


def test_a_plan_costs_the_same_however_many_queues_are_due() -> None:
    def seconds(queues: int) -> float:
        turns = Turns()
        turns.assign({f"d{number}.example": number for number in range(queues)})
        turns.advance(NOW)
        for number in range(queues):
            turns.note((f"d{number}.example", B), NOW)
        best = float("inf")
        for _ in range(30):
            began = time.perf_counter()
            shares = turns.plan(NOW, Room(20, 20.0))
            for share in shares:
                turns.took(share, 1, 1, NOW, is_drained=False)
            best = min(best, time.perf_counter() - began)
            assert len(shares) == 20
        return best

    assert seconds(20_000) < 5 * seconds(20)


queues = st.lists(
    st.tuples(st.sampled_from(list(Stream)), st.integers(0, 4), st.lists(st.integers(1, 50), min_size=1, max_size=40)),
    min_size=1,
    max_size=12,
)


@given(queues, st.integers(1, 20), st.floats(1, 60))
def test_all_that_waits_goes_once(given_: list[tuple[Stream, int, list[int]]], calls: int, recipients: float) -> None:
    names = [f"d{number}.example" for number in range(len(given_))]
    lane = Lane(
        *((name, stream, list(sizes)) for name, (stream, _, sizes) in zip(names, given_, strict=True)),
        tenants={name: tenant for name, (_, tenant, _) in zip(names, given_, strict=True)},
    )
    deliveries = sum(len(sizes) for _, _, sizes in given_)
    for _ in range(deliveries + len(given_)):
        lane.round(calls, recipients)
    assert sum(1 for _ in lane.went) == deliveries
    assert len(lane.turns) == 0


@given(
    st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=3), min_size=2, max_size=8),
    st.integers(1, 20),
    st.floats(1, 60),
)
def test_tenants_that_wait_have_had_the_same_to_within_a_call_of_each(
    mixes: list[list[int]], calls: int, recipients: float
) -> None:
    lane = Lane(*((f"d{number}.example", T, sizes * 2000) for number, sizes in enumerate(mixes)))
    for _ in range(100):
        lane.round(calls, recipients)
    had = lane.had()
    assert max(had.values()) - min(had[queue] for queue in lane.held) <= 2 * 50 + calls


@given(st.lists(st.sampled_from(list(Stream)), min_size=2, max_size=6), st.integers(1, 30))
def test_a_rank_that_waits_has_its_slots(streams: list[Stream], calls: int) -> None:
    lane = Lane(*((f"d{number}.example", stream, [1] * 4000) for number, stream in enumerate(streams)))
    rounds = -(-2000 // calls)
    for _ in range(rounds):
        lane.round(calls, float(calls))
    served = Counter(RANKS[queue[1]] for queue, _ in lane.went)
    left = float(rounds * calls)
    ranks = sorted(served)
    for rank, _ in pairwise(ranks):
        assert served[rank] == pytest.approx(left * LOWER / (LOWER + 1), abs=2 * calls)
        left -= served[rank]
    assert served[ranks[-1]] == pytest.approx(left)


@given(st.lists(st.tuples(st.sampled_from(["note", "later", "stop", "go", "plan"]), st.integers(0, 5)), max_size=60))
def test_nothing_that_is_due_is_ever_overlooked(steps: list[tuple[str, int]]) -> None:
    turns, now = Turns(), NOW
    turns.assign({f"d{number}.example": number % 3 for number in range(6)})
    due: dict[Queue, int] = {}
    stopped: set[str] = set()
    for step, number in steps:
        queue = (f"d{number}.example", list(Stream)[number % 3])
        if step == "note" or step == "later":
            due_at = now + (1000 * number if step == "later" else 0)
            turns.note(queue, due_at)
            due[queue] = min(due_at, due.get(queue, due_at))
        elif step == "plan":
            now += 1000
            shares = turns.plan(now, Room(50, 50.0))
            ready = {queue for queue, due_at in due.items() if due_at <= now and queue[0] not in stopped}
            assert {share.queue for share in shares} == ready
            for share in shares:
                turns.took(share, share.deliveries, share.deliveries, None, is_drained=True)
                del due[share.queue]
        else:
            (stopped.add if step == "stop" else stopped.discard)(queue[0])
            turns.stop(set(stopped))
    waiting = [due_at for queue, due_at in due.items() if queue[0] not in stopped]
    assert turns.next_due(now) == (max(now, min(waiting)) if waiting else None)
