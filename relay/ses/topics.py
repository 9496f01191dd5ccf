"""The topic that SES publishes an account's events to, and who is subscribed to it: what is there, what is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.ses.aws import Aws, is_forbidden
from relay.ses.call import Call, Service
from relay.ses.errors import SesProblem
from relay.ses.granting import Policy, read_policy

SIGNATURE = "2"  # SHA-256 (SES fact 5.2)
_MISSING = {"NotFound", "NotFoundException", "ResourceNotFound", "ResourceNotFoundException"}
_WAITING = {"PendingConfirmation", "pending confirmation"}
MOST_SUBSCRIPTIONS = 1000  # that are looked at
# Posts that fail are tried again for less than an hour: SNS takes no longer policy (SES fact 5.1).
DELIVERY_POLICY = json.dumps(
    {
        "healthyRetryPolicy": {
            "minDelayTarget": 5,
            "maxDelayTarget": 300,
            "numRetries": 25,
            "backoffFunction": "exponential",
        }
    }
)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is. `tags` None: they may not be seen."""

    arn: str
    policy: Policy | None
    signature: str
    kms_key: str | None
    tags: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is sent what a topic is told. `arn` None: it waits to be confirmed. `is_raw`: without SNS's envelope."""

    arn: str | None
    protocol: str
    endpoint: str
    is_raw: bool = False


async def find_topic(aws: Aws, arn: str) -> Topic | None:
    """The topic, None where there is none. Raises SesProblem."""
    try:
        said = (await aws.ask(_call("get_topic_attributes", TopicArn=arn))).get("Attributes") or {}
    except SesProblem as problem:
        if problem.code not in _MISSING:
            raise
        return None
    return Topic(
        arn=arn,
        policy=read_policy(said.get("Policy")),
        signature=said.get("SignatureVersion") or "1",
        kms_key=said.get("KmsMasterKeyId") or None,
        tags=await _tags(aws, arn),
    )


async def _tags(aws: Aws, arn: str) -> Mapping[str, str] | None:
    try:
        answer = await aws.ask(_call("list_tags_for_resource", ResourceArn=arn))
    except SesProblem as problem:
        if not is_forbidden(problem):
            raise
        return None
    return {str(each["Key"]): str(each["Value"]) for each in answer.get("Tags") or ()}


async def subscriptions(aws: Aws, topic: str, endpoints: tuple[str, ...]) -> tuple[Subscription, ...]:
    """Who is subscribed to a topic. How those of `endpoints` are sent is asked as well. Raises SesProblem."""
    found: list[Subscription] = []
    request: dict[str, Any] = {"TopicArn": topic}
    while len(found) < MOST_SUBSCRIPTIONS:
        answer = await aws.ask(_call("list_subscriptions_by_topic", **request))
        for each in answer.get("Subscriptions") or ():
            arn = None if each["SubscriptionArn"] in _WAITING else str(each["SubscriptionArn"])
            is_raw = arn is not None and each["Endpoint"] in endpoints and await _is_raw(aws, arn)
            found.append(Subscription(arn, str(each["Protocol"]), str(each["Endpoint"]), is_raw))
        if not answer.get("NextToken"):
            break
        request["NextToken"] = answer["NextToken"]
    return tuple(found)


async def _is_raw(aws: Aws, arn: str) -> bool:
    try:
        said = (await aws.ask(_call("get_subscription_attributes", SubscriptionArn=arn))).get("Attributes") or {}
    except SesProblem as problem:
        if problem.code not in _MISSING and not is_forbidden(problem):
            raise
        return False
    return str(said.get("RawMessageDelivery", "false")).lower() == "true"


# -- what is made of them --------------------------------------------------------------------------------------------


def create_topic(name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> Call:
    """The topic of this name; one that is there is only answered with its ARN."""
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    return _call("create_topic", Name=name, Attributes=dict(attributes), Tags=listed)


def set_topic(arn: str, attribute: str, value: str) -> Call:
    return _call("set_topic_attributes", TopicArn=arn, AttributeName=attribute, AttributeValue=value)


def tag_topic(arn: str, tags: Mapping[str, str]) -> Call:
    return _call("tag_resource", ResourceArn=arn, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])


def subscribe(topic: str, protocol: str, endpoint: str, attributes: Mapping[str, str]) -> Call:
    """Repeated for one that waits to be confirmed, it is asked again to confirm."""
    return _call(
        "subscribe",
        TopicArn=topic,
        Protocol=protocol,
        Endpoint=endpoint,
        Attributes=dict(attributes),
        ReturnSubscriptionArn=True,
    )


def unraw(subscription: str) -> Call:
    """Keep SNS's envelope around what is sent: without it nothing says who sent it (SES fact 5.1)."""
    return _call(
        "set_subscription_attributes",
        SubscriptionArn=subscription,
        AttributeName="RawMessageDelivery",
        AttributeValue="false",
    )


def _call(operation: str, **request: Any) -> Call:
    return Call(Service.SNS, operation, request)
