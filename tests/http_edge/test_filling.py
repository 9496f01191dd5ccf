"""What a server keeps of templates, and how it shares its threads among those whose templates take long."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from sqlalchemy.engine import URL

from relay.errors import Kind, Problem
from relay.http import filling
from relay.http.filling import Filling
from relay.store import templates
from relay.store.directory.audit import Actor
from relay.store.store import Store
from relay.store.templates import Written
from relay.templates.template import Flawed, Source, Template, read
from tests import databases
from tests.store.stories import play

ACTOR = Actor("test")
SLOW = read(Source("s", "{% for i in (1..3000) %}{{ i }}{% endfor %}", None))
QUICK = read(Source("s", "t", None))


class Watched(Filling):
    """Notes who works beside the loop, and how many at once."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[int] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    async def slow(self, tenant_id: int) -> None:
        def work() -> None:
            with self._lock:
                self.order.append(tenant_id)
                self._now += 1
                self.most = max(self.most, self._now)
            SLOW.fill({})
            with self._lock:
                self._now -= 1

        await self._beside_the_loop(tenant_id, work)


@pytest.fixture
def sqlite(tmp_path: Any) -> URL:
    return databases.sqlite(tmp_path)


def test_a_tenant_with_many_slow_ones_does_not_take_every_turn() -> None:
    async def story() -> list[int]:
        watched = Watched()
        await asyncio.gather(*(watched.slow(1) for _ in range(10)), *(watched.slow(2) for _ in range(3)))
        assert watched.most <= filling.AT_ONCE
        assert not watched._turns
        return watched.order

    order = asyncio.run(story())
    assert len(order) == 13
    assert order.index(2) <= 1
    assert [at for at, tenant in enumerate(order) if tenant == 2][-1] < 12


def test_who_asks_for_too_many_at_once_is_told_to_wait() -> None:
    async def story() -> None:
        watched = Watched()
        outcomes = await asyncio.gather(
            *(watched.slow(1) for _ in range(filling.MOST_WAITING + 5)), watched.slow(2), return_exceptions=True
        )
        refused = [each for each in outcomes if isinstance(each, Problem)]
        assert [each.kind for each in refused] == [Kind.OVERLOADED] * 5
        assert refused[0].retry_after is not None
        assert outcomes[-1] is None
        assert (await watched.fill(1, QUICK, {})).text == "t"

    asyncio.run(story())


def test_what_is_quick_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    async def story() -> None:
        monkeypatch.setattr(asyncio, "to_thread", never)
        assert (await Filling().fill(1, QUICK, {})).text == "t"

    asyncio.run(story())


def test_templates_are_read_once_and_not_kept_for_ever(sqlite: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(store: Store, tenant: int) -> None:
        filled = Filling()
        for name in ("a", "b", "c"):
            await store.change(
                lambda db, name=name: templates.create(db, ACTOR, tenant, name, Written("s", "x" * 1000, None, "error"))
            )
        made: dict[str, Template] = {name: await filled.stored(store, tenant, name) for name in ("a", "b")}
        assert await filled.stored(store, tenant, "a") is made["a"]
        monkeypatch.setattr(filling, "MOST_KEPT", 2500)
        await filled.stored(store, tenant, "c")  # and the one that was not asked for longest goes
        assert filled._weight == 2002
        assert await filled.stored(store, tenant, "a") is made["a"]
        assert await filled.stored(store, tenant, "b") is not made["b"]

    play(sqlite, story)


def test_a_version_that_is_gone_is_gone_though_it_is_kept(sqlite: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MOST_VERSIONS", 2)
    monkeypatch.setattr(filling, "MOST_VERSIONS", 2)

    async def story(store: Store, tenant: int) -> None:
        filled = Filling()
        await store.change(lambda db: templates.create(db, ACTOR, tenant, "a", Written("1", "t", None, "error")))
        await filled.stored(store, tenant, "a", 1)
        for subject in ("2", "3"):
            written = Written(subject, "t", None, "error")
            await store.change(lambda db, written=written: templates.change(db, ACTOR, tenant, "a", written))
        for version, there in ((1, False), (2, True), (3, True), (4, False)):
            try:
                found = await filled.stored(store, tenant, "a", version)
            except Problem as problem:
                assert (problem.kind, there) == (Kind.NOT_FOUND, False)
            else:
                assert (found.fill({}).subject, there) == (str(version), True)
        await store.change(lambda db: templates.remove(db, ACTOR, tenant, "a"))
        with pytest.raises(Problem):
            await filled.stored(store, tenant, "a", 3)

    play(sqlite, story)


def test_what_does_not_parse_is_not_kept(sqlite: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        filled = Filling()
        await store.change(lambda db: templates.create(db, ACTOR, tenant, "a", Written("s", "{{", None, "error")))
        with pytest.raises(Flawed):
            await filled.stored(store, tenant, "a")
        assert not filled._kept

    play(sqlite, story)
