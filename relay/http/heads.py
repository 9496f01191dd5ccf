"""Judges the head of a request: what no client of ours sends, and two programs on its way could read differently."""

from __future__ import annotations

import re
from collections.abc import Sequence

from relay.errors import Kind, Problem

MOST_OCTETS = 64 << 10
MOST_FIELDS = 100

Fields = Sequence[tuple[bytes, bytes]]  # names in lower case, as they came

VERSIONS = {"1.0", "1.1"}
# What frames a request, says whose it is, or what it is: with two of one, each reader may take another.
ONCE = {b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding"} | {
    b"authorization",
    b"x-api-key",
}
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")  # RFC 9110 section 7.2, RFC 3986 section 3.2.2


def refusal_of(version: str, target: bytes, path: str, fields: Fields) -> Problem | None:
    """Why a request cannot be taken, whatever it is about; None if it can. `path` is that of `target`, decoded.

    That its Content-Length and Transfer-Encoding fit together (RFC 9112 section 6.3), and that no field holds a control
    character, is llhttp's to see.
    """
    if version not in VERSIONS:
        return Problem(Kind.BAD_REQUEST, "speak HTTP/1.1 or HTTP/1.0 here")
    names = [name for name, _ in fields]
    if len(set(names)) < len(names):
        for name in ONCE:
            if names.count(name) > 1:
                return Problem(Kind.BAD_REQUEST, f"the header {name.decode()} may stand only once")
    found = dict(fields)
    host = found.get(b"host")
    if host is None:
        if version != "1.0":  # RFC 9112 section 3.2
            return Problem(Kind.BAD_REQUEST, "the header host is missing")
    elif not _HOST.fullmatch(host):
        return Problem(Kind.BAD_REQUEST, "the header host is not a host and port")
    coding = found.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):  # RFC 9112 sections 6.1 and 7
        return Problem(Kind.BAD_REQUEST, "of transfer encodings only chunked is taken, in HTTP/1.1")
    if "\0" in path or b"%00" in target:  # nothing here has one in its name, and PostgreSQL cannot be asked for it
        return Problem(Kind.BAD_REQUEST, "the URL has a NUL")
    return None


def is_too_large(target: bytes, fields: Fields) -> bool:
    """Whether a head that came at once is over what one in pieces may have."""
    return len(target) + sum(len(name) + len(value) + 4 for name, value in fields) > MOST_OCTETS
