"""Says what was seen of a sender domain: a check for each purpose, with what to do about it in words. Asks nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from relay.declared import DomainStatus
from relay.management.checks import LABELS, Check, Status
from relay.management.dns_records import DnsRecord, Purpose
from relay.message import Mode
from relay.ses.errors import SesProblem
from relay.ses.identity import Identity
from relay.store.directory.domains import SenderDomain

OWNERSHIP = "ownership"  # what SES verifies before it lets anyone send; the other purposes are those of records
WARNED_OF = (Purpose.SPF, Purpose.MAIL_FROM, Purpose.DMARC)

CheckJson: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a domain. `identity` None without `trouble`: the account has none.

    `remedy` goes with `trouble`; `mail_from_trouble` is why SES did not take the MAIL FROM domain, in words.
    `records` are those to publish, `checks` what the DNS holds of those that were looked for.
    """

    identity: Identity | None
    account: str
    region: str
    trouble: SesProblem | None = None
    remedy: str = ""
    mail_from: str | None = None
    mail_from_trouble: str = ""
    records: Sequence[DnsRecord] = ()
    checks: Sequence[Check] = ()

    def of(self, purpose: Purpose) -> list[Check]:
        return [check for check in self.checks if check.purpose is purpose]


def needs_claim(domain: SenderDomain) -> bool:
    """Whether the TXT record that names the tenant has to be seen.

    Once is enough while all goes well. A domain that failed may have changed hands, and what SES says of an identity
    in the operator's account says nothing about the tenant.
    """
    return domain.challenge is not None and (not domain.is_claimed or domain.status is DomainStatus.FAILED)


def describe(domain: SenderDomain, look: Look) -> list[CheckJson]:
    """One check for each purpose, those that sending needs first. `said` says what to do where it is not found."""
    claim = [_of_dns(Purpose.CLAIM, look, is_required=True)] if needs_claim(domain) else []
    mail_from = [_mail_from(look)] if look.mail_from else []
    rest = [_of_dns(purpose, look, is_required=False) for purpose in (Purpose.SPF, Purpose.DMARC)]
    return [*claim, _dkim(look), _ownership(domain, look), *rest[:1], *mail_from, *rest[1:]]


def warnings(domain: SenderDomain, checks: Sequence[CheckJson]) -> tuple[str, ...]:
    """What to tell of every message that a shared domain sends. Where the DNS cannot say, what was said before."""
    if domain.mode is Mode.BYOC:
        return ()
    found = {check["purpose"]: check for check in checks}
    told = []
    for purpose in WARNED_OF:
        status = found[purpose]["status"] if purpose in found else Status.FOUND
        if status == Status.UNKNOWN:
            told += [each for each in domain.warnings if each.startswith(f"{LABELS[purpose]} ")]
        elif status != Status.FOUND:
            told.append(f"{LABELS[purpose]} {status}: {found[purpose]['said']}")
    return tuple(told)


def _check(
    purpose: str, status: Status, said: str, expected: Sequence[str], found: Sequence[str], *, is_required: bool
) -> CheckJson:
    return {
        "purpose": str(purpose),
        "status": str(status),
        "is_required": is_required,
        "expected": list(expected),
        "found": list(found),
        "said": "" if status is Status.FOUND else said,
    }


def _of_dns(purpose: Purpose, look: Look, *, is_required: bool) -> CheckJson:
    checks = look.of(purpose)
    status, said = _worst(checks)
    texts = [text for check in checks for text in check.found]
    return _check(purpose, status, said, _lines(look.records, purpose), texts, is_required=is_required)


def _ownership(domain: SenderDomain, look: Look) -> CheckJson:
    identity = look.identity
    if identity is None:
        status, said = _without_identity(domain, look)
        return _check(OWNERSHIP, status, said, ["SUCCESS"], [], is_required=True)
    answer = "SUCCESS" if identity.is_verified_for_sending else identity.verification_status
    status = _STATUSES.get(answer, Status.MISSING)
    said = f"Amazon SES has not verified {identity.domain} yet ({answer}{_why(identity)}): its DKIM records do that"
    if answer == "FAILED":
        said = _given_up(identity)
    return _check(OWNERSHIP, status, said, ["SUCCESS"], [answer], is_required=True)


def _dkim(look: Look) -> CheckJson:
    identity, checks = look.identity, look.of(Purpose.DKIM)
    status, said = _worst(checks)
    if identity is None:
        status = Status.UNKNOWN if look.trouble else Status.MISSING
        said = _cannot_ask(look) if look.trouble else f"there is no identity in the SES account {look.account} to sign"
    elif identity.dkim_status in _STATUSES:
        status = _STATUSES[identity.dkim_status]
        said = f"Amazon SES cannot look up the DKIM records of {identity.domain} now"
    elif status in {Status.FOUND, Status.UNKNOWN}:
        where = f"the DKIM records of {identity.domain}" + (" are there, and" if status is Status.FOUND else ":")
        said = f"{where} Amazon SES has not seen them yet ({identity.dkim_status}); that takes up to 72 hours"
        said = _given_up(identity) if identity.dkim_status == "FAILED" else said
        status = Status.MISSING
    texts = [text for check in checks for text in check.found]
    return _check(Purpose.DKIM, status, said, _lines(look.records, Purpose.DKIM), texts, is_required=True)


def _mail_from(look: Look) -> CheckJson:
    identity, checks = look.identity, look.of(Purpose.MAIL_FROM)
    status, said = _worst(checks)
    if identity is None:
        status = Status.UNKNOWN if look.trouble else Status.MISSING
        said = _cannot_ask(look) if look.trouble else f"there is no identity in the SES account {look.account}"
    elif identity.mail_from_domain is None:
        status = Status.MISSING
        said = look.mail_from_trouble or f"Amazon SES uses a MAIL FROM domain of its own: set {look.mail_from} there"
    elif identity.mail_from_status in _STATUSES:
        status = _STATUSES[identity.mail_from_status]
        said = f"Amazon SES cannot look up {look.mail_from} now"
    elif status is Status.FOUND:
        status = Status.MISSING
        said = f"the records of {look.mail_from} are there, and Amazon SES has not seen them yet"
        said += f" ({identity.mail_from_status})"
    texts = [text for check in checks for text in check.found]
    return _check(Purpose.MAIL_FROM, status, said, _lines(look.records, Purpose.MAIL_FROM), texts, is_required=False)


# What SES says that settles it. PENDING, NOT_STARTED and FAILED do not: then the DNS says what is missing.
_STATUSES: Mapping[str | None, Status] = {"SUCCESS": Status.FOUND, "TEMPORARY_FAILURE": Status.UNKNOWN}


def _worst(checks: Sequence[Check]) -> tuple[Status, str]:
    """What several records come to together."""
    said = "; ".join(check.remedy for check in checks if check.remedy)
    statuses = [check.status for check in checks]
    for status in (Status.WRONG, Status.MISSING, Status.UNKNOWN):
        if status in statuses:
            return status, said or "the DNS cannot be asked now"
    return (Status.FOUND, "") if checks else (Status.UNKNOWN, "the DNS was not asked")


def _lines(records: Sequence[DnsRecord], purpose: Purpose) -> list[str]:
    return [f"{record.name} {record.type} {record.value}" for record in records if record.purpose is purpose]


def _cannot_ask(look: Look) -> str:
    assert look.trouble is not None
    said = f"Amazon SES cannot be asked through the account {look.account}: {look.trouble.said}"
    return f"{said}: {look.remedy}" if look.remedy else said


def _without_identity(domain: SenderDomain, look: Look) -> tuple[Status, str]:
    if look.trouble is not None:
        return Status.UNKNOWN, _cannot_ask(look)
    said = f"the SES account {look.account} has no identity for {domain.name} in {look.region}"
    command = f"aws sesv2 create-email-identity --email-identity {domain.name} --region {look.region}"
    return Status.MISSING, f"{said}: create it there (SES console, or `{command}`)"


def _why(identity: Identity) -> str:
    return f", {identity.error}" if identity.error else ""


def _given_up(identity: Identity) -> str:
    return (
        f"Amazon SES looked for 72 hours and gave {identity.domain} up{_why(identity)}: delete the identity in the SES "
        "console, verify the domain again here, and publish the records that are listed then"
    )
