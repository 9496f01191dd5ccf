"""Reads the header of a raw message by its octets, so that what is not touched stays as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from relay.errors import Kind, Problem, printable
from relay.message import Address

MAX_HEADER = 256 << 10  # octets (SMTP fact 1.6)
CRLF = b"\r\n"

_CRS = re.compile(rb"(?<!\r)\r\r++\n")  # a run is gone over once, however long
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")  # RFC 5322 section 3.6.8; the space is obsolete syntax, still seen


class HeaderField(NamedTuple):  # made in a third of a dataclass's time, some ten times a message
    """One field: `name` in lower case, `raw` all its lines with their CRLFs."""

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """What follows the colon, unfolded (RFC 5322 section 2.2.3), without the white space around it."""
        return self.raw.partition(b":")[2].replace(CRLF, b"").strip(b" \t")


def is_normal(raw: bytes) -> bool:
    """Whether every CR and LF is of a CRLF."""
    return raw.count(b"\n") == raw.count(b"\r") == raw.count(CRLF)


def normalise_newlines(raw: bytes) -> bytes:
    """Every bare CR or LF as CRLF (RFC 5321 section 2.3.8), and CRs before an LF as one. `raw` itself where none is."""
    if is_normal(raw):
        return raw
    if b"\r\r" in raw:
        raw = _CRS.sub(b"\n", raw)
    return raw.replace(CRLF, b"\n").replace(b"\r", b"\n").replace(b"\n", CRLF)


def split(raw: bytes) -> tuple[list[HeaderField], bytes]:
    """The fields of a message with CRLF lines, and its body without the empty line before it.

    Raises Problem(BAD_REQUEST) for a header no two programs would read alike.
    """
    end = raw.find(b"\r\n\r\n", 0, MAX_HEADER)
    if raw.startswith(CRLF):
        return [], raw[2:]
    if end < 0:
        if len(raw) > MAX_HEADER:
            raise Problem(Kind.BAD_REQUEST, f"the message's header is over {MAX_HEADER} octets")
        header, body = raw if raw.endswith(CRLF) or not raw else raw + CRLF, b""
    else:
        header, body = raw[: end + 2], raw[end + 4 :]
    return list(_fields(header)), body


def _fields(header: bytes) -> Iterator[HeaderField]:
    lines = header.split(CRLF)[:-1]
    at = 0
    while at < len(lines):
        match = _FIELD.match(lines[at])
        if match is None:
            raise Problem(
                Kind.BAD_REQUEST,
                # Not what stands there: it may be content, and what is refused is kept as the reason.
                f"line {at + 1} of the message is no header field: the header must end with an empty line",
            )
        first = at
        at += 1
        while at < len(lines) and lines[at][:1] in (b" ", b"\t"):
            at += 1
        yield HeaderField(match[1].decode("ascii").lower(), CRLF.join(lines[first:at]) + CRLF)


# -- mailboxes -------------------------------------------------------------------------------------------------------

_CONTROL = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]")
_SEPARATOR = re.compile(rb"[,:;]")
_LEXEME = re.compile(rb'\\.|["()\\]|[^"()\\]+', re.DOTALL)


def mailboxes(value: bytes, field: str) -> list[Address]:
    """The addresses of a header field that names any number of mailboxes, in groups or not (RFC 5322 section 3.4).

    As strict as `only_mailbox` about each. `field` is its name, for who reads what is wrong.
    """
    _, bare = _masked(value, field)
    found: list[Address] = []
    start = 0
    for mark in _SEPARATOR.finditer(bare + b","):
        each = value[start : mark.start()].strip(b" \t")
        start = mark.end()
        if each and mark[0] != b":":  # or it is the name of a group
            found.append(only_mailbox(each, field))
    return found


def only_mailbox(value: bytes, field: str = "From") -> Address:
    """The address of a header field that must name exactly one mailbox (RFC 5322 section 3.4).

    Stricter than most parsers, for SES reads the same field by its own rules: what could be read in two ways is
    refused. Raises Problem(BAD_REQUEST) for none, several or a group, and what Address.parse raises.
    """
    if _CONTROL.search(value):
        raise Problem(Kind.BAD_REQUEST, f"{field} has a control character")
    spoken, bare = _masked(value, field)
    if b"," in bare or bare.count(b"<") > 1:
        raise Problem(Kind.BAD_REQUEST, f"{field} names several mailboxes; Amazon SES takes exactly one")
    if b":" in bare or b";" in bare:
        raise Problem(Kind.BAD_REQUEST, f"{field} names a group; Amazon SES takes exactly one mailbox")
    start, end = bare.find(b"<"), bare.find(b">")
    if start < 0 and end < 0:
        return _address(spoken.strip(b" \t"), field)
    if not 0 <= start < end or bare.count(b">") > 1 or spoken[end + 1 :].strip(b" \t"):
        raise Problem(Kind.BAD_REQUEST, f"{field} is not of the form Name <name@domain>")
    # The original: a quoted local part stands between the brackets.
    inside = value[start + 1 : end].strip(b" \t")
    if b"@" in bare[:start] and spoken[:start].strip(b" \t").lower() != inside.lower():
        raise Problem(Kind.BAD_REQUEST, f"{field} has one address as the name of another; put the name in quotes")
    return _address(inside, field)


def _masked(value: bytes, field: str) -> tuple[bytes, bytes]:
    """The value with its comments, which may nest, as spaces; and that with its quoted strings as letters, too.

    Every place stays the same. Raises Problem(BAD_REQUEST) where a comment or a quoted string does not end.
    """
    spoken: list[bytes] = []
    bare: list[bytes] = []
    depth, is_quoted = 0, False
    for lexeme in _LEXEME.findall(value):
        was_quoted = is_quoted
        if lexeme == b'"' and not depth:
            is_quoted = not is_quoted
        elif lexeme == b"(" and not is_quoted:
            depth += 1
        elif lexeme[:1] in (b")", b"\\") and not is_quoted and not depth:
            raise Problem(Kind.BAD_REQUEST, f"{field} has a parenthesis or a backslash out of place")
        spoken.append(b" " * len(lexeme) if depth else lexeme)
        bare.append(b"q" * len(lexeme) if is_quoted or was_quoted else spoken[-1])
        if lexeme == b")" and depth:
            depth -= 1
    if depth or is_quoted:
        raise Problem(Kind.BAD_REQUEST, f"{field} has a quote or a parenthesis that is never closed")
    return b"".join(spoken), b"".join(bare)


def _address(octets: bytes, field: str) -> Address:
    if not octets:
        raise Problem(Kind.BAD_REQUEST, f"{field} has no address")
    if b"=?" in octets:
        raise Problem(Kind.BAD_REQUEST, f"{field} has an encoded word in its address; only the name may be encoded")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Problem(Kind.BAD_ADDRESS, f"{printable(octets)} is not an address: it is not UTF-8") from exc
    address = Address.parse(text)
    if not text.isascii():
        # The field goes to SES as it is, and SES takes domains in their ASCII form only (SES fact 1.2).
        raise Problem(Kind.BAD_ADDRESS, f"{printable(text)}: write its domain in the ASCII form, {address.domain}")
    return address
