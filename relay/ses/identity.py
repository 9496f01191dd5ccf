"""The identities of an SES account: what registering and verifying a sender domain asks of SES."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.ses.errors import SesProblem
from relay.ses.wire import SesAccount

HOSTED_ZONE = "dkim.amazonses.com"


@dataclass(frozen=True, slots=True)
class Identity:
    """What SES says of a domain. The statuses are SES's words, such as PENDING, SUCCESS, FAILED and TEMPORARY_FAILURE.

    A DKIM token's record is `TOKEN._domainkey.DOMAIN CNAME TOKEN.signing_hosted_zone`. `error` is why verifying failed.
    """

    domain: str
    is_verified_for_sending: bool
    verification_status: str
    dkim_status: str
    dkim_tokens: tuple[str, ...]
    signing_hosted_zone: str
    dkim_origin: str
    mail_from_domain: str | None
    mail_from_status: str | None
    error: str | None


async def create_identity(account: SesAccount, domain: str, configuration_set: str | None = None) -> Identity:
    """The domain's identity, made where there is none; one that is there stays as it is. Raises SesProblem."""
    request = {"EmailIdentity": domain}
    if configuration_set:
        request["ConfigurationSetName"] = configuration_set
    made: Mapping[str, Any] = {}
    try:
        made = await account.ask("create_email_identity", domain, **request)
    except SesProblem as problem:
        if problem.code != "AlreadyExistsException":
            raise
    return await find_identity(account, domain) or read_identity(domain, made)


async def find_identity(account: SesAccount, domain: str) -> Identity | None:
    """The domain's identity, None where the account has none. Raises SesProblem."""
    try:
        return read_identity(domain, await account.ask("get_email_identity", domain, EmailIdentity=domain))
    except SesProblem as problem:
        if problem.code != "NotFoundException":
            raise
        return None


async def set_mail_from(account: SesAccount, domain: str, mail_from: str) -> None:
    """Let bounces go to this subdomain. Without its MX record SES uses its own domain. Raises SesProblem.

    REJECT_MESSAGE would make a slip in the DNS stop the mail.
    """
    await account.ask(
        "put_email_identity_mail_from_attributes",
        domain,
        EmailIdentity=domain,
        MailFromDomain=mail_from,
        BehaviorOnMxFailure="USE_DEFAULT_VALUE",
    )


def read_identity(domain: str, answer: Mapping[str, Any]) -> Identity:
    """What GetEmailIdentity or CreateEmailIdentity answered. What SES leaves out counts as not begun."""
    dkim = answer.get("DkimAttributes") or {}
    mail_from = answer.get("MailFromAttributes") or {}
    is_verified = bool(answer.get("VerifiedForSendingStatus", False))
    return Identity(
        domain=domain,
        is_verified_for_sending=is_verified,
        verification_status=str(answer.get("VerificationStatus") or ("SUCCESS" if is_verified else "PENDING")),
        dkim_status=str(dkim.get("Status") or "NOT_STARTED"),
        dkim_tokens=tuple(dkim.get("Tokens") or ()),
        signing_hosted_zone=str(dkim.get("SigningHostedZone") or HOSTED_ZONE),
        dkim_origin=str(dkim.get("SigningAttributesOrigin") or "AWS_SES"),
        mail_from_domain=mail_from.get("MailFromDomain") or None,
        mail_from_status=mail_from.get("MailFromDomainStatus") or None,
        error=(answer.get("VerificationInfo") or {}).get("ErrorType") or None,
    )
