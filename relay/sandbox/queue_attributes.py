"""What a queue is set to: the attributes SQS knows, what they may be, and what follows from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from relay.sandbox.policies import Policy
from relay.sandbox.refusals import Refusal

MOST_VISIBILITY = 12 * 3600  # seconds
_DAY = 86_400

# fmt: off
#   attribute                       (default,      least, most) of a number
_NUMBERS: Mapping[str, tuple[int, int, int]] = {
    "VisibilityTimeout":             (30,          0,     MOST_VISIBILITY),
    "MessageRetentionPeriod":        (4 * _DAY,    60,    14 * _DAY),
    "DelaySeconds":                  (0,           0,     900),
    "MaximumMessageSize":            (1_048_576,   1_024, 1_048_576),
    "ReceiveMessageWaitTimeSeconds": (0,           0,     20),
    "KmsDataKeyReusePeriodSeconds":  (300,         60,    _DAY),
}
# fmt: on
_TEXTS = ("Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId")  # an empty one is not set
_SQS_KEY = "alias/aws/sqs"
_SWITCHES = ("SqsManagedSseEnabled",)
SETTABLE = {*_NUMBERS, *_TEXTS, *_SWITCHES}
DEFAULTS: Mapping[str, str] = {name: str(row[0]) for name, row in _NUMBERS.items() if name[0] != "K"} | {
    "SqsManagedSseEnabled": "true"
}


def check(attributes: Mapping[str, object]) -> dict[str, str]:
    """The attributes as text. Raises Refusal for the first that cannot be."""
    checked: dict[str, str] = {}
    for name, value in attributes.items():
        if name not in SETTABLE:
            raise Refusal("InvalidAttributeName", f"Unknown Attribute {name[:80]}.")
        if not isinstance(value, str) or not _may_be(name, value):
            raise Refusal("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
        checked[name] = value
    return checked


def read_redrive(text: str) -> tuple[str, int]:
    """The ARN of the dead-letter queue, and after how many receives. Raises Refusal."""
    try:
        read = json.loads(text)
        target, after = read["deadLetterTargetArn"], int(read["maxReceiveCount"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise _bad_redrive(text, "Invalid JSON or a member is missing.") from None
    if not isinstance(target, str) or not 1 <= after <= 1_000:
        raise _bad_redrive(text, "maxReceiveCount must be 1 to 1000.")
    return target, after


def no_dead_letters(text: str) -> Refusal:
    """What is said of a redrive policy whose dead-letter queue is not there."""
    return _bad_redrive(text, "Dead letter target does not exist.")


def is_closed_to_services(attributes: Mapping[str, str]) -> bool:
    """Whether other services cannot write: AWS's own key for SQS lets none of them use it (SNS guide, encryption)."""
    return attributes.get("KmsMasterKeyId") == _SQS_KEY


def _may_be(name: str, value: str) -> bool:
    if name in _NUMBERS:
        _, least, most = _NUMBERS[name]
        return re.fullmatch(r"[0-9]{1,9}", value) is not None and least <= int(value) <= most
    if name in _SWITCHES:
        return value in {"true", "false"}
    if name == "Policy" and value:
        Policy(value)
    if name == "RedrivePolicy" and value:
        read_redrive(value)
    return len(value) <= 30_720


def _bad_redrive(text: str, reason: str) -> Refusal:
    said = f"Value {text[:500]} for parameter RedrivePolicy is invalid. Reason: {reason}"
    return Refusal("InvalidParameterValueException", said)
