"""The SQS JSON operations on the one queue each account has, `relay-events`."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox.cloud import Cloud
from relay.sandbox.events import QUEUE_NAME
from relay.sandbox.queues import Item
from relay.sandbox.refusals import Refusal
from relay.sandbox.wire import Caller, Json, answer, member, while_connected

_MEDIA_TYPE = "application/x-amz-json-1.0"
_VISIBILITY = 30  # seconds, the default of SQS
_LONGEST_VISIBILITY = 12 * 3600
_LONGEST_WAIT = 20

Operation = Callable[[Cloud, Caller, Request, Json], Awaitable[Response]]


async def get_queue_url(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    if member(parameters, "QueueName", str) != QUEUE_NAME:
        raise Refusal("QueueDoesNotExist")
    return _answer({"QueueUrl": f"{request.url.scheme}://{request.url.netloc}{_path(caller)}"})


async def get_queue_attributes(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    _check_queue(caller, parameters)
    visible, in_flight = cloud.queues[caller.account.name].counts()
    known = {
        "QueueArn": f"arn:aws:sqs:{caller.region}:{caller.account.number}:{QUEUE_NAME}",
        "ApproximateNumberOfMessages": str(visible),
        "ApproximateNumberOfMessagesNotVisible": str(in_flight),
        "ApproximateNumberOfMessagesDelayed": "0",
        "VisibilityTimeout": str(_VISIBILITY),
        "ReceiveMessageWaitTimeSeconds": "0",
    }
    wanted = member(parameters, "AttributeNames", list) or []
    for name in wanted:
        if name != "All" and name not in known:
            raise Refusal("InvalidAttributeName", f"Unknown Attribute {name}.")
    return _answer({"Attributes": {n: value for n, value in known.items() if "All" in wanted or n in wanted}})


async def receive_message(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    _check_queue(caller, parameters)
    limit = _number(parameters, "MaxNumberOfMessages", 1, 1, 10)
    visibility = _number(parameters, "VisibilityTimeout", _VISIBILITY, 0, _LONGEST_VISIBILITY)
    wait = _number(parameters, "WaitTimeSeconds", 0, 0, _LONGEST_WAIT)
    wanted = [
        name
        for names in ("AttributeNames", "MessageSystemAttributeNames")
        for name in member(parameters, names, list) or []
    ]
    queue = cloud.queues[caller.account.name]
    # A client that hung up must not take messages into an invisibility nobody ends.
    if wait and not await while_connected(request, queue.arrival(wait)):
        return _answer({})
    items = queue.receive(limit, visibility)
    return _answer({"Messages": [_shown(item, wanted) for item in items]} if items else {})


async def delete_message(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    _check_queue(caller, parameters)
    cloud.queues[caller.account.name].delete(member(parameters, "ReceiptHandle", str) or "")
    return _answer({})


async def delete_message_batch(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    _check_queue(caller, parameters)
    entries = member(parameters, "Entries", list) or []
    if not entries:
        raise Refusal("EmptyBatchRequest")
    if len(entries) > 10:
        raise Refusal("TooManyEntriesInBatchRequest")
    if not all(isinstance(entry, dict) for entry in entries):
        raise Refusal("SerializationException", "Entries takes a list of objects.")
    if len({member(entry, "Id", str) for entry in entries}) < len(entries):
        raise Refusal("BatchEntryIdsNotDistinct")
    successful, failed = [], []
    for entry in entries:
        try:
            cloud.queues[caller.account.name].delete(member(entry, "ReceiptHandle", str) or "")
            successful.append({"Id": entry.get("Id")})
        except Refusal as refusal:
            failed.append(
                {"Id": entry.get("Id"), "SenderFault": True, "Code": refusal.code, "Message": refusal.message}
            )
    return _answer({"Successful": successful, "Failed": failed})


OPERATIONS: dict[str, Operation] = {
    "GetQueueUrl": get_queue_url,
    "GetQueueAttributes": get_queue_attributes,
    "ReceiveMessage": receive_message,
    "DeleteMessage": delete_message,
    "DeleteMessageBatch": delete_message_batch,
}


def sqs_refusal(refusal: Refusal) -> Response:
    """A refusal in the form of the JSON protocol, with the older query code that botocore prefers where SQS has one."""
    headers = {"x-amzn-ErrorType": refusal.code}
    if refusal.code == "QueueDoesNotExist":
        headers["x-amzn-query-error"] = "AWS.SimpleQueueService.NonExistentQueue;Sender"
    content = {"__type": f"com.amazonaws.sqs#{refusal.code}", "message": refusal.message}
    return answer(content, refusal.status, _MEDIA_TYPE, **headers)


def _answer(content: object) -> Response:
    return answer(content, media_type=_MEDIA_TYPE)


def _path(caller: Caller) -> str:
    return f"/{caller.account.name}/{QUEUE_NAME}"


def _check_queue(caller: Caller, parameters: Json) -> None:
    """A queue is known by its path: the host may be another name of this machine."""
    try:
        path = urlsplit(member(parameters, "QueueUrl", str) or "").path
    except ValueError:
        path = ""
    if path != _path(caller):
        raise Refusal("QueueDoesNotExist")


def _number(parameters: Json, name: str, default: int, least: int, most: int) -> int:
    value = member(parameters, name, int)
    if value is None:
        return default
    if not least <= value <= most:
        text = f"Value {value} for parameter {name} is invalid. Reason: Must be between {least} and {most}."
        raise Refusal("InvalidParameterValueException", text)
    return value


def _shown(item: Item, wanted: list[str]) -> Json:
    attributes = {
        "ApproximateReceiveCount": str(item.receives),
        "SentTimestamp": str(int(item.sent_at * 1000)),
    }
    shown = {
        "MessageId": item.id,
        "ReceiptHandle": item.receipt,
        "MD5OfBody": hashlib.md5(item.body.encode(), usedforsecurity=False).hexdigest(),
        "Body": item.body,
    }
    chosen = {name: value for name, value in attributes.items() if "All" in wanted or name in wanted}
    return shown | ({"Attributes": chosen} if chosen else {})
