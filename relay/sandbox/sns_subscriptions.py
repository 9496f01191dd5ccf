"""The SNS operations on subscriptions, and where each operation of SNS is found."""

from __future__ import annotations

from relay.sandbox import sns
from relay.sandbox.cloud import Cloud
from relay.sandbox.query import Entries, Form, read_map, required
from relay.sandbox.refusals import Refusal
from relay.sandbox.sns import Operation, Result, find_topic, listed
from relay.sandbox.topics import Subscription
from relay.sandbox.wire import Caller

_PENDING = "pending confirmation"


async def subscribe(cloud: Cloud, caller: Caller, form: Form) -> Result:
    """A queue of the same account is subscribed at once; all others when they have shown that they want it."""
    topic = find_topic(cloud, caller, form)
    protocol, endpoint = required(form, "Protocol"), required(form, "Endpoint")
    made = topic.subscribe(protocol, endpoint, read_map(form, "Attributes"))
    if not made.is_confirmed:
        cloud.office.confirm(topic, made)
    is_shown = made.is_confirmed or form.get("ReturnSubscriptionArn") == "true"
    return {"SubscriptionArn": made.arn if is_shown else _PENDING}


async def confirm_subscription(cloud: Cloud, caller: Caller, form: Form) -> Result:
    """Whoever has the token may, so the topic need not be the caller's own."""
    arn, token = required(form, "TopicArn"), required(form, "Token")
    topic = cloud.topic(arn)
    if topic is None:
        raise Refusal("NotFound", "Topic does not exist")
    for each in topic.subscriptions.values():
        if each.token == token:
            each.is_confirmed = True
            return {"SubscriptionArn": each.arn}
    raise Refusal("InvalidParameter", "Invalid parameter: Token")


async def unsubscribe(cloud: Cloud, caller: Caller, form: Form) -> Result:
    topic, found = cloud.region(caller).topics.subscription(required(form, "SubscriptionArn"))
    topic.unsubscribe(found.arn)
    return None


async def list_subscriptions_by_topic(cloud: Cloud, caller: Caller, form: Form) -> Result:
    topic = find_topic(cloud, caller, form)
    arns, more = listed(list(topic.subscriptions), form)
    return {"Subscriptions": [_shown(topic.subscriptions[arn]) for arn in arns], **more}


async def list_subscriptions(cloud: Cloud, caller: Caller, form: Form) -> Result:
    found = {arn: each for topic in cloud.region(caller).topics for arn, each in topic.subscriptions.items()}
    arns, more = listed(list(found), form)
    return {"Subscriptions": [_shown(found[arn]) for arn in arns], **more}


async def get_subscription_attributes(cloud: Cloud, caller: Caller, form: Form) -> Result:
    _, found = cloud.region(caller).topics.subscription(required(form, "SubscriptionArn"))
    attributes = {
        "SubscriptionArn": found.arn,
        "TopicArn": str(found.topic),
        "Owner": found.topic.account,
        "Protocol": found.protocol,
        "Endpoint": found.endpoint,
        "RawMessageDelivery": "false",
        "ConfirmationWasAuthenticated": "false",
        "PendingConfirmation": "false" if found.is_confirmed else "true",
    }
    return {"Attributes": Entries(attributes | found.attributes)}


async def set_subscription_attributes(cloud: Cloud, caller: Caller, form: Form) -> Result:
    _, found = cloud.region(caller).topics.subscription(required(form, "SubscriptionArn"))
    found.change(required(form, "AttributeName"), form.get("AttributeValue", ""))
    return None


OPERATIONS: dict[str, Operation] = {
    "CreateTopic": sns.create_topic,
    "DeleteTopic": sns.delete_topic,
    "ListTopics": sns.list_topics,
    "GetTopicAttributes": sns.get_topic_attributes,
    "SetTopicAttributes": sns.set_topic_attributes,
    "Publish": sns.publish,
    "TagResource": sns.tag_resource,
    "UntagResource": sns.untag_resource,
    "ListTagsForResource": sns.list_tags_for_resource,
    "Subscribe": subscribe,
    "ConfirmSubscription": confirm_subscription,
    "Unsubscribe": unsubscribe,
    "ListSubscriptions": list_subscriptions,
    "ListSubscriptionsByTopic": list_subscriptions_by_topic,
    "GetSubscriptionAttributes": get_subscription_attributes,
    "SetSubscriptionAttributes": set_subscription_attributes,
}
STS_OPERATIONS: dict[str, Operation] = {"GetCallerIdentity": sns.get_caller_identity}


def _shown(each: Subscription) -> dict[str, str]:
    return {
        "SubscriptionArn": each.arn if each.is_confirmed else "PendingConfirmation",
        "Owner": each.topic.account,
        "Protocol": each.protocol,
        "Endpoint": each.endpoint,
        "TopicArn": str(each.topic),
    }
