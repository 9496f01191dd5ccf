"""What an answer of SES, or the lack of one, means. Pure; patterns and codes: SES facts section 2."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from relay.errors import Kind, Problem, printable


class Scope(Enum):
    """What is at fault, and so what has to stop: nothing but the message, its domain, the account, or this machine."""

    MESSAGE = "message"
    DOMAIN = "domain"
    ACCOUNT = "account"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Answer:
    """An error answer: `code` without its URL, HTTP status, and the text, which may be empty."""

    code: str
    status: int
    text: str


_MAILBOX = re.compile(r"[^\s@<>,;:\"'`]+@")


class SesProblem(Problem):
    """A call to SES or STS that did not end in its 200. `detail` names no person: it outlives the message.

    `said` is what is wrong, `remedy` how to mend it where that is known already, `detail` both. `code` is that of AWS,
    empty where AWS was not asked.
    """

    def __init__(self, kind: Kind, scope: Scope, said: str, *, remedy: str = "", code: str = "") -> None:
        said = printable(_MAILBOX.sub("*@", said), 500)
        super().__init__(kind, f"{said}: {remedy}" if remedy else said)
        self.scope = scope
        self.said = said
        self.remedy = remedy
        self.code = code


_THROTTLES = {"TooManyRequestsException", "ThrottlingException", "Throttling", "SlowDown", "RequestLimitExceeded"}
_CREDENTIALS = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "ExpiredTokenException",
    "ExpiredToken",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "NotAuthorized",
}
_MESSAGE = {
    "MessageRejected",
    "BadRequestException",
    "ValidationError",
    "ValidationException",
    "InvalidParameterValue",
    "SerializationException",
    "MalformedHttpRequestException",
    "RequestEntityTooLargeException",
}
_AGAIN = {"RequestExpired", "RequestTimeout", "RequestTimeoutException", "RequestAbortedException"}

# One row per code or text, the first that fits: (codes or None for any, text or None for any) -> what it means.
# Texts come before codes where SES sends one text under several codes.
_TABLE: tuple[tuple[frozenset[str] | None, re.Pattern[str] | None, Kind, Scope], ...] = tuple(
    (None if codes is None else frozenset(codes), None if text is None else re.compile(text, re.I), kind, scope)
    for codes, text, kind, scope in (
        (None, "Daily message quota exceeded", Kind.SES_QUOTA, Scope.ACCOUNT),
        (None, "Maximum sending rate exceeded|^Rate exceeded", Kind.SES_THROTTLED, Scope.ACCOUNT),
        (_THROTTLES, None, Kind.SES_THROTTLED, Scope.ACCOUNT),
        ({"LimitExceededException"}, None, Kind.SES_QUOTA, Scope.ACCOUNT),
        (None, "Sending is paused for configuration set", Kind.SES_PAUSED, Scope.DOMAIN),
        (None, "Sending paused for this account|Account sending is disabled", Kind.SES_PAUSED, Scope.ACCOUNT),
        ({"SendingPausedException", "AccountSuspendedException"}, None, Kind.SES_PAUSED, Scope.ACCOUNT),
        ({"MailFromDomainNotVerifiedException"}, None, Kind.SES_UNVERIFIED, Scope.DOMAIN),
        (None, "Tenant not associated with resources", Kind.SES_CONFIG, Scope.DOMAIN),
        ({"NotFoundException"}, None, Kind.SES_CONFIG, Scope.DOMAIN),
        ({"AccessDeniedException", "AccessDenied"}, None, Kind.SES_DENIED, Scope.DOMAIN),
        (None, "Signature expired|not yet current", Kind.SES_DENIED, Scope.HOST),
        (_CREDENTIALS, None, Kind.SES_DENIED, Scope.ACCOUNT),
        (_AGAIN, None, Kind.SES_UNAVAILABLE, Scope.ACCOUNT),
        (_MESSAGE, None, Kind.SES_REJECTED, Scope.MESSAGE),
    )
)
_UNVERIFIED = re.compile(r"not verified.*identities failed the check in region [^:]*: (.*)", re.I | re.S)


def classify(answer: Answer, domain: str) -> SesProblem:
    """What an error answer to a send from `domain` means."""
    detail = f"{answer.code}: {answer.text}" if answer.text else answer.code
    if unverified := _UNVERIFIED.search(answer.text):
        listed = unverified[1].lower()
        # Our own name: the domain waits for its verification. Only recipients: the account is in SES's sandbox.
        if re.search(rf"(^|[@.\s,]){re.escape(domain)}($|[\s,.>])", listed) or listed.endswith("..."):
            return SesProblem(Kind.SES_UNVERIFIED, Scope.DOMAIN, detail, code=answer.code)
        said = f"{detail} (the account is in the SES sandbox: ask for production access)"
        return SesProblem(Kind.SES_REJECTED, Scope.MESSAGE, said, code=answer.code)
    for codes, text, kind, scope in _TABLE:
        if (codes is None or answer.code in codes) and (text is None or text.search(answer.text)):
            return SesProblem(kind, scope, detail, code=answer.code)
    # Anything else, 5xx or unheard of: when unsure, it is temporary.
    return SesProblem(Kind.SES_UNAVAILABLE, Scope.ACCOUNT, detail, code=answer.code)


_ACCESS_DENIED = {"AccessDenied", "AccessDeniedException"}
_WHO = re.compile(r"\bUser: (\S+) is not authorized")


def classify_assuming(answer: Answer, role_arn: str) -> SesProblem:
    """What an error answer of STS to AssumeRole means. It is never the message or its domain that is at fault."""
    found = classify(answer, "")
    if answer.code in _ACCESS_DENIED:
        caller = _WHO.search(answer.text)
        said = f"AWS does not let {caller[1] if caller else 'the relay'} assume {role_arn}"
        remedy = "check its trust policy and ExternalId"
    elif found.scope is Scope.HOST:
        return found
    elif found.kind is Kind.SES_DENIED:
        said = f"AWS does not take the relay's own credentials, with which it assumes {role_arn} ({found.said})"
        remedy = "mend the credentials of the relay itself"
    elif answer.code == "RegionDisabledException":
        said = f"AWS STS is switched off in the region where the relay assumes {role_arn}"
        remedy = "switch it on in IAM's account settings, or let the relay use another region for STS"
    elif found.kind is Kind.SES_REJECTED:
        said = f"AWS does not take the request to assume {role_arn} ({found.said})"
        remedy = "check the role's ARN and its ExternalId"
    else:
        said = f"AWS STS gives no credentials for {role_arn} now ({found.said})"
        return SesProblem(Kind.SES_UNAVAILABLE, Scope.ACCOUNT, said, code=answer.code)
    return SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, said, remedy=remedy, code=answer.code)


def classify_fetching(answer: Answer, operation: str) -> SesProblem:
    """What an error answer means to a call that botocore made by itself to fetch credentials: a profile's role, SSO."""
    found = classify(answer, "")
    said = f"AWS gives the account no credentials ({operation}: {found.said})"
    if found.scope is Scope.HOST or found.kind in {Kind.SES_THROTTLED, Kind.SES_UNAVAILABLE}:
        kind = Kind.SES_DENIED if found.scope is Scope.HOST else Kind.SES_UNAVAILABLE
        return SesProblem(kind, Scope.HOST if kind is Kind.SES_DENIED else Scope.ACCOUNT, said, code=answer.code)
    remedy = "mend the profile or the role that the AWS configuration names"
    return SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, said, remedy=remedy, code=answer.code)
