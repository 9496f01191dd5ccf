"""The gate: so much at a time, in order, and nobody waits for ever. The budget: what is held, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from relay.errors import Problem
from relay.routing.limits import LARGE, Gate, MemoryBudget


class Crowd:
    """Tasks that go through a gate and stay inside until they are told to leave."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, octets: int) -> None:
        self._leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._pass(name, octets))
        await settled()

    async def leave(self, name: str) -> None:
        self._leave[name].set()
        await settled()

    async def _pass(self, name: str, octets: int) -> None:
        async with self.gate.through(octets):
            self.inside.append(name)
            try:
                await self._leave[name].wait()
            finally:
                self.inside.remove(name)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def play(story: Callable[[Crowd], Awaitable[None]]) -> None:
    async def told() -> None:
        crowd = Crowd(Gate(100))
        await story(crowd)
        assert crowd.inside == []

    asyncio.run(told())


def test_as_many_pass_as_there_is_room_for() -> None:
    async def story(crowd: Crowd) -> None:
        for name in ("a", "b", "c"):
            await crowd.come(name, 50)
        assert crowd.inside == ["a", "b"]
        await crowd.leave("b")
        assert crowd.inside == ["a", "c"]
        await crowd.leave("a")
        await crowd.leave("c")

    play(story)


def test_what_is_larger_than_the_gate_passes_alone_and_is_not_overtaken() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.come("a", 10)
        await crowd.come("large", 500)
        await crowd.come("b", 10)
        assert crowd.inside == ["a"]
        await crowd.leave("a")
        assert crowd.inside == ["large"]
        await crowd.leave("large")
        assert crowd.inside == ["b"]
        await crowd.leave("b")

    play(story)


def test_who_gives_up_lets_the_next_one_in() -> None:
    async def story(crowd: Crowd) -> None:
        await crowd.come("a", 100)
        await crowd.come("b", 100)
        await crowd.come("c", 100)
        crowd.tasks["b"].cancel()
        await settled()
        assert crowd.inside == ["a"]
        crowd.tasks["a"].cancel()
        await settled()
        assert crowd.inside == ["c"]
        await crowd.leave("c")

    play(story)


def test_what_is_expected_is_taken_once() -> None:
    budget = MemoryBudget(10 * LARGE)
    with budget.share() as share:
        share.expect(3 * LARGE)
        assert budget.used == 3 * LARGE
        share.take(2 * LARGE)
        share.take(2 * LARGE)  # it is more than was said
        assert budget.used == 4 * LARGE
    assert budget.used == 0


def test_small_messages_go_on_where_large_ones_are_refused() -> None:
    budget = MemoryBudget(10 * LARGE)
    with budget.share() as large, budget.share() as another, budget.share() as small:
        large.expect(9 * LARGE)
        with pytest.raises(Problem, match="too many large messages"):
            another.expect(LARGE + 1)
        small.take(LARGE)
        assert budget.used == 10 * LARGE
