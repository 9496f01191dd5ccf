"""The monthly quota: exact for what this process accepts, whenever the database is read and whatever it has by then."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.errors import Kind, Problem
from relay.routing.counting import Reserved
from relay.routing.quota import Quota
from relay.store.usage import Used, month_of

TENANT, OTHER = 1, 2


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


MAY, LATE_MAY, JUNE = ms("2031-05-10T12:00:00"), ms("2031-05-31T23:59:59.999"), ms("2031-06-01T00:00:00")


def loaded(used: dict[int, Used] | None = None, at: int = MAY) -> Quota:
    quota = Quota()
    quota.load(used or {}, at)
    return quota


def test_who_has_used_up_a_month_is_named_until_that_is_told() -> None:
    quota = loaded({TENANT: Used(100, 0), OTHER: Used(99, 0)})
    caps = {TENANT: 100, OTHER: 100, 3: 0, 4: None}
    [found] = quota.reached(caps, MAY)
    assert (found.tenant_id, found.used, found.monthly, found.month) == (TENANT, 100, 100, month_of(MAY))
    assert quota.reached(caps, MAY) == [found]
    quota.told([found])
    assert quota.reached(caps, MAY) == []
    quota.reserve(OTHER, 1, 100, MAY)
    assert [each.tenant_id for each in quota.reached(caps, MAY)] == [OTHER]
    assert quota.reached(caps, JUNE) == []
    quota.reserve(TENANT, 100, 100, JUNE)
    assert [each.tenant_id for each in quota.reached(caps, JUNE)] == [TENANT]


def test_the_text_names_the_cap_what_is_used_and_when_it_resets() -> None:
    quota = loaded({TENANT: Used(95, 0)})
    quota.check(TENANT, 5, 100, MAY)
    with pytest.raises(Problem) as caught:
        quota.check(TENANT, 6, 100, MAY)
    assert caught.value.kind is Kind.QUOTA_EXCEEDED
    assert caught.value.detail == (
        "the plan has 100 recipients a month: 95 are used in 2031-05, and 6 more do not fit; "
        "it starts anew at 2031-06-01T00:00:00Z"
    )
    assert caught.value.retry_after == timedelta(days=21, hours=12)


@pytest.mark.parametrize(
    ("used", "recipients", "monthly", "fits"),
    [
        (0, 1, None, True),
        (10**9, 10**6, None, True),
        (0, 1, 0, False),
        (0, 0, 0, True),
        (0, 100, 100, True),
        (0, 101, 100, False),
        (99, 1, 100, True),
        (100, 1, 100, False),
        (500, 1, 100, False),  # the plan became smaller
    ],
)
def test_what_fits(used: int, recipients: int, monthly: int | None, fits: bool) -> None:
    quota = loaded({TENANT: Used(used, 0)})
    for ask in (quota.check, quota.reserve):
        if fits:
            ask(TENANT, recipients, monthly, MAY)
        else:
            with pytest.raises(Problem):
                ask(TENANT, recipients, monthly, MAY)
    assert quota.used(TENANT, MAY) == used + (recipients if fits else 0)


def test_what_is_released_is_free_again_once() -> None:
    quota = loaded()
    held = quota.reserve(TENANT, 60, 100, MAY)
    with pytest.raises(Problem):
        quota.reserve(TENANT, 60, 100, MAY)
    held.release()
    held.release()
    quota.reserve(TENANT, 100, 100, MAY)
    assert quota.used(TENANT, MAY) == 100


def test_tenants_are_counted_apart() -> None:
    quota = loaded()
    quota.reserve(TENANT, 100, 100, MAY)
    quota.reserve(OTHER, 100, 100, MAY)


@pytest.mark.parametrize("seen", [0, 30])
def test_it_does_not_matter_whether_the_database_was_read_before_the_commit(seen: int) -> None:
    quota = loaded({TENANT: Used(50, 0)})
    quota.reserve(TENANT, 30, 100, MAY)
    quota.load({TENANT: Used(50 + seen, seen)}, MAY)
    assert quota.used(TENANT, MAY) == 80


def test_what_others_accept_is_taken_over() -> None:
    quota = loaded()
    quota.reserve(TENANT, 10, 100, MAY)
    quota.load({TENANT: Used(85, 10)}, MAY)
    with pytest.raises(Problem, match="85 are used"):
        quota.reserve(TENANT, 16, 100, MAY)
    quota.reserve(TENANT, 15, 100, MAY)


def test_a_server_that_starts_again_in_the_same_process_counts_on() -> None:
    quota = loaded({TENANT: Used(70, 40)})
    quota.reserve(TENANT, 20, 100, MAY)
    assert quota.used(TENANT, MAY) == 90
    quota.load({TENANT: Used(90, 60)}, MAY)
    assert quota.used(TENANT, MAY) == 90


def test_a_commit_whose_answer_was_lost_counts_all_the_same() -> None:
    quota = loaded()
    quota.reserve(TENANT, 20, None, MAY).release()  # it looked as if it had failed
    quota.load({TENANT: Used(20, 20)}, MAY)
    assert quota.used(TENANT, MAY) == 20


def test_the_month_ends_by_utc() -> None:
    quota = loaded({TENANT: Used(60, 0)})
    held = quota.reserve(TENANT, 40, 100, LATE_MAY)
    with pytest.raises(Problem):
        quota.check(TENANT, 1, 100, LATE_MAY)
    quota.reserve(TENANT, 100, 100, JUNE)
    with pytest.raises(Problem, match="2031-07-01"):
        quota.check(TENANT, 1, 100, JUNE)
    held.release()  # it was of May
    assert quota.used(TENANT, LATE_MAY) == 60
    assert quota.used(TENANT, JUNE) == 100


def test_numbers_of_the_last_month_that_come_late_are_the_last_months() -> None:
    quota = loaded()
    quota.reserve(TENANT, 10, 100, JUNE)
    quota.load({TENANT: Used(99, 0)}, LATE_MAY)
    assert quota.used(TENANT, JUNE) == 10
    assert quota.used(TENANT, LATE_MAY) == 99


def test_old_months_are_forgotten() -> None:
    quota = loaded()
    for year in range(2032, 2060):
        quota.reserve(TENANT, 1, 1, ms(f"{year}-01-15"))
        quota.reserve(TENANT, 1, 1, ms(f"{year}-12-31T23:59:59"))
    assert len(quota._months._periods) == 2


def test_many_at_once_get_exactly_what_there_is() -> None:
    """Between reserving and its commit everybody waits, and some commits fail, so that others fit instead."""
    quota = loaded()
    committed = 0

    async def send(number: int) -> None:
        nonlocal committed
        while True:
            try:
                held = quota.reserve(TENANT, 3, 100, MAY)
            except Problem:
                if in_flight == 0:
                    return
                await asyncio.sleep(0)
                continue
            await commit(held, number)
            return

    in_flight = 0

    async def commit(held: Reserved, number: int) -> None:
        nonlocal committed, in_flight
        in_flight += 1
        await asyncio.sleep(0)
        in_flight -= 1
        if number % 3:
            committed += 3
        else:
            held.release()

    async def all_of_them() -> None:
        await asyncio.gather(*(send(number) for number in range(200)))

    asyncio.run(all_of_them())
    assert committed == quota.used(TENANT, MAY) == 99


# -- every interleaving ------------------------------------------------------------------------------------------------

MONTHLY = 50
TENANTS = st.sampled_from([TENANT, OTHER])


@dataclass(eq=False)
class Process:
    """One server: its quota, what it has in hand, what a read has seen and not told yet; and what is true of it."""

    number: int
    quota: Quota = field(default_factory=Quota)
    in_hand: list[tuple[Reserved, int, int, int]] = field(default_factory=list)
    seen: tuple[dict[int, Used], int] | None = None
    others: dict[int, Counter[int]] = field(default_factory=dict)  # by month: as of the last load


class Servers(RuleBasedStateMachine):
    """Two servers on one database, which accept, commit, fail, read, start again, and see the month end."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Counter[tuple[int, int, int]] = Counter()  # (process, month, tenant) -> recipients
        self.now = ms("2031-05-31T23:59:00")
        self.servers = [Process(0), Process(1)]
        for server in self.servers:
            self.read(server)
            self.tell(server)

    def read(self, server: Process) -> None:
        month = month_of(self.now)[0]
        found: dict[int, Used] = {}
        for tenant in (TENANT, OTHER):
            here = self.rows[server.number, month, tenant]
            everywhere = sum(self.rows[number, month, tenant] for number in (0, 1))
            if everywhere:
                found[tenant] = Used(everywhere, here)
        server.seen = found, self.now

    def tell(self, server: Process) -> None:
        assert server.seen is not None
        found, at = server.seen
        server.quota.load(found, at)
        server.others[month_of(at)[0]] = Counter({t: each.recipients - each.here for t, each in found.items()})
        server.seen = None

    def truth(self, server: Process, tenant: int) -> int:
        """What is in the database from here, or on its way there, and what others had when it was last told."""
        month = month_of(self.now)[0]
        on_its_way = sum(n for _, t, n, at in server.in_hand if t == tenant and month_of(at)[0] == month)
        others = server.others.get(month, Counter())[tenant]
        return self.rows[server.number, month, tenant] + on_its_way + others

    servers_at = st.integers(0, 1)

    @rule(number=servers_at, tenant=TENANTS, recipients=st.integers(1, 20))
    def accept(self, number: int, tenant: int, recipients: int) -> None:
        server = self.servers[number]
        fits = self.truth(server, tenant) + recipients <= MONTHLY
        try:
            held = server.quota.reserve(tenant, recipients, MONTHLY, self.now)
        except Problem:
            assert not fits
        else:
            assert fits
            server.in_hand.append((held, tenant, recipients, self.now))

    @rule(number=servers_at, choice=st.integers(0, 1000), succeeds=st.booleans())
    def commit(self, number: int, choice: int, succeeds: bool) -> None:
        server = self.servers[number]
        if not server.in_hand:
            return
        held, tenant, recipients, at = server.in_hand.pop(choice % len(server.in_hand))
        if succeeds:
            self.rows[number, month_of(at)[0], tenant] += recipients
        else:
            held.release()

    @rule(number=servers_at)
    def begin_to_load(self, number: int) -> None:
        self.read(self.servers[number])

    @rule(number=servers_at)
    def end_to_load(self, number: int) -> None:
        if self.servers[number].seen is not None:
            self.tell(self.servers[number])

    @rule(number=servers_at)
    def start_again(self, number: int) -> None:
        """In the same operating-system process, or what it accepted before would be another's."""
        self.servers[number] = Process(number)
        self.read(self.servers[number])
        self.tell(self.servers[number])

    @precondition(lambda self: month_of(self.now) == month_of(LATE_MAY))
    @rule()
    def end_the_month(self) -> None:
        self.now = JUNE

    @invariant()
    def every_server_knows_the_truth(self) -> None:
        for server in self.servers:
            for tenant in (TENANT, OTHER):
                assert server.quota.used(tenant, self.now) == self.truth(server, tenant)


Servers.TestCase.settings = hypothesis_settings(max_examples=200, stateful_step_count=40, deadline=None)
TestServers = Servers.TestCase
