"""Reads the first octets of a TLS client: which versions it offers (RFC 8446 section 4.1.2, 4.2.1, 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

HANDSHAKE = 0x16  # the type of the record that a client begins with
LONGEST = 5 + (1 << 14)  # octets of a record
VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
_CLIENT_HELLO = 1
_SUPPORTED_VERSIONS = 43


@dataclass(frozen=True, slots=True)
class ClientHello:
    """`newest`: the newest of the versions it offers that has a name, as its number."""

    newest: int

    @property
    def newest_name(self) -> str:
        return VERSIONS[self.newest]


def is_tls(seen: bytes) -> bool:
    """Whether this can be the beginning of a handshake."""
    return seen[:1] == b"\x16" and seen[1:2] in (b"", b"\x03")


def is_whole(seen: bytes) -> bool:
    """Whether there is nothing to be gained from more: a whole record is there, or it is no handshake at all."""
    if not seen:
        return False
    if not is_tls(seen):
        return True
    return len(seen) >= 5 and len(seen) >= min(5 + int.from_bytes(seen[3:5]), LONGEST)


def parse(seen: bytes) -> ClientHello | None:
    """What a record offers. None where it is no ClientHello, not whole, or offers nothing that has a name."""
    record = _Cursor(seen)
    try:
        if record.number(1) != HANDSHAKE:
            return None
        record.take(4)  # its version and length
        if record.number(1) != _CLIENT_HELLO:
            return None
        message = _Cursor(record.take(record.number(3)))
        offered = {message.number(2)}
        message.take(32)  # random
        for width in (1, 2, 1):  # session id, cipher suites, compression methods
            message.take(message.number(width))
        if message.is_at_end:  # extensions are younger than the message
            return _of(offered)
        extensions = _Cursor(message.take(message.number(2)))
        while not extensions.is_at_end:
            kind = extensions.number(2)
            body = extensions.take(extensions.number(2))
            if kind == _SUPPORTED_VERSIONS:
                offered = {int.from_bytes(body[at : at + 2]) for at in range(1, len(body), 2)}
    except EOFError:
        return None
    return _of(offered)


def _of(offered: set[int]) -> ClientHello | None:
    named = offered & VERSIONS.keys()  # RFC 8701: some of the others are there to be passed over
    return ClientHello(max(named)) if named else None


class _Cursor:
    """Walks over octets. Raises EOFError at their end."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._octets)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._octets):
            raise EOFError
        piece = self._octets[self._at : end]
        self._at = end
        return piece

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width))
