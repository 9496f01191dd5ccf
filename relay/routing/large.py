"""Fixes up a message that is too large for one go, a piece at a time: others have their turn in between.

`fix_up` is given the header alone: what it decides must not depend on the body. Pieces are replaced one by one, so
that a message is not in memory twice; but for one whose lines have to be shortened, which takes a copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from relay.errors import Kind, Problem
from relay.routing.breaks import MAX_LINE, STEP
from relay.routing.fixups import NORMALISED, Fixed
from relay.routing.headers import CRLF, MAX_HEADER, is_normal, normalise_newlines
from relay.routing.lines import Shortening, has_long_line
from relay.routing.mime import SLICE

Answer = TypeVar("Answer")


async def in_turns(steps: Iterable[Answer]) -> list[Answer]:
    """What comes of the steps, each a slice of work on the event loop, which goes round after each of them."""
    done: list[Answer] = []
    for each in steps:
        done.append(each)
        await asyncio.sleep(0)
    return done


def cut(raw: bytes, size: int = SLICE) -> list[bytes]:
    """The message in pieces."""
    return [raw[at : at + size] for at in range(0, len(raw), size)]


async def fix_large(pieces: list[bytes], fix: Callable[[bytes], Fixed], limit: int) -> tuple[Fixed, list[bytes]]:
    """What `fix` makes of the message, `raw` apart, in pieces; and what is known of it. Uses `pieces` up.

    Raises what `fix` does, and Problem(TOO_LARGE) if the message is over `limit` octets with its line ends made CR LF.
    """
    newlines = Newlines()
    size = 0
    for place, piece in enumerate(pieces):
        pieces[place] = b"".join(await in_turns(map(newlines.feed, [piece] if is_normal(piece) else cut(piece, STEP))))
        size += len(pieces[place])
        _require_size(size, limit)
    pieces.append(newlines.end())
    _require_size(size + len(pieces[-1]), limit)
    fixed = fix(_take_header(pieces))
    ledger = list(fixed.ledger)
    if newlines.is_changed and NORMALISED not in ledger:
        ledger.insert(0, NORMALISED)
    is_long = await _has_long_line(pieces)
    pieces.insert(0, fixed.raw)
    if is_long:
        work = Shortening(await asyncio.to_thread(b"".join, pieces))  # which gives way to others for so much
        pieces.clear()
        await in_turns(work.steps())
        pieces, ledger = work.done, ledger + work.ledger
    return replace(fixed, raw=b"", ledger=tuple(ledger)), pieces


async def _has_long_line(pieces: list[bytes]) -> bool:
    lengths = LineLengths()
    for piece in pieces:
        if lengths.feed(piece):
            return True
        await asyncio.sleep(0)
    return lengths.end()


def _require_size(size: int, limit: int) -> None:
    if size > limit:
        raise Problem(Kind.TOO_LARGE, f"the message is over {limit} octets; Amazon SES takes no more")


def _take_header(pieces: list[bytes]) -> bytes:
    """Takes the header and the empty line after it off the front; or, where it has no end, what shows that."""
    front: list[bytes] = []
    octets = 0
    while pieces and octets <= MAX_HEADER:
        front.append(pieces.pop(0))
        octets += len(front[-1])
    first = front[0] if len(front) == 1 else b"".join(front)
    end = first.find(CRLF + CRLF, 0, MAX_HEADER)
    cut_at = len(CRLF) if first.startswith(CRLF) else end + 2 * len(CRLF) if end >= 0 else len(first)
    pieces.insert(0, first[cut_at:])
    return first[:cut_at]


class Newlines:
    """Does to pieces, in order, what `normalise_newlines` does to a whole."""

    __slots__ = ("_crs", "is_changed")

    def __init__(self) -> None:
        self._crs = 0  # at the end of what was fed: what they come to is not known yet
        self.is_changed = False

    def feed(self, piece: bytes) -> bytes:
        before = b""
        if self._crs:
            rest = piece.lstrip(b"\r")
            self._crs += len(piece) - len(rest)
            if not rest:
                return b""
            is_line_end = rest.startswith(b"\n")
            before = CRLF if is_line_end else self.end()
            self.is_changed |= self._crs > 1
            self._crs = 0
            piece = rest[is_line_end:]
        if piece.endswith(b"\r"):
            kept = piece.rstrip(b"\r")
            self._crs = len(piece) - len(kept)
            piece = kept
        normal = normalise_newlines(piece)
        self.is_changed |= normal is not piece
        return before + normal if before else normal

    def end(self) -> bytes:
        """What the CRs at the end come to."""
        self.is_changed |= self._crs > 0
        crs, self._crs = self._crs, 0
        return CRLF * crs


class LineLengths:
    """Says of pieces of a text with CRLF line ends, in order, whether it has a line that is too long."""

    __slots__ = ("_unfinished",)

    def __init__(self) -> None:
        self._unfinished = 0  # octets of the line that no LF has ended yet

    def feed(self, piece: bytes) -> bool:
        """Whether a line that ends here is too long, or one that does not end is already."""
        first = piece.find(b"\n", 0, MAX_LINE + len(CRLF)) if self._unfinished else -1
        if self._unfinished + first > MAX_LINE + 1:  # what stands before the LF has the CR
            return True
        last = piece.rfind(b"\n")
        is_long = last > first and has_long_line(piece, first + 1, last + 1)
        self._unfinished = len(piece) - last - 1 if last >= 0 else self._unfinished + len(piece)
        return is_long or self._unfinished > MAX_LINE + 1

    def end(self) -> bool:
        return self._unfinished > MAX_LINE
