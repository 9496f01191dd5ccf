"""What SES refuses, in its words. Decides only: rate and quota are the account's allowance.

Texts that nobody has published are ours; relay code must not hang on them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from relay.sandbox.accounts import Account
from relay.sandbox.mime import Headers, has_longer_line, read_headers, read_mailboxes
from relay.sandbox.refusals import Refusal
from relay.sandbox.simulator import is_simulator

MAX_MESSAGE_BYTES = 41_943_040  # 40 MB of MIME (SES developer guide, Service quotas)
MAX_RECIPIENTS = 50
MAX_LINE = 1_000  # with CR LF (RFC 5321 section 4.5.3.1.6)

# SES developer guide, Amazon SES header fields: these "can't appear more than once". To, Cc and Bcc may.
_SINGLE = """
    Accept-Language acceptLanguage Archived-At Auto-Submitted Bounces-to Comments Content-Alternative Content-Base
    Content-Class Content-Description Content-Disposition Content-Duration Content-ID Content-Language Content-Length
    Content-Location Content-MD5 Content-Transfer-Encoding Content-Type Date Delivered-To
    Disposition-Notification-Options Disposition-Notification-To DKIM-Signature DomainKey-Signature Errors-To From
    Importance In-Reply-To Keywords List-Archive List-Help List-Id List-Owner List-Post List-Subscribe List-Unsubscribe
    List-Unsubscribe-Post Message-Context Message-ID MIME-Version Organization Original-From Original-Message-ID
    Original-Recipient Original-Subject Precedence Priority References Reply-To Return-Path Return-Receipt-To Sender
    Solicitation Sensitivity Subject Thread-Index Thread-Topic User-Agent VBR-Info
""".split()  # noqa: SIM905
SINGLE_HEADERS: Mapping[str, str] = {name.lower(): name for name in _SINGLE}

_TAG_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.@-]+")
_FEEDBACK_ID_TAGS = {"ses:feedback-id-a", "ses:feedback-id-b"}  # reserved names SES takes all the same
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])*"')
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True, slots=True)
class Sending:
    """A SendEmail request with raw content. `recipients` is its Destination, None where it gave none."""

    raw: bytes
    sender: str | None = None
    feedback: str | None = None
    recipients: tuple[str, ...] | None = None
    tags: tuple[tuple[str, str], ...] = ()
    configuration_set: str | None = None
    tracking: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """A sending that SES takes."""

    headers: Headers
    sender: str
    recipients: tuple[str, ...]


def admit(sending: Sending, account: Account, region: str, has_verified: Callable[[str], bool] | None = None) -> Letter:
    """The letter in a sending. Raises Refusal. Left out, `has_verified` knows what the account was born with."""
    if len(sending.raw) > MAX_MESSAGE_BYTES:
        text = f"Message length is more than {MAX_MESSAGE_BYTES} bytes long: '{len(sending.raw)}'."
        raise Refusal("BadRequestException", text)
    for name, value in sending.tags:
        check_tag(name, value)
    headers = read_headers(sending.raw)
    _check_single(headers)
    sender = _sender(sending, headers)
    recipients = _recipients(sending, headers)
    if has_longer_line(sending.raw, MAX_LINE):
        raise Refusal("BadRequestException", f"A line is longer than {MAX_LINE} characters.")
    has_verified = has_verified or account.has_verified
    checked = [sender, *_other_senders(sending, headers)]
    if not account.production:
        checked += [recipient for recipient in recipients if not is_simulator(recipient)]
    _check_identities([address for address in checked if not has_verified(address)], region)
    return Letter(headers, sender, recipients)


def check_tag(name: str, value: str) -> None:
    """Raise Refusal unless SES takes the tag."""
    for what, text in (("name", name), ("value", value)):
        if not text:
            raise Refusal("BadRequestException", f"The tag {what} must be specified.")
        if len(text) > 255:
            raise Refusal("BadRequestException", f"Tag {what} cannot exceed 255 characters.")
    if not _TAG_NAME.fullmatch(name) and name not in _FEEDBACK_ID_TAGS:
        text = f"Invalid tag name <{name}>: only alphanumeric ASCII characters, '_',  '-' are allowed."
        raise Refusal("BadRequestException", text)
    if not _TAG_VALUE.fullmatch(value):
        text = f"Invalid tag value <{value}>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed."
        raise Refusal("BadRequestException", text)


def check_address(address: str) -> None:
    """Raise Refusal unless the address is ASCII local@domain. The texts are JavaMail's, which SES shows."""
    local, at, domain = address.rpartition("@")
    if not at or not domain:
        raise Refusal("BadRequestException", "Missing final '@domain'")
    if len(address) > 320:
        raise Refusal("BadRequestException", f"Address length is more than 320 characters long: '{len(address)}'.")
    if not local:
        raise Refusal("BadRequestException", "Missing local name")
    if not _ATOMS.fullmatch(local) and not _QUOTED.fullmatch(local):
        raise Refusal("BadRequestException", f"Local address {_what_is_wrong(local)}")
    if not _DOMAIN.fullmatch(domain):
        raise Refusal("BadRequestException", f"Domain {_what_is_wrong(domain)}")


def _what_is_wrong(part: str) -> str:
    if any(c <= " " or c == "\x7f" for c in part):
        return "contains control or whitespace"
    if part.startswith("."):
        return "starts with dot"
    if part.endswith("."):
        return "ends with dot"
    return "contains dot-dot" if ".." in part else "contains illegal character"


def _check_single(headers: Headers) -> None:
    seen: set[str] = set()
    for name, _ in headers:
        single = SINGLE_HEADERS.get(name.lower())
        if single is not None:
            if single in seen:
                raise Refusal("BadRequestException", f"Duplicate header '{single}'.")
            seen.add(single)


def _sender(sending: Sending, headers: Headers) -> str:
    """FromEmailAddress replaces the From header; without either there is nobody to check."""
    values = list(_values(headers, "from")) if sending.sender is None else [sending.sender]
    if not values or not values[0]:
        raise Refusal("BadRequestException", "Missing required header 'From'.")
    return _only_address(values[0])


def _other_senders(sending: Sending, headers: Headers) -> list[str]:
    """SES checks the Sender and Return-Path headers too, and where feedback is forwarded to."""
    values = [*_values(headers, "sender"), *_values(headers, "return-path"), sending.feedback or ""]
    return [address for value in values for address in read_mailboxes(value).addresses]


def _recipients(sending: Sending, headers: Headers) -> tuple[str, ...]:
    """The Destination where given: raw headers are not read then. The headers' mailboxes otherwise."""
    if sending.recipients is not None:
        recipients = tuple(map(_only_address, sending.recipients))
    else:
        fields = _values(headers, "to", "cc", "bcc")
        recipients = tuple(address for value in fields for address in read_mailboxes(value).addresses)
        for address in recipients:
            check_address(address)
    if not recipients:
        raise Refusal("BadRequestException", "There are no recipients.")
    if len(recipients) > MAX_RECIPIENTS:
        raise Refusal("BadRequestException", f"Recipient count exceeds {MAX_RECIPIENTS}.")
    return recipients


def _only_address(value: str) -> str:
    mailboxes = read_mailboxes(value)
    if mailboxes.has_group or len(mailboxes.addresses) > 1:
        raise Refusal("BadRequestException", "One mailbox is expected, not a list or a group.")
    if not mailboxes.addresses:
        raise Refusal("BadRequestException", "Missing final '@domain'")
    check_address(mailboxes.addresses[0])
    return mailboxes.addresses[0]


def _check_identities(failed: Iterable[str], region: str) -> None:
    if listed := ", ".join(dict.fromkeys(failed)):
        text = "Email address is not verified. The following identities failed the check in region"
        raise Refusal("MessageRejected", f"{text} {region.upper()}: {listed}")


def _values(headers: Headers, *names: str) -> Iterable[str]:
    return (value for name, value in headers if name.lower() in names)
