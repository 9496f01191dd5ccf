"""The errors of SES, SQS and SNS, by the code botocore reads."""

from __future__ import annotations

from typing import Final

_SIGNATURE = "The request signature we calculated does not match the signature you provided."

# fmt: off
#                                     HTTP  message when nothing more is known
ERRORS: Final[dict[str, tuple[int, str | None]]] = {
    "TooManyRequestsException":           (429, "Maximum sending rate exceeded."),
    "ThrottlingException":                (400, "Rate exceeded"),
    "Throttling":                         (400, "Maximum sending rate exceeded"),
    "LimitExceededException":             (400, "Daily message quota exceeded"),
    "MessageRejected":                    (400, "Illegal content"),
    "SendingPausedException":             (400, "Account sending is disabled."),
    "AccountSuspendedException":          (400, "Sending is permanently restricted for this account."),
    "MailFromDomainNotVerifiedException": (400, "The MAIL FROM domain is not verified."),
    "NotFoundException":                  (404, "Configuration set <relay> does not exist."),
    "AlreadyExistsException":             (400, None),
    "InvalidNextTokenException":          (400, "The specified token is invalid."),
    "BadRequestException":                (400, None),
    "ValidationException":                (400, None),
    "SerializationException":             (400, None),
    "MalformedHttpRequestException":      (400, None),
    "RequestEntityTooLargeException":     (413, "The request is too large."),
    "AccessDeniedException":              (403, "User is not authorized to perform `ses:SendRawEmail' on resource"),
    "UnrecognizedClientException":        (403, "The security token included in the request is invalid."),
    "ExpiredTokenException":              (403, "The security token included in the request is expired"),
    "SignatureDoesNotMatch":              (403, _SIGNATURE),
    "InvalidSignatureException":          (403, _SIGNATURE),
    "IncompleteSignatureException":       (400, "The Authorization header is not a Signature Version 4 credential."),
    "MissingAuthenticationTokenException": (403, "Missing Authentication Token"),
    "OptInRequired":                      (403, "The AWS access key id needs a subscription for the service"),
    "RequestExpired":                     (400, "Request has expired."),
    "RequestTimeoutException":            (408, None),
    "RequestAbortedException":            (400, None),
    "InternalFailure":                    (500, None),
    "InternalServiceErrorException":      (500, None),
    "ServiceUnavailable":                 (503, None),
    "UnknownOperationException":          (404, "The sandbox does not speak this operation."),
    "MalformedQueryString":               (404, None),
    # SQS
    "QueueDoesNotExist":                  (400, "The specified queue does not exist."),
    "ReceiptHandleIsInvalid":             (400, "The input receipt handle is invalid."),
    "InvalidAttributeName":               (400, None),
    "InvalidParameterValueException":     (400, None),
    "InvalidAttributeValue":              (400, None),
    "QueueNameExists":                    (400, None),
    "OverLimit":                          (403, None),
    "MessageNotInflight":                 (400, "The message referred to isn't in flight."),
    "InvalidMessageContents":             (400, "Invalid characters are in the message."),
    "EmptyBatchRequest":                  (400, "There should be at least one entry in the request."),
    "TooManyEntriesInBatchRequest":       (400, "Maximum number of entries per request are 10."),
    "BatchEntryIdsNotDistinct":           (400, "Two or more batch entries in the request have the same Id."),
    # SNS
    "NotFound":                           (404, "Topic does not exist"),
    "ResourceNotFound":                   (404, "Resource does not exist"),
    "InvalidParameter":                   (400, None),
    "InvalidAction":                      (400, None),
    "AuthorizationError":                 (403, "User is not authorized to perform the operation on this resource"),
    "TopicLimitExceeded":                 (403, None),
    "SubscriptionLimitExceeded":          (403, None),
    "TagLimitExceeded":                   (400, None),
}
# fmt: on


class Refusal(Exception):
    """An error answer of AWS. The status and text left out are the table's; None is a null message, which SES sends."""

    def __init__(self, code: str, message: str | None = "", status: int = 0) -> None:
        super().__init__(code, message)
        known_status, known_message = ERRORS.get(code, (400, None))
        self.code = code
        self.message = known_message if message == "" else message
        self.status = status or known_status
