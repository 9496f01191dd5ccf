"""Event destinations, and the way events go once there are some."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.sandbox.destinations import TYPES

ALL = list(TYPES.values())
NOTICE = "Successfully validated SNS topic for Amazon SES event publishing."
BOUNCE = "bounce@simulator.amazonses.com"


def allowing(service: str, action: str, resource: str, **equals: str) -> str:
    """A policy for one service."""
    conditions = {"StringEquals": {f"aws:{name}": value for name, value in equals.items()}}
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": action,
        "Resource": resource,
        "Condition": conditions,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Loop:
    """A configuration set `relay`, and all that brings its events into the queue `relay-events`."""

    def __init__(self, world: Any, ses: Any, sns: Any, sqs: Any) -> None:
        self.world, self.ses, self.sns, self.sqs = world, ses, sns, sqs
        self.number = world.sandbox.state.accounts["operator"].number
        self.topic = f"arn:aws:sns:eu-west-1:{self.number}:events"
        self.queue = f"arn:aws:sqs:eu-west-1:{self.number}:relay-events"
        self.url = f"{world.url}/operator/relay-events"
        self.right = allowing("ses.amazonaws.com", "sns:Publish", self.topic, SourceAccount=self.number)
        self.mine = {"ConfigurationSetName": "relay", "EventDestinationName": "relay"}

    async def lay(self) -> None:
        await self.ses.create_configuration_set(ConfigurationSetName="relay")
        await self.sns.create_topic(Name="events", Attributes={"Policy": self.right})
        policy = allowing("sns.amazonaws.com", "sqs:SendMessage", self.queue, SourceArn=self.topic)
        await self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})
        await self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=self.queue)

    def destination(self, *types: str, enabled: bool = True, topic: str = "") -> dict[str, Any]:
        where = {"TopicArn": topic or self.topic}
        return {"Enabled": enabled, "MatchingEventTypes": list(types or ALL), "SnsDestination": where}

    async def create(self, *types: str, **more: Any) -> None:
        destination = self.destination(*types, **more)
        await self.ses.create_configuration_set_event_destination(**self.mine, EventDestination=destination)

    async def set_topic(self, name: str, value: str) -> None:
        await self.sns.set_topic_attributes(TopicArn=self.topic, AttributeName=name, AttributeValue=value)

    async def types(self) -> list[str]:
        """Of the events in the queue; a text that is none stands for itself."""
        answer = await self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        messages = [json.loads(message["Body"])["Message"] for message in answer.get("Messages", [])]
        return [json.loads(each)["eventType"] if each.startswith("{") else each for each in messages]


async def loop(world: Any) -> Loop:
    made = Loop(world, await world.client("sesv2"), await world.client("sns"), await world.client("sqs"))
    await made.lay()
    return made


def test_made_shown_changed_and_deleted(play: Any) -> None:
    async def story(world: Any) -> None:
        on = await loop(world)
        await on.create("SEND", "BOUNCE")
        with pytest.raises(on.ses.exceptions.AlreadyExistsException):
            await on.create()
        shown = await on.ses.get_configuration_set_event_destinations(ConfigurationSetName="relay")
        assert shown["EventDestinations"] == [{"Name": "relay"} | on.destination("SEND", "BOUNCE")]
        changed = on.destination("SEND", enabled=False)
        await on.ses.update_configuration_set_event_destination(**on.mine, EventDestination=changed)
        shown = await on.ses.get_configuration_set_event_destinations(ConfigurationSetName="relay")
        assert shown["EventDestinations"] == [{"Name": "relay"} | changed]
        await on.ses.delete_configuration_set_event_destination(**on.mine)
        calls = on.ses.delete_configuration_set_event_destination, on.ses.update_configuration_set_event_destination
        for call, more in zip(calls, ({}, {"EventDestination": changed}), strict=True):
            with pytest.raises(on.ses.exceptions.NotFoundException, match="Event destination <relay>"):
                await call(**on.mine, **more)
        with pytest.raises(on.ses.exceptions.NotFoundException, match="Configuration set <no>"):
            await on.ses.get_configuration_set_event_destinations(ConfigurationSetName="no")
        assert await on.types() == [NOTICE, NOTICE]

    play(story)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"MatchingEventTypes": []}, "MatchingEventTypes takes"),
        ({"MatchingEventTypes": ["NOPE"]}, "MatchingEventTypes takes"),
        ({"SnsDestination": {"TopicArn": "events"}}, "Invalid SNS topic ARN"),
        ({"SnsDestination": {"TopicArn": "arn:aws:sns:eu-west-1:1:no"}}, "not found"),
        ({"EventBridgeDestination": {"EventBusArn": "arn:aws:events:x:1:event-bus/default"}}, "SnsDestination only"),
    ],
)
def test_destinations_that_cannot_be(play: Any, wanted: dict[str, Any], words: str) -> None:
    async def story(world: Any) -> None:
        on = await loop(world)
        with pytest.raises(on.ses.exceptions.BadRequestException, match=words):
            await on.ses.create_configuration_set_event_destination(
                **on.mine, EventDestination=on.destination() | wanted
            )

    play(story)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("Policy", "", "permission to publish"), ("KmsMasterKeyId", "alias/aws/sns", "may not use the key")],
)
def test_ses_must_be_let_publish(play: Any, name: str, value: str, words: str) -> None:
    async def story(world: Any) -> None:
        on = await loop(world)
        await on.set_topic(name, value)
        with pytest.raises(on.ses.exceptions.BadRequestException, match=words):
            await on.create()
        assert await on.types() == []

    play(story)


def test_a_policy_may_name_the_configuration_set(play: Any) -> None:
    async def story(world: Any) -> None:
        on = await loop(world)
        source = f"arn:aws:ses:eu-west-1:{on.number}:configuration-set/relay"
        more = {"SourceAccount": on.number, "SourceArn": source}
        await on.set_topic("Policy", allowing("ses.amazonaws.com", "sns:Publish", on.topic, **more))
        await on.create()
        more["SourceArn"] += "-other"
        await on.set_topic("Policy", allowing("ses.amazonaws.com", "sns:Publish", on.topic, **more))
        await world.send(ConfigurationSetName="relay")
        assert await on.types() == [NOTICE]
        assert world.sandbox.state.office.lost == {"topic policy": 2}

    play(story)


def test_events_go_by_the_destinations_of_the_mails_own_set(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        on = await loop(world)
        await on.ses.create_configuration_set(ConfigurationSetName="bare")
        await world.send(raw, ConfigurationSetName="bare")
        assert await on.types() == ["Send", "Delivery"]  # no set has a destination yet
        await on.create("SEND", "BOUNCE")
        await world.send(raw, ConfigurationSetName="relay")
        await world.send(raw, to=BOUNCE, ConfigurationSetName="relay")
        await world.send(raw, ConfigurationSetName="bare")
        await world.send(raw)
        assert await on.types() == [NOTICE, "Send", "Send", "Bounce"]
        await on.ses.put_email_identity_configuration_set_attributes(
            EmailIdentity="shared.example", ConfigurationSetName="relay"
        )
        await world.send(raw)
        assert await on.types() == ["Send"]
        disabled = on.destination(enabled=False)
        await on.ses.update_configuration_set_event_destination(**on.mine, EventDestination=disabled)
        assert await on.types() == [NOTICE]
        await world.send(raw)
        await on.ses.delete_configuration_set_event_destination(**on.mine)
        await world.send(raw)
        assert await on.types() == []  # what was built in does not come back

    play(story)


def test_an_account_elsewhere_keeps_its_built_in_way(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        on = await loop(world)
        await on.create()
        elsewhere = await world.client("sesv2", region="us-east-1")
        await elsewhere.send_email(Content={"Raw": {"Data": raw}}, ConfigurationSetName="any")
        assert world.queue(region="us-east-1").counts() == (2, 0)
        assert await on.types() == [NOTICE]

    play(story)


@pytest.mark.parametrize("missing", ["topic", "queue"])
def test_what_has_gone_is_missed_silently(play: Any, raw: bytes, missing: str) -> None:
    async def story(world: Any) -> None:
        on = await loop(world)
        await on.create("SEND")
        if missing == "topic":
            await on.sns.delete_topic(TopicArn=on.topic)
        else:
            await on.sqs.delete_queue(QueueUrl=on.url)
        await world.send(raw, ConfigurationSetName="relay")
        assert world.sandbox.state.office.lost == {f"{missing} missing": 1}

    play(story)


def test_without_a_built_in_queue_events_are_lost(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        sqs = await world.client("sqs")
        await sqs.delete_queue(QueueUrl=f"{world.url}/operator/relay-events")
        await world.send(raw, ConfigurationSetName="relay")
        assert world.sandbox.state.office.lost == {"queue missing": 2}

    play(story)


def test_a_configuration_set_has_ten(play: Any) -> None:
    async def story(world: Any) -> None:
        on = await loop(world)
        for number in range(11):
            on.mine["EventDestinationName"] = f"d{number}"
            try:
                await on.create()
            except on.ses.exceptions.LimitExceededException:
                assert number == 10
                return
        raise AssertionError("eleven were taken")

    play(story)


def test_options_of_a_configuration_set_are_changed(play: Any) -> None:
    async def story(world: Any) -> None:
        on = await loop(world)
        mine = {"ConfigurationSetName": "relay"}
        await on.ses.put_configuration_set_suppression_options(**mine, SuppressedReasons=["BOUNCE"])
        await on.ses.put_configuration_set_tracking_options(**mine, CustomRedirectDomain="click.shared.example")
        await on.ses.put_configuration_set_delivery_options(**mine, TlsPolicy="REQUIRE")
        await on.ses.put_configuration_set_sending_options(**mine, SendingEnabled=False)
        shown = await on.ses.get_configuration_set(**mine)
        assert shown["SuppressionOptions"]["SuppressedReasons"] == ["BOUNCE"]
        assert shown["TrackingOptions"]["CustomRedirectDomain"] == "click.shared.example"
        assert shown["DeliveryOptions"] == {"TlsPolicy": "REQUIRE"}
        assert shown["SendingOptions"] == {"SendingEnabled": False}
        with pytest.raises(ClientError, match="Sending is paused for configuration set relay"):
            await world.send(**mine)
        await on.ses.put_configuration_set_sending_options(**mine, SendingEnabled=True)
        await world.send(**mine)
        with pytest.raises(on.ses.exceptions.NotFoundException):
            await on.ses.put_configuration_set_tracking_options(ConfigurationSetName="no")

    play(story)


def test_feedback_by_mail_is_turned_off(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        mine = {"EmailIdentity": "shared.example"}
        assert (await ses.get_email_identity(**mine))["FeedbackForwardingStatus"] is True
        await ses.put_email_identity_feedback_attributes(**mine, EmailForwardingEnabled=False)
        assert (await ses.get_email_identity(**mine))["FeedbackForwardingStatus"] is False

    play(story)
