"""Failed logins: who is blocked and for how long, against a model that remembers everything, and within what memory."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind
from relay.routing import logins
from relay.routing.logins import Logins, origin, shown_prefix
from relay.settings import Logins as Settings
from relay.store.blocks import Block

NOW = 1_790_000_000.0
KEY = "relay_abcdefgh"
ATTACKER = "192.0.2.1"
DEFAULTS = Settings()


def settings_of(**fields: Any) -> Settings:
    """As from the file."""
    return Settings.model_validate(fields)


class Time:
    """A steady clock and the wall's, which go together until somebody sets the wall's."""

    def __init__(self) -> None:
        self.steady = 5.0
        self.wall = NOW

    def pass_by(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


class Front:
    """Logins with their clock, asked as the door asks: an attempt that is blocked is not counted."""

    def __init__(self, settings: Settings = DEFAULTS, *exempt: str) -> None:
        self.time = Time()
        self.logins = Logins(settings, [ip_network(each) for each in exempt], lambda: self.time.steady)

    def fail(self, client: str = ATTACKER, prefix: str = KEY, times: int = 1) -> list[Block]:
        begun = [self.logins.failed(client, prefix, self.time.wall) for _ in range(times)]
        return [block for block in begun if block is not None]

    def blocked(self, client: str = ATTACKER, prefix: str = KEY) -> timedelta | None:
        return self.logins.blocked(client, prefix, self.time.wall)


# -- who ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("unix:\r\nX: é", "unix:\\r\\nX: \\xe9"),
        ("x" * 400, "x" * 42 + "..."),
    ],
)
def test_what_an_address_counts_as(client: str, counted: str) -> None:
    assert origin(client) == counted


@given(st.text())
def test_what_is_stored_of_a_stranger_is_short_and_printable(offered: str) -> None:
    prefix = shown_prefix(offered)
    assert 1 <= len(prefix) <= 20
    assert prefix.isascii()
    assert prefix.isprintable()
    assert 1 <= len(origin(offered)) <= 45


def test_an_empty_prefix_is_not_every_key() -> None:
    front = Front()
    [block] = front.fail(prefix="", times=10)
    assert block.prefix == "-"
    assert front.blocked(prefix=KEY) is None


# -- when --------------------------------------------------------------------------------------------------------------


def test_ten_failures_within_a_minute_block_the_pair() -> None:
    front = Front()
    assert front.fail(times=9) == []
    assert front.blocked() is None
    at = int(NOW * 1000)
    assert front.fail() == [Block(ATTACKER, KEY, 10, at, at + 600_000)]
    assert front.blocked() == timedelta(minutes=10)
    assert front.blocked(prefix="relay_another1") is None
    assert front.blocked(client="192.0.2.2") is None
    assert front.fail() == []  # it is known by now


def test_a_hundred_with_any_keys_block_the_address() -> None:
    front = Front()
    begun = [block for number in range(101) for block in front.fail(prefix=f"k{number}")]
    assert [(block.address, block.prefix, block.failures) for block in begun] == [(ATTACKER, "", 100)]
    assert front.blocked(prefix="never tried") == timedelta(minutes=10)
    assert front.fail(prefix="k0", times=50) == []  # no further block within the one that holds


def test_a_whole_64_is_one_address() -> None:
    front = Front()
    begun = [block for number in range(10) for block in front.fail(client=f"2001:db8::{number:x}")]
    assert [block.address for block in begun] == ["2001:db8::/64"]
    assert front.blocked(client="2001:db8:0:0:ffff::") is not None
    assert front.blocked(client="2001:db8:0:1::1") is None


def test_the_window_slides() -> None:
    front = Front()
    for _ in range(40):  # eight within any minute, for as long as it may be
        assert front.fail() == []
        front.time.pass_by(7.5)
    assert front.fail(times=2) == []
    assert [block.failures for block in front.fail()] == [10]


def test_a_block_ends_and_the_next_takes_as_many_failures_again() -> None:
    front = Front()
    front.fail(times=10)
    front.time.pass_by(599.999)
    assert front.blocked() == timedelta(milliseconds=1)
    front.time.pass_by(0.001)
    assert front.blocked() is None
    assert front.fail(times=9) == []
    assert len(front.fail()) == 1


def test_who_goes_on_while_blocked_is_blocked_on() -> None:
    """Where somebody counts attempts that are blocked, a short block does not open between two of them."""
    front = Front(settings_of(block_for="10s"))
    assert len(front.fail(times=10)) == 1
    front.time.pass_by(10)
    assert len(front.fail()) == 1


def test_settings_hold() -> None:
    settings = settings_of(failures=2, failures_per_address=3, within="5s", block_for="30s")
    front = Front(settings)
    assert front.fail(times=1) == []
    front.time.pass_by(5)
    assert front.fail(times=1) == []
    [pair] = front.fail()
    [address] = front.fail(prefix="another")
    assert (pair.prefix, address.prefix, address.until - address.since) == (KEY, "", 30_000)


# -- who is exempt -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "client", "is_exempt"),
    [
        ("192.0.2.0/24", "192.0.2.1", True),
        ("192.0.2.0/24", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.2.1", True),
        ("192.0.3.0/24", "192.0.2.1", False),
        ("2001:db8::5/128", "2001:db8::5", True),
        ("2001:db8::5/128", "2001:db8::6", False),
        ("192.0.2.0/24", "2001:db8::6", False),
        ("192.0.2.0/24", "nowhere", False),
    ],
)
def test_exempt_networks_are_neither_counted_nor_blocked(network: str, client: str, is_exempt: bool) -> None:
    for front in (Front(DEFAULTS, network), Front(settings_of(exempt=[network]))):
        begun = front.fail(client, times=200)
        assert bool(begun) is not is_exempt
        front.logins.replace([Block(origin(client), "", 10, int(NOW * 1000), int(NOW * 1000) + 1000)])
        assert (front.blocked(client) is None) is is_exempt


# -- what others say ---------------------------------------------------------------------------------------------------


def test_what_the_database_says_is_the_whole_truth_of_blocks() -> None:
    front = Front()
    front.fail(times=10)
    at = int(NOW * 1000)
    theirs = Block("192.0.2.9", "", 100, at - 1000, at + 5000)
    front.logins.replace([theirs])
    assert front.blocked() is None
    assert front.blocked(client="192.0.2.9") == timedelta(seconds=5)
    front.logins.replace([])  # a command lifted it
    assert front.blocked(client="192.0.2.9") is None


def test_failures_counted_so_far_stay() -> None:
    front = Front()
    front.fail(times=9)
    front.logins.replace([])
    [block] = front.fail()
    front.logins.replace([])  # read before the block was written
    [again] = front.fail()
    assert (block.failures, again.failures) == (10, 11)


def test_the_longer_of_two_blocks_counts() -> None:
    front = Front()
    at = int(NOW * 1000)
    front.logins.replace([Block(ATTACKER, "", 100, at, at + 1000), Block(ATTACKER, KEY, 10, at, at + 3000)])
    assert front.blocked() == timedelta(seconds=3)
    assert front.blocked(prefix="other") == timedelta(seconds=1)


def test_a_wall_clock_that_is_set_back_prolongs_no_block_beyond_its_length() -> None:
    front = Front()
    front.fail(times=10)
    front.time.wall -= 3600
    assert front.blocked() == timedelta(minutes=10)


def test_a_wall_clock_that_jumps_forgets_no_failure() -> None:
    front = Front()
    front.fail(times=9)
    front.time.wall += 86_400
    assert len(front.fail()) == 1


def test_the_refusal_says_how_long() -> None:
    problem = Logins.refusal(timedelta(seconds=59.2))
    assert problem.kind is Kind.BLOCKED
    assert problem.retry_after == timedelta(seconds=59.2)
    assert "in 60 seconds" in problem.detail


# -- against a model ---------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from([0, 1, 4, 9, 30]), st.sampled_from("ab"), st.sampled_from("xyz")), max_size=80
)


@given(STEPS)
def test_it_decides_as_one_who_forgets_nothing(steps: list[tuple[int, str, str]]) -> None:
    settings = settings_of(failures=3, failures_per_address=6, within="10s", block_for="20s")
    front = Front(settings)
    noted: list[tuple[float, str, str]] = []
    until: dict[tuple[str, str], float] = {}
    for wait, client, prefix in steps:
        front.time.pass_by(wait)
        now = front.time.wall
        standing = {key for key, end in until.items() if end > now}
        ends = [until[key] - now for key in ((client, ""), (client, prefix)) if key in standing]
        expected = timedelta(seconds=max(ends)) if ends else None
        assert front.blocked(client, prefix) == expected
        noted.append((now, client, prefix))
        recent = [(c, p) for at, c, p in noted if at > now - 10 and c == client]
        begins = None
        if (client, "") not in standing:
            if len(recent) >= 6:
                begins = ""
            elif recent.count((client, prefix)) >= 3 and (client, prefix) not in standing:
                begins = prefix
        if begins is not None:
            until[client, begins] = now + 20
        assert [block.prefix for block in front.fail(client, prefix)] == ([] if begins is None else [begins])


# -- memory ------------------------------------------------------------------------------------------------------------


def held(front: Front) -> tuple[int, int]:
    """Addresses and failures; the second is counted, and must be what is there."""
    failures = front.logins._failures
    assert front.logins._noted == sum(map(len, failures.values()))
    return len(failures), front.logins._noted


def test_no_more_addresses_are_counted_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "ADDRESSES", 20)
    front = Front()
    front.fail("192.0.2.200", times=8)
    for number in range(19):
        front.fail(f"192.0.2.{number}", times=9)
    front.fail("192.0.2.200")  # it is the newest again
    for number in range(100, 119):
        front.fail(f"192.0.2.{number}", times=9)
    assert held(front) == (20, 20 * 9)
    assert len(front.fail("192.0.2.200")) == 1
    assert len(front.fail("192.0.2.118")) == 1
    assert front.fail("192.0.2.0") == []


def test_no_more_failures_are_counted_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "FAILURES", 50)
    front = Front()
    for number in range(30):
        front.fail(f"192.0.2.{number}", times=9)
        assert held(front)[1] <= 50
    assert len(front.fail("192.0.2.29")) == 1


def test_one_address_takes_no_more_room_than_blocks_it() -> None:
    front = Front()
    for number in range(5000):
        front.fail(prefix=f"k{number}")
    assert held(front) == (1, 100)


def test_what_is_over_is_forgotten_by_itself() -> None:
    front = Front()
    for number in range(200):
        front.fail(f"192.0.2.{number}")
    front.time.pass_by(60)
    front.fail("192.0.2.250")
    assert held(front) == (1, 1)


def test_no_more_blocks_begin_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "BLOCKS", 3)
    front = Front()
    begun = [block for number in range(5) for block in front.fail(f"192.0.2.{number}", times=10)]
    assert len(begun) == 3
    front.time.pass_by(600)
    assert len(front.fail("192.0.2.77", times=10)) == 1
