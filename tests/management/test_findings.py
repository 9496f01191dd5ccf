"""What a look at a domain comes to, as a table: its status, and when the next look is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.declared import DomainStatus
from relay.dns import RecordType
from relay.errors import Kind
from relay.management.checks import Check, Status
from relay.management.describing import Look, describe
from relay.management.dns_records import DnsRecord, Purpose
from relay.management.findings import decide, pause
from relay.message import Mode, Stream
from relay.ses.errors import Scope, SesProblem
from relay.ses.identity import Identity
from relay.store.directory.domains import SenderDomain

PENDING, VERIFIED, FAILED = DomainStatus
NOW = 1_800_000_000_000
NAME = "acme.example"
DENIED = SesProblem(Kind.SES_DENIED, Scope.DOMAIN, "AccessDeniedException: no")
DOWN = SesProblem(Kind.SES_UNAVAILABLE, Scope.ACCOUNT, "no answer")

DOMAIN = SenderDomain(
    id=1,
    tenant_id=2,
    tenant="acme",
    account_id=3,
    account="operator",
    name=NAME,
    mode=Mode.SHARED,
    include_subdomains=False,
    configuration_sets={},
    streams=frozenset(Stream),
    default_sender=None,
    ses_tenant=None,
    mail_from="send",
    status=PENDING,
    verified_at=None,
    challenge=None,
    claimed_at=NOW,
    records=(),
    checks=(),
    warnings=(),
    misses=0,
    checked_at=NOW - 3_600_000,
    check_at=NOW,
    created_at=NOW - 7_200_000,
    updated_at=NOW,
    is_declared=False,
    disabled_at=None,
)
GOOD = Identity(
    NAME, True, "SUCCESS", "SUCCESS", ("t",), "dkim.amazonses.com", "AWS_SES", f"send.{NAME}", "SUCCESS", None
)
BAD = replace(GOOD, is_verified_for_sending=False, verification_status="PENDING", dkim_status="PENDING")
CLAIM = DnsRecord(f"_relay-challenge.{NAME}", RecordType.TXT, "relay-tenant=acme token=1", Purpose.CLAIM, True)
DKIM = DnsRecord(f"t._domainkey.{NAME}", RecordType.CNAME, "t.dkim.amazonses.com", Purpose.DKIM, True)
MX = DnsRecord(f"send.{NAME}", RecordType.MX, "10 feedback", Purpose.MAIL_FROM, False)
SPF = DnsRecord(NAME, RecordType.TXT, "v=spf1", Purpose.SPF, False)
DMARC = DnsRecord(f"_dmarc.{NAME}", RecordType.TXT, "v=DMARC1", Purpose.DMARC, False)


def checked(record: DnsRecord, status: Status) -> Check:
    return Check(record, status, (), f"mend {record.name}" if status in {Status.MISSING, Status.WRONG} else "")


def seen(identity: Identity | None = GOOD, trouble: SesProblem | None = None, **found: Status) -> Look:
    """What the DNS holds is found where nothing else is said."""
    records = (CLAIM, DKIM, MX, SPF, DMARC)
    checks = tuple(checked(each, found.get(each.purpose, Status.FOUND)) for each in records)
    return Look(identity, "operator", "eu-west-1", trouble, "mend it", f"send.{NAME}", "", records, checks)


def domain(status: DomainStatus = PENDING, **changes: Any) -> SenderDomain:
    return replace(DOMAIN, status=status, **changes)


claimed = {"challenge": "relay-tenant=acme token=1"}
unproven = claimed | {"claimed_at": None}
declared = {"is_declared": True}
given_up = replace(BAD, verification_status="FAILED", dkim_status="FAILED")
in_doubt = replace(GOOD, dkim_status="TEMPORARY_FAILURE")
lost = replace(BAD, verification_status="TEMPORARY_FAILURE", dkim_status="TEMPORARY_FAILURE")
M, U, W = Status.MISSING, Status.UNKNOWN, Status.WRONG
DAY, HOUR, MINUTE = 86_400, 3600, 60


# fmt: off
DECISIONS = [
    # A domain that waits.
    (domain(),                             seen(),                  VERIFIED, 0, DAY),
    (domain(),                             seen(BAD),               PENDING, 1, 30),
    (domain(misses=3),                     seen(BAD),               PENDING, 4, 240),
    (domain(misses=77),                    seen(BAD),               PENDING, 78, HOUR),
    (domain(misses=200),                   seen(BAD),               FAILED, 201, DAY),
    (domain(),                             seen(None),              PENDING, 1, 30),
    (domain(),                             seen(given_up),          PENDING, 1, 30),
    (domain(),                             seen(replace(GOOD, dkim_status="PENDING")), PENDING, 1, 30),
    (domain(),                             seen(replace(BAD, dkim_status="SUCCESS")), PENDING, 1, 30),
    (domain(),                             seen(spf=M, dmarc=W, mail_from=M), VERIFIED, 0, DAY),
    (domain(),                             seen(spf=U, dmarc=U, mail_from=U), VERIFIED, 0, DAY),
    (domain(),                             seen(claim=M),           VERIFIED, 0, DAY),  # nothing to claim
    # A claim.
    (domain(**unproven),                   seen(),                  VERIFIED, 0, DAY),
    (domain(**unproven),                   seen(claim=M),           PENDING, 1, 30),
    (domain(**unproven),                   seen(claim=W),           PENDING, 1, 30),
    (domain(**unproven),                   seen(claim=U),           PENDING, 0, 300),
    (domain(**unproven),                   seen(BAD),               PENDING, 1, 30),
    (domain(**claimed),                    seen(claim=M),           VERIFIED, 0, DAY),
    (domain(VERIFIED, **claimed),          seen(claim=M),           VERIFIED, 0, DAY),
    (domain(FAILED, **claimed),            seen(claim=M),           FAILED, 1, 30),
    (domain(FAILED, **claimed),            seen(),                  VERIFIED, 0, DAY),
    # A verified one.
    (domain(VERIFIED),                     seen(),                  VERIFIED, 0, DAY),
    (domain(VERIFIED, misses=1),           seen(),                  VERIFIED, 0, DAY),
    (domain(VERIFIED),                     seen(BAD),               VERIFIED, 1, MINUTE),
    (domain(VERIFIED),                     seen(None),              VERIFIED, 1, MINUTE),
    (domain(VERIFIED, misses=1),           seen(BAD),               FAILED, 1, 30),
    (domain(VERIFIED, misses=1, checked_at=NOW - 59_999), seen(BAD), VERIFIED, 1, MINUTE),
    (domain(VERIFIED, misses=1, checked_at=NOW - 60_000), seen(BAD), FAILED, 1, 30),
    (domain(VERIFIED),                     seen(spf=M, mail_from=M), VERIFIED, 0, DAY),
    # Trouble.
    (domain(misses=5),                     seen(None, DOWN),        PENDING, 5, 300),
    (domain(VERIFIED),                     seen(None, DOWN),        VERIFIED, 0, 300),
    (domain(VERIFIED, misses=1),           seen(None, DENIED),      VERIFIED, 1, 300),
    (domain(FAILED, misses=2),             seen(None, DOWN),        FAILED, 2, 300),
    (domain(VERIFIED, misses=1),           seen(in_doubt),          VERIFIED, 1, 300),
    (domain(VERIFIED, misses=1),           seen(lost),              VERIFIED, 1, 300),
    (domain(misses=1),                     seen(lost),              PENDING, 1, 300),
    # A domain of the file.
    (domain(VERIFIED, **declared),         seen(),                  VERIFIED, 0, DAY),
    (domain(VERIFIED, **declared),         seen(BAD),               VERIFIED, 1, MINUTE),
    (domain(VERIFIED, misses=1, **declared), seen(BAD),             FAILED, 1, 30),
    (domain(VERIFIED, **declared),         seen(None),              VERIFIED, 0, DAY),
    (domain(VERIFIED, misses=1, **declared), seen(None),            VERIFIED, 1, DAY),
    (domain(VERIFIED, **declared),         seen(None, DENIED),      VERIFIED, 0, DAY),
    (domain(VERIFIED, **declared),         seen(None, DOWN),        VERIFIED, 0, 300),
    (domain(PENDING, **declared),          seen(None),              PENDING, 1, 30),
]
# fmt: on


@pytest.mark.parametrize(("before", "look", "status", "misses", "wait"), DECISIONS)
def test_decisions(before: SenderDomain, look: Look, status: DomainStatus, misses: int, wait: int) -> None:
    finding = decide(before, look, NOW)
    assert (finding.status, finding.misses, finding.check_in) == (status, misses, timedelta(seconds=wait))
    assert finding.seen_at == before.checked_at
    if status is VERIFIED and before.status is not VERIFIED:
        assert finding.is_claimed


@pytest.mark.parametrize("status", [Status.MISSING, Status.WRONG, Status.UNKNOWN])
def test_an_unproven_claim_is_never_verified(status: Status) -> None:
    for before in (PENDING, FAILED):
        finding = decide(domain(before, **unproven), seen(claim=status), NOW)
        assert not finding.is_claimed
        assert finding.status is not VERIFIED


def test_a_claim_counts_while_ses_cannot_be_asked() -> None:
    assert decide(domain(**unproven), seen(None, DOWN), NOW).is_claimed


def test_patience() -> None:
    waits = [pause(misses).total_seconds() for misses in range(1, 100)]
    assert waits[:9] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    quick = [wait for wait in waits if wait < DAY]
    assert sum(quick) - 3600 < 72 * HOUR <= sum(quick)
    assert waits[-1] == DAY


# fmt: off
WORDS = [
    (seen(BAD, dkim=M),            "dkim", "missing", "mend t._domainkey.acme.example"),
    (seen(BAD, dkim=W),            "dkim", "wrong", "mend t._domainkey.acme.example"),
    (seen(BAD, dkim=U),            "dkim", "missing", "Amazon SES has not seen them yet (PENDING)"),
    (seen(BAD),                    "dkim", "missing", "are there, and Amazon SES has not seen them yet (PENDING)"),
    (seen(given_up),               "dkim", "missing", "delete the identity in the SES console"),
    (seen(given_up, dkim=M),       "dkim", "missing", "mend t._domainkey.acme.example"),
    (seen(GOOD, dkim=M),           "dkim", "found", ""),
    (seen(in_doubt),               "dkim", "unknown", "cannot look up"),
    (seen(None),                   "dkim", "missing", "no identity in the SES account operator"),
    (seen(None, DOWN),             "dkim", "unknown", "cannot be asked through the account operator: no answer: mend it"),
    (seen(BAD),                    "ownership", "missing", "has not verified acme.example yet (PENDING)"),
    (seen(replace(BAD, error="HOST_NOT_FOUND")), "ownership", "missing", "(PENDING, HOST_NOT_FOUND)"),
    (seen(given_up),               "ownership", "missing", "looked for 72 hours"),
    (seen(lost),                   "ownership", "unknown", "TEMPORARY_FAILURE"),
    (seen(in_doubt),               "ownership", "found", ""),
    (seen(GOOD, mail_from=M),      "mail_from", "found", ""),
    (seen(replace(GOOD, mail_from_status="PENDING"), mail_from=M), "mail_from", "missing", "mend send.acme.example"),
    (seen(replace(GOOD, mail_from_status="PENDING")), "mail_from", "missing", "has not seen them yet (PENDING)"),
    (seen(replace(GOOD, mail_from_status="TEMPORARY_FAILURE")), "mail_from", "unknown", "cannot look up"),
    (seen(replace(GOOD, mail_from_domain=None, mail_from_status=None)), "mail_from", "missing", "set send.acme.example there"),
    (seen(None, DOWN),             "mail_from", "unknown", "no answer"),
    (seen(spf=U),                  "spf", "unknown", "the DNS cannot be asked now"),
    (seen(spf=W),                  "spf", "wrong", "mend acme.example"),
]
# fmt: on


@pytest.mark.parametrize(("look", "purpose", "status", "said"), WORDS)
def test_words(look: Look, purpose: str, status: str, said: str) -> None:
    [check] = [each for each in describe(DOMAIN, look) if each["purpose"] == purpose]
    assert check["status"] == status
    assert said in check["said"]
    assert bool(check["said"]) == (status != "found")


def test_what_was_warned_of_stays_while_nobody_can_say() -> None:
    told = ("SPF missing: publish it", "MAIL FROM wrong: mend it", "DMARC missing: publish it")
    before = domain(VERIFIED, warnings=told)
    assert decide(before, seen(None, DOWN, spf=U, dmarc=U), NOW).warnings == told
    assert decide(before, seen(spf=U), NOW).warnings == told[:1]
    assert decide(before, seen(), NOW).warnings == ()
    assert decide(replace(before, mode=Mode.BYOC), seen(spf=M), NOW).warnings == ()
    assert decide(domain(), seen(spf=M, dmarc=W), NOW).warnings == (
        "SPF missing: mend acme.example",
        "DMARC wrong: mend _dmarc.acme.example",
    )


def test_what_to_publish_stays_listed_while_ses_cannot_be_asked() -> None:
    before = domain(records=({"name": "x"},))
    assert decide(before, seen(None, DOWN), NOW).records == before.records
    assert decide(before, seen(), NOW).records != before.records
    assert len(decide(domain(), seen(None, DOWN), NOW).records) == 5
