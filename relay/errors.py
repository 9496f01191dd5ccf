"""The table of troubles: every refusal and failure, and what each edge says about it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, unique


class After(Enum):
    """What the queue does with a delivery whose attempt met a trouble."""

    FAIL = "fail"  # the message is at fault: final
    RETRY = "retry"  # transient: burns a failure
    THROTTLE = "throttle"  # SES said "slower": burns nothing
    HOLD = "hold"  # our account or domain is at fault: the mail waits, burns nothing
    UNKNOWN = "unknown"  # SES may have it


@unique
class Kind(Enum):
    """One row per trouble: SMTP code, enhanced subject.detail (RFC 3463), HTTP status, slug, title, what the queue does.

    The class digit of the enhanced status is computed from the SMTP code. Several rows may share a slug where SMTP
    tells apart what HTTP does not.
    """

    # fmt: off
    #                      SMTP  X.Y     HTTP  slug                     what the client reads                                                      queue
    BAD_REQUEST         = (554, "6.0",   400, "bad_request",           "The message or request cannot be taken as it is",                          After.FAIL)
    BAD_ADDRESS         = (553, "1.3",   400, "bad_address",           "This is not an email address we can take",                                 After.FAIL)
    NON_ASCII_ADDRESS   = (553, "6.7",   400, "non_ascii_address",     "Amazon SES cannot carry a non-ASCII character before the @",               After.FAIL)
    UNAUTHORIZED        = (535, "7.8",   401, "unauthorized",          "The API key is unknown, revoked or expired",                               After.FAIL)
    NO_CREDENTIAL       = (530, "7.0",   401, "unauthorized",          "Authenticate first: the API key is the password",                          After.FAIL)
    FORBIDDEN           = (550, "7.1",   403, "forbidden",             "The API key does not permit this",                                         After.FAIL)
    NOT_REGISTERED      = (550, "7.1",   422, "domain_not_registered", "The From domain is not registered here",                                   After.FAIL)
    NOT_VERIFIED        = (550, "7.1",   422, "domain_not_verified",   "The From domain is registered but not ready to send",                      After.FAIL)
    NOT_APPROVED        = (550, "7.1",   403, "not_approved",          "Shared sending has not been approved yet",                                 After.FAIL)
    SUSPENDED           = (550, "7.1",   403, "account_suspended",     "Sending is suspended",                                                     After.FAIL)
    SUPPRESSED          = (550, "1.1",   422, "recipient_suppressed",  "The recipient is on the suppression list",                                 After.FAIL)
    INVALID_RECIPIENT   = (550, "1.2",   422, "invalid_recipient",     "The recipient's domain does not take mail",                                After.FAIL)
    NULL_MX             = (556, "1.10",  422, "invalid_recipient",     "The recipient's domain says that it takes no mail (RFC 7505)",             After.FAIL)
    TOO_MANY_RECIPIENTS = (452, "5.3",   400, "too_many_recipients",   "Too many recipients for one message",                                      After.FAIL)
    TOO_LARGE           = (552, "3.4",   413, "too_large",             "The message is too large",                                                 After.FAIL)
    RATE_LIMITED        = (451, "7.1",   429, "rate_limited",          "Too many requests: wait, then try again",                                  After.RETRY)
    BLOCKED             = (421, "7.0",   429, "rate_limited",          "Too many failed logins from this address: wait, then try again",           After.RETRY)
    QUOTA_EXCEEDED      = (550, "7.1",   429, "quota_exceeded",        "The plan's monthly quota is used up",                                      After.FAIL)
    NO_CREDITS          = (550, "7.1",   402, "insufficient_credits",  "The prepaid balance is empty",                                             After.FAIL)
    IDEMPOTENCY_BUSY    = (451, "5.0",   409, "idempotency_busy",      "The first request with this idempotency key is still in hand",             After.RETRY)
    IDEMPOTENCY_CLASH   = (550, "5.0",   409, "idempotency_conflict",  "This idempotency key was used for another message",                        After.FAIL)
    NOT_FOUND           = (550, "5.0",   404, "not_found",             "There is no such thing here",                                              After.FAIL)
    METHOD_NOT_ALLOWED  = (550, "5.1",   405, "method_not_allowed",    "This path does not take that method",                                      After.FAIL)
    GONE                = (550, "5.0",   410, "gone",                  "It was here, and has been destroyed",                                      After.FAIL)
    CONFLICT            = (550, "5.0",   409, "conflict",              "It is not in a state that allows this",                                    After.FAIL)
    UNSUPPORTED_MEDIA   = (554, "6.1",   415, "unsupported_media",     "The body is of a type that is not taken here",                             After.FAIL)
    HEADERS_TOO_LARGE   = (552, "3.4",   431, "headers_too_large",     "The request's header is too large",                                        After.FAIL)
    TOO_SLOW            = (421, "4.2",   408, "too_slow",              "The request took too long to arrive",                                      After.RETRY)
    LOOP                = (554, "4.6",   400, "loop",                  "The message has been relayed too often: it is going round in a loop",      After.FAIL)
    OVERLOADED          = (421, "3.2",   503, "overloaded",            "The server is busy or stopping: try again shortly",                        After.RETRY)
    STORAGE_FULL        = (452, "3.1",   503, "storage_full",          "The server's disk is full: try again later",                               After.RETRY)
    STORAGE_DOWN        = (451, "3.0",   503, "storage_down",          "The server's database cannot be written now: try again later",             After.RETRY)
    DNS_DOWN            = (451, "4.3",   503, "dns_down",              "The recipient's domain cannot be looked up now: try again later",          After.RETRY)
    INTERNAL            = (451, "3.0",   500, "internal",              "Something went wrong here, not with the message: try again later",         After.RETRY)
    EXPIRED             = (554, "4.7",   504, "expired",               "The message was too old to be tried again",                                After.FAIL)
    HELD                = (451, "7.1",   409, "held",                  "Held by hand",                                                             After.HOLD)
    HELD_BY_OPERATOR    = (451, "7.1",   409, "held_by_operator",      "Held by the operator",                                                     After.HOLD)
    RESTORED            = (451, "7.1",   409, "restored",              "Unsent in a backup that was restored: it may have been sent since then",   After.HOLD)
    SES_REJECTED        = (554, "6.0",   502, "ses_rejected",          "Amazon SES refused the message",                                           After.FAIL)
    SES_UNFORESEEN      = (451, "6.0",   502, "ses_rejected",          "Amazon SES refused the message, for a reason that Relay does not know",    After.RETRY)
    SES_THROTTLED       = (451, "4.5",   502, "ses_throttled",         "Amazon SES asked for a slower rate",                                       After.THROTTLE)
    SES_QUOTA           = (452, "4.5",   502, "ses_quota",             "The SES account's daily quota is used up",                                 After.HOLD)
    SES_PAUSED          = (451, "7.1",   502, "ses_paused",            "Amazon SES has paused sending",                                            After.HOLD)
    SES_UNVERIFIED      = (451, "7.1",   502, "ses_unverified",        "Amazon SES says the sender domain is not verified there",                  After.HOLD)
    SES_DENIED          = (451, "7.0",   502, "ses_denied",            "AWS does not accept the credentials or the permissions of the account",    After.HOLD)
    SES_CONFIG          = (451, "3.5",   502, "ses_config",            "A configuration set, template or tenant named for the domain is missing",  After.HOLD)
    SES_UNAVAILABLE     = (451, "4.1",   502, "ses_unavailable",       "Amazon SES cannot be reached or is failing",                               After.RETRY)
    SES_UNKNOWN_OUTCOME = (451, "4.2",   502, "ses_outcome_unknown",   "Amazon SES did not answer: it may or may not have the message",            After.UNKNOWN)
    # fmt: on

    def __init__(self, smtp: int, detail: str, http: int, slug: str, title: str, after: After) -> None:
        self.smtp = smtp
        self.enhanced = f"{smtp // 100}.{detail}"
        self.http = http
        self.slug = slug
        self.title = title
        self.after = after

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later (RFC 5321 section 4.2.1: a 4yz reply)."""
        return self.smtp < 500

    @property
    def error(self) -> str:
        """The word HTTP clients read in `error`: the Sendex slug where Sendex publishes one for the condition."""
        own = self.slug in {"account_suspended", "invalid_recipient", "recipient_suppressed"}
        return self.slug if own else SENDEX_ERRORS.get(self.http, self.slug)


SENDEX_ERRORS = {
    400: "bad_request",
    401: "unauthorized",
    402: "insufficient_credits",
    403: "forbidden",
    404: "not_found",
    422: "unprocessable_entity",
    429: "too_many_requests",
    500: "internal_server_error",
    502: "bad_gateway",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input, and where. `code`: its sort, where a dialect has words for sorts."""

    path: str
    message: str
    code: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Problem(Exception):
    """A refusal or failure: one row of the table, with what is particular to this case.

    `detail` is shown to clients: it carries no secret and no content, and a stranger's words in it went through
    `printable`. `aspect` is a word for a case within the kind, for those who tell them apart.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        *,
        faults: tuple[Fault, ...] = (),
        retry_after: timedelta | None = None,
        reference: str = "",
        aspect: str = "",
    ) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail or "; ".join(str(fault) for fault in faults) or kind.title
        self.faults = faults
        self.retry_after = retry_after
        self.reference = reference
        self.aspect = aspect

    def __str__(self) -> str:
        return self.detail


class Unusable(Exception):
    """Something an operator has to mend before a server or command can start. The text says what, and how."""

    exit_code = os.EX_CONFIG


def printable(text: str | bytes, limit: int = 120) -> str:
    """A stranger's text, safe for a reply, a header or a log line: printable ASCII, one line, bounded."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    short = text if len(text) <= limit else text[: limit - 3] + "..."
    if short.isascii() and short.isprintable():
        return short
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in short)
