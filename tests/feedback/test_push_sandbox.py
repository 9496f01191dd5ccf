"""The whole way of a pushed event at the sandbox, which signs as SNS does: subscribed, confirmed, sent, heard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiobotocore.session import get_session

from relay.http.ses_notifications import PATH
from relay.sandbox.accounts import Account
from relay.sandbox.server import running
from tests.feedback.posted import ANA, CUSTOMER, Posted, posted
from tests.support import PATIENCE

REGION = "us-east-1"
SET = "relay-transactional"
RAW = f"From: me@byoc.example\r\nTo: {ANA}\r\nSubject: Hi\r\n\r\nHi\r\n".encode()


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await is_so():
            await asyncio.sleep(0.02)


async def topic_for_ses(client: Any) -> str:
    """The ARN of a new topic that SES may publish to."""
    arn: str = (await client.create_topic(Name="relay-events", Attributes={"SignatureVersion": "2"}))["TopicArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "ses.amazonaws.com"}, "Action": "sns:Publish", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    await client.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    return arn


async def publishes(client: Any, arn: str) -> None:
    """Let SES publish all events of one configuration set there."""
    await client.create_configuration_set(ConfigurationSetName=SET)
    await client.create_configuration_set_event_destination(
        ConfigurationSetName=SET,
        EventDestinationName="relay",
        EventDestination={
            "Enabled": True,
            "MatchingEventTypes": ["SEND", "DELIVERY", "BOUNCE"],
            "SnsDestination": {"TopicArn": arn},
        },
    )


def test_from_the_subscription_to_the_recipient(tmp_path: Path) -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            sandbox = await stack.enter_async_context(running([Account(CUSTOMER, ("byoc.example",), daily_quota=-1)]))

            async def client(service: str) -> Any:
                made = get_session().create_client(
                    service,
                    region_name=REGION,
                    endpoint_url=sandbox.url,
                    aws_access_key_id=CUSTOMER,
                    aws_secret_access_key="any",
                )
                return await stack.enter_async_context(made)

            sns, ses = await client("sns"), await client("sesv2")
            arn = await topic_for_ses(sns)
            scene: Posted = await stack.enter_async_context(posted(tmp_path, sandbox.url, arn))
            endpoint = f"http://127.0.0.1:{scene.port}{PATH}"
            made = await sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=endpoint, ReturnSubscriptionArn=True)

            async def is_confirmed() -> bool:
                found = await sns.get_subscription_attributes(SubscriptionArn=made["SubscriptionArn"])
                return bool(found["Attributes"]["PendingConfirmation"] == "false")

            await until(is_confirmed)
            await publishes(ses, arn)  # and SES says so to the topic
            new = await scene.sent(CUSTOMER)
            tags = {"relay_id": str(new.deliveries[0].id), "attempt": "1"}
            await ses.send_email(
                Content={"Raw": {"Data": RAW}},
                Destination={"ToAddresses": [ANA]},
                ConfigurationSetName=SET,
                EmailTags=[{"Name": name, "Value": value} for name, value in tags.items()],
            )

            async def is_delivered() -> bool:
                return await scene.states() == ["delivered"]

            await until(is_delivered)
            assert scene.push.faults() == {}
            assert scene.counted().keys() == {"confirmed", "heard"}

    asyncio.run(story())
