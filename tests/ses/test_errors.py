"""Every row of the error table (SES facts section 2): what an answer means."""

from __future__ import annotations

import pytest

from relay.errors import Kind
from relay.ses.errors import Answer, Scope, classify

PAUSED = (
    "Sending paused for this account. For more information, please check the inbox of the email address associated with "
    "your AWS account."
)
UNVERIFIED = "Email address is not verified. The following identities failed the check in region US-EAST-1: "
DENIED = "User arn:aws:iam::1:user/x is not authorized to perform `ses:SendRawEmail' on resource `arn:aws:ses:r:1:identity/x'"

# fmt: off
TABLE = [
    ("TooManyRequestsException",           429, "Maximum sending rate exceeded.",          Kind.SES_THROTTLED,   Scope.ACCOUNT),
    ("ThrottlingException",                400, "Rate exceeded",                           Kind.SES_THROTTLED,   Scope.ACCOUNT),
    ("Throttling",                         400, "Maximum sending rate exceeded",           Kind.SES_THROTTLED,   Scope.ACCOUNT),
    ("SlowDown",                           400, "",                                        Kind.SES_THROTTLED,   Scope.ACCOUNT),
    ("TooManyRequestsException",           429, "Daily message quota exceeded.",           Kind.SES_QUOTA,       Scope.ACCOUNT),
    ("LimitExceededException",             400, "Daily message quota exceeded",            Kind.SES_QUOTA,       Scope.ACCOUNT),
    ("LimitExceededException",             400, "something else",                          Kind.SES_QUOTA,       Scope.ACCOUNT),
    ("MessageRejected",                    400, UNVERIFIED + "app@byoc.example, b@y",      Kind.SES_UNVERIFIED,  Scope.DOMAIN),
    ("MessageRejected",                    400, UNVERIFIED + "byoc.example",               Kind.SES_UNVERIFIED,  Scope.DOMAIN),
    ("MessageRejected",                    400, UNVERIFIED + "a@x.example, b@y.example...", Kind.SES_UNVERIFIED, Scope.DOMAIN),
    ("MessageRejected",                    400, UNVERIFIED + "ana@dest.example",           Kind.SES_REJECTED,    Scope.MESSAGE),
    ("MessageRejected",                    400, UNVERIFIED + "ana@notbyoc.example",        Kind.SES_REJECTED,    Scope.MESSAGE),
    ("MessageRejected",                    400, PAUSED,                                    Kind.SES_PAUSED,      Scope.ACCOUNT),
    ("SendingPausedException",             400, PAUSED,                                    Kind.SES_PAUSED,      Scope.ACCOUNT),
    ("SendingPausedException",             400, "Account sending is disabled.",            Kind.SES_PAUSED,      Scope.ACCOUNT),
    ("SendingPausedException",             400, "Sending is paused for configuration set main", Kind.SES_PAUSED, Scope.DOMAIN),
    ("AccountSuspendedException",          400, "",                                        Kind.SES_PAUSED,      Scope.ACCOUNT),
    ("MailFromDomainNotVerifiedException", 400, "",                                        Kind.SES_UNVERIFIED,  Scope.DOMAIN),
    ("NotFoundException",                  404, "Configuration set <x> does not exist.",   Kind.SES_CONFIG,      Scope.DOMAIN),
    ("BadRequestException",                400, "Missing final '@domain'",                 Kind.SES_REJECTED,    Scope.MESSAGE),
    ("BadRequestException",                400, "",                                        Kind.SES_REJECTED,    Scope.MESSAGE),
    ("MessageRejected",                    400, "Illegal content",                         Kind.SES_REJECTED,    Scope.MESSAGE),
    ("ValidationError",                    400, "",                                        Kind.SES_REJECTED,    Scope.MESSAGE),
    ("SerializationException",             400, "",                                        Kind.SES_REJECTED,    Scope.MESSAGE),
    ("RequestEntityTooLargeException",     413, "",                                        Kind.SES_REJECTED,    Scope.MESSAGE),
    ("AccessDeniedException",              403, DENIED,                                    Kind.SES_DENIED,      Scope.DOMAIN),
    ("AccessDeniedException",              403, "Tenant not associated with resources []", Kind.SES_CONFIG,      Scope.DOMAIN),
    ("UnrecognizedClientException",        403, "The security token included in the request is invalid.", Kind.SES_DENIED, Scope.ACCOUNT),
    ("ExpiredTokenException",              403, "The security token included in the request is expired",  Kind.SES_DENIED, Scope.ACCOUNT),
    ("SignatureDoesNotMatch",              403, "The request signature we calculated does not match",     Kind.SES_DENIED, Scope.ACCOUNT),
    ("InvalidSignatureException",          403, "Signature expired: 1 is now earlier than 2 (3 - 5 min.)", Kind.SES_DENIED, Scope.HOST),
    ("SignatureDoesNotMatch",              403, "Signature not yet current: 1",            Kind.SES_DENIED,      Scope.HOST),
    ("IncompleteSignature",                400, "",                                        Kind.SES_DENIED,      Scope.ACCOUNT),
    ("OptInRequired",                      403, "",                                        Kind.SES_DENIED,      Scope.ACCOUNT),
    ("RequestExpired",                     400, "",                                        Kind.SES_UNAVAILABLE, Scope.ACCOUNT),
    ("RequestTimeoutException",            408, "",                                        Kind.SES_UNAVAILABLE, Scope.ACCOUNT),
    ("InternalFailure",                    500, "",                                        Kind.SES_UNAVAILABLE, Scope.ACCOUNT),
    ("ServiceUnavailable",                 503, "",                                        Kind.SES_UNAVAILABLE, Scope.ACCOUNT),
    ("502",                                502, "",                                        Kind.SES_UNAVAILABLE, Scope.ACCOUNT),
    ("SomethingNewException",              418, "who knows",                               Kind.SES_UNFORESEEN,  Scope.MESSAGE),
]
# fmt: on


@pytest.mark.parametrize(("code", "status", "text", "kind", "scope"), TABLE)
def test_what_an_answer_means(code: str, status: int, text: str, kind: Kind, scope: Scope) -> None:
    problem = classify(Answer(code, status, text), "byoc.example")
    assert (problem.kind, problem.scope) == (kind, scope)


def test_the_detail_names_no_person() -> None:
    problem = classify(
        Answer("MessageRejected", 400, UNVERIFIED + "ana.b@dest.example, <bo@y.example>"), "byoc.example"
    )
    assert "ana" not in problem.detail
    assert "<bo" not in problem.detail
    assert "*@dest.example" in problem.detail
