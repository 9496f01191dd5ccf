"""Looks at what an SES account has at AWS for its events. Changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from relay.declared import Via
from relay.management.setting_up.wanted import Wanted
from relay.ses import destinations, queues, topics
from relay.ses.access import Access, Role
from relay.ses.aws import Aws, is_forbidden
from relay.ses.clients import Accounts
from relay.ses.destinations import ConfigurationSet
from relay.ses.errors import SesProblem
from relay.ses.queues import Queue
from relay.ses.topics import Subscription, Topic

Found = TypeVar("Found")
ANY_NUMBER = "*"  # in an ARN, where the account's number is not known


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is. `number`: of the AWS account, None where nothing says it. `sets` are those that exist.

    `unseen`: by what it is of (`queue`, `dead`, `topic`, `subscriptions`, the name of a set, `mailed`), why it could
    not be looked at; what is said of it here then means nothing.
    """

    number: str | None
    queue: Queue | None = None
    dead: Queue | None = None
    topic: Topic | None = None
    subscriptions: tuple[Subscription, ...] = ()
    sets: Mapping[str, ConfigurationSet] = field(default_factory=dict)
    mailed: frozenset[str] = frozenset()
    unseen: Mapping[str, SesProblem] = field(default_factory=dict)


class _Look:
    """Answers as they come. One that a policy forbids is noted, and the rest goes on."""

    def __init__(self) -> None:
        self.unseen: dict[str, SesProblem] = {}

    async def at(self, part: str, answer: Awaitable[Found], otherwise: Found) -> Found:
        """Raises SesProblem for any other trouble."""
        try:
            return await answer
        except SesProblem as problem:
            if not is_forbidden(problem):
                raise
            self.unseen[part] = problem
            return otherwise


async def look(aws: Aws, wanted: Wanted, number_of: Callable[[], Awaitable[str | None]]) -> Seen:
    """What of `wanted` there is. `number_of` is asked for the account's number where no queue says it.

    Raises SesProblem, but not for what a policy forbids.
    """
    look = _Look()
    queue = dead = topic = None
    subscribed: tuple[Subscription, ...] = ()
    if wanted.via is Via.SQS:
        queue = await look.at("queue", queues.find_queue(aws, wanted.queue), None)
    number = _number(queue) or await number_of()
    if wanted.via is Via.SQS and "queue" not in look.unseen:
        owner, name = _laid_aside(queue) or (None, wanted.dead)
        dead = await look.at("dead", queues.find_queue(aws, name, owner if owner != number else None), None)
    if wanted.via is not Via.NONE and number is not None:
        arn = wanted.topic(number)
        topic = await look.at("topic", topics.find_topic(aws, arn), None)
        if topic is not None or "topic" in look.unseen:
            ours = (wanted.arn("sqs", number, wanted.queue),)
            subscribed = await look.at("subscriptions", topics.subscriptions(aws, arn, ours), ())
    sets = {each.name: await look.at(each.name, destinations.find_set(aws, each.name), None) for each in wanted.sets}
    mailed = [
        each for each in wanted.mailed if await look.at("mailed", destinations.is_mailing_feedback(aws, each), False)
    ]
    return Seen(
        number=number,
        queue=queue,
        dead=dead,
        topic=topic,
        subscriptions=subscribed,
        sets={name: each for name, each in sets.items() if each is not None},
        mailed=frozenset(mailed),
        unseen=look.unseen,
    )


def _number(queue: Queue | None) -> str | None:
    return queue.arn.split(":")[4] if queue is not None and queue.arn.count(":") == 5 else None


def _laid_aside(queue: Queue | None) -> tuple[str, str] | None:
    """Whose queue the dead letters go to, and its name."""
    if queue is None or queue.dead is None or queue.dead.count(":") != 5:
        return None
    return queue.dead.split(":")[4], queue.dead.split(":")[5]


async def account_number(accounts: Accounts, access: Access) -> str | None:
    """The AWS account's number: the role's ARN says it, of other credentials only STS knows. Raises nothing."""
    if isinstance(access.credentials, Role):
        return access.credentials.role_arn.split(":")[4]
    try:
        return (await accounts.caller(access)).account_number or None
    except SesProblem:
        return None
