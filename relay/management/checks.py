"""Judges what the DNS holds against what a sender domain is expected to publish. Asks nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from types import MappingProxyType

from relay.dns import RecordType
from relay.management.dns_records import DnsRecord, Purpose, relative

Answer = tuple[str, ...] | None  # of Resolver.records: None is trouble

SPF_INCLUDES = {"include:amazonses.com", "+include:amazonses.com"}
DMARC_POLICIES = {"none", "quarantine", "reject"}
MOST_ZONES = 8  # names with hundreds of labels exist only to make others ask
LABELS = {
    Purpose.CLAIM: "claim",
    Purpose.DKIM: "DKIM",
    Purpose.MAIL_FROM: "MAIL FROM",
    Purpose.SPF: "SPF",
    Purpose.DMARC: "DMARC",
}


@unique
class Status(StrEnum):
    """What follows from the answers."""

    FOUND = "found"
    MISSING = "missing"
    WRONG = "wrong"  # something is there, and does not do
    UNKNOWN = "unknown"  # the DNS could not be asked; no one is warned of that


@dataclass(frozen=True, slots=True)
class Check:
    """`found` is what the DNS holds; `remedy` is what to do, in words, and empty unless MISSING or WRONG."""

    expected: DnsRecord
    status: Status
    found: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def purpose(self) -> Purpose:
        return self.expected.purpose


def judge(
    record: DnsRecord,
    answer: Answer,
    *,
    inherited: Sequence[Answer] = (),
    doubled: Mapping[str, Answer] = MappingProxyType({}),
) -> Check:
    """What `answer`, found at the record's name, says.

    `inherited`, for DMARC: what is at `_dmarc.` of the parent domains, nearest first. `doubled`: what is at
    `<name>.<zone>`, by zone; a record there was published by a provider that appends the zone to what is entered.
    """
    if answer is None:
        return Check(record, Status.UNKNOWN)
    fault = _fault(record, answer)
    if fault is None:
        return Check(record, Status.FOUND, answer)
    if record.purpose is Purpose.DMARC and not _dmarc_policies(answer):  # RFC 7489 section 6.6.3: only then go up
        for above in inherited:
            if above is not None and _fault(record, above) is None:
                return Check(record, Status.FOUND, above)
        if None in inherited:
            return Check(record, Status.UNKNOWN, answer)
    if fault:
        return Check(record, Status.WRONG, answer, fault)
    publish = f"publish {_shown(record)} at {record.name}"
    for zone, there in doubled.items():
        if there is not None and _fault(record, there) is None:
            note = f"your DNS provider appended the zone: enter only `{relative(record.name, zone)}`"
            return Check(record, Status.MISSING, answer, f"{publish} ({note})")
    return Check(record, Status.MISSING, answer, publish)


def zones(domain: str) -> tuple[str, ...]:
    """The zones a name of this domain may be in, nearest first: the domain, and its parents of two labels or more."""
    labels = domain.split(".")
    parents = [".".join(labels[start:]) for start in range(1, len(labels) - 1)]
    return (domain, *parents[-(MOST_ZONES - 1) :])


def warnings(checks: Sequence[Check]) -> tuple[str, ...]:
    """What to tell of a domain that may send, one each for SPF, MAIL FROM and DMARC."""
    open_checks = {purpose: _open(checks, purpose) for purpose in (Purpose.SPF, Purpose.MAIL_FROM, Purpose.DMARC)}
    return tuple(_sentence(found) for found in open_checks.values() if found)


def missing_words(checks: Sequence[Check]) -> str:
    """The first required record that is not there, and what to do. Empty if none is known to be missing."""
    for check in checks:
        if check.expected.is_required and check.remedy:
            return _sentence([check])
    return ""


def _open(checks: Sequence[Check], purpose: Purpose) -> list[Check]:
    return [check for check in checks if check.purpose is purpose and check.remedy]


def _sentence(checks: Sequence[Check]) -> str:
    first = checks[0]
    return f"{LABELS[first.purpose]} {first.status}: {'; '.join(check.remedy for check in checks)}"


def _shown(record: DnsRecord) -> str:
    return record.value if record.type is RecordType.TXT else f"{record.type} {record.value}"


def _fault(record: DnsRecord, found: Sequence[str]) -> str | None:
    """None: it is there. Empty: nothing like it is. Else what is wrong with what is there, as a remedy."""
    if not found:
        return ""
    if record.type is RecordType.CNAME:
        return _cname_fault(record, found)
    if record.type is RecordType.MX:
        return _mx_fault(record, found)
    if record.purpose is Purpose.CLAIM:
        return _claim_fault(record, found)
    if record.purpose is Purpose.DMARC:
        return _dmarc_fault(record, found)
    return _spf_fault(record, found)


def _claim_fault(record: DnsRecord, found: Sequence[str]) -> str | None:
    if any(text.strip() == record.value for text in found):
        return None
    return f"{record.name} holds another text; publish {record.value}"


def _cname_fault(record: DnsRecord, found: Sequence[str]) -> str | None:
    if list(found) == [record.value]:
        return None
    return f"{record.name} points elsewhere; make it {_shown(record)}{_cut_short(record.value, found)}"


def _mx_fault(record: DnsRecord, found: Sequence[str]) -> str | None:
    hosts = [text.rpartition(" ")[2] for text in found]
    host = record.value.rpartition(" ")[2]
    if hosts == [host]:
        return None
    if len(hosts) > 1:
        return f"{record.name} has {len(hosts)} MX records, and SES wants one only: keep {_shown(record)}"
    return f"{record.name} names another host; make it {_shown(record)}{_cut_short(host, hosts)}"


def _cut_short(host: str, found: Sequence[str]) -> str:
    if any(each.startswith(f"{host}.") for each in found):
        return " (your DNS provider appended the zone to the value: end it with a dot)"
    return ""


def _spf_fault(record: DnsRecord, found: Sequence[str]) -> str | None:
    """RFC 7208. What other mechanisms allow is the domain's own affair."""
    policies = [terms for text in found if (terms := text.lower().split(" "))[0] == "v=spf1"]  # section 4.5
    if not policies:
        return ""
    if len(policies) > 1:
        return (
            f"{record.name} has {len(policies)} v=spf1 records, which is an error (RFC 7208): "
            "keep one, with include:amazonses.com in it"
        )
    for term in policies[0]:
        if term.rstrip(".") in SPF_INCLUDES:
            return None
        if term.lstrip("+-~?") == "all":
            break  # what follows is never tested: section 5.1
    return f"add include:amazonses.com to the v=spf1 record at {record.name}, before its all"


def _dmarc_fault(record: DnsRecord, found: Sequence[str]) -> str | None:
    """RFC 7489 sections 6.3 and 6.6.3."""
    policies = _dmarc_policies(found)
    if len(policies) > 1:
        return f"{record.name} has {len(policies)} v=DMARC1 records, which count as none (RFC 7489): keep one"
    if not policies:
        return f"what is at {record.name} is no DMARC record; publish {record.value}"
    if policies[0].get("p", "").lower() not in DMARC_POLICIES:
        return f"the record at {record.name} has no valid p=; publish {record.value}"
    return None


def _dmarc_policies(found: Sequence[str]) -> list[dict[str, str]]:
    """The tags of each record that begins with `v=DMARC1`; others are discarded."""
    records = ([tag.partition("=") for tag in text.split(";")] for text in found)
    tags = ([(name.strip(), value.strip()) for name, _, value in record] for record in records)
    return [dict(each) for each in tags if each[0] == ("v", "DMARC1")]
