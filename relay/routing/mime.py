"""The MIME fields that say where parts begin and how they are encoded (RFC 2045, RFC 2046), read by octets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from relay.routing.headers import CRLF, HeaderField

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


def delimiters(raw: bytes, boundary: bytes, at: int, until: int) -> Iterator[tuple[int, int, bool]]:
    """Where each delimiter line starts and ends, and whether it is the closing one (RFC 2046 section 5.1.1)."""
    mark = b"--" + boundary
    start = at if raw.startswith(mark, at, until) else find(raw, CRLF + mark, at, until) + len(CRLF)
    while start <= until:
        end = find(raw, CRLF, start, until)
        rest = raw[start + len(mark) : end].rstrip(_WSP)
        if rest in (b"", b"--"):
            yield start, end, bool(rest)
            if rest:
                return
        start = find(raw, CRLF + mark, end, until) + len(CRLF)


def find(raw: bytes, what: bytes, at: int, until: int) -> int:
    """Where it starts, or `until`."""
    found = raw.find(what, at, until)
    return found if found >= 0 else until
