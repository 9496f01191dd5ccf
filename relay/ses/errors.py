"""What an answer of SES, or the lack of one, means. Pure; patterns and codes: SES facts section 2."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus

from relay.errors import Kind, Problem, printable


class Scope(Enum):
    """What is at fault, and so what has to stop: nothing but the message, its domain, the account, or this machine."""

    MESSAGE = "message"
    DOMAIN = "domain"
    ACCOUNT = "account"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Answer:
    """An error answer: `code` without its URL, HTTP status, the text, which may be empty, and the header Date."""

    code: str
    status: int
    text: str
    date: str = ""


class Concern(Enum):
    """Whom a refusal may be about, and so whether the other recipients of the call may have their mail."""

    ALL = "all"
    SOME_MAYBE = "some, maybe"
    SOME = "some"


_MAILBOX = re.compile(r"(identity/)?[^\s@<>,;:\"'`]+@")


class SesProblem(Problem):
    """A call to SES or STS that did not end in its 200. `detail` names no person: it outlives the message.

    `said` is what is wrong, `remedy` how to mend it where that is known already, `detail` both. `code` is that of AWS,
    empty where AWS was not asked. `configuration_set`: the one that is at fault, for all domains that use it.
    """

    def __init__(
        self, kind: Kind, scope: Scope, said: str, *, remedy: str = "", code: str = "", configuration_set: str = ""
    ) -> None:
        said = printable(_MAILBOX.sub(r"\1*@", said), 500)
        super().__init__(kind, f"{said}: {remedy}" if remedy else said)
        self.scope = scope
        self.said = said
        self.remedy = remedy
        self.code = code
        self.configuration_set = configuration_set

    def again(self) -> SesProblem:
        """The same for somebody else, who is not to hold on to what the first one had in hand."""
        more = {"remedy": self.remedy, "code": self.code, "configuration_set": self.configuration_set}
        return SesProblem(self.kind, self.scope, self.said, **more)

    @property
    def is_expired(self) -> bool:
        """Whether the credentials were too old, so that fresh ones may do."""
        return self.code in EXPIRED

    @property
    def concern(self) -> Concern:
        """Whom the refusal of a message is about."""
        if self.kind is not Kind.SES_REJECTED or self.code in _WHOLE_CODES or _WHOLE.search(self.said):
            return Concern.ALL
        return Concern.SOME if _ADDRESS.search(self.said) else Concern.SOME_MAYBE


# What SES says of an address is what JavaMail says of it; of a message, our own words where nobody has published any.
_ADDRESS = re.compile(
    r"Missing final '@domain'|Missing local name|Local address |Address length |\bDomain (contains|starts|ends)\b"
    r"|(illegal|invalid) (e-?mail )?address|identities failed the check",
    re.I,
)
_WHOLE = re.compile(
    r"Recipient count|no recipients|required header|Duplicate header|\btag (name|value)\b|Message length|virus"
    r"|\bline is longer",
    re.I,
)
_WHOLE_CODES = {"RequestEntityTooLargeException", "MalformedHttpRequestException", "SerializationException"}
EXPIRED = {"ExpiredTokenException", "ExpiredToken"}
_THROTTLES = {
    "TooManyRequestsException",
    "ThrottlingException",
    "Throttling",
    "SlowDown",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
}
_CREDENTIALS = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    *EXPIRED,
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
_AGAIN = {
    "InternalFailure",
    "InternalServiceErrorException",
    "ServiceUnavailable",
    "RequestExpired",
    "RequestTimeout",
    "RequestTimeoutException",
    "RequestAbortedException",
}

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
_SET = re.compile(r"configuration[ -]set[ /]\W?([A-Za-z0-9_-]{1,64})", re.I)
OFF = timedelta(minutes=4)  # AWS takes five; less than this is not what an answer about time is about


def classify(answer: Answer, domain: str, now: datetime | None = None) -> SesProblem:
    """What an error answer to a send from `domain` means. `now`: when it came, by this machine's clock."""
    detail = f"{answer.code}: {answer.text}" if answer.text else answer.code
    if unverified := _UNVERIFIED.search(answer.text):
        listed = unverified[1].lower()
        # Our own name: the domain waits for its verification. Only recipients: the account is in SES's sandbox.
        is_ours = re.search(rf"(^|[@.\s,]){re.escape(domain)}($|[\s,.>])", listed) or listed.endswith("...")
        kind, scope = (Kind.SES_UNVERIFIED, Scope.DOMAIN) if is_ours else (Kind.SES_REJECTED, Scope.MESSAGE)
        return SesProblem(kind, scope, detail, code=answer.code)
    kind, scope = _meaning(answer)
    if scope is Scope.HOST or answer.code == "RequestExpired":
        off = clock_off(answer, now or datetime.now(UTC))
        if off is not None and abs(off) > OFF:
            side = "ahead of" if off > timedelta(0) else "behind"
            said = f"the clock of this machine is {round(abs(off) / timedelta(minutes=1))} min off, {side} that of AWS"
            return SesProblem(Kind.SES_DENIED, Scope.HOST, f"{said} ({detail})", code=answer.code)
    named = _SET.search(answer.text) if scope is Scope.DOMAIN else None
    return SesProblem(kind, scope, detail, code=answer.code, configuration_set=named[1] if named else "")


def _meaning(answer: Answer) -> tuple[Kind, Scope]:
    for codes, text, kind, scope in _TABLE:
        if (codes is None or answer.code in codes) and (text is None or text.search(answer.text)):
            return kind, scope
    if answer.status in _BY_STATUS:
        return _BY_STATUS[answer.status]
    if HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Kind.SES_UNFORESEEN, Scope.MESSAGE
    return Kind.SES_UNAVAILABLE, Scope.ACCOUNT  # 5xx, or no status at all: when unsure, it is temporary


# Of codes that nobody has heard of, and of answers without one, which proxies give.
_BY_STATUS: dict[int, tuple[Kind, Scope]] = {
    HTTPStatus.UNAUTHORIZED: (Kind.SES_DENIED, Scope.ACCOUNT),
    HTTPStatus.FORBIDDEN: (Kind.SES_DENIED, Scope.ACCOUNT),
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: (Kind.SES_DENIED, Scope.ACCOUNT),
    HTTPStatus.REQUEST_TIMEOUT: (Kind.SES_UNAVAILABLE, Scope.ACCOUNT),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (Kind.SES_REJECTED, Scope.MESSAGE),
    HTTPStatus.TOO_MANY_REQUESTS: (Kind.SES_THROTTLED, Scope.ACCOUNT),
}

_SIGNED = re.compile(r"Signature (?:expired|not yet current): (\d{8}T\d{6}Z).*\((\d{8}T\d{6}Z) [-+] ", re.S)


def clock_off(answer: Answer, now: datetime) -> timedelta | None:
    """How far this machine's clock is ahead of AWS's: by the text, which quotes both, or by the header Date."""
    if signed := _SIGNED.search(answer.text):
        try:
            ours, theirs = (datetime.strptime(f"{each}+0000", "%Y%m%dT%H%M%SZ%z") for each in signed.groups())
        except ValueError:
            return None
        return ours - theirs
    try:
        at = parsedate_to_datetime(answer.date)
    except (TypeError, ValueError):
        return None
    return None if at.tzinfo is None else now - at


_ACCESS_DENIED = {"AccessDenied", "AccessDeniedException"}
_PASSES = {Kind.SES_THROTTLED, Kind.SES_UNAVAILABLE, Kind.SES_UNFORESEEN}
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
    if found.scope is Scope.HOST or found.kind in _PASSES:
        kind = Kind.SES_DENIED if found.scope is Scope.HOST else Kind.SES_UNAVAILABLE
        return SesProblem(kind, Scope.HOST if kind is Kind.SES_DENIED else Scope.ACCOUNT, said, code=answer.code)
    remedy = "mend the profile or the role that the AWS configuration names"
    return SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, said, remedy=remedy, code=answer.code)
