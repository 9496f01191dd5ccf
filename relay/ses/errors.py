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
    """A call to SES that did not end in its 200. `detail` names no person: it outlives the message."""

    def __init__(self, kind: Kind, scope: Scope, detail: str) -> None:
        super().__init__(kind, printable(_MAILBOX.sub("*@", detail), 500))
        self.scope = scope


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
            return SesProblem(Kind.SES_UNVERIFIED, Scope.DOMAIN, detail)
        return SesProblem(
            Kind.SES_REJECTED, Scope.MESSAGE, f"{detail} (the account is in the SES sandbox: ask for production access)"
        )
    for codes, text, kind, scope in _TABLE:
        if (codes is None or answer.code in codes) and (text is None or text.search(answer.text)):
            return SesProblem(kind, scope, detail)
    # Anything else, 5xx or unheard of: when unsure, it is temporary.
    return SesProblem(Kind.SES_UNAVAILABLE, Scope.ACCOUNT, detail)
