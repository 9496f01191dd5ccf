"""The SNS operations on topics, and STS's GetCallerIdentity, which speaks the same protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from relay.sandbox.cloud import Cloud
from relay.sandbox.paging import read_token, token_after
from relay.sandbox.query import Entries, Form, read_list, read_map, read_tags, required
from relay.sandbox.refusals import Refusal
from relay.sandbox.topic_attributes import default_policy
from relay.sandbox.topics import Topic
from relay.sandbox.wire import Caller

Result = Mapping[str, object] | None
Operation = Callable[[Cloud, Caller, Form], Awaitable[Result]]

_LARGEST = 262_144  # octets of a message
_PAGE = 100


async def create_topic(cloud: Cloud, caller: Caller, form: Form) -> Result:
    name, attributes = required(form, "Name"), read_map(form, "Attributes")
    topic = cloud.region(caller).topics.create(name, attributes, read_tags(form))
    return {"TopicArn": str(topic.arn)}


async def delete_topic(cloud: Cloud, caller: Caller, form: Form) -> Result:
    """One that is not there is deleted, too, as in SNS."""
    topics, arn = cloud.region(caller).topics, required(form, "TopicArn")
    for topic in [each for each in topics if str(each.arn) == arn]:
        topics.delete(topic)
    return None


async def list_topics(cloud: Cloud, caller: Caller, form: Form) -> Result:
    arns, more = listed([str(topic.arn) for topic in cloud.region(caller).topics], form)
    return {"Topics": [{"TopicArn": arn} for arn in arns], **more}


async def get_topic_attributes(cloud: Cloud, caller: Caller, form: Form) -> Result:
    topic = find_topic(cloud, caller, form)
    confirmed = sum(each.is_confirmed for each in topic.subscriptions.values())
    attributes = {
        "TopicArn": str(topic.arn),
        "Owner": topic.arn.account,
        "DisplayName": "",
        "Policy": default_policy(topic.arn),
        "SubscriptionsConfirmed": str(confirmed),
        "SubscriptionsPending": str(len(topic.subscriptions) - confirmed),
        "SubscriptionsDeleted": str(topic.deleted),
    }
    return {"Attributes": Entries(attributes | topic.attributes)}


async def set_topic_attributes(cloud: Cloud, caller: Caller, form: Form) -> Result:
    name, value = required(form, "AttributeName"), form.get("AttributeValue", "")
    find_topic(cloud, caller, form).change(name, value)
    return None


async def publish(cloud: Cloud, caller: Caller, form: Form) -> Result:
    """By the account itself, which needs no policy for it."""
    topic, message = find_topic(cloud, caller, form), required(form, "Message")
    if len(message.encode("utf-8", "replace")) > _LARGEST:
        raise Refusal("InvalidParameter", "Invalid parameter: Message too long")
    return {"MessageId": cloud.office.publish(topic, message, form.get("Subject") or None)}


async def tag_resource(cloud: Cloud, caller: Caller, form: Form) -> Result:
    _find_tagged(cloud, caller, form).tags.put(read_tags(form))
    return {}


async def untag_resource(cloud: Cloud, caller: Caller, form: Form) -> Result:
    _find_tagged(cloud, caller, form).tags.drop(read_list(form, "TagKeys"))
    return {}


async def list_tags_for_resource(cloud: Cloud, caller: Caller, form: Form) -> Result:
    tags = _find_tagged(cloud, caller, form).tags.held
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


async def get_caller_identity(cloud: Cloud, caller: Caller, form: Form) -> Result:
    number = caller.account.number
    user = caller.account.name
    return {"UserId": user, "Account": number, "Arn": f"arn:aws:iam::{number}:user/{user}"}


def find_topic(cloud: Cloud, caller: Caller, form: Form) -> Topic:
    """Raises Refusal."""
    return cloud.region(caller).topics.find(required(form, "TopicArn"))


def listed(arns: list[str], form: Form) -> tuple[list[str], dict[str, str]]:
    """A page of a hundred, in the order of making, and the NextToken that follows it. Raises Refusal."""
    after = read_token(form.get("NextToken"), "InvalidParameter")
    start = arns.index(after) + 1 if after in arns else 0
    found = arns[start : start + _PAGE]
    return found, {"NextToken": token_after(found[-1])} if start + _PAGE < len(arns) else {}


def _find_tagged(cloud: Cloud, caller: Caller, form: Form) -> Topic:
    try:
        return cloud.region(caller).topics.find(required(form, "ResourceArn"))
    except Refusal as refusal:
        if refusal.code == "NotFound":
            raise Refusal("ResourceNotFound", "Resource does not exist") from None
        raise
