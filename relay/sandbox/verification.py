"""Compares what an identity asks to be published with what the DNS says, as SES does before it lets anyone send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from relay.sandbox.identities import SIGNING_ZONE, Identity, MailFrom, Status
from relay.sandbox.lookups import Found, Lookups


async def check(identity: Identity, region: str, lookups: Lookups, now: datetime) -> Identity:
    """The identity as the DNS has it now. What an account was born with is taken on trust, its first MAIL FROM too.

    An address stays as it is: SES verifies it by a mail with a link, and nobody clicks here.
    """
    dkim, mail_from = await asyncio.gather(_check_dkim(identity, lookups), _check_mail_from(identity, region, lookups))
    if mail_from is not None:
        identity = replace(identity, mail_from=mail_from)
    if identity.is_given or not identity.is_domain:
        return identity
    status = after(identity.status, dkim)
    verified_at = now if status is Status.SUCCESS else identity.verified_at
    return replace(identity, status=status, error=dkim, checked_at=now, verified_at=verified_at)


def after(status: Status, error: str | None) -> Status:
    """What a check makes of a status. Records that are gone undo it; a DNS that does not answer does not."""
    if error is None:
        return Status.SUCCESS
    if error == "DNS_SERVER_ERROR" and status is not Status.PENDING:
        return Status.TEMPORARY_FAILURE
    return Status.PENDING


def dkim_error(tokens: Iterable[str], found: Iterable[Found]) -> str | None:
    """Why the CNAMEs are not right, None when all are."""
    for token, answer in zip(tokens, found, strict=True):
        if answer.error is not None:
            return answer.error
        if answer.records != (f"{token}.{SIGNING_ZONE}",):
            return "INVALID_VALUE"
    return None


def mail_from_error(region: str, mx: Found, txt: Found) -> str | None:
    """Why MX and SPF record are not right, None when they are. A second MX fails the setup (SES developer guide)."""
    if mx.error or txt.error:
        return mx.error or txt.error
    policies = [text.split() for text in txt.records]
    is_allowed = any(terms[:1] == ["v=spf1"] and "include:amazonses.com" in terms for terms in policies)
    is_right = mx.records == (f"10 feedback-smtp.{region}.amazonses.com",) and is_allowed
    return None if is_right else "INVALID_VALUE"


async def _check_dkim(identity: Identity, lookups: Lookups) -> str | None:
    if identity.is_given:
        return None
    names = [f"{token}._domainkey.{identity.name}" for token in identity.tokens]
    return dkim_error(identity.tokens, await asyncio.gather(*(lookups.find(name, "CNAME") for name in names)))


async def _check_mail_from(identity: Identity, region: str, lookups: Lookups) -> MailFrom | None:
    mail_from = identity.mail_from
    if mail_from is None or identity.is_trusted(mail_from.domain):
        return mail_from
    mx, txt = await asyncio.gather(lookups.find(mail_from.domain, "MX"), lookups.find(mail_from.domain, "TXT"))
    return replace(mail_from, status=after(mail_from.status, mail_from_error(region, mx, txt)))
