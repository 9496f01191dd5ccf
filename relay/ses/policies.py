"""The least IAM policies that let the relay do its work, ready for JSON. Pure; actions and resources: SES facts 7.2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

Policy: TypeAlias = dict[str, Any]

_PARTITIONS = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("eusc-", "aws-eusc"))
SEND = ("ses:SendEmail", "ses:SendRawEmail")  # SES checks raw mail as SendRawEmail, whatever the operation
IDENTITIES = (
    "ses:CreateEmailIdentity",
    "ses:GetEmailIdentity",
    "ses:PutEmailIdentityMailFromAttributes",
    "ses:PutEmailIdentityFeedbackAttributes",
)
SETS = (
    "ses:CreateConfigurationSet",
    "ses:GetConfigurationSet",
    "ses:GetConfigurationSetEventDestinations",
    "ses:CreateConfigurationSetEventDestination",
    "ses:UpdateConfigurationSetEventDestination",
)
TOPIC = (
    "sns:CreateTopic",
    "sns:GetTopicAttributes",
    "sns:SetTopicAttributes",
    "sns:ListSubscriptionsByTopic",
    "sns:Subscribe",
    "sns:GetSubscriptionAttributes",
    "sns:SetSubscriptionAttributes",
    "sns:ListTagsForResource",
    "sns:TagResource",
)
QUEUES = (
    "sqs:CreateQueue",
    "sqs:GetQueueUrl",
    "sqs:GetQueueAttributes",
    "sqs:SetQueueAttributes",
    "sqs:ListQueueTags",
    "sqs:TagQueue",
)
EVENTS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:GetQueueAttributes")
COUNTING = ("sqs:GetQueueUrl", "sqs:GetQueueAttributes")  # what lies in the queue of dead letters
SUPPRESSION = ("ses:ListSuppressedDestinations", "ses:PutSuppressedDestination", "ses:DeleteSuppressedDestination")


def partition_of(region: str) -> str:
    """The partition that ARNs of a region name."""
    return next((partition for prefix, partition in _PARTITIONS if region.startswith(prefix)), "aws")


def trust_policy(principal_arn: str, external_id: str) -> Policy:
    """Of a role in a customer's account: only this principal may assume it, and only with this ExternalId."""
    return _policy(
        {
            "Sid": "RelayAssumesThisRole",
            "Effect": "Allow",
            "Principal": {"AWS": principal_arn},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
        }
    )


def send_policy(
    region: str, account_number: str, domains: Iterable[str] = (), configuration_sets: Iterable[str] = ()
) -> Policy:
    """Send as these domains with these configuration sets, and read the limits. No domain: all there are."""
    identities = [f"identity/{domain}" for domain in sorted(set(domains))]
    sets = [f"configuration-set/{name}" for name in sorted(set(configuration_sets))]
    if not identities:
        identities, sets = ["identity/*"], sets or ["configuration-set/*"]
    return _policy(
        _allow("RelaySends", SEND, [_arn(region, account_number, each) for each in identities + sets]),
        _allow("RelayReadsLimits", ("ses:GetAccount",), "*"),
    )


def setup_policy(
    region: str, account_number: str, topic: str = "relay-events", queues: Iterable[str] = ("relay-events",)
) -> Policy:
    """Register sender domains and see how their verification goes; make and mend what carries events, by its names.

    `queues`: that of the events, and that of the dead letters; none where SNS posts them.
    """
    topic_arn = _arn(region, account_number, topic, "sns")
    statements = [
        _allow("RelayRegistersDomains", IDENTITIES, _arn(region, account_number, "identity/*")),
        _allow("RelaySetsUpSets", SETS, _arn(region, account_number, "configuration-set/*")),
        # A subscription's ARN begins with that of its topic.
        _allow("RelaySetsUpTopic", TOPIC, [topic_arn, f"{topic_arn}:*"]),
    ]
    if arns := [_arn(region, account_number, name, "sqs") for name in queues]:
        statements.append(_allow("RelaySetsUpQueues", QUEUES, arns))
    return _policy(*statements)


def queue_policy(region: str, account_number: str, queue: str, dead: str) -> Policy:
    """Take events from their queue, and count those nobody could read."""
    return _policy(
        _allow("RelayTakesEvents", EVENTS, _arn(region, account_number, queue, "sqs")),
        _allow("RelayCountsDeadLetters", COUNTING, _arn(region, account_number, dead, "sqs")),
    )


def push_policy(topic_arns: Iterable[str]) -> Policy:
    """Confirm to SNS that it may post the events of these topics here."""
    return _policy(_allow("RelayConfirmsSubscriptions", ("sns:ConfirmSubscription",), sorted(topic_arns)))


def suppression_policy() -> Policy:
    """Mirror the account's suppression list, both ways. IAM knows no resource for it."""
    return _policy(_allow("RelayMirrorsSuppressions", SUPPRESSION, "*"))


def _policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, actions: Iterable[str], resource: str | list[str]) -> Policy:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}


def _arn(region: str, account_number: str, resource: str, service: str = "ses") -> str:
    return f"arn:{partition_of(region)}:{service}:{region}:{account_number}:{resource}"
