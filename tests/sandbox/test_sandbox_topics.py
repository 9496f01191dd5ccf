"""Topics and subscriptions as aiobotocore sees them, and what reaches a queue."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError


def letting(queue: str, topic: str) -> str:
    """A policy that lets a topic send to a queue."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Scene:
    """A topic with a queue that is subscribed to it, and whose policy lets the topic send."""

    def __init__(self, world: Any, sns: Any, sqs: Any) -> None:
        self.world, self.sns, self.sqs = world, sns, sqs
        self.topic = self.queue = self.url = self.subscription = ""

    async def lay(self, name: str = "events") -> None:
        self.topic = (await self.sns.create_topic(Name=name))["TopicArn"]
        self.url = (await self.sqs.create_queue(QueueName=name))["QueueUrl"]
        asked = await self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.queue = asked["Attributes"]["QueueArn"]
        await self.set_queue(Policy=letting(self.queue, self.topic))
        made = await self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=self.queue)
        self.subscription = made["SubscriptionArn"]

    async def set_queue(self, **attributes: str) -> None:
        await self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes=attributes)

    async def received(self, url: str = "") -> list[str]:
        answer = await self.sqs.receive_message(QueueUrl=url or self.url, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", [])]

    async def lost(self) -> dict[str, int]:
        async with self.world.http.get(f"{self.world.url}/events") as response:
            return dict((await response.json())["lost"])


async def scene(world: Any) -> Scene:
    made = Scene(world, await world.client("sns"), await world.client("sqs"))
    await made.lay()
    return made


def test_created_changed_listed_and_deleted(play: Any) -> None:
    async def story(world: Any) -> None:
        sns = await world.client("sns")
        wanted: dict[str, Any] = {"Attributes": {"SignatureVersion": "2"}, "Tags": [{"Key": "a&b", "Value": "<x>"}]}
        arn = (await sns.create_topic(Name="events", **wanted))["TopicArn"]
        assert (await sns.create_topic(Name="events", **wanted))["TopicArn"] == arn
        assert (await sns.create_topic(Name="events"))["TopicArn"] == arn
        for other in ({"Attributes": {"SignatureVersion": "1"}}, {"Tags": [{"Key": "a", "Value": "b"}]}):
            with pytest.raises(sns.exceptions.InvalidParameterException, match="already exists with different"):
                await sns.create_topic(Name="events", **other)
        shown = (await sns.get_topic_attributes(TopicArn=arn))["Attributes"]
        assert (shown["TopicArn"], shown["SignatureVersion"]) == (arn, "2")
        assert json.loads(shown["Policy"])["Id"] == "__default_policy_ID"
        policy = json.dumps({"Statement": [], "Id": "ours & <theirs>"})
        await sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
        assert (await sns.get_topic_attributes(TopicArn=arn))["Attributes"]["Policy"] == policy
        await sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "by", "Value": "relay"}])
        await sns.untag_resource(ResourceArn=arn, TagKeys=["nope", "a&b"])
        assert (await sns.list_tags_for_resource(ResourceArn=arn))["Tags"] == [{"Key": "by", "Value": "relay"}]
        assert (await sns.list_topics())["Topics"] == [{"TopicArn": arn}]
        await sns.delete_topic(TopicArn=arn)
        await sns.delete_topic(TopicArn=arn)
        with pytest.raises(sns.exceptions.NotFoundException):
            await sns.get_topic_attributes(TopicArn=arn)
        with pytest.raises(sns.exceptions.ResourceNotFoundException):
            await sns.list_tags_for_resource(ResourceArn=arn)

    play(story)


def test_a_subscription_is_made_shown_changed_and_ended(play: Any) -> None:
    async def story(world: Any) -> None:
        on = await scene(world)
        again = await on.sns.subscribe(TopicArn=on.topic, Protocol="sqs", Endpoint=on.queue)
        assert again["SubscriptionArn"] == on.subscription
        with pytest.raises(on.sns.exceptions.InvalidParameterException, match="different attributes"):
            await on.sns.subscribe(
                TopicArn=on.topic, Protocol="sqs", Endpoint=on.queue, Attributes={"RawMessageDelivery": "true"}
            )
        [listed] = (await on.sns.list_subscriptions_by_topic(TopicArn=on.topic))["Subscriptions"]
        assert (listed["SubscriptionArn"], listed["Protocol"], listed["Endpoint"]) == (on.subscription, "sqs", on.queue)
        assert (await on.sns.list_subscriptions())["Subscriptions"] == [listed]
        change = {"AttributeName": "RawMessageDelivery", "AttributeValue": "true"}
        await on.sns.set_subscription_attributes(SubscriptionArn=on.subscription, **change)
        shown = (await on.sns.get_subscription_attributes(SubscriptionArn=on.subscription))["Attributes"]
        assert (shown["RawMessageDelivery"], shown["PendingConfirmation"]) == ("true", "false")
        await on.sns.unsubscribe(SubscriptionArn=on.subscription)
        assert (await on.sns.list_subscriptions_by_topic(TopicArn=on.topic))["Subscriptions"] == []
        assert (await on.sns.get_topic_attributes(TopicArn=on.topic))["Attributes"]["SubscriptionsDeleted"] == "1"
        with pytest.raises(on.sns.exceptions.NotFoundException):
            await on.sns.get_subscription_attributes(SubscriptionArn=on.subscription)

    play(story)


def test_more_than_a_page(play: Any) -> None:
    async def story(world: Any) -> None:
        region = world.sandbox.state.region_of("operator", "eu-west-1")
        topic = region.topics.create("events", {}, {})
        for number in range(100):
            topic.subscribe("http", f"http://{number}.test/", {})
        for number in range(98):
            region.topics.create(f"t{number}", {}, {})
        region.topics.create("last", {}, {}).subscribe("http", "http://last.test/", {})
        sns = await world.client("sns")
        first = await sns.list_subscriptions()
        second = await sns.list_subscriptions(NextToken=first["NextToken"])
        assert [len(each["Subscriptions"]) for each in (first, second)] == [100, 1]
        assert "NextToken" not in second
        with pytest.raises(ClientError, match="SubscriptionLimitExceeded"):
            await sns.subscribe(TopicArn=str(topic.arn), Protocol="http", Endpoint="http://more.test/")
        with pytest.raises(ClientError, match="TopicLimitExceeded"):
            await sns.create_topic(Name="more")

    play(story)


def test_what_is_published_reaches_the_queue_in_an_envelope_or_raw(play: Any) -> None:
    async def story(world: Any) -> None:
        on = await scene(world)
        id = (await on.sns.publish(TopicArn=on.topic, Message="Hello & <you>", Subject="Hi"))["MessageId"]
        change = {"AttributeName": "RawMessageDelivery", "AttributeValue": "true"}
        await on.sns.set_subscription_attributes(SubscriptionArn=on.subscription, **change)
        await on.sns.publish(TopicArn=on.topic, Message="raw")
        body, raw = await on.received()
        envelope = json.loads(body)
        assert raw == "raw"
        assert {name: envelope[name] for name in ("Type", "MessageId", "TopicArn", "Subject", "Message")} == {
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": on.topic,
            "Subject": "Hi",
            "Message": "Hello & <you>",
        }
        assert "Signature" in envelope

    play(story)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Policy": ""}, "queue policy"),
        ({"Policy": letting("*", "arn:aws:sns:eu-west-1:000000000000:other")}, "queue policy"),
        ({"KmsMasterKeyId": "alias/aws/sqs"}, "queue key"),
        (None, "queue missing"),
    ],
)
def test_what_a_queue_does_not_take_is_lost(play: Any, attributes: dict[str, str] | None, reason: str) -> None:
    async def story(world: Any) -> None:
        on = await scene(world)
        if attributes is None:
            await on.sqs.delete_queue(QueueUrl=on.url)
        else:
            await on.set_queue(**attributes)
        await on.sns.publish(TopicArn=on.topic, Message="x")
        assert await on.lost() == {reason: 1}

    play(story)


def test_a_subscription_may_have_dead_letters(play: Any) -> None:
    async def story(world: Any) -> None:
        on = await scene(world)
        url = (await on.sqs.create_queue(QueueName="dead"))["QueueUrl"]
        dead = on.queue.replace(":events", ":dead")
        await on.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": letting(dead, on.topic)})
        redrive = {"AttributeName": "RedrivePolicy", "AttributeValue": json.dumps({"deadLetterTargetArn": dead})}
        await on.sns.set_subscription_attributes(SubscriptionArn=on.subscription, **redrive)
        await on.set_queue(Policy="")
        await on.sns.publish(TopicArn=on.topic, Message="x")
        assert [json.loads(body)["Message"] for body in await on.received(url)] == ["x"]
        assert await on.lost() == {}

    play(story)


def test_a_queue_of_another_account_confirms_first(play: Any) -> None:
    async def story(world: Any) -> None:
        on = await scene(world)
        theirs = Scene(world, await world.client("sns", "customer"), await world.client("sqs", "customer"))
        await theirs.lay("theirs")
        await theirs.set_queue(Policy=letting(theirs.queue, on.topic))
        made = await on.sns.subscribe(TopicArn=on.topic, Protocol="sqs", Endpoint=theirs.queue)
        assert made["SubscriptionArn"] == "pending confirmation"
        await on.sns.publish(TopicArn=on.topic, Message="too early")
        [asked] = map(json.loads, await theirs.received())
        assert (asked["Type"], asked["TopicArn"]) == ("SubscriptionConfirmation", on.topic)
        with pytest.raises(theirs.sns.exceptions.InvalidParameterException):
            await theirs.sns.confirm_subscription(TopicArn=on.topic, Token="x")
        arn = (await theirs.sns.confirm_subscription(TopicArn=on.topic, Token=asked["Token"]))["SubscriptionArn"]
        assert arn.startswith(on.topic)
        await on.sns.publish(TopicArn=on.topic, Message="now")
        assert [json.loads(body)["Message"] for body in await theirs.received()] == ["now"]

    play(story)


@pytest.mark.parametrize(
    ("operation", "parameters", "code"),
    [
        ("create_topic", {"Name": "a.fifo"}, "InvalidParameter"),
        ("create_topic", {"Name": "a", "Attributes": {"Nope": "x"}}, "InvalidParameter"),
        ("create_topic", {"Name": "a", "Attributes": {"SignatureVersion": "3"}}, "InvalidParameter"),
        ("create_topic", {"Name": "a", "Tags": [{"Key": "k" * 129, "Value": ""}]}, "InvalidParameter"),
        ("create_topic", {"Name": "a", "Tags": [{"Key": str(i), "Value": ""} for i in range(51)]}, "TagLimitExceeded"),
        ("get_topic_attributes", {"TopicArn": "events"}, "InvalidParameter"),
        ("get_topic_attributes", {"TopicArn": "arn:aws:sns:eu-west-1:1:events"}, "NotFound"),
        (
            "set_topic_attributes",
            {"TopicArn": "T", "AttributeName": "Policy", "AttributeValue": "{"},
            "InvalidParameter",
        ),
        ("subscribe", {"TopicArn": "T", "Protocol": "email", "Endpoint": "a@b.test"}, "InvalidParameter"),
        ("subscribe", {"TopicArn": "T", "Protocol": "sqs", "Endpoint": "https://x.test"}, "InvalidParameter"),
        ("subscribe", {"TopicArn": "T", "Protocol": "https", "Endpoint": "http://x.test"}, "InvalidParameter"),
        (
            "subscribe",
            {"TopicArn": "T", "Protocol": "http", "Endpoint": "http://x.test", "Attributes": {"DeliveryPolicy": "[]"}},
            "InvalidParameter",
        ),
        ("unsubscribe", {"SubscriptionArn": "arn:aws:sns:eu-west-1:1:events:x"}, "NotFound"),
        ("confirm_subscription", {"TopicArn": "arn:aws:sns:eu-west-1:1:x", "Token": "x"}, "NotFound"),
        ("publish", {"TopicArn": "T", "Message": "x" * 300_000}, "InvalidParameter"),
        ("list_topics", {"NextToken": "?"}, "InvalidParameter"),
        ("list_platform_applications", {}, "InvalidAction"),
    ],
)
def test_sns_refusals(play: Any, operation: str, parameters: dict[str, Any], code: str) -> None:
    async def story(world: Any) -> None:
        sns = await world.client("sns")
        topic = (await sns.create_topic(Name="events"))["TopicArn"]
        with pytest.raises(ClientError) as refused:
            await getattr(sns, operation)(
                **parameters | ({"TopicArn": topic} if parameters.get("TopicArn") == "T" else {})
            )
        assert refused.value.response["Error"]["Code"] == code

    play(story)


def test_scripts_answer_sns_in_its_own_words(play: Any) -> None:
    async def story(world: Any) -> None:
        sns = await world.client("sns")
        await world.script(operation="CreateTopic", fault={"error": "AuthorizationError"})
        with pytest.raises(sns.exceptions.AuthorizationErrorException):
            await sns.create_topic(Name="events")
        stranger = await world.client("sns", "stranger")
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            await stranger.list_topics()
        async with world.http.post(world.url, data=b"\xff") as response:
            assert (response.status, response.headers["content-type"]) == (403, "text/xml; charset=utf-8")

    play(story)


def test_sts_says_who_calls(play: Any) -> None:
    async def story(world: Any) -> None:
        sts = await world.client("sts", "customer")
        said = await sts.get_caller_identity()
        assert said["Account"] == world.sandbox.state.accounts["customer"].number
        assert said["Arn"].endswith(":user/customer")

    play(story)
