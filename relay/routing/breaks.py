"""Breaks what is in a line that is too long: folds it, puts soft line breaks in, encodes it anew. Slice by slice.

Everything here gives its result piece by piece, so that a large message never is one long step; an empty piece says
that there was much to look at and nothing to do.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Iterator

from relay.routing.headers import CRLF
from relay.routing.mime import SLICE, line_end

MAX_LINE = 998  # octets without CRLF (RFC 5321 section 4.5.3.1.6; SES fact 1.2)
MAX_ENCODED = 76  # octets of a quoted-printable or base64 line (RFC 2045 sections 6.7 and 6.8)
STEP = 64 << 10  # octets that are encoded at once: a millisecond or two

_WSP = b" \t"
_NOT_BASE64 = bytes(octet for octet in range(256) if not (chr(octet).isalnum() and octet < 128) and octet not in b"+/=")


class CannotFoldError(Exception):
    """The line has no white space where it would have to be broken."""


def long_lines(
    raw: bytes, at: int, until: int, limit: int = MAX_LINE, size: int = SLICE
) -> Iterator[tuple[int, int] | None]:
    """Where each line over the limit starts and ends; None after each `size` octets or so without one.

    Hops a limit at a time: a regex takes 30 times as long.
    """
    pause = at + size
    while until - at > limit:
        if at > pause:
            yield None
            pause = at + size
        end = raw.rfind(b"\n", at, min(at + limit + len(CRLF), until))
        if end < 0:
            end = line_end(raw, at, until)
            yield at, end
            end += 1
        at = end + 1


def rewrite(
    raw: bytes, at: int, until: int, change: Callable[[bytes], Iterable[bytes]], limit: int = MAX_LINE
) -> Iterator[bytes]:
    """Each line over the limit changed, the others as they are."""
    for found in long_lines(raw, at, until, limit):
        if found is None:
            yield b""
            continue
        yield raw[at : found[0]]
        yield from change(raw[found[0] : found[1]])
        at = found[1]
    yield raw[at:until]


# -- folding ---------------------------------------------------------------------------------------------------------


def fold(line: bytes) -> bytes:
    """Folded before white space (RFC 5322 section 2.2.3), no piece all white space (section 3.2.2).

    Raises CannotFoldError.
    """
    pieces, at, last = [], 0, len(line.rstrip(_WSP))
    if line.startswith(b"--"):
        raise CannotFoldError  # its first piece could be taken for a boundary
    while len(line) - at > MAX_LINE:
        first = at + MAX_LINE + 1 - len(line[at : at + MAX_LINE].lstrip(_WSP))
        end = min(at + MAX_LINE + 1, last)
        cut = max(line.rfind(b" ", first, end), line.rfind(b"\t", first, end))
        if cut < 0:
            raise CannotFoldError
        pieces.append(line[at:cut])
        at = cut
    return CRLF.join([*pieces, line[at:]])


def split_up(line: bytes, size: int = STEP) -> Iterator[bytes]:
    """In pieces that each start with white space, so that none can be taken for a boundary."""
    for start in range(0, len(line), size):
        piece = b" " + line[start : start + size]
        try:
            folded = fold(piece)
        except CannotFoldError:
            folded = b"\r\n ".join(piece[at : at + MAX_LINE - 1] for at in range(0, len(piece), MAX_LINE - 1))
        yield CRLF + folded if start else folded


# -- encodings -------------------------------------------------------------------------------------------------------


def quote(raw: bytes, at: int, end: int, size: int = STEP) -> Iterator[bytes]:
    """Text as quoted-printable, with its CRLFs as they are (RFC 2045 section 6.7)."""
    is_broken = False  # whether what was done ends in a soft line break
    while at < end:
        until = _cut(raw, at, end, size)
        # b2a_qp breaks lines with a bare LF unless it sees a CRLF; before white space at a line's end, one too late.
        encoded = binascii.b2a_qp(raw[at:until] + CRLF)[: -len(CRLF)].replace(b"=\r\n--", b"=\r\n=2D-")
        if is_broken and encoded.startswith(b"--"):
            encoded = b"=2D" + encoded[1:]
        is_broken = until < end and not encoded.endswith(CRLF)
        if is_broken:
            encoded += b"="
        yield from rewrite(encoded, 0, len(encoded), soften, MAX_ENCODED)
        if is_broken:
            yield CRLF
        at = until


def _cut(raw: bytes, at: int, end: int, size: int) -> int:
    """Where a slice ends: after a line where one ends in it, and never inside a CRLF."""
    until = at + size
    if until >= end:
        return end
    if (found := raw.rfind(CRLF, at, until)) >= 0:
        return found + len(CRLF)
    return until + 1 if raw.startswith(CRLF, until - 1) else until


def soften(line: bytes) -> Iterator[bytes]:
    """A quoted-printable line with soft line breaks: none inside =XX, none before what could be a boundary."""
    at, room = 0, MAX_ENCODED - 3  # for the =, and for =2D in place of -
    while len(line) - at > room:
        escape = line.rfind(b"=", at + room - 2, at + room)
        piece = line[at : escape if escape >= 0 else at + room]
        piece = piece.rstrip(b"=") or piece  # "==" is no good syntax; decoders agree best on it when it stays whole
        at += len(piece)
        yield (b"=2D" + piece[1:] if piece.startswith(b"--") else piece) + b"=\r\n"
    yield b"=2D" + line[at + 1 :] if line.startswith(b"--", at) else line[at:]


def rewrap(line: bytes, size: int = STEP) -> Iterator[bytes]:
    """A line of base64 as lines of 76."""
    left, before = b"", b""
    for at in range(0, len(line), size):
        left += line[at : at + size].translate(None, _NOT_BASE64)
        whole = len(left) - len(left) % MAX_ENCODED
        if whole:
            yield before + _wrap(left[:whole])
            left, before = left[whole:], CRLF
    if left:
        yield before + left


def base64(raw: bytes, at: int, end: int, size: int = STEP) -> Iterator[bytes]:
    """Octets as base64 in lines of 76, each with its CRLF (RFC 2045 section 6.8)."""
    line = MAX_ENCODED // 4 * 3
    step = max(size // line, 1) * line
    for start in range(at, end, step):
        yield _wrap(binascii.b2a_base64(raw[start : min(start + step, end)], newline=False)) + CRLF


def _wrap(encoded: bytes) -> bytes:
    return CRLF.join(encoded[at : at + MAX_ENCODED] for at in range(0, len(encoded), MAX_ENCODED))
