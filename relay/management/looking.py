"""Looks up in the DNS what a sender domain has published. What that means is for `checks`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from relay.dns import Resolver
from relay.management.checks import Check, Status, judge, zones
from relay.management.dns_records import DnsRecord, Purpose


async def look(resolver: Resolver, records: Sequence[DnsRecord], domain: str) -> tuple[Check, ...]:
    """A check for each record, in their order, all looked up at once. Never raises for trouble: that is UNKNOWN."""
    return tuple(await asyncio.gather(*(_check(resolver, record, domain) for record in records)))


async def _check(resolver: Resolver, record: DnsRecord, domain: str) -> Check:
    answer = await resolver.records(record.name, record.type)
    check = judge(record, answer)
    if check.status in {Status.FOUND, Status.UNKNOWN}:
        return check
    inherited = []
    if record.purpose is Purpose.DMARC:
        for parent in zones(domain)[1:]:
            inherited.append(await resolver.records(f"_dmarc.{parent}", record.type))
        check = judge(record, answer, inherited=inherited)
    if check.status is not Status.MISSING:
        return check
    doubled = {zone: await resolver.records(f"{record.name}.{zone}", record.type) for zone in zones(domain)}
    return judge(record, answer, inherited=inherited, doubled=doubled)
