"""Usage: counted by tenant, UTC day and process; read by month and by day."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.engine import URL

from relay.message import Ids
from relay.store import usage
from relay.store.schema import tenants
from relay.store.store import Store
from relay.store.usage import Day, Used, count, daily, date_of, day_of, month_of, of_month
from tests.store.stories import play


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "first", "following"),
    [
        ("2031-05-10T12:00:00", "2031-05-01", "2031-06-01"),
        ("2031-05-31T23:59:59.999", "2031-05-01", "2031-06-01"),
        ("2031-06-01T00:00:00", "2031-06-01", "2031-07-01"),
        ("2031-12-31T23:59:59.999", "2031-12-01", "2032-01-01"),
        ("2032-02-29T00:00:00", "2032-02-01", "2032-03-01"),
    ],
)
def test_months(moment: str, first: str, following: str) -> None:
    assert [date_of(day) for day in month_of(ms(moment))] == [date.fromisoformat(first), date.fromisoformat(following)]
    assert day_of(ms(moment)) == (date.fromisoformat(moment[:10]) - date(1970, 1, 1)).days


def another_tenant(db: Connection) -> int:
    """A second row like the default tenant's."""
    values = dict(db.execute(select(tenants)).mappings().one()) | {"id": Ids().next(), "name": "another"}
    db.execute(tenants.insert().values(values))
    return int(values["id"])


def test_it_counts_by_month_and_says_what_was_counted_here(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    may, june = ms("2031-05-31T23:59:59.999"), ms("2031-06-01T00:00:00")

    async def story(store: Store, tenant: int) -> None:
        other = await store.change(another_tenant)
        monkeypatch.setattr(usage, "process", 1)
        await store.change(lambda db: count(db, [(tenant, may, 5), (tenant, june, 2), (tenant, june, 1)]))
        monkeypatch.setattr(usage, "process", 2)
        await store.change(lambda db: count(db, [(tenant, june, 10), (other, june, 1)]))
        await store.change(lambda db: count(db, [(tenant, june + 3 * usage.DAY, 20)]))
        assert await store.read(lambda db: of_month(db, june)) == {tenant: Used(33, 30), other: Used(1, 1)}
        assert await store.read(lambda db: of_month(db, may)) == {tenant: Used(5, 0)}
        monkeypatch.setattr(usage, "process", 1)
        assert await store.read(lambda db: of_month(db, june)) == {tenant: Used(33, 3), other: Used(1, 0)}
        assert await store.read(lambda db: of_month(db, ms("2031-07-01"))) == {}

    play(url, story)


def test_days_are_those_of_all_processes(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    at = ms("2031-06-01T00:00:00")
    day = day_of(at)

    async def story(store: Store, tenant: int) -> None:
        other = await store.change(another_tenant)
        for process in (1, 2):
            monkeypatch.setattr(usage, "process", process)
            await store.change(lambda db: count(db, [(tenant, at, 3), (other, at + usage.DAY, 1)]))
        whole = [Day(tenant, day, 2, 6), Day(other, day + 1, 2, 2)]
        assert await store.read(lambda db: daily(db, day, day + 1)) == whole
        assert await store.read(lambda db: daily(db, day, day + 1, other)) == whole[1:]
        assert await store.read(lambda db: daily(db, day + 2, day + 9)) == []

    play(url, story)


def test_what_is_rolled_back_is_not_counted(url: URL) -> None:
    at = ms("2031-06-01T00:00:00")

    def fail(db: Connection, tenant: int) -> None:
        count(db, [(tenant, at, 3)])
        raise ValueError("the message was not written")

    async def story(store: Store, tenant: int) -> None:
        with pytest.raises(ValueError, match="not written"):
            await store.change(lambda db: fail(db, tenant))
        assert await store.read(lambda db: of_month(db, at)) == {}

    play(url, story)
