"""Asks SES and the DNS about a sender domain, both at once. What that means is for `findings`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from relay.dns import Resolver
from relay.management import registering
from relay.management.describing import Look, needs_claim
from relay.management.dns_records import DnsRecord, Purpose, expected_records
from relay.management.looking import look
from relay.management.registering import Registered, Turn
from relay.ses.access import Access
from relay.ses.clients import Accounts
from relay.ses.errors import SesProblem
from relay.ses.identity import Identity
from relay.ses.proof import remedy_of
from relay.store.directory.domains import SenderDomain

OWN_KEYS = "AWS_SES"  # where DKIM keys come from, in some regions with their name; EXTERNAL ones are no CNAMEs


@dataclass(frozen=True, slots=True)
class _Answer:
    registered: Registered
    trouble: SesProblem | None = None
    remedy: str = ""


async def survey(accounts: Accounts, resolver: Resolver, access: Access, domain: SenderDomain, turn: Turn) -> Look:
    """Trouble with either is in what is returned. A domain of the file is only looked at, any other registered."""
    early = _expected(domain, access.region, None, None)
    answer, first = await asyncio.gather(_ask(accounts, access, domain, turn), look(resolver, early, domain.name))
    identity, mail_from_trouble = answer.registered.identity, answer.registered.mail_from_trouble
    mail_from = (identity.mail_from_domain if identity else None) or domain.mail_from_domain
    records = _expected(domain, access.region, identity, mail_from)
    late = [record for record in records if _is_open(record.purpose, identity)]
    second = await look(resolver, late, domain.name)
    return Look(
        identity=identity,
        account=access.name,
        region=access.region,
        trouble=answer.trouble,
        remedy=answer.remedy,
        mail_from=mail_from,
        mail_from_trouble=f"{mail_from_trouble.said}: {remedy_of(mail_from_trouble, access)}"
        if mail_from_trouble
        else "",
        records=records,
        checks=(*first, *second),
    )


async def _ask(accounts: Accounts, access: Access, domain: SenderDomain, turn: Turn) -> _Answer:
    ask = registering.find if domain.is_declared else registering.register
    try:
        async with accounts.using(access) as account:
            return _Answer(await ask(account, domain, turn))
    except SesProblem as problem:
        return _Answer(Registered(None), problem, remedy_of(problem, access))


def _expected(
    domain: SenderDomain, region: str, identity: Identity | None, mail_from: str | None
) -> tuple[DnsRecord, ...]:
    tokens: tuple[str, ...] = ()
    # The identity of a parent domain signs with keys at that parent.
    if identity is not None and identity.domain == domain.name and identity.dkim_origin.startswith(OWN_KEYS):
        tokens = identity.dkim_tokens
    return expected_records(
        domain.name,
        region,
        challenge=domain.challenge if needs_claim(domain) else None,
        tokens=tokens,
        signing_zone=identity.signing_hosted_zone if identity is not None else "",
        mail_from=mail_from,
    )


def _is_open(purpose: Purpose, identity: Identity | None) -> bool:
    """Whether SES's answer leaves a question to the DNS that was not asked at once."""
    if identity is None:
        return False
    if purpose is Purpose.DKIM:
        return identity.dkim_status != "SUCCESS"
    return (
        purpose is Purpose.MAIL_FROM
        and identity.mail_from_domain is not None
        and identity.mail_from_status != "SUCCESS"
    )
