"""Examines the sender domains of an account as SES and the DNS have them now. Registers nothing, and writes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from relay.declared import DomainStatus
from relay.errors import Kind
from relay.management.checks import LABELS, Status
from relay.management.describing import OWNERSHIP, describe
from relay.management.dns_records import Purpose
from relay.management.doctoring.checked import Checked, fine, red, skipped, warning
from relay.management.doctoring.tools import Tools, patiently
from relay.management.registering import at_once
from relay.management.surveying import survey
from relay.ses.access import Access
from relay.store.directory.domains import SenderDomain

WITHIN = 120.0  # seconds for all of one account
MOST = 20  # of one account that are asked for now; of the others it is said what the daily look came to
_NAMES = {OWNERSHIP: "identity", **{str(purpose): label for purpose, label in LABELS.items()}}


async def examine(tools: Tools, access: Access, theirs: Sequence[SenderDomain]) -> list[Checked]:
    """One after the other, those that may not send first. Raises nothing of AWS."""
    found: list[Checked] = []
    ends_at = time.monotonic() + WITHIN
    ordered = sorted(theirs, key=lambda each: (each.status is DomainStatus.VERIFIED, each.name))
    for number, domain in enumerate(ordered):
        if domain.disabled_at is not None:
            said = "it is disabled: the configuration file does not name it any more"
            found.append(skipped(f"domain {domain.name}", said))
        elif number < MOST and time.monotonic() < ends_at:
            found += judge(domain, await _checks(tools, access, domain))
        else:
            found += judge(domain, domain.checks)
    return found


async def _checks(tools: Tools, access: Access, domain: SenderDomain) -> Sequence[Mapping[str, Any]]:
    only_looked_at = replace(domain, is_declared=True)  # else an identity would be made where there is none

    async def ask() -> Sequence[Mapping[str, Any]]:
        seen = await survey(tools.accounts, tools.resolver, access, only_looked_at, at_once)
        if seen.trouble is not None and seen.trouble.kind is Kind.SES_THROTTLED:
            raise seen.trouble
        return describe(only_looked_at, seen)

    return await patiently(ask)


def judge(domain: SenderDomain, checks: Sequence[Mapping[str, Any]]) -> list[Checked]:
    """What of a domain is not as it should be, each by itself. Pure."""
    place = f"domain {domain.name}"
    found = [_of_check(place, domain, each) for each in checks if each["status"] != Status.FOUND]
    if not found:
        names = ", ".join(_NAMES[each["purpose"]] for each in checks)
        found.append(fine(place, f"{names} are as they should be"))
    is_ready = all(each["status"] == Status.FOUND for each in checks if each["is_required"])
    if is_ready and domain.status is not DomainStatus.VERIFIED:
        said = f"SES has verified it, and here it is still {domain.status.value}"
        found.append(red(place, said, f"`relay domain verify {domain.name}`"))
    return found


def _of_check(place: str, domain: SenderDomain, check: Mapping[str, Any]) -> Checked:
    name, status = f"{place}: {_NAMES[check['purpose']]}", check["status"]
    said = f"it is {status}" + (f" ({', '.join(check['found'])})" if check["found"] else "")
    remedy = check["said"]
    if status == Status.UNKNOWN:
        if check["is_required"] and domain.status is not DomainStatus.VERIFIED:
            return red(name, f"nobody knows: {remedy}", f"`relay domain verify {domain.name}` looks again")
        return skipped(name, remedy)
    expected = [each for each in check["expected"] if " " in each]  # a record; else a word of SES's
    if expected and check["purpose"] != Purpose.SPF and not any(each.split()[-1] in remedy for each in expected):
        remedy += f": {'; '.join(expected)}"
    if check["purpose"] == OWNERSHIP and "`" not in remedy:
        remedy += f"; `relay domain dns {domain.name}` lists them"
    return red(name, said, remedy) if check["is_required"] else warning(name, said, remedy)
