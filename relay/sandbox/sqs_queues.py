"""The SQS JSON operations on queues themselves."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox import queue_attributes, sqs
from relay.sandbox.cloud import Cloud
from relay.sandbox.paging import page, read_token
from relay.sandbox.queue_list import Held
from relay.sandbox.refusals import Refusal
from relay.sandbox.sqs import Operation, find_queue, number, sqs_answer, url_of
from relay.sandbox.wire import Caller, Json, member

_MOST_LISTED = 1_000


async def create_queue(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    """Again with the same attributes, it is the same queue; its tags are set by the first call only, as in SQS."""
    attributes: Json = member(parameters, "Attributes", dict) or {}
    name = member(parameters, "QueueName", str) or ""
    cloud.region(caller).queues.create(name, attributes, _read_tags(parameters, "tags"))
    return sqs_answer({"QueueUrl": url_of(request, caller, name)})


async def get_queue_url(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    owner = member(parameters, "QueueOwnerAWSAccountId", str)
    if owner not in (None, caller.account.number):
        raise Refusal("QueueDoesNotExist")
    held = cloud.region(caller).queues.find(member(parameters, "QueueName", str) or "")
    return sqs_answer({"QueueUrl": url_of(request, caller, held.arn.name)})


async def list_queues(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    prefix = member(parameters, "QueueNamePrefix", str) or ""
    names = [held.arn.name for held in cloud.region(caller).queues if held.arn.name.startswith(prefix)]
    size = number(parameters, "MaxResults", _MOST_LISTED, 1, _MOST_LISTED)
    after = read_token(member(parameters, "NextToken", str), "InvalidParameterValueException")
    listed, more = page(names, size, after)
    return sqs_answer({"QueueUrls": [url_of(request, caller, name) for name in listed]} | more)


async def delete_queue(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    cloud.region(caller).queues.delete(find_queue(cloud, caller, parameters))
    return sqs_answer({})


async def purge_queue(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    find_queue(cloud, caller, parameters).queue.purge()
    return sqs_answer({})


async def get_queue_attributes(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    known = _attributes(find_queue(cloud, caller, parameters))
    wanted = list(map(str, member(parameters, "AttributeNames", list) or []))
    for name in wanted:
        if name not in {"All", *known, *queue_attributes.SETTABLE}:
            raise Refusal("InvalidAttributeName", f"Unknown Attribute {name}.")
    return sqs_answer({"Attributes": {n: value for n, value in known.items() if "All" in wanted or n in wanted}})


async def set_queue_attributes(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    attributes: Json = member(parameters, "Attributes", dict) or {}
    cloud.region(caller).queues.change(find_queue(cloud, caller, parameters), attributes)
    return sqs_answer({})


async def tag_queue(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    find_queue(cloud, caller, parameters).tags.put(_read_tags(parameters, "Tags"))
    return sqs_answer({})


async def untag_queue(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    find_queue(cloud, caller, parameters).tags.drop(map(str, member(parameters, "TagKeys", list) or []))
    return sqs_answer({})


async def list_queue_tags(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    tags = find_queue(cloud, caller, parameters).tags.held
    return sqs_answer({"Tags": tags} if tags else {})


OPERATIONS: dict[str, Operation] = {
    "CreateQueue": create_queue,
    "GetQueueUrl": get_queue_url,
    "ListQueues": list_queues,
    "DeleteQueue": delete_queue,
    "PurgeQueue": purge_queue,
    "GetQueueAttributes": get_queue_attributes,
    "SetQueueAttributes": set_queue_attributes,
    "TagQueue": tag_queue,
    "UntagQueue": untag_queue,
    "ListQueueTags": list_queue_tags,
    "SendMessage": sqs.send_message,
    "ReceiveMessage": sqs.receive_message,
    "DeleteMessage": sqs.delete_message,
    "DeleteMessageBatch": sqs.delete_message_batch,
    "ChangeMessageVisibility": sqs.change_message_visibility,
    "ChangeMessageVisibilityBatch": sqs.change_message_visibility_batch,
}


def _attributes(held: Held) -> Mapping[str, str]:
    visible, in_flight = held.queue.counts()
    return {
        **queue_attributes.DEFAULTS,
        **held.attributes,
        "QueueArn": str(held.arn),
        "ApproximateNumberOfMessages": str(visible),
        "ApproximateNumberOfMessagesNotVisible": str(in_flight),
        "ApproximateNumberOfMessagesDelayed": "0",
        "CreatedTimestamp": str(held.created_at),
        "LastModifiedTimestamp": str(held.changed_at),
    }


def _read_tags(parameters: Json, name: str) -> dict[str, str]:
    tags: Json = member(parameters, name, dict) or {}
    if not all(isinstance(value, str) for value in tags.values()):
        raise Refusal("SerializationException", f"{name} is not of the expected type.")
    return {key: str(value) for key, value in tags.items()}
