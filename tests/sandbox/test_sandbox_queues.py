"""Queues made, changed and deleted as aiobotocore does it; dead letters; visibility."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.sandbox.queues import Queue, Redrive
from relay.sandbox.refusals import Refusal

POLICY = json.dumps({"Version": "2012-10-17", "Statement": []})


async def dead_letters(sqs: Any, after: int = 2) -> str:
    """Make the queue `dead`, and say what redrives into it."""
    url = (await sqs.create_queue(QueueName="dead"))["QueueUrl"]
    arn = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]))["Attributes"]["QueueArn"]
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": after})


def test_created_changed_listed_and_deleted(play: Any) -> None:
    async def story(world: Any) -> None:
        sqs = await world.client("sqs")
        wanted = {"VisibilityTimeout": "120", "MessageRetentionPeriod": "1209600", "Policy": POLICY}
        made = await sqs.create_queue(QueueName="events", Attributes=wanted, tags={"relay": "x"})
        url = made["QueueUrl"]
        assert url == f"{world.url}/operator/events" == (await sqs.get_queue_url(QueueName="events"))["QueueUrl"]
        assert (await sqs.create_queue(QueueName="events", Attributes=wanted))["QueueUrl"] == url
        with pytest.raises(sqs.exceptions.QueueNameExists, match="attribute VisibilityTimeout") as refused:
            await sqs.create_queue(QueueName="events", Attributes={"VisibilityTimeout": "30"})
        assert refused.value.response["Error"]["Code"] == "QueueAlreadyExists"
        await sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": "", "KmsMasterKeyId": "alias/aws/sqs"})
        shown = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]))["Attributes"]
        assert shown["QueueArn"].endswith(":events")
        assert (shown["VisibilityTimeout"], shown["KmsMasterKeyId"], "Policy" in shown) == (
            "120",
            "alias/aws/sqs",
            False,
        )
        await sqs.tag_queue(QueueUrl=url, Tags={"by": "relay"})
        await sqs.untag_queue(QueueUrl=url, TagKeys=["relay"])
        assert (await sqs.list_queue_tags(QueueUrl=url))["Tags"] == {"by": "relay"}
        assert (await sqs.list_queues())["QueueUrls"] == [url, f"{world.url}/operator/relay-events"]
        first = await sqs.list_queues(MaxResults=1)
        assert (await sqs.list_queues(MaxResults=1, NextToken=first["NextToken"]))["QueueUrls"][0].endswith(
            "relay-events"
        )
        assert (await sqs.list_queues(QueueNamePrefix="relay"))["QueueUrls"] == [f"{world.url}/operator/relay-events"]
        await sqs.delete_queue(QueueUrl=url)
        with pytest.raises(sqs.exceptions.QueueDoesNotExist):
            await sqs.get_queue_url(QueueName="events")
        for account, region in (("customer", "eu-west-1"), ("operator", "us-east-1")):
            elsewhere = await world.client("sqs", account, region)
            assert len((await elsewhere.list_queues())["QueueUrls"]) == 1

    play(story)


def test_its_own_times_hold_when_a_receive_says_none(play: Any) -> None:
    async def story(world: Any) -> None:
        sqs = await world.client("sqs")
        times = {"VisibilityTimeout": "0", "ReceiveMessageWaitTimeSeconds": "20"}
        url = (await sqs.create_queue(QueueName="events", Attributes=times))["QueueUrl"]
        poll = asyncio.create_task(sqs.receive_message(QueueUrl=url))
        while not world.queue(name="events")._waiting:
            await asyncio.sleep(0)
        await sqs.send_message(QueueUrl=url, MessageBody="a")
        assert (await poll)["Messages"][0]["Body"] == "a"
        assert (await sqs.receive_message(QueueUrl=url))["Messages"][0]["Body"] == "a"

    play(story)


def test_what_is_received_too_often_goes_to_the_dead_letters(play: Any) -> None:
    async def story(world: Any) -> None:
        sqs = await world.client("sqs")
        url = (await sqs.get_queue_url(QueueName="relay-events"))["QueueUrl"]
        await sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": await dead_letters(sqs)})
        sent = (await sqs.send_message(QueueUrl=url, MessageBody="broken"))["MessageId"]
        for _ in range(2):
            assert len((await sqs.receive_message(QueueUrl=url, VisibilityTimeout=0))["Messages"]) == 1
        assert "Messages" not in await sqs.receive_message(QueueUrl=url)
        assert world.queue().counts() == (0, 0)
        received = await sqs.receive_message(QueueUrl=f"{world.url}/operator/dead", AttributeNames=["All"])
        assert (received["Messages"][0]["MessageId"], received["Messages"][0]["Body"]) == (sent, "broken")
        assert received["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == "3"

    play(story)


def test_visibility_is_changed_and_a_queue_emptied(play: Any) -> None:
    async def story(world: Any) -> None:
        sqs = await world.client("sqs")
        url = (await sqs.get_queue_url(QueueName="relay-events"))["QueueUrl"]
        for body in "ab":
            await sqs.send_message(QueueUrl=url, MessageBody=body)
        received = (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
        first, second = (each["ReceiptHandle"] for each in received)
        await sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first, VisibilityTimeout=0)
        assert [each["Body"] for each in (await sqs.receive_message(QueueUrl=url))["Messages"]] == ["a"]
        with pytest.raises(sqs.exceptions.MessageNotInflight):
            await sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first, VisibilityTimeout=0)
        entries = [{"Id": "1", "ReceiptHandle": second, "VisibilityTimeout": 0}, {"Id": "2", "ReceiptHandle": first}]
        changed = await sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
        assert [each["Id"] for each in changed["Successful"]] == ["1"]
        assert [each["Code"] for each in changed["Failed"]] == ["MessageNotInflight"]
        assert world.queue().counts() == (1, 1)
        await sqs.purge_queue(QueueUrl=url)
        assert world.queue().counts() == (0, 0)

    play(story)


@pytest.mark.parametrize(
    ("name", "attributes", "code"),
    [
        ("re.lay", {}, "InvalidParameterValueException"),
        ("events.fifo", {}, "InvalidParameterValueException"),
        ("events", {"Nope": "1"}, "InvalidAttributeName"),
        ("events", {"VisibilityTimeout": "43201"}, "InvalidAttributeValue"),
        ("events", {"VisibilityTimeout": "soon"}, "InvalidAttributeValue"),
        ("events", {"SqsManagedSseEnabled": "yes"}, "InvalidAttributeValue"),
        ("events", {"Policy": "{"}, "InvalidAttributeValue"),
        ("events", {"RedrivePolicy": "{}"}, "InvalidParameterValueException"),
        (
            "events",
            {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:no", "maxReceiveCount": 5}'},
            "InvalidParameterValueException",
        ),
        (
            "events",
            {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:no", "maxReceiveCount": 0}'},
            "InvalidParameterValueException",
        ),
    ],
)
def test_queues_that_cannot_be(play: Any, name: str, attributes: dict[str, str], code: str) -> None:
    async def story(world: Any) -> None:
        sqs = await world.client("sqs")
        with pytest.raises(ClientError) as refused:
            await sqs.create_queue(QueueName=name, Attributes=attributes)
        assert refused.value.response["Error"]["Code"] == code
        assert len((await sqs.list_queues())["QueueUrls"]) == 1

    play(story)


def test_an_account_has_so_many_queues(play: Any) -> None:
    async def story(world: Any) -> None:
        queues = world.sandbox.state.region_of("operator", "eu-west-1").queues
        for number in range(99):
            queues.create(str(number), {}, {})
        sqs = await world.client("sqs")
        with pytest.raises(ClientError, match="OverLimit"):
            await sqs.create_queue(QueueName="one-more")

    play(story)


def test_a_queue_is_bounded_by_what_it_holds() -> None:
    queue = Queue(max_characters=10)
    for body in ("aaaa", "bbbb", "cccc"):
        queue.put(body)
    assert queue.counts() == (2, 0)
    [oldest, _] = queue.receive(10, 30)
    queue.delete(oldest.receipt)
    queue.put("dddddd")
    assert queue.counts() == (1, 1)


def test_expiries_that_no_longer_count_are_forgotten() -> None:
    queue = Queue()
    queue.put("a")
    [item] = queue.receive(1, 30)
    for _ in range(3_000):
        queue.change_visibility(item.receipt, 60)
    assert len(queue._expiries) < 2_000
    queue.change_visibility(item.receipt, 0)
    assert queue.counts() == (1, 0)
    with pytest.raises(Refusal, match="ReceiptHandleIsInvalid"):
        queue.change_visibility("x", 0)


def test_what_is_buried_has_left_the_queue() -> None:
    buried: list[str] = []
    queue = Queue()
    queue.redrive = Redrive(1, lambda item: buried.append(item.body))
    queue.put("a")
    queue.put("b")
    assert [item.body for item in queue.receive(1, 0)] == ["a"]
    assert [item.body for item in queue.receive(10, 30)] == ["b"]
    assert buried == ["a"]


def test_what_sdks_would_not_send_is_refused_too(play: Any) -> None:
    async def story(world: Any) -> None:
        url = f"{world.url}/operator/relay-events"
        scope = "AWS4-HMAC-SHA256 Credential=operator/20260101/eu-west-1/sqs/aws4_request, x"
        for operation, parameters, code in (
            ("SendMessage", {"MessageBody": "\ud800"}, "InvalidMessageContents"),
            ("SendMessage", {"MessageBody": ""}, "InvalidParameterValueException"),
            ("SetQueueAttributes", {"Attributes": {"Policy": "\ud800"}}, "InvalidAttributeValue"),
            ("SetQueueAttributes", {"Attributes": {"Policy": 1}}, "InvalidAttributeValue"),
            ("GetQueueAttributes", {"AttributeNames": [["All"]]}, "InvalidAttributeName"),
            ("TagQueue", {"Tags": {"a": 1}}, "SerializationException"),
            ("ListQueues", {"NextToken": "?"}, "InvalidParameterValueException"),
            ("GetQueueUrl", {"QueueName": "relay-events", "QueueOwnerAWSAccountId": "1"}, "QueueDoesNotExist"),
        ):
            headers = {"X-Amz-Target": f"AmazonSQS.{operation}", "Authorization": scope}
            body = json.dumps({"QueueUrl": url} | parameters)
            async with world.http.post(world.url, data=body, headers=headers) as response:
                assert (response.status, response.headers["x-amzn-errortype"]) == (400, code)

    play(story)
