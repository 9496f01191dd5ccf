"""Says which DNS records a sender domain publishes, and writes them down for people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any

from relay.dns import RecordType

SPF = "v=spf1 include:amazonses.com ~all"
DMARC = "v=DMARC1; p=none;"
STRING_OCTETS = 255  # RFC 1035 section 3.3: how much one string of a TXT record holds


@unique
class Purpose(StrEnum):
    """What a record is for. Sending waits for the first two; without the others mail only arrives less well."""

    CLAIM = "claim"  # the tenant shows that the domain is its own
    DKIM = "dkim"
    MAIL_FROM = "mail_from"  # bounces come to a name under the domain, so SPF aligns with From
    SPF = "spf"
    DMARC = "dmarc"


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A record to publish. `name` and hosts in `value` are lower-case, without the final dot; MX: `10 host`."""

    name: str
    type: RecordType
    value: str
    purpose: Purpose
    is_required: bool


def expected_records(
    domain: str,
    region: str,
    *,
    challenge: str | None,
    tokens: Sequence[str],
    signing_zone: str,
    mail_from: str | None,
) -> tuple[DnsRecord, ...]:
    """What to publish, the required first. `domain` and `mail_from` are lower-case A-labels.

    `challenge` is the whole text that proves the claim; None where the claim is proven or vouched for. `tokens` and
    `signing_zone` are what SES answered for the identity, which differs by region; without tokens there is no DKIM.
    `mail_from` is the MAIL FROM domain, or None for that of SES.
    """
    records = []
    if challenge is not None:
        records.append(DnsRecord(f"_relay-challenge.{domain}", RecordType.TXT, challenge, Purpose.CLAIM, True))
    for token in tokens:
        name, target = f"{token}._domainkey.{domain}".lower(), f"{token}.{signing_zone}".lower().rstrip(".")
        records.append(DnsRecord(name, RecordType.CNAME, target, Purpose.DKIM, True))
    if mail_from is not None:
        host = f"10 feedback-smtp.{region}.amazonses.com"
        records.append(DnsRecord(mail_from, RecordType.MX, host, Purpose.MAIL_FROM, False))
        records.append(DnsRecord(mail_from, RecordType.TXT, SPF, Purpose.MAIL_FROM, False))
    records.append(DnsRecord(domain, RecordType.TXT, SPF, Purpose.SPF, False))
    records.append(DnsRecord(f"_dmarc.{domain}", RecordType.TXT, DMARC, Purpose.DMARC, False))
    return tuple(records)


def relative(name: str, zone: str) -> str:
    """What a zone file or a provider's form calls `name` in `zone`: `@` for the zone, a final dot for one outside."""
    if name == zone:
        return "@"
    inside = name.removesuffix(f".{zone}")
    return inside if inside != name else f"{name}."


def table(records: Sequence[DnsRecord], domain: str) -> str:
    """For people: aligned columns, never cut, and what goes wrong most often."""
    rows = [("TYPE", "NAME", "VALUE", "FOR")]
    rows += [(each.type, each.name, each.value, f"{each.purpose}{_wish(each)}") for each in records]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *_notes(records, domain)]) + "\n"


def zone_file(records: Sequence[DnsRecord], domain: str) -> str:
    """A snippet for the zone of `domain`; RFC 1035 section 5."""
    names = [relative(each.name, domain) for each in records]
    width = max(map(len, names), default=0)
    lines = [
        f"{name.ljust(width)}  3600  IN  {each.type:<5}  {_rdata(each)}"
        for name, each in zip(names, records, strict=True)
    ]
    return "\n".join([f"$ORIGIN {domain}.", *lines]) + "\n"


def as_json(records: Sequence[DnsRecord]) -> list[dict[str, str | bool]]:
    return [
        {
            "type": str(each.type),
            "name": each.name,
            "value": each.value,
            "purpose": str(each.purpose),
            "required": each.is_required,
        }
        for each in records
    ]


def _wish(record: DnsRecord) -> str:
    return "" if record.is_required else " (recommended)"


def _notes(records: Sequence[DnsRecord], domain: str) -> Iterator[str]:
    if below := next((each.name for each in records if each.name != domain), None):
        yield f"Many DNS providers append the zone to a name: there, enter `{relative(below, domain)}` for {below}."
    if any(each.purpose is Purpose.SPF for each in records):
        yield (
            f"A name has one v=spf1 record at most (RFC 7208): if {domain} has one, add include:amazonses.com to it "
            "instead of publishing a second."
        )


def _rdata(record: DnsRecord) -> str:
    if record.type is not RecordType.TXT:
        return f"{record.value}."
    octets = record.value.encode()
    strings = [octets[start : start + STRING_OCTETS] for start in range(0, len(octets), STRING_OCTETS)]
    return " ".join(f'"{_escaped(string)}"' for string in strings or [b""])


def _escaped(string: bytes) -> str:
    return "".join(
        f"\\{chr(octet)}" if octet in b'"\\' else chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03d}"
        for octet in string
    )


def read_json(records: Iterable[Mapping[str, Any]]) -> list[DnsRecord]:
    """What `as_json` wrote."""
    return [
        DnsRecord(each["name"], RecordType(each["type"]), each["value"], Purpose(each["purpose"]), each["required"])
        for each in records
    ]
