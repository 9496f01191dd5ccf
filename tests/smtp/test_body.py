"""The octets of DATA: however they are cut, the same message and the same rest come out, and memory stays bounded."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.routing.limits import MemoryBudget
from relay.smtp.body import SLICE, Body

GENEROUS = 64 << 20


def reference(stream: bytes) -> tuple[bytes, bytes] | None:
    """The message and what follows it (RFC 5321 sections 4.1.1.4 and 4.5.2), the simple way; None without an end."""
    message, end, rest = (b"\r\n" + stream).partition(b"\r\n.\r\n")
    if not end:
        return None
    lines = [line[1:] if line.startswith(b".") else line for line in (message + b"\r\n")[2:].split(b"\r\n")]
    return b"\r\n".join(lines), rest


def fed(stream: bytes, cuts: Iterable[int], limit: int = GENEROUS) -> tuple[Body, bytes | None]:
    """The stream fed in pieces up to its end; what was left over includes the pieces not fed."""
    body = Body(limit, MemoryBudget(GENEROUS).share())
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        if (rest := body.feed(stream[start:end])) is not None:
            return body, rest + stream[end:]
    return body, None


def whole(body: Body) -> bytes:
    content = body.content()
    return content if isinstance(content, bytes) else b"".join(content)


STREAMS = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b".\r\n", b"\r\n.\r\n", b"a", b"bc"]), max_size=30
).map(b"".join)
CUTS = st.lists(st.integers(0, 100), max_size=20)


@given(STREAMS, CUTS)
def test_cuts_make_no_difference(stream: bytes, cuts: list[int]) -> None:
    body, rest = fed(stream, cuts)
    expected = reference(stream)
    assert rest == (expected[1] if expected else None)
    if expected:
        assert whole(body) == expected[0]


@given(STREAMS, CUTS, st.integers(0, 20))
def test_the_end_is_found_after_a_refusal_too(stream: bytes, cuts: list[int], limit: int) -> None:
    body, rest = fed(stream, cuts, limit)
    expected = reference(stream)
    assert rest == (expected[1] if expected else None)
    if expected and len(expected[0]) > limit + 10:
        with pytest.raises(Problem) as refused:
            body.content()
        assert refused.value.kind is Kind.TOO_LARGE


@pytest.mark.parametrize("seed", range(6))
def test_large_messages_of_dots_and_long_lines(seed: int) -> None:
    """More than one slice, so that what is put away early is cut in all sorts of places."""
    dice = random.Random(seed)
    lines = [b".", b"..", b"\r", b".\n", b"", b"x" * dice.randrange(1, 2000), b"." * 5000, b"y" * (2 * SLICE + 1)]
    weights = [8, 8, 8, 8, 8, 400, 2, seed % 3 / 10]
    stream = b"z" + b"\r\n".join(b"." + line for line in dice.choices(lines, weights, k=4000)) + b"\r\n.\r\nQUIT\r\n"
    body, rest = fed(stream, [dice.randrange(len(stream)) for _ in range(dice.choice([3, 100]))])
    assert (whole(body), rest) == reference(stream)


@pytest.mark.parametrize("text", [b".\r\n", b"\r\n.\r\n", b"..\r\n.\r\n", b"a\r\n.\r\n"])
def test_the_shortest_messages(text: bytes) -> None:
    body, rest = fed(text, range(10))
    assert (whole(body), rest) == reference(text)


def test_a_message_of_exactly_the_limit_is_taken() -> None:
    for over, is_taken in ((0, True), (1, False)):
        body, _ = fed(b"x" * (998 + over) + b"\r\n.\r\n", [], limit=1000)
        assert (body.problem is None) == is_taken


def test_a_large_message_is_in_pieces_of_a_megabyte() -> None:
    stream = (b"x" * 78 + b"\r\n") * 40_000 + b".\r\n"
    body, _ = fed(stream, range(0, len(stream), 64 << 10), GENEROUS)
    pieces = body.content()
    assert isinstance(pieces, list)
    assert b"".join(pieces) == stream[:-3]
    assert all(len(piece) <= 1 << 20 for piece in pieces)


def test_what_is_refused_is_not_kept() -> None:
    budget = MemoryBudget(GENEROUS)
    with budget.share() as share:
        body = Body(SLICE, share)
        assert body.feed(b"x" * SLICE) is None
        assert budget.used == SLICE
        for _ in range(20):
            assert body.feed(b"x" * SLICE) is None
            assert budget.used == 0
            assert len(body._buffer) < 10
            assert not body._parts


def test_the_budget_of_all_messages_counts() -> None:
    budget = MemoryBudget(1000)
    with budget.share() as first, budget.share() as second:
        Body(GENEROUS, first).feed(b"x" * 900)
        body = Body(GENEROUS, second)
        body.feed(b"x" * 200)
        assert body.problem is not None
        assert body.problem.kind is Kind.OVERLOADED
        assert body.feed(b"\r\n.\r\nrest") == b"rest"
    assert budget.used == 0
