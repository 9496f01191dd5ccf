"""The queue that an account's events wait in, and where those go that nobody can read: what is there, what is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.ses.aws import Aws, is_forbidden
from relay.ses.call import Call, Service
from relay.ses.errors import SesProblem
from relay.ses.granting import Policy, read_policy

VISIBILITY = 120  # seconds until an event that was taken and not deleted comes again (SES fact 5.3)
RETENTION = 14 * 86_400  # seconds, the most there is
TRIES = 5  # then an event is laid aside
_MISSING = {"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"}


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it is. Spans in seconds. `dead`: the ARN of where messages go after `tries`, None for nowhere.

    `tags` None: they may not be seen.
    """

    name: str
    url: str
    arn: str
    visibility: int
    retention: int
    dead: str | None
    tries: int
    policy: Policy | None
    kms_key: str | None
    tags: Mapping[str, str] | None


async def find_queue(aws: Aws, name: str, owner: str | None = None) -> Queue | None:
    """The queue of this name, None where there is none. `owner`: the account's number, if not the caller's own.

    Raises SesProblem.
    """
    whose = {"QueueOwnerAWSAccountId": owner} if owner else {}
    try:
        url = str((await aws.ask(_call("get_queue_url", QueueName=name, **whose)))["QueueUrl"])
        answer = await aws.ask(_call("get_queue_attributes", QueueUrl=url, AttributeNames=["All"]))
    except SesProblem as problem:
        if problem.code not in _MISSING:
            raise
        return None
    return _read(name, url, answer.get("Attributes") or {}, await _tags(aws, url))


async def _tags(aws: Aws, url: str) -> Mapping[str, str] | None:
    try:
        found: Mapping[str, str] = (await aws.ask(_call("list_queue_tags", QueueUrl=url))).get("Tags") or {}
    except SesProblem as problem:
        if not is_forbidden(problem):
            raise
        return None
    return found


def _read(name: str, url: str, said: Mapping[str, str], tags: Mapping[str, str] | None) -> Queue:
    redrive = read_policy(said.get("RedrivePolicy")) or {}
    return Queue(
        name=name,
        url=url,
        arn=said.get("QueueArn", ""),
        visibility=int(said.get("VisibilityTimeout", 30)),
        retention=int(said.get("MessageRetentionPeriod", 4 * 86_400)),
        dead=redrive.get("deadLetterTargetArn"),
        tries=int(redrive.get("maxReceiveCount", 0)),
        policy=read_policy(said.get("Policy")),
        kms_key=said.get("KmsMasterKeyId") or None,
        tags=tags,
    )


# -- what is made of them --------------------------------------------------------------------------------------------


def redrive(dead: str) -> str:
    """Where to lay aside what was received too often: the attribute, as JSON."""
    return json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": TRIES})


def create_queue(name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> Call:
    return _call("create_queue", QueueName=name, Attributes=dict(attributes), tags=dict(tags))


def set_queue(queue: Queue, attributes: Mapping[str, str]) -> Call:
    return _call("set_queue_attributes", QueueUrl=queue.url, Attributes=dict(attributes))


def tag_queue(queue: Queue, tags: Mapping[str, str]) -> Call:
    return _call("tag_queue", QueueUrl=queue.url, Tags=dict(tags))


def _call(operation: str, **request: Any) -> Call:
    return Call(Service.SQS, operation, request)
