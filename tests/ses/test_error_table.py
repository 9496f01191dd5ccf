"""Every row of the error table (SES facts section 2) to its end: what stops, what becomes of the mail, what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery import Delivery, RetryPolicy, State
from relay.errors import Kind
from relay.message import Mode, Stream
from relay.ses.errors import Answer, Concern, Scope, SesProblem, classify, clock_off
from relay.ses.remedies import Place, remedy_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PLACE = Place("acme", "eu-west-1", "byoc.example", "acme-tenant")
POLICY = RetryPolicy(jitter=lambda: 0.0)
MESSAGE, DOMAIN, ACCOUNT, HOST = Scope.MESSAGE, Scope.DOMAIN, Scope.ACCOUNT, Scope.HOST
QUEUED, FAILED = State.QUEUED, State.FAILED

PAUSED = (
    "Sending paused for this account. For more information, please check the inbox of the email address associated with "
    "your AWS account."
)
UNVERIFIED = "Email address is not verified. The following identities failed the check in region EU-WEST-1: "
SENDING = (
    "User: arn:aws:iam::1:user/x is not authorized to perform `ses:SendRawEmail' on resource `arn:aws:ses:eu-west-1:1:"
)
TOKEN = "The security token included in the request is "
MISMATCH = "The request signature we calculated does not match the signature you provided."
BEHIND = "Signature expired: 20260301T115300Z is now earlier than 20260301T115500Z (20260301T120000Z - 5 min.)"
AHEAD = "Signature not yet current: 20260301T121000Z is still later than 20260301T120500Z (20260301T120000Z + 5 min.)"
THROTTLES = ["TooManyRequestsException", "ThrottlingException", "Throttling", "RequestThrottled", "SlowDown"]
LATER = ["InternalFailure", "InternalServiceErrorException", "ServiceUnavailable", "500", "502", "503", "504", "509"]

# fmt: off
TABLE = [
    # code                                HTTP text                                     kind                 scope    mail    burns  what to do
    *((code, 429, "Maximum sending rate exceeded.",                                     Kind.SES_THROTTLED,  ACCOUNT, QUEUED, 0, "") for code in THROTTLES),
    *((code, 400, "Daily message quota exceeded",                                       Kind.SES_QUOTA,      ACCOUNT, QUEUED, 0, "ask AWS for a higher quota in eu-west-1") for code in THROTTLES),
    ("LimitExceededException",             400, "Daily message quota exceeded",         Kind.SES_QUOTA,      ACCOUNT, QUEUED, 0, "turn 24 hours old"),
    ("LimitExceededException",             400, "You have too many of them",            Kind.SES_QUOTA,      ACCOUNT, QUEUED, 0, "higher quota"),
    ("MessageRejected",                    400, UNVERIFIED + "a@byoc.example, b@y.example", Kind.SES_UNVERIFIED, DOMAIN, QUEUED, 0, "verify byoc.example in account acme in eu-west-1"),
    ("MessageRejected",                    400, UNVERIFIED + "b@y.example, c@...",      Kind.SES_UNVERIFIED, DOMAIN,  QUEUED, 0, "`relay domain dns byoc.example`"),
    ("MessageRejected",                    400, UNVERIFIED + "b@y.example",             Kind.SES_REJECTED,   MESSAGE, FAILED, 0, "account acme is in the SES sandbox in eu-west-1: ask for production access"),
    ("MessageRejected",                    400, PAUSED,                                 Kind.SES_PAUSED,     ACCOUNT, QUEUED, 0, "why it paused account acme in eu-west-1"),
    ("SendingPausedException",             400, PAUSED,                                 Kind.SES_PAUSED,     ACCOUNT, QUEUED, 0, "why it paused account acme in eu-west-1"),
    ("MessageRejected",                    400, "Illegal content",                      Kind.SES_REJECTED,   MESSAGE, FAILED, 0, ""),
    ("MessageRejected",                    400, "It contains a virus",                  Kind.SES_REJECTED,   MESSAGE, FAILED, 0, ""),
    ("SendingPausedException",             400, "Account sending is disabled.",         Kind.SES_PAUSED,     ACCOUNT, QUEUED, 0, "why it paused account acme"),
    ("SendingPausedException",             400, "Sending is paused for configuration set main-1", Kind.SES_PAUSED, DOMAIN, QUEUED, 0, "let configuration set main-1 of account acme in eu-west-1 send again"),
    ("AccountSuspendedException",          400, "",                                     Kind.SES_PAUSED,     ACCOUNT, QUEUED, 0, "open a case with AWS"),
    ("MailFromDomainNotVerifiedException", 400, "",                                     Kind.SES_UNVERIFIED, DOMAIN,  QUEUED, 0, "the MX record of byoc.example's custom MAIL FROM domain"),
    ("NotFoundException",                  404, "Configuration set <gone> does not exist.", Kind.SES_CONFIG, DOMAIN,  QUEUED, 0, "make configuration set gone in account acme in eu-west-1"),
    ("NotFoundException",                  404, "Tenant acme-tenant does not exist.",   Kind.SES_CONFIG,     DOMAIN,  QUEUED, 0, "SES tenant acme-tenant"),
    ("NotFoundException",                  404, "Template t does not exist.",           Kind.SES_CONFIG,     DOMAIN,  QUEUED, 0, "make what is missing in account acme"),
    *(("BadRequestException",              400, text,                                   Kind.SES_REJECTED,   MESSAGE, FAILED, 0, "") for text in (
        "Missing final '@domain'", "Local address contains control or whitespace", "Domain contains illegal character",
        "Recipient count exceeds 50.", "Missing required header 'From'.", "Tag value cannot exceed 255 characters.", "",
    )),
    *((code, 400, "",                                                                   Kind.SES_REJECTED,   MESSAGE, FAILED, 0, "") for code in (
        "ValidationError", "ValidationException", "SerializationException", "MalformedHttpRequestException",
    )),
    ("RequestEntityTooLargeException",     413, "",                                     Kind.SES_REJECTED,   MESSAGE, FAILED, 0, ""),
    ("413",                                413, "Request Entity Too Large",             Kind.SES_REJECTED,   MESSAGE, FAILED, 0, ""),
    ("AccessDeniedException",              403, SENDING + "identity/byoc.example'",     Kind.SES_DENIED,     DOMAIN,  QUEUED, 0, "allow ses:SendRawEmail on arn:aws:ses:eu-west-1:1:identity/byoc.example in a policy of arn:aws:iam::1:user/x"),
    ("AccessDenied",                       403, SENDING + "identity/ana@byoc.example'", Kind.SES_DENIED,     DOMAIN,  QUEUED, 0, "allow ses:SendRawEmail on arn:aws:ses:eu-west-1:1:identity/*@byoc.example in a policy"),
    ("AccessDeniedException",              403, SENDING + "configuration-set/main'",    Kind.SES_DENIED,     DOMAIN,  QUEUED, 0, "on arn:aws:ses:eu-west-1:1:configuration-set/main in"),
    ("AccessDeniedException",              403, SENDING + "identity/x' with an explicit deny in a service control policy", Kind.SES_DENIED, DOMAIN, QUEUED, 0, "an explicit deny in service control policy forbids ses:SendRawEmail on arn:aws:ses:eu-west-1:1:identity/x to arn:aws:iam::1:user/x"),
    ("AccessDeniedException",              403, "",                                     Kind.SES_DENIED,     DOMAIN,  QUEUED, 0, "`relay account test acme` says what lacks"),
    ("AccessDeniedException",              403, "Tenant not associated with resources [x]", Kind.SES_CONFIG, DOMAIN,  QUEUED, 0, "associate the identity byoc.example and its configuration sets with SES tenant acme-tenant"),
    *((code, 403, TOKEN + "invalid.",                                                   Kind.SES_DENIED,     ACCOUNT, QUEUED, 0, "the access key of account acme was deleted or deactivated") for code in ("UnrecognizedClientException", "InvalidClientTokenId")),
    *((code, 403, TOKEN + "expired",                                                    Kind.SES_DENIED,     ACCOUNT, QUEUED, 0, "the temporary credentials of account acme have ended") for code in ("ExpiredTokenException", "ExpiredToken")),
    *((code, 403, MISMATCH,                                                             Kind.SES_DENIED,     ACCOUNT, QUEUED, 0, "the secret of account acme does not belong to its access key id") for code in ("SignatureDoesNotMatch", "InvalidSignatureException")),
    *((code, 403, text,                                                                 Kind.SES_DENIED,     HOST,    QUEUED, 0, "run an NTP client") for code in ("SignatureDoesNotMatch", "InvalidSignatureException") for text in (BEHIND, AHEAD)),
    *((code, 400, "",                                                                   Kind.SES_DENIED,     ACCOUNT, QUEUED, 0, "mend the credentials of account acme") for code in ("IncompleteSignature", "MissingAuthenticationToken", "NotAuthorized")),
    ("OptInRequired",                      403, "",                                     Kind.SES_DENIED,     ACCOUNT, QUEUED, 0, "sign the AWS account of acme up for SES"),
    *((code, 408, "",                                                                   Kind.SES_UNAVAILABLE, ACCOUNT, QUEUED, 1, "tried again by itself") for code in ("RequestExpired", "RequestTimeoutException", "RequestAbortedException")),
    *((code, int(code) if code.isdigit() else 503, "",                                  Kind.SES_UNAVAILABLE, ACCOUNT, QUEUED, 1, "tried again by itself") for code in LATER),
    ("UnheardOf",                          500, "who knows",                            Kind.SES_UNAVAILABLE, ACCOUNT, QUEUED, 1, "tried again by itself"),
    ("UnheardOf",                          418, "who knows",                            Kind.SES_UNFORESEEN, MESSAGE, QUEUED, 1, ""),
    ("UnheardOf",                          429, "who knows",                            Kind.SES_THROTTLED,  ACCOUNT, QUEUED, 0, ""),
    ("UnheardOf",                          403, "who knows",                            Kind.SES_DENIED,     ACCOUNT, QUEUED, 0, "`relay account test acme`"),
    ("407",                                407, "Proxy Authentication Required",        Kind.SES_DENIED,     ACCOUNT, QUEUED, 0, "user and password in the egress of account acme"),
]
# fmt: on


def delivery(failures: int = 0) -> Delivery:
    due = int(NOW.timestamp()) * 1000
    return Delivery(1, 2, "p", 3, "byoc.example", Stream.TRANSACTIONAL, Mode.BYOC, ("a@b.c",), 9, 4, failures, 0, due)


@pytest.mark.parametrize(("code", "status", "text", "kind", "scope", "mail", "burns", "remedy"), TABLE)
def test_a_row(
    code: str, status: int, text: str, kind: Kind, scope: Scope, mail: State, burns: int, remedy: str
) -> None:
    problem = classify(Answer(code, status, text), "byoc.example", NOW)
    assert (problem.kind, problem.scope, problem.code) == (kind, scope, code)
    after = POLICY.after(
        kind, delivery(), int(NOW.timestamp()) * 1000, account="acme", window=timedelta(0), detail=problem.said
    )
    assert (after.state, after.failures) == (mail, burns)
    assert remedy in remedy_of(problem, PLACE)
    assert remedy_of(problem, PLACE) == "" or remedy
    assert "ana" not in problem.detail + remedy_of(problem, PLACE)


def test_what_nobody_has_heard_of_fails_after_three_tries() -> None:
    problem = classify(Answer("UnheardOf", 418, "who knows"), "byoc.example")
    states = []
    for failures in range(3):
        after = POLICY.after(
            problem.kind,
            delivery(failures),
            int(NOW.timestamp()) * 1000,
            account="acme",
            window=timedelta(0),
            detail=problem.said,
        )
        states.append(after.state)
    assert states == [QUEUED, QUEUED, FAILED]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BEHIND, "the clock of this machine is 7 min off, behind that of AWS"),
        (AHEAD, "the clock of this machine is 10 min off, ahead of that of AWS"),
    ],
)
def test_a_clock_that_is_off_is_told_by_how_much(text: str, said: str) -> None:
    assert classify(Answer("SignatureDoesNotMatch", 403, text), "byoc.example", NOW).said.startswith(said)


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "RequestExpired"])
def test_a_clock_that_is_off_shows_by_the_date_of_the_answer(code: str) -> None:
    answer = Answer(code, 403, "Signature expired: 1 is now earlier than 2", "Sun, 01 Mar 2026 12:07:10 GMT")
    problem = classify(answer, "byoc.example", NOW)
    assert problem.said.startswith("the clock of this machine is 7 min off, behind that of AWS")
    assert (problem.kind, problem.scope) == (Kind.SES_DENIED, HOST)


def test_a_request_that_was_too_old_is_no_fault_of_a_good_clock() -> None:
    answer = Answer("RequestExpired", 400, "Request has expired.", "Sun, 01 Mar 2026 12:00:01 GMT")
    assert classify(answer, "byoc.example", NOW).kind is Kind.SES_UNAVAILABLE


@given(st.text(max_size=200), st.text(max_size=60))
def test_no_text_and_no_date_break_it(text: str, date: str) -> None:
    clock_off(Answer("SignatureDoesNotMatch", 403, text, date), NOW)
    problem = classify(Answer("SignatureDoesNotMatch", 403, f"Signature expired: {text}", date), "byoc.example", NOW)
    assert problem.scope is HOST


@pytest.mark.parametrize(
    "text", ["Signature expired: 99999999T999999Z (99999999T999999Z - 5 min.)", "not yet current", ""]
)
def test_moments_that_are_none(text: str) -> None:
    assert clock_off(Answer("x", 403, text, "Sun, 99 Mar 2026 12:07:10 GMT"), NOW) is None
    assert clock_off(Answer("x", 403, text, "Sun, 01 Mar 2026 12:07:10"), NOW) is None  # no zone


# fmt: off
CONCERNS = [
    ("BadRequestException",            "Missing final '@domain'",                         Concern.SOME),
    ("BadRequestException",            "Local address contains control or whitespace",    Concern.SOME),
    ("BadRequestException",            "Domain contains illegal character",               Concern.SOME),
    ("MessageRejected",                UNVERIFIED + "b@y.example",                        Concern.SOME),
    ("BadRequestException",            "",                                                Concern.SOME_MAYBE),
    ("MessageRejected",                "Illegal content",                                 Concern.SOME_MAYBE),
    ("BadRequestException",            "Recipient count exceeds 50.",                     Concern.ALL),
    ("BadRequestException",            "Duplicate header 'Subject'.",                     Concern.ALL),
    ("BadRequestException",            "Missing required header 'From'.",                 Concern.ALL),
    ("BadRequestException",            "Message length is more than 41943040 bytes long", Concern.ALL),
    ("MessageRejected",                "It contains a virus",                             Concern.ALL),
    ("RequestEntityTooLargeException", "",                                                Concern.ALL),
    ("ServiceUnavailable",             "",                                                Concern.ALL),
    ("UnheardOf",                      "Missing final '@domain'",                         Concern.ALL),
]
SETS = [
    ("SendingPausedException", "Sending is paused for configuration set main-1",         "main-1"),
    ("SendingPausedException", "Sending is paused for configuration set main-1.",        "main-1"),
    ("NotFoundException",      "Configuration set <gone> does not exist.",               "gone"),
    ("AccessDeniedException",  SENDING + "configuration-set/main'",                      "main"),
    ("AccessDeniedException",  SENDING + "identity/x'",                                  ""),
    ("NotFoundException",      "Tenant t does not exist.",                               ""),
    ("MessageRejected",        "configuration set main is bad",                          ""),
]
# fmt: on


@pytest.mark.parametrize(("code", "text", "concern"), CONCERNS)
def test_whom_a_refusal_may_be_about(code: str, text: str, concern: Concern) -> None:
    status = 503 if code == "ServiceUnavailable" else 400
    assert classify(Answer(code, status, text), "byoc.example").concern is concern


@pytest.mark.parametrize(("code", "text", "name"), SETS)
def test_the_configuration_set_at_fault(code: str, text: str, name: str) -> None:
    assert classify(Answer(code, 400, text), "byoc.example").configuration_set == name


# fmt: off
LOCAL = [
    # what never became an answer                                                  what to do
    (SesProblem(Kind.SES_UNAVAILABLE, ACCOUNT, "EndpointConnectionError: refused"), "check firewall, name servers and the account's proxy"),
    (SesProblem(Kind.SES_UNAVAILABLE, ACCOUNT, "ConnectTimeoutError: 5 s"),         "let this machine reach SES in eu-west-1"),
    (SesProblem(Kind.SES_UNAVAILABLE, ACCOUNT, "ProxyConnectionError: refused"),    "the account's proxy"),
    (SesProblem(Kind.SES_UNAVAILABLE, ACCOUNT, "SSLError: unknown authority"),      "a proxy needs its authority in the account's ca_bundle"),
    (SesProblem(Kind.SES_DENIED, ACCOUNT, "NoCredentialsError: none"),              "mend the credentials of account acme"),
    (SesProblem(Kind.SES_DENIED, ACCOUNT, "no profile", remedy="add it"),           "add it"),
    (SesProblem(Kind.SES_DENIED, HOST, "credentials have expired already"),         "run an NTP client"),
    (SesProblem(Kind.SES_UNKNOWN_OUTCOME, MESSAGE, "no answer: ReadTimeoutError"),  ""),
]
# fmt: on


@pytest.mark.parametrize(("problem", "words"), LOCAL, ids=[problem.said for problem, _ in LOCAL])
def test_what_to_do_where_nobody_answered(problem: SesProblem, words: str) -> None:
    found = remedy_of(problem, PLACE)
    assert words in found
    assert bool(found) == bool(words)
