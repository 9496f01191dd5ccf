"""Whatever happens in whatever order, the queue's invariants hold. A property test over the real schema on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.pool import StaticPool

from relay.delivery import MOVES, Delivery, OnUnknown, RetryPolicy, Settlement, State
from relay.errors import Kind, Problem
from relay.message import Mode, Stream
from relay.sealing import MasterKey
from relay.store import duplicates, hand, schema, sweeping
from relay.store.accepting import Together, accept
from relay.store.clock import now_ms
from relay.store.directory import installation
from relay.store.queue import Order, take
from relay.store.settling import settle
from tests.store.stories import message

QUEUE = ("byoc.example", Stream.TRANSACTIONAL)
MASTER = MasterKey(bytes(32))
RESULTS = [State.SENT, State.QUEUED, State.FAILED, State.UNKNOWN]


class Sealing:
    """Stands where a store would: only its sealer is asked for."""

    def __init__(self, db: Connection) -> None:
        self.sealer = installation.establish(db, MASTER)


def memory() -> Engine:
    engine = create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def _connect(driver: Any, _record: Any) -> None:
        driver.execute("PRAGMA foreign_keys = ON")

    schema.metadata.create_all(engine)
    return engine


class Machine:
    """The queue, the attempts that somebody still has in hand, and what was seen of each delivery before."""

    def __init__(self, db: Connection) -> None:
        self.db = db
        self.sealing = Sealing(db)
        self.tenant = installation.default_tenant(db)
        self.attempts: list[Delivery] = []
        self.seen: dict[int, tuple[State, int]] = {}

    def accept(self, pick: int) -> None:
        state = State.SENDING if pick % 3 == 0 else State.QUEUED
        groups = [("ana@d.example",), ("bo@d.example", "cy@d.example")][: 1 if state is State.SENDING else 1 + pick % 2]
        mode = Mode.SHARED if pick % 2 else Mode.BYOC
        keep_for = timedelta(days=9) if mode is Mode.SHARED else None
        new = message(self.sealing, self.tenant, *groups, mode=mode, state=state, keep_for=keep_for)  # type: ignore[arg-type]
        accept(self.db, [Together((new,))])

    def take(self, pick: int) -> None:
        (taken,) = take(self.db, [Order("customer", (QUEUE,), 1 + pick % 3, 10)])
        self.attempts += taken.started

    def settle(self, pick: int) -> None:
        if not self.attempts:
            return
        # Not removed: the same attempt may be settled late and twice.
        attempt = self.attempts[pick % len(self.attempts)]
        state = RESULTS[pick % len(RESULTS)]
        due_at = None if state.is_final else now_ms()
        settle(self.db, [Settlement(attempt.id, attempt.attempts, state, "customer", due_at, 0, Kind.SES_UNAVAILABLE)])

    def crash(self, _pick: int) -> None:
        sweeping.recover(self.db, [True])

    def sweep(self, pick: int) -> None:
        policy = RetryPolicy(on_unknown=OnUnknown.FAIL if pick % 4 == 0 else OnUnknown.RETRY)
        sweeping.sweep_waiting(self.db, [sweeping.Round(policy, (QUEUE,), True)])

    def by_hand(self, pick: int) -> None:
        ids = self.db.scalars(select(schema.messages.c.public_id).order_by(schema.messages.c.id)).all()
        if ids:
            verb = list(hand.Verb)[pick % len(hand.Verb)]
            due_at = now_ms() + pick * 1000 - 20_000 if verb is hand.Verb.RESCHEDULE else None
            try:
                hand.move_by_hand(self.db, [hand.ByHand(ids[pick % len(ids)], verb, due_at)])
            except Problem as problem:
                assert problem.kind is Kind.CONFLICT

    def check(self) -> None:
        rows = self.db.execute(select(schema.deliveries)).all()
        doubtful = sum(each.deliveries for each in duplicates.since(self.db, 0))
        assert doubtful == sum(row.possible_duplicates for row in rows)
        for row in rows:
            state = State(row.state)
            before, attempts = self.seen.get(row.id, (state, row.attempts))
            assert row.attempts >= attempts
            assert row.due_at is None or row.first_due_at <= row.due_at
            # One action may take two steps (recover, then sweep): what is final never moves.
            assert before is state or before in MOVES
            self.seen[row.id] = (state, row.attempts)
        for message_row in self.db.execute(select(schema.messages)):
            states = [State(row.state) for row in rows if row.message_id == message_row.id]
            assert message_row.open_deliveries == sum(not state.is_final for state in states)
            is_over = message_row.open_deliveries == 0 and message_row.keep_until is None
            assert (message_row.wrapped_key is None) == is_over


ACTIONS: list[Callable[[Machine, int], None]] = [
    Machine.accept,
    Machine.take,
    Machine.settle,
    Machine.crash,
    Machine.sweep,
    Machine.by_hand,
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 50)), min_size=5, max_size=40))
def test_invariants_hold_whatever_happens(steps: list[tuple[Callable[[Machine, int], None], int]]) -> None:
    engine = memory()
    try:
        with engine.connect() as db:
            machine = Machine(db)
            for action, pick in steps:
                action(machine, pick)
                machine.check()
            db.rollback()
    finally:
        engine.dispose()


def test_every_state_can_come_to_an_end() -> None:
    for state in MOVES:
        reached, new = {state}, {state}
        while new:
            new = {after for each in new for after in MOVES.get(each, ())} - reached
            reached |= new
        assert any(each.is_final for each in reached), state


@pytest.mark.parametrize("state", list(State))
def test_only_listed_moves_exist(state: State) -> None:
    assert state.is_final == (state not in MOVES)
    assert state not in MOVES.get(state, frozenset())
