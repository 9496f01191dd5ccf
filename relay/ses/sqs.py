"""The SQS queue that the events of one SES account come by. Knows nothing of what they say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from relay.errors import Kind
from relay.ses.errors import Answer, Scope, SesProblem, classify
from relay.ses.link import Link
from relay.ses.remedies import Place, remedy_of

MOST = 10  # messages that SQS gives or deletes in one call (SES fact 5.3)
LONGEST = 20  # seconds that it waits for one
# Seconds after which a message that was not deleted is handed out again: what a server took with it when it was killed
# must come while outcomes are still waited for (delivery.unknown_window).
VISIBLE_AGAIN = 60
_MISSING = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_DENIED = {"AccessDenied", "AccessDeniedException"}
# A message that somebody else was handed meanwhile, or that was deleted already.
_STALE = {"ReceiptHandleIsInvalid", "InvalidParameterValue", "InvalidParameterValueException", "InvalidIdFormat"}


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it was handed out. `sent_at`: when it came into the queue, in milliseconds since 1970."""

    id: str
    receipt: str = field(repr=False)
    body: str = field(repr=False)
    sent_at: int | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages wait in the queue, and in its dead-letter queue; None where that is not to be had."""

    waiting: int
    dead: int | None


class EventQueue:
    """A queue by its name, in an account's region. Every method raises SesProblem, with a remedy where there is one."""

    def __init__(self, link: Link, place: Place, name: str) -> None:
        self._link = link
        self._place = place
        self.name = name
        self._url: str | None = None
        self._dead: str | None = None  # the name of the dead-letter queue that `_dead_url` is of
        self._dead_url = ""

    async def receive(self, wait: int) -> list[Received]:
        """Up to ten messages; `wait`: for so many seconds for the first of them. They come again if not deleted."""
        answer = await self._ask(
            "receive_message",
            MaxNumberOfMessages=MOST,
            WaitTimeSeconds=wait,
            VisibilityTimeout=VISIBLE_AGAIN,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return [_received(each) for each in answer.get("Messages") or ()]

    async def delete(self, receipts: Sequence[str]) -> None:
        """Take messages off the queue. A receipt that is of no use any more is no trouble."""
        parts = (receipts[at : at + MOST] for at in range(0, len(receipts), MOST))
        for each in await asyncio.gather(*map(self._delete, parts), return_exceptions=True):
            if each is not None:
                raise each

    async def _delete(self, receipts: Sequence[str]) -> None:
        entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
        answer = await self._ask("delete_message_batch", Entries=entries)
        kept = [str(each.get("Code", "")) for each in answer.get("Failed") or ()]
        if left := [code for code in kept if code not in _STALE]:
            said = f"SQS did not delete {len(left)} of {len(receipts)} messages that were handed out ({left[0]})"
            raise SesProblem(Kind.SES_UNAVAILABLE, Scope.ACCOUNT, said, code=left[0])

    async def counts(self) -> Counts:
        """How much waits. That the dead-letter queue cannot be looked at is no trouble."""
        asked = ["ApproximateNumberOfMessages", "RedrivePolicy"]
        found = (await self._ask("get_queue_attributes", AttributeNames=asked)).get("Attributes") or {}
        try:
            dead = await self._count_dead(found.get("RedrivePolicy"))
        except SesProblem:
            dead = None
        return Counts(_number(found.get("ApproximateNumberOfMessages")) or 0, dead)

    async def renew(self) -> None:
        """AWS finds the credentials too old: the next call looks for fresh ones."""
        await self._link.renew()

    async def close(self) -> None:
        await self._link.close()

    async def _count_dead(self, policy: object) -> int | None:
        name = _dead_letters(policy)
        if name is None:
            return None
        if name != self._dead:
            self._dead_url = await self._find(name)
            self._dead = name
        asked = {"QueueUrl": self._dead_url, "AttributeNames": ["ApproximateNumberOfMessages"]}
        answer = await self._call("get_queue_attributes", **asked)
        return _number((answer.get("Attributes") or {}).get("ApproximateNumberOfMessages"))

    async def _ask(self, operation: str, **request: Any) -> dict[str, Any]:
        """Of this queue. One that is not found is looked for again in the next call: it may be made meanwhile."""
        if self._url is None:
            self._url = await self._find(self.name)
        try:
            return await self._call(operation, QueueUrl=self._url, **request)
        except SesProblem as problem:
            if problem.code in _MISSING:
                self._url = None
            raise

    async def _find(self, name: str) -> str:
        answer = await self._call("get_queue_url", QueueName=name)
        return str(answer.get("QueueUrl") or "")

    async def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        try:
            return await self._link.call(operation, partial(meaning, self.name, self._place), **request)
        except SesProblem as problem:
            raise _told(problem, self._place) from problem


def meaning(name: str, place: Place, answer: Answer) -> SesProblem:
    """What an error answer of SQS means, asked about the queue of this name."""
    if answer.code in _MISSING:
        said = f"there is no queue {name} in {place.region}"
        remedy = f"run `relay account setup {place.account}`, which makes it"
        return SesProblem(Kind.SES_CONFIG, Scope.ACCOUNT, said, remedy=remedy, code=answer.code)
    problem = classify(answer, "")
    if answer.code.startswith(("KMS.", "Kms")):
        said = f"the key that queue {name} is encrypted with cannot be used ({problem.said})"
        remedy = "allow kms:Decrypt on that key, or let SQS encrypt the queue with a key of its own"
        return SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, said, remedy=remedy, code=answer.code)
    return problem


def _told(problem: SesProblem, place: Place) -> SesProblem:
    """With what an operator can do, for reading events: it never is one domain that is at fault."""
    remedy = problem.remedy or remedy_of(problem, place)
    if problem.code in _DENIED and not problem.remedy:
        remedy = f"{remedy}; `relay account setup {place.account} --dry-run` prints a policy for reading events"
    if problem.kind is Kind.SES_UNAVAILABLE and not (problem.code or problem.remedy):
        remedy = (
            f"let this machine reach SQS in {place.region} by HTTPS: check firewall, name servers, the account's proxy "
            "and the endpoint_url of its feedback"
        )
    scope = Scope.ACCOUNT if problem.scope is Scope.DOMAIN else problem.scope
    return SesProblem(problem.kind, scope, problem.said, remedy=remedy, code=problem.code)


def _received(message: dict[str, Any]) -> Received:
    sent_at = _number((message.get("Attributes") or {}).get("SentTimestamp"))
    return Received(
        str(message.get("MessageId") or ""),
        str(message.get("ReceiptHandle") or ""),
        str(message.get("Body") or ""),
        sent_at,
    )


def _dead_letters(policy: object) -> str | None:
    """The name of the queue that RedrivePolicy names by its ARN; None where there is none."""
    try:
        target = json.loads(policy) if isinstance(policy, str) else {}
        return str(target["deadLetterTargetArn"]).rpartition(":")[2] or None
    except (ValueError, LookupError, TypeError):
        return None


def _number(text: object) -> int | None:
    return int(text) if isinstance(text, str) and text.isdecimal() else None
