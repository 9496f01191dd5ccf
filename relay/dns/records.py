"""Writes the records of an answer as text that can be compared and shown."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum, unique

import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

# What is kept of one answer, which may hold 64 KB (RFC 1035 section 4.2.2). Large companies publish a hundred TXT.
MOST_RECORDS = 256
LONGEST_TEXT = 4096


@unique
class RecordType(StrEnum):
    """Types a sender domain publishes, and how their text reads."""

    TXT = "TXT"  # its strings joined without spaces (RFC 7208 section 3.3)
    CNAME = "CNAME"  # its target: lower-case, no final dot
    MX = "MX"  # `10 mx.example.org`: preference, host; `0 .` is the null MX (RFC 7505)

    @property
    def rdtype(self) -> dns.rdatatype.RdataType:
        return dns.rdatatype.from_text(self)


def as_text(records: Sequence[object]) -> tuple[str, ...]:
    """At most MOST_RECORDS, of LONGEST_TEXT characters each, sorted: servers shuffle. Other types are left out."""
    texts = (_text(record) for record in records[:MOST_RECORDS])
    return tuple(sorted(text[:LONGEST_TEXT] for text in texts if text is not None))


def _text(record: object) -> str | None:
    match record:
        case TXT():
            return _printable(b"".join(record.strings))
        case CNAME():
            return _host(record.target)
        case MX():
            return f"{record.preference} {_host(record.exchange)}"
    return None


def _printable(octets: bytes) -> str:
    """Strangers wrote it and people read it in a terminal: what is not ASCII is `\\ddd` (RFC 1035 section 5.1)."""
    return "".join(chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03d}" for octet in octets[:LONGEST_TEXT])


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
