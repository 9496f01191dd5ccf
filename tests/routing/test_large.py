"""Large messages in pieces: however they are cut, what comes out is what comes out of the whole."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.message import Trace
from relay.routing.fixups import Fixed, fix_up
from relay.routing.headers import MAX_HEADER, normalise_newlines
from relay.routing.large import LineLengths, Newlines, cut, fix_large, in_turns
from relay.routing.lines import MAX_LINE, has_long_line

FIX: Callable[[bytes], Fixed] = partial(
    fix_up,
    trace=Trace("ESMTPS", "client.test", "192.0.2.1"),
    hostname="relay.test",
    public_id="0123",
    now=datetime(2026, 3, 5, 12, 0, 0, tzinfo=UTC),
    is_ours={"ours.test"}.__contains__,
)
HEADER = b"From: ann@ours.test\r\nBcc: x@one.test\r\nMIME-Version: 1.0\r\n"
ENDS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\r", b"a", b"bc", b"\r\r\n"]), max_size=30).map(b"".join)
LINES = st.lists(
    st.sampled_from([b"", b"a", b"x" * 500, b"x" * 997, b"x" * 998, b"x" * 999, b"x" * 1000, b"x" * 1001, b"x" * 3000]),
    max_size=6,
).map(b"\r\n".join)
SIZES = st.one_of(st.integers(1, 7), st.integers(8, 3000))


def pieces_of(raw: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted({0, len(raw), *(at % (len(raw) + 1) for at in cuts)})
    return [raw[start:end] for start, end in itertools.pairwise(places)]


@given(ENDS, st.integers(1, 7))
def test_line_ends_are_made_the_same_in_pieces(raw: bytes, size: int) -> None:
    newlines = Newlines()
    found = b"".join([*map(newlines.feed, cut(raw, size)), newlines.end()])
    assert found == normalise_newlines(raw)
    assert newlines.is_changed == (found != raw)


def test_a_piece_that_is_right_is_not_copied() -> None:
    piece = b"\r\nx" * 1000
    assert Newlines().feed(piece) is piece


@given(LINES, st.lists(st.integers(0, 20_000), max_size=20), st.booleans())
def test_long_lines_are_found_in_pieces(raw: bytes, cuts: list[int], is_ended: bool) -> None:
    raw += b"\r\n" * is_ended
    lengths = LineLengths()
    found = any(map(lengths.feed, pieces_of(raw, cuts))) or lengths.end()
    assert found == has_long_line(raw, 0, len(raw))


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("octets", [MAX_LINE, MAX_LINE + 1])
def test_a_line_just_as_long_as_it_may_be(size: int, octets: int) -> None:
    raw = b"a\r\n" + b"x" * octets + b"\r\nb"
    lengths = LineLengths()
    assert (any(map(lengths.feed, cut(raw, size))) or lengths.end()) == (octets > MAX_LINE)


def outcome(work: Callable[[], tuple[Fixed, bytes]]) -> tuple[object, ...]:
    try:
        fixed, raw = work()
    except Problem as problem:
        return problem.kind, problem.detail
    # Of one message, header fields may be said to be folded before or after the body was re-encoded.
    return fixed.author, fixed.message_id, fixed.is_bulk, fixed.options, sorted(fixed.ledger), raw


def whole(raw: bytes) -> tuple[Fixed, bytes]:
    fixed = FIX(raw)
    return fixed, fixed.raw


def sliced(raw: bytes, size: int, limit: int = 1 << 20) -> tuple[Fixed, bytes]:
    fixed, pieces = asyncio.run(fix_large(cut(raw, size), FIX, limit))
    assert not fixed.raw
    return fixed, b"".join(pieces)


HEADERS = st.sampled_from(
    [
        HEADER,
        HEADER + b"Subject: " + b"word " * 300 + b"\r\n",
        HEADER + b"Content-Type: multipart/mixed; boundary=b\r\n",
        HEADER + b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n",
        HEADER.replace(b"\r\n", b"\n"),
        b"Subject: no From\r\n",
        b"no field\r\n",
        b"",
    ]
)
BODIES = st.one_of(LINES, ENDS, LINES.map(lambda lines: b"--b\r\n\r\n" + lines + b"\r\n--b--\r\n"))


@given(HEADERS, st.sampled_from([b"\r\n", b"\n", b""]), BODIES, SIZES)
@hypothesis_settings(max_examples=300, deadline=None)
def test_a_message_in_pieces_becomes_what_the_whole_becomes(
    header: bytes, blank: bytes, body: bytes, size: int
) -> None:
    raw = header + blank + body
    assert outcome(lambda: sliced(raw, size)) == outcome(lambda: whole(raw))


@pytest.mark.parametrize("size", [1000, MAX_HEADER - 1, MAX_HEADER, MAX_HEADER + 1, 1 << 20])
@pytest.mark.parametrize("over", [-9, -5, -4, -3, -2, -1, 0, 1, 2, 3])
def test_a_header_about_as_long_as_it_may_be(size: int, over: int) -> None:
    line = b"X: " + b"x" * 400 + b"\r\n"
    header = HEADER + line * ((MAX_HEADER - len(HEADER)) // len(line) - 1)
    header += b"Y: " + b"y" * (MAX_HEADER - len(header) - 5 + over) + b"\r\n"
    raw = header + b"\r\nbody\r\n" * 10
    assert outcome(lambda: sliced(raw, size)) == outcome(lambda: whole(raw))


def test_it_stops_where_line_ends_make_it_too_large() -> None:
    raw = HEADER + b"\r\n" + b"\n" * 5000
    for kept in (b"\r\n", b"\r" * 3000):  # CRs at the end are made out last
        with pytest.raises(Problem) as refused:
            sliced(raw + kept, 1000, limit=9000)
        assert refused.value.kind is Kind.TOO_LARGE


def test_a_run_of_crs_takes_no_longer_than_other_octets() -> None:
    raw = b"\r" * (1 << 20)  # by a pattern that begins anew at each of them, this takes hours
    assert normalise_newlines(raw) == b"\r\n" * (1 << 20)
    assert normalise_newlines(raw + b"\n") == b"\r\n"


def test_others_have_their_turn_between_the_steps() -> None:
    async def race() -> list[str]:
        seen: list[str] = []

        async def other() -> None:
            for _ in range(3):
                seen.append("other")
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        await in_turns(seen.append("step") for _ in range(3))
        await beside
        return seen

    assert asyncio.run(race()) == ["step", "other"] * 3
