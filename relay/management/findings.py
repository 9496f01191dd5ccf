"""Decides what a look at a sender domain comes to. Asks nothing: SES, the DNS and the clock are given."""

from __future__ import annotations

from datetime import timedelta

from relay.declared import DomainStatus
from relay.errors import Kind
from relay.management.checks import Status
from relay.management.describing import Look, describe, warnings
from relay.management.dns_records import Purpose, as_json
from relay.store.clock import milliseconds
from relay.store.directory.domains import Finding, SenderDomain

# When to look again.
SOON = timedelta(seconds=30)  # doubling to LATER, while SES itself is looking
LATER = timedelta(hours=1)
SES_LOOKS_FOR = timedelta(hours=72)  # SES fact 6
DAILY = timedelta(hours=24)
AFTER_TROUBLE = timedelta(minutes=5)
TO_BE_SURE = timedelta(minutes=1)  # between the two looks that it takes to stop a verified domain


def decide(domain: SenderDomain, look: Look, now: int) -> Finding:
    """What follows for the domain: its status, and when to look again. `now`: milliseconds since 1970.

    When unsure, nothing changes. A verified domain is stopped by two looks in a row, a minute or more apart.
    """
    checks = describe(domain, look)
    required = {str(check["status"]) for check in checks if check["is_required"]}
    status, misses, check_in = _next(domain, look, required, now)
    has_claim = any(check["purpose"] == Purpose.CLAIM and check["status"] == Status.FOUND for check in checks)
    return Finding(
        domain_id=domain.id,
        account_id=domain.account_id,
        seen_at=domain.checked_at,
        status=status,
        is_claimed=domain.is_claimed or has_claim or (domain.challenge is None and status is DomainStatus.VERIFIED),
        # Without SES's answer the DKIM tokens are not known; what was listed before still holds.
        records=domain.records if look.trouble and domain.records else as_json(look.records),
        checks=checks,
        warnings=warnings(domain, checks),
        misses=misses,
        check_in=check_in,
    )


def _next(domain: SenderDomain, look: Look, required: set[str], now: int) -> tuple[DomainStatus, int, timedelta]:
    """The status, the looks in a row that did not end well, and the time until the next."""
    is_verified = domain.status is DomainStatus.VERIFIED
    if required == {Status.FOUND}:
        return DomainStatus.VERIFIED, 0, DAILY
    if Status.UNKNOWN in required:
        # A policy that lets the relay do nothing but send is the operator's choice: no use in asking all day.
        is_send_only = domain.is_declared and look.trouble is not None and look.trouble.kind is Kind.SES_DENIED
        return domain.status, domain.misses, DAILY if is_send_only else AFTER_TROUBLE
    if is_verified and domain.is_declared and look.identity is None:
        # The operator vouches, and the identity of a single address may be what carries the mail.
        return domain.status, domain.misses, DAILY
    if not is_verified:
        misses = domain.misses + 1
        has_failed = domain.status is DomainStatus.FAILED or pause(misses) == DAILY
        return DomainStatus.FAILED if has_failed else DomainStatus.PENDING, misses, pause(misses)
    if not domain.misses:
        return DomainStatus.VERIFIED, 1, TO_BE_SURE
    if now - (domain.checked_at or 0) < milliseconds(TO_BE_SURE):
        return DomainStatus.VERIFIED, domain.misses, TO_BE_SURE
    return DomainStatus.FAILED, 1, pause(1)


def pause(misses: int) -> timedelta:
    """How long after so many looks in vain, 1 or more, the next one is."""
    wait, spent = SOON, timedelta(0)
    for _ in range(misses - 1):
        spent += wait
        if spent >= SES_LOOKS_FOR:
            return DAILY
        wait = min(2 * wait, LATER)
    return wait
