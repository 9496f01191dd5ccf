"""Puts texts and files into their transfer encodings (RFC 2045 section 6): 7-bit all, CRLF throughout.

So SES has nothing to rewrite (SES fact 1.2), and what a relay on the way does to lines harms nothing.
"""

from __future__ import annotations

from binascii import b2a_base64, b2a_qp
from collections.abc import Iterator
from struct import Struct

from relay.routing import breaks
from relay.routing.headers import CRLF

PRINTED = bytes(range(0x20, 0x7F)) + CRLF
LITERAL = PRINTED.replace(b"=", b"\t")  # what quoted-printable leaves as it is
SCARCE = 6  # octets for each that is escaped: then quoted-printable is no longer than base64

_LINE = 57  # octets in a line of base64, which has 76 characters
_LINES = 1024  # lines that are made in one step
# What is to be escaped where quoted-printable need not. Its mark is in no UTF-8, and an equals sign that is given is
# escaped: so what a mark becomes is nothing else.
_MARKS = (
    (b" \r\n", b"\xfd\r\n", b"=FD", b"=20"),
    (b"\t\r\n", b"\xfe\r\n", b"=FE", b"=09"),
    (b"From ", b"\xffrom ", b"=FF", b"=46"),
)
_SPLIT = Struct("76s" * _LINES).unpack  # cuts three times as fast as slices in a loop


def text(given: str) -> tuple[str, bytes]:
    """The encoding's name, and the text in it. Its lines end in CRLF, the last one, too.

    Raises UnicodeEncodeError for half of a surrogate pair.
    """
    raw = given.encode()
    if b"\r" in raw:
        raw = raw.replace(CRLF, b"\n").replace(b"\r", b"\n")
    raw = raw.replace(b"\n", CRLF)
    if not raw.endswith(CRLF):
        raw += CRLF
    if _is_plain(raw):
        return "7bit", raw
    if len(raw.translate(None, LITERAL)) * SCARCE > len(raw):
        return "base64", b"".join(breaks.base64(raw, 0, len(raw)))
    return "quoted-printable", _quoted(raw)


def file(content: bytes) -> Iterator[bytes]:
    """The content as base64 in pieces, without the last CRLF."""
    step = _LINE * _LINES
    whole = len(content) - len(content) % step
    view = memoryview(content)
    for at in range(0, whole, step):
        if at:
            yield CRLF
        yield CRLF.join(_SPLIT(b2a_base64(view[at : at + step], newline=False)))
    rest = b2a_base64(view[whole:], newline=False)
    if rest:
        if whole:
            yield CRLF
        yield CRLF.join([rest[at : at + breaks.MAX_ENCODED] for at in range(0, len(rest), breaks.MAX_ENCODED)])


def _is_plain(raw: bytes) -> bool:
    """Whether it can go as it is, and nothing on the way changes it.

    White space at a line's end is dropped by some, `From ` gets a > (mboxrd), and a lone dot ends a careless client's
    message.
    """
    others = raw.translate(None, PRINTED)
    return (
        (not others or (not others.strip(b"\t") and b"\t\r\n" not in raw))
        and b" \r\n" not in raw
        and not raw.startswith((b"From ", b".\r\n"))
        and b"\nFrom " not in raw
        and b"\n.\r\n" not in raw
        and (len(raw) <= breaks.MAX_LINE or not any(breaks.long_lines(raw, 0, len(raw))))
    )


def _quoted(raw: bytes) -> bytes:
    """UTF-8 as quoted-printable, with no white space at a line's end and no line that starts with `From `."""
    marked = raw
    for given, mark, _, _ in _MARKS:
        marked = marked.replace(given, mark)
    encoded = b"".join(_steps(marked))
    if marked != raw:
        for _, _, mark, escaped in _MARKS:
            encoded = encoded.replace(mark, escaped)
    return encoded


def _steps(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        until = raw.rfind(CRLF, at, at + breaks.STEP) + len(CRLF)
        if until < at + len(CRLF):
            yield from breaks.quote(raw, at, len(raw))  # it goes through long lines in steps, too
            return
        # Without white space at a line's end, and with no LF alone, it has no faults (tests/routing/test_lines.py).
        yield b2a_qp(raw[at:until])
        at = until
