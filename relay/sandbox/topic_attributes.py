"""What topics and subscriptions are set to: the attributes SNS knows, and what they may be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from relay.sandbox.arns import Arn, read_arn
from relay.sandbox.policies import Policy
from relay.sandbox.refusals import Refusal

_SNS_KEY = "alias/aws/sns"
_LONGEST = 30_720
_OWNERS_ACTIONS = """
    GetTopicAttributes SetTopicAttributes AddPermission RemovePermission DeleteTopic Subscribe ListSubscriptionsByTopic
    Publish
""".split()  # noqa: SIM905


def default_policy(arn: Arn) -> str:
    """What a new topic has: its account may do everything, and nobody else anything."""
    return json.dumps(
        {
            "Version": "2008-10-17",
            "Id": "__default_policy_ID",
            "Statement": [
                {
                    "Sid": "__default_statement_ID",
                    "Effect": "Allow",
                    "Principal": {"AWS": "*"},
                    "Action": [f"SNS:{each}" for each in _OWNERS_ACTIONS],
                    "Resource": str(arn),
                    "Condition": {"StringEquals": {"AWS:SourceOwner": arn.account}},
                }
            ],
        }
    )


def check_topic(name: str, value: str) -> None:
    """Raise Refusal unless a topic may be set to that."""
    _check(_TOPIC, name, value)


def check_subscription(name: str, value: str) -> None:
    """Raise Refusal unless a subscription may be set to that."""
    _check(_SUBSCRIPTION, name, value)


def read_retries(text: str | None) -> tuple[int, float]:
    """How often a post that failed is tried again, and how many seconds apart: of a DeliveryPolicy, or SNS's own."""
    try:
        healthy = json.loads(text or "{}").get("healthyRetryPolicy") or {}
        return int(healthy.get("numRetries", 3)), float(healthy.get("minDelayTarget", 20))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise Refusal("InvalidParameter", "Invalid parameter: DeliveryPolicy") from None


def is_closed_to_services(attributes: Mapping[str, str]) -> bool:
    """Whether other services cannot publish: AWS's own key for SNS lets none of them use it (SNS guide, encryption)."""
    return attributes.get("KmsMasterKeyId") == _SNS_KEY


def _check(known: Mapping[str, Callable[[str], bool]], name: str, value: str) -> None:
    if name not in known:
        raise Refusal("InvalidParameter", "Invalid parameter: AttributeName")
    if len(value) > _LONGEST or (value and not known[name](value)):
        raise Refusal("InvalidParameter", f"Invalid parameter: {name}")


def _any(value: str) -> bool:
    return True


def _is_policy(value: str) -> bool:
    try:
        Policy(value)
    except Refusal:
        return False
    return True


def _is_delivery_policy(value: str) -> bool:
    retries, apart = read_retries(value)
    return 0 <= retries <= 100 and 0 <= apart <= 3_600


def _is_redrive_policy(value: str) -> bool:
    try:
        target = json.loads(value)["deadLetterTargetArn"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return isinstance(target, str) and bool(read_arn(target, "sqs"))


_TOPIC: Mapping[str, Callable[[str], bool]] = {
    "Policy": _is_policy,
    "DeliveryPolicy": _is_delivery_policy,
    "DisplayName": _any,
    "KmsMasterKeyId": _any,
    "SignatureVersion": lambda value: value in {"1", "2"},
    "TracingConfig": lambda value: value in {"PassThrough", "Active"},
}
_SUBSCRIPTION: Mapping[str, Callable[[str], bool]] = {
    "RawMessageDelivery": lambda value: value in {"true", "false"},
    "DeliveryPolicy": _is_delivery_policy,
    "RedrivePolicy": _is_redrive_policy,
}
