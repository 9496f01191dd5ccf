"""Messages found by what they are: the same as looking at each one finds, on both databases, with bounded work."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert, update
from sqlalchemy.engine import URL

from relay.delivery import RetryPolicy, State
from relay.errors import Kind, Problem
from relay.message import Ids, Mode, Options, Stream
from relay.store import database, listing, schema, searching, sweeping
from relay.store.clock import now_ms
from relay.store.directory.paging import Asked, cursor_of
from relay.store.listing import MessageView
from relay.store.searching import Wanted
from relay.store.store import Store
from tests.store.stories import message, play, put

COUNT = 60
DOMAINS = ("one.example", "two.example", "three.example")
PEOPLE = ("ana@dest.example", "bo@dest.example", "cy@dest.example")
STATES = [state.value for state in State]


@dataclass(frozen=True)
class Put:
    """What was put in, and what searches are to find of it."""

    tenant: int
    id: str
    domain: str
    to: frozenset[str]
    tag: str | None
    stream: Stream
    accepted_at: int
    message_id: str
    ses_ids: frozenset[str]
    state: str


async def fill(store: Store, tenants: list[int], rng: random.Random) -> list[Put]:
    """Messages of one or two deliveries, each in some state."""
    found = []
    start = now_ms()
    for number in range(COUNT):
        groups = [(rng.choice(PEOPLE),) for _ in range(rng.choice((1, 1, 2)))]
        domain, tenant = rng.choice(DOMAINS), rng.choice(tenants)
        stream, tag = rng.choice(list(Stream)), rng.choice(("a", "b", None))
        new = message(store, tenant, *groups, domain=domain, mode=rng.choice(list(Mode)), stream=stream)
        at = start - (COUNT - number) * 10
        rfc = f"<{number}@{domain}>"
        new = replace(new, options=Options(tag=tag), accepted_at=at, rfc_message_id=rfc)
        await put(store, new)
        states = [rng.choice(STATES) for _ in groups]
        ses = frozenset(f"ses-{number}-{n}" for n, state in enumerate(states) if state == "sent")
        await store.change(lambda db, new=new, states=states, number=number: put_states(db, new, states, number))
        worst = min(states, key=listing.STATES.index)
        people = frozenset(each for group in groups for each in group)
        found.append(Put(tenant, new.public_id, domain, people, tag, stream, at, rfc, ses, worst))
    return found


def put_states(db: Connection, new: Any, states: list[str], number: int) -> None:
    for n, (each, state) in enumerate(zip(new.deliveries, states, strict=True)):
        is_final = State(state).is_final
        db.execute(
            update(schema.deliveries)
            .where(schema.deliveries.c.id == each.id)
            .values(
                state=state,
                finished_at=1 if is_final else None,
                due_at=None if is_final else 1,
                ses_message_id=f"ses-{number}-{n}" if state == "sent" else None,
            )
        )


def matches(each: Put, wanted: Wanted, to: str | None) -> bool:
    """What a search is to find, said of one message."""
    shown = "held" if each.state == "queued" and each.domain in wanted.stopped else each.state
    return (
        wanted.tenant_id in (None, each.tenant)
        and (wanted.scope is None or each.domain in wanted.scope)
        and wanted.status in (None, shown)
        and (to is None or to in each.to)
        and wanted.domain in (None, each.domain)
        and wanted.tag in (None, each.tag)
        and wanted.stream in (None, each.stream)
        and (wanted.since is None or each.accepted_at >= wanted.since)
        and (wanted.until is None or each.accepted_at < wanted.until)
        and (wanted.message_id is None or called(each, wanted.message_id))
    )


def called(each: Put, name: str) -> bool:
    bare = name.strip("<>")
    return f"<{bare}>" == each.message_id or bare.removesuffix("@eu-west-1.amazonses.com") in each.ses_ids


def some_search(rng: random.Random, every: list[Put], tenants: list[int]) -> tuple[Wanted, str | None]:
    """With few filters mostly: many at once find nothing."""
    one = rng.choice(every)
    to = rng.choice(PEOPLE)
    ses = next(iter(one.ses_ids), "ses-none")
    names = [one.message_id, one.message_id.strip("<>"), ses, f"<{ses}@eu-west-1.amazonses.com>", "<no@where>"]
    choices: dict[str, Any] = {
        "tenant_id": rng.choice(tenants),
        "scope": frozenset(rng.sample(DOMAINS, rng.randrange(3))),
        "status": rng.choice(STATES),
        "recipient": to,
        "domain": rng.choice(DOMAINS),
        "tag": rng.choice(("a", "b", "c")),
        "stream": rng.choice(list(Stream)),
        "since": one.accepted_at,
        "until": one.accepted_at,
        "message_id": rng.choice(names),
        "stopped": frozenset(rng.sample(DOMAINS, rng.randrange(3))),
    }
    chosen = dict(rng.sample(sorted(choices.items(), key=lambda item: item[0]), rng.choice((0, 1, 1, 2, 2, 3))))
    asked_for = chosen.pop("recipient", None)
    return Wanted(**chosen), asked_for


async def every_page(store: Store, wanted: Wanted, limit: int) -> tuple[list[MessageView], set[int | None]]:
    """All of them, and what was said of how many there are."""
    items: list[MessageView] = []
    totals: set[int | None] = set()
    asked = Asked(limit)
    while True:
        found = await store.read(lambda db, asked=asked: searching.page(db, wanted, asked))
        assert len(found.items) <= limit
        items += found.items
        totals.add(found.total)
        if found.next_cursor is None:
            return items, totals
        asked = Asked(limit, found.next_cursor)


@pytest.mark.parametrize("looked_at", [searching.LOOKED_AT, 7])
def test_finds_what_looking_at_each_finds(url: URL, monkeypatch: pytest.MonkeyPatch, looked_at: int) -> None:
    monkeypatch.setattr(searching, "LOOKED_AT", looked_at)
    monkeypatch.setattr(searching, "FEW", looked_at)
    rng = random.Random(looked_at)

    async def story(store: Store, tenant: int) -> None:
        another = await store.change(lambda db: second_tenant(db))
        tenants = [tenant, another]
        every = await fill(store, tenants, rng)
        for _ in range(40):
            wanted, to = some_search(rng, every, tenants)
            hashed = None if to is None else store.sealer.hash_address(to)
            expected = [each.id for each in reversed(every) if matches(each, wanted, to)]
            found, totals = await every_page(store, replace(wanted, recipient=hashed), rng.choice((1, 3, 100)))
            assert [each.public_id for each in found] == expected, (wanted, to)
            assert totals <= {len(expected), None}, (wanted, to)
            if looked_at > COUNT:
                assert totals == {len(expected)}
        newest = await store.read(lambda db: searching.newest(db, Wanted(status="sent"), 3))
        assert [each.public_id for each in newest] == [each.id for each in reversed(every) if each.state == "sent"][:3]

    play(url, story)


def second_tenant(db: Connection) -> int:
    row_id = Ids().next()
    values = {"name": "another", "created_at": 1, "updated_at": 1, "status": "active", "approval": "approved"}
    db.execute(insert(schema.tenants).values(id=row_id, settings="{}", is_declared=False, **values))
    return row_id


def test_what_is_shown_and_what_is_searched_are_the_same_states() -> None:
    assert set(listing.STATES) == set(STATES)


@pytest.mark.parametrize("cursor", ["!", "", cursor_of("no number"), cursor_of(1 << 63), cursor_of(-1)])
def test_a_cursor_of_somebody_else_is_refused(tmp_path: Any, cursor: str) -> None:
    async def story(store: Store, tenant: int) -> None:
        with pytest.raises(Problem) as caught:
            await store.read(lambda db: searching.page(db, Wanted(tenant_id=tenant), Asked(5, cursor)))
        assert caught.value.kind is Kind.BAD_REQUEST

    play(database.parse_url("relay.db", tmp_path), story)


# -- how much it looks at --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, list[tuple[str, Any]]]]:
    """A SQLite database, and every query that is asked of it."""
    url = database.parse_url("relay.db", tmp_path_factory.mktemp("plans"))
    database.migrate_sqlite(url)
    engine = database.reading_engine(url)
    asked: list[tuple[str, Any]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def _note(_db: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    yield engine, asked
    engine.dispose()


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        *({"status": state} for state in STATES),
        {"status": "held", "stopped": frozenset({"one.example"})},
        {"recipient": b"x"},
        {"message_id": "<a@b>"},
        {"domain": "one.example"},
        {"tag": "a"},
        {"stream": Stream.BROADCAST},
        {"since": 1_900_000_000_000},
        {"until": 1_900_000_000_000},
        {"scope": frozenset({"one.example"})},
    ],
    ids=str,
)
def test_no_search_goes_through_a_whole_table(
    plans: tuple[Engine, list[tuple[str, Any]]], wanted: dict[str, Any]
) -> None:
    engine, asked = plans
    asked.clear()
    with engine.connect() as db:
        searching.page(db, Wanted(tenant_id=5, **wanted), Asked())
        statements = list(asked)
        for statement, parameters in statements:
            steps = [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            whole = [step for step in steps if re.match(r"SCAN (messages|deliveries|recipients)(?! USING)", step)]
            assert not whole, (statement, steps)
            if "FROM messages" in statement and "status" not in wanted:
                assert not any(step.startswith("SCAN messages") for step in steps), (statement, steps)


def test_the_sweep_of_each_second_looks_at_what_waits_alone(tmp_path: Any) -> None:
    url = database.parse_url("relay.db", tmp_path)
    database.migrate_sqlite(url)
    engine = database.writing_engine(url)
    asked: list[tuple[str, Any]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def _note(_db: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> None:
        asked.append((statement, parameters))

    with engine.begin() as db:
        sweeping.sweep_waiting(db, [sweeping.Round(RetryPolicy(), (), False)])
        sweeping.recover(db, [True])
        for statement, parameters in [each for each in asked if "deliveries" in each[0]]:
            steps = [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            assert re.match(r"SEARCH deliveries USING (COVERING )?INDEX ix_deliveries_waiting", steps[0]), (
                statement,
                steps,
            )
    engine.dispose()
