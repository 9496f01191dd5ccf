"""The MIME fields that say where parts begin and how they are encoded (RFC 2045, RFC 2046), read by octets."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from relay.errors import Kind, Problem
from relay.routing.headers import CRLF, MAX_HEADER, HeaderField

SLICE = 1 << 20  # octets that are looked at without a pause

_WSP = b" \t"
_LEXEME = re.compile(rb'"(?:[^"\\]|\\.)*+"|\\.|[()]|[^"()\\]++|["\\]', re.DOTALL)
_MEDIA_TYPE = re.compile(rb"\s*+([!-.0-:<-~]+/[!-.0-:<-~]+)")  # whatever follows: "multipart/mixed junk" is no text
_PARAMETER = re.compile(rb';\s*+([^\s=;"]*+)\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^;]*)', re.DOTALL)


def media_type(fields: list[HeaderField], default: str) -> tuple[str, bytes]:
    """The type in lower case, and the boundary or b"" (RFC 2045 section 5). What is no type is text/plain (5.2)."""
    value = bare_value(fields, "content-type")
    if value is None:
        return default, b""
    if (media := _MEDIA_TYPE.match(value)) is None:
        return "text/plain", b""
    found = (text for name, text in _PARAMETER.findall(value, media.end()) if name.lower() == b"boundary")
    boundary = next(found, b"").rstrip()
    if len(boundary) > 1 and boundary[:1] == boundary[-1:] == b'"':
        boundary = re.sub(rb"\\(.)", rb"\1", boundary[1:-1]).rstrip(_WSP)
    return media[1].decode("ascii").lower(), boundary


def transfer_encoding(fields: list[HeaderField]) -> str:
    """The Content-Transfer-Encoding in lower case. One that nobody knows is as good as none."""
    value = bare_value(fields, "content-transfer-encoding") or b""
    return value.partition(b";")[0].strip().decode("ascii", "replace").lower()


def bare_value(fields: list[HeaderField], name: str) -> bytes | None:
    """The value of the first field of that name without its comments (RFC 5322 section 3.2.2), which may nest."""
    value = next((field.value for field in fields if field.name == name), None)
    if value is None or b"(" not in value:
        return value
    kept: list[bytes] = []
    depth = 0
    for lexeme in _LEXEME.findall(value):
        if lexeme in (b"(", b")"):
            depth = max(0, depth + (1 if lexeme == b"(" else -1))
        elif not depth:
            kept.append(lexeme)
    return b"".join(kept)


def delimiters(raw: bytes, boundary: bytes, at: int, until: int) -> Iterator[tuple[int, int, bool] | None]:
    """Where each delimiter line starts and ends, and whether it is the closing one (RFC 2046 section 5.1.1).

    None after each megabyte or so without one. Raises Problem(BAD_REQUEST) for one that is longer than any header.
    """
    mark = b"--" + boundary
    start = at
    if not raw.startswith(mark, at, until):
        start = (yield from search(raw, CRLF + mark, at, until)) + len(CRLF)
    while start <= until:
        end = line_end(raw, start, until)
        if end - start > MAX_HEADER:
            raise Problem(
                Kind.BAD_REQUEST, f"a line of {end - start:,} octets begins like a boundary; use another boundary"
            )
        rest = raw[start + len(mark) : end].rstrip(_WSP)
        if rest in (b"", b"--"):
            yield start, end, bool(rest)
            if rest:
                return
        start = (yield from search(raw, CRLF + mark, end, until)) + len(CRLF)


def search(raw: bytes, what: bytes, at: int, until: int, size: int = SLICE) -> Generator[None, None, int]:
    """Where it starts, or `until`. Gives way after each `size` octets."""
    while at < until:
        found = raw.find(what, at, min(at + size + len(what) - 1, until))
        if found >= 0:
            return found
        at += size
        yield
    return until


def line_end(raw: bytes, at: int, until: int) -> int:
    """Where the next CRLF starts, or `until`. `raw` has no bare LF: to look for one octet takes a tenth of the time."""
    found = raw.find(b"\n", at + 1, until)
    return found - 1 if found >= 0 else until
