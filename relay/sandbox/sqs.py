"""The SQS JSON operations on messages, and what all operations on queues share."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox.cloud import Cloud
from relay.sandbox.queue_attributes import MOST_VISIBILITY
from relay.sandbox.queue_list import Held
from relay.sandbox.queues import Item
from relay.sandbox.refusals import Refusal
from relay.sandbox.wire import Caller, Json, answer, member, while_connected

_MEDIA_TYPE = "application/x-amz-json-1.0"
_LONGEST_WAIT = 20
_LARGEST = 1_048_576  # octets of a message

Operation = Callable[[Cloud, Caller, Request, Json], Awaitable[Response]]

# What botocore reads before the code of the JSON protocol: the code of the query protocol that SQS spoke before.
_OLDER = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
}


async def send_message(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    """So that a test can put anything into a queue."""
    body = member(parameters, "MessageBody", str) or ""
    try:
        size = len(body.encode())
    except UnicodeEncodeError:
        raise Refusal("InvalidMessageContents") from None
    if not 0 < size <= _LARGEST:
        text = f"One or more parameters are invalid. Reason: Message must be 1 to {_LARGEST} bytes."
        raise Refusal("InvalidParameterValueException", text)
    id = find_queue(cloud, caller, parameters).queue.put(body)
    return sqs_answer({"MessageId": id, "MD5OfMessageBody": _digest(body)})


async def receive_message(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    held = find_queue(cloud, caller, parameters)
    limit = number(parameters, "MaxNumberOfMessages", 1, 1, 10)
    visibility = number(parameters, "VisibilityTimeout", held.visibility, 0, MOST_VISIBILITY)
    wait = number(parameters, "WaitTimeSeconds", held.wait, 0, _LONGEST_WAIT)
    wanted = [
        name
        for names in ("AttributeNames", "MessageSystemAttributeNames")
        for name in member(parameters, names, list) or []
    ]
    # A client that hung up must not take messages into an invisibility nobody ends.
    if wait and not await while_connected(request, held.queue.arrival(wait)):
        return sqs_answer({})
    items = held.queue.receive(limit, visibility)
    return sqs_answer({"Messages": [_shown(item, wanted) for item in items]} if items else {})


async def delete_message(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    find_queue(cloud, caller, parameters).queue.delete(member(parameters, "ReceiptHandle", str) or "")
    return sqs_answer({})


async def delete_message_batch(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    queue = find_queue(cloud, caller, parameters).queue
    return _in_batch(parameters, lambda entry: queue.delete(member(entry, "ReceiptHandle", str) or ""))


async def change_message_visibility(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    _change_visibility(find_queue(cloud, caller, parameters), parameters)
    return sqs_answer({})


async def change_message_visibility_batch(cloud: Cloud, caller: Caller, request: Request, parameters: Json) -> Response:
    held = find_queue(cloud, caller, parameters)
    return _in_batch(parameters, lambda entry: _change_visibility(held, entry))


def sqs_refusal(refusal: Refusal) -> Response:
    """A refusal in the form of the JSON protocol."""
    headers = {"x-amzn-ErrorType": refusal.code}
    if refusal.code in _OLDER:
        headers["x-amzn-query-error"] = f"{_OLDER[refusal.code]};Sender"
    content = {"__type": f"com.amazonaws.sqs#{refusal.code}", "message": refusal.message}
    return answer(content, refusal.status, _MEDIA_TYPE, **headers)


def sqs_answer(content: object) -> Response:
    return answer(content, media_type=_MEDIA_TYPE)


def url_of(request: Request, caller: Caller, name: str) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/{caller.account.name}/{name}"


def find_queue(cloud: Cloud, caller: Caller, parameters: Json) -> Held:
    """A queue is known by its path: the host may be another name of this machine. Raises Refusal."""
    try:
        path = urlsplit(member(parameters, "QueueUrl", str) or "").path
    except ValueError:
        path = ""
    account, slash, name = path.removeprefix("/").partition("/")
    if not slash or account != caller.account.name:
        raise Refusal("QueueDoesNotExist")
    return cloud.region(caller).queues.find(name)


def number(parameters: Json, name: str, default: int, least: int, most: int) -> int:
    """A whole number within bounds. Raises Refusal."""
    value = member(parameters, name, int)
    if value is None:
        return default
    if not least <= value <= most:
        text = f"Value {value} for parameter {name} is invalid. Reason: Must be between {least} and {most}."
        raise Refusal("InvalidParameterValueException", text)
    return value


def _change_visibility(held: Held, wanted: Json) -> None:
    span = number(wanted, "VisibilityTimeout", held.visibility, 0, MOST_VISIBILITY)
    held.queue.change_visibility(member(wanted, "ReceiptHandle", str) or "", span)


def _in_batch(parameters: Json, work: Callable[[Json], None]) -> Response:
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
            work(entry)
            successful.append({"Id": entry.get("Id")})
        except Refusal as refusal:
            failed.append(
                {"Id": entry.get("Id"), "SenderFault": True, "Code": refusal.code, "Message": refusal.message}
            )
    return sqs_answer({"Successful": successful, "Failed": failed})


def _shown(item: Item, wanted: list[str]) -> Json:
    attributes = {
        "ApproximateReceiveCount": str(item.receives),
        "SentTimestamp": str(int(item.sent_at * 1000)),
        "ApproximateFirstReceiveTimestamp": str(int(item.first_received_at * 1000)),
    }
    shown = {
        "MessageId": item.id,
        "ReceiptHandle": item.receipt,
        "MD5OfBody": _digest(item.body),
        "Body": item.body,
    }
    chosen = {name: value for name, value in attributes.items() if "All" in wanted or name in wanted}
    return shown | ({"Attributes": chosen} if chosen else {})


def _digest(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
