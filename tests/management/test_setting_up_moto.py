"""The queue, the topic and what ties them, made at moto: a second opinion on what SQS and SNS take and answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from moto.server import ThreadedMotoServer

from relay.declared import FeedbackFields, Via
from relay.management.setting_up import Seen, State, Wanted, judge, plan
from relay.management.setting_up.wanted import WantedSet
from relay.ses.access import Access, StaticKeys
from relay.ses.aws import Aws, asking
from relay.ses.call import Call, Service
from relay.ses.clients import Accounts
from relay.ses.destinations import OUTCOMES, ConfigurationSet, Destination
from relay.ses.queues import find_queue
from relay.ses.topics import SIGNATURE, find_topic, subscriptions

NUMBER = "123456789012"
WANTED = Wanted(
    "main", "eu-west-1", False, "relay-1", FeedbackFields(), Via.SQS, None, (WantedSet("relay-shared"),), ()
)
TOPIC, QUEUE = WANTED.topic(NUMBER), WANTED.arn("sqs", NUMBER, WANTED.queue)
SETS = {"relay-shared": ConfigurationSet("relay-shared", True, (Destination("d", True, OUTCOMES, TOPIC),))}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


async def seen(aws: Aws) -> Seen:
    """As `look`, without SES, whose event destinations moto does not have."""
    topic = await find_topic(aws, TOPIC)
    return Seen(
        NUMBER,
        await find_queue(aws, WANTED.queue),
        await find_queue(aws, WANTED.dead),
        replace(topic, signature=SIGNATURE) if topic else None,  # moto signs so, and does not say it
        await subscriptions(aws, TOPIC, (QUEUE,)) if topic else (),
        SETS,
    )


async def mend(aws: Aws) -> list[str]:
    steps = plan(judge(await seen(aws), WANTED))
    for step in steps:
        assert isinstance(step.doing, Call)
        await aws.ask(step.doing)
    assert [each for each in judge(await seen(aws), WANTED) if each.state is not State.FINE] == []
    return [step.doing.action for step in steps]


def test_made_mended_and_working(moto: str) -> None:
    async def story() -> None:
        access = Access("main", "eu-west-1", StaticKeys("k", "s"), moto, events_url=moto)
        async with Accounts() as accounts, asking(accounts, access) as aws:
            assert await mend(aws) == ["sqs:CreateQueue", "sqs:CreateQueue", "sns:CreateTopic", "sns:Subscribe"]
            assert await mend(aws) == []
            queue = await find_queue(aws, WANTED.queue)
            assert queue is not None
            spoilt = {"VisibilityTimeout": "3", "Policy": "", "RedrivePolicy": ""}
            await aws.ask(Call(Service.SQS, "set_queue_attributes", {"QueueUrl": queue.url, "Attributes": spoilt}))
            assert await mend(aws) == ["sqs:SetQueueAttributes", "sqs:SetQueueAttributes"]

            await aws.ask(Call(Service.SNS, "publish", {"TopicArn": TOPIC, "Message": "{}", "Subject": "s"}))
            request = {"QueueUrl": queue.url, "WaitTimeSeconds": 2}
            [message] = (await aws.ask(Call(Service.SQS, "receive_message", request)))["Messages"]
            assert json.loads(message["Body"])["TopicArn"] == TOPIC

            theirs = judge(await seen(aws), replace(WANTED, installation="relay-2"))
            assert [each.state for each in theirs if each.state is not State.FINE][:1] == [State.TAKEN]

    asyncio.run(story())
