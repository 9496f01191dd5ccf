"""The mailbox simulator's events through SQS: receive, visibility, delete."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from relay.sandbox.queues import Queue
from relay.sandbox.simulator import Outcome, outcome_of


def at(*names: str) -> str:
    return " ".join(f"{name}@simulator.amazonses.com" for name in names)


async def queue_of(world: Any, account: str = "operator") -> tuple[Any, str]:
    sqs = await world.client("sqs", account)
    url = (await sqs.get_queue_url(QueueName="relay-events"))["QueueUrl"]
    assert url == f"{world.url}/{account}/relay-events"
    return sqs, url


async def events(world: Any) -> list[dict[str, Any]]:
    sqs, url = await queue_of(world)
    messages = (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get("Messages", [])
    return [json.loads(json.loads(message["Body"])["Message"]) for message in messages]


def test_an_event_looks_like_one_of_ses(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        id = await world.send(
            raw, to="x@d.test", ConfigurationSetName="relay", EmailTags=[{"Name": "relay_id", "Value": "a1"}]
        )
        sqs, url = await queue_of(world)
        answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
        send, delivery = answer["Messages"]
        assert send["MD5OfBody"] == hashlib.md5(send["Body"].encode()).hexdigest()
        assert send["Attributes"]["ApproximateReceiveCount"] == "1"
        envelope = json.loads(send["Body"])
        assert envelope["Type"] == "Notification"
        assert envelope["Subject"] == "Amazon SES Email Event Notification"
        assert envelope["TopicArn"].startswith("arn:aws:sns:eu-west-1:")
        event = json.loads(envelope["Message"])
        mail = event["mail"]
        assert (event["eventType"], event["send"]) == ("Send", {})
        assert (mail["messageId"], mail["destination"], mail["source"]) == (id, ["x@d.test"], "hello@shared.example")
        assert mail["tags"]["relay_id"] == ["a1"]
        assert mail["tags"]["ses:configuration-set"] == ["relay"]
        assert mail["headers"][2] == {"name": "Subject", "value": "Hello"}
        assert mail["headersTruncated"] is False
        assert mail["commonHeaders"] == {
            "from": ["Shop <hello@shared.example>"],
            "to": ["Ann <ann@one.test>"],
            "messageId": id,
            "subject": "Hello",
        }
        event = json.loads(json.loads(delivery["Body"])["Message"])
        assert event["eventType"] == "Delivery"
        assert event["delivery"]["recipients"] == ["x@d.test"]

    play(story)


def test_without_a_configuration_set_there_are_no_events(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        await world.send(raw)
        assert await events(world) == []

    play(story)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (at("success"), ["Send", "Delivery"]),
        (at("bounce+x"), ["Send", ("Bounce", "Permanent", "General")]),
        (at("complaint"), ["Send", "Delivery", "Complaint"]),
        (at("ooto"), ["Send", "Delivery", ("Bounce", "Transient", "General")]),
        (at("suppressionlist"), ["Send", ("Bounce", "Permanent", "Suppressed")]),
        ("a@x.test b@y.test c@x.test", ["Send", "Delivery", "Delivery"]),  # one per domain
        (at("bounce+1", "bounce+2"), ["Send", ("Bounce", "Permanent", "General")]),  # merged
        (
            at("success", "bounce", "complaint"),
            ["Send", "Delivery", ("Bounce", "Permanent", "General"), "Complaint"],
        ),
    ],
)
def test_the_simulator_emits(play: Any, raw: bytes, to: str, expected: list[Any]) -> None:
    async def story(world: Any) -> None:
        await world.send(raw, to=to, ConfigurationSetName="relay")
        seen: list[Any] = []
        touched: set[str] = set()
        for event in await events(world):
            kind = event["eventType"]
            detail = event[kind.lower()]
            is_bounce = kind == "Bounce"
            seen.append((kind, detail["bounceType"], detail["bounceSubType"]) if is_bounce else kind)
            touched |= set(detail.get("recipients", []))
            for recipient in detail.get("bouncedRecipients", []) + detail.get("complainedRecipients", []):
                touched.add(recipient["emailAddress"])
        assert seen == expected
        assert touched == set(to.split())

    play(story)


@pytest.mark.parametrize("outcome", Outcome)
def test_a_label_changes_nothing(outcome: Outcome) -> None:
    for local in (outcome.value, f"{outcome.value}+a1", f"{outcome.value.upper()}+b+c", f"{outcome.value}+"):
        assert outcome_of(f"{local}@simulator.amazonses.com") is outcome
        assert outcome_of(f"{local}@Simulator.AmazonSES.com") is outcome
        assert outcome_of(f"{local}@elsewhere.test") is Outcome.DELIVERED


def test_long_headers_are_cut(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        await world.send(b"".join(b"X-%d: %s\r\n" % (i, b"x" * 900) for i in range(20)) + raw, ConfigurationSetName="r")
        mail = (await events(world))[0]["mail"]
        assert mail["headersTruncated"] is True
        assert len(mail["headers"]) == 11
        assert mail["commonHeaders"]["subject"] == "Hello"

    play(story)


def test_a_message_is_invisible_until_its_time_is_up(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        await world.send(raw, to=at("bounce"), ConfigurationSetName="relay")
        sqs, url = await queue_of(world)
        first = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1)
        assert len(first["Messages"]) == 2
        assert "Messages" not in await sqs.receive_message(QueueUrl=url)
        counts = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        assert counts["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "2"
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=first["Messages"][0]["ReceiptHandle"])
        # A long poll sleeps until the other one is visible again, not longer.
        again = await sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MessageSystemAttributeNames=["All"])
        [message] = again["Messages"]
        assert message["MessageId"] == first["Messages"][1]["MessageId"]
        assert message["Attributes"]["ApproximateReceiveCount"] == "2"
        # The handle of the first receive is stale: it deletes nothing.
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=first["Messages"][1]["ReceiptHandle"])
        counts = await sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        )
        assert list(counts["Attributes"].values()) == ["0", "1"]

    play(story)


def test_a_long_poll_wakes_for_a_message(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        sqs, url = await queue_of(world)
        queue = world.queue()
        poll = asyncio.create_task(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
        while not queue._waiting:
            await asyncio.sleep(0)
        await world.send(raw, ConfigurationSetName="relay")
        assert len((await poll)["Messages"]) == 1

    play(story)


def test_a_poller_that_left_takes_nothing_with_it(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        sqs, url = await queue_of(world)
        queue = world.queue()
        poll = asyncio.create_task(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
        while not queue._waiting:
            await asyncio.sleep(0)
        poll.cancel()
        while queue._waiting:
            await asyncio.sleep(0)
        await world.send(raw, ConfigurationSetName="relay")
        assert queue.counts() == (2, 0)

    play(story)


def test_batches_are_deleted_entry_by_entry(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        await world.send(raw, to=at("complaint"), ConfigurationSetName="relay")
        sqs, url = await queue_of(world)
        messages = (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
        entries = [{"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]} for i, message in enumerate(messages)]
        answer = await sqs.delete_message_batch(
            QueueUrl=url, Entries=[*entries, {"Id": "made-up", "ReceiptHandle": "nonsense"}]
        )
        assert [entry["Id"] for entry in answer["Successful"]] == ["0", "1", "2"]
        assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("made-up", "ReceiptHandleIsInvalid")]
        assert world.queue().counts() == (0, 0)

    play(story)


def test_each_account_has_its_own_queue(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        await world.send(raw, ConfigurationSetName="relay")
        sqs, url = await queue_of(world, "customer")
        assert "Messages" not in await sqs.receive_message(QueueUrl=url)
        with pytest.raises(sqs.exceptions.QueueDoesNotExist):
            await sqs.receive_message(QueueUrl=url.replace("customer", "operator"))

    play(story)


@pytest.mark.parametrize(
    ("operation", "parameters", "code"),
    [
        ("get_queue_url", {"QueueName": "other"}, "AWS.SimpleQueueService.NonExistentQueue"),
        ("receive_message", {"QueueUrl": "http://[/x"}, "AWS.SimpleQueueService.NonExistentQueue"),
        ("receive_message", {"QueueUrl": "URL", "MaxNumberOfMessages": 11}, "InvalidParameterValueException"),
        ("receive_message", {"QueueUrl": "URL", "WaitTimeSeconds": 21}, "InvalidParameterValueException"),
        ("receive_message", {"QueueUrl": "URL", "VisibilityTimeout": 43_201}, "InvalidParameterValueException"),
        ("delete_message", {"QueueUrl": "URL", "ReceiptHandle": "ü"}, "ReceiptHandleIsInvalid"),
        ("delete_message_batch", {"QueueUrl": "URL", "Entries": []}, "EmptyBatchRequest"),
        (
            "delete_message_batch",
            {"QueueUrl": "URL", "Entries": [{"Id": "1", "ReceiptHandle": "x"}] * 2},
            "BatchEntryIdsNotDistinct",
        ),
        (
            "delete_message_batch",
            {"QueueUrl": "URL", "Entries": [{"Id": str(i), "ReceiptHandle": "x"} for i in range(11)]},
            "TooManyEntriesInBatchRequest",
        ),
        ("get_queue_attributes", {"QueueUrl": "URL", "AttributeNames": ["Nope"]}, "InvalidAttributeName"),
        (
            "add_permission",
            {"QueueUrl": "URL", "Label": "x", "AWSAccountIds": ["1"], "Actions": ["*"]},
            "UnknownOperationException",
        ),
    ],
)
def test_sqs_refusals(play: Any, operation: str, parameters: dict[str, Any], code: str) -> None:
    async def story(world: Any) -> None:
        sqs, url = await queue_of(world)
        if parameters.get("QueueUrl") == "URL":
            parameters["QueueUrl"] = url
        with pytest.raises(ClientError) as refused:
            await getattr(sqs, operation)(**parameters)
        assert refused.value.response["Error"]["Code"] == code

    play(story)


def test_a_queue_is_bounded() -> None:
    queue = Queue(max_items=3)
    for body in "abcde":
        queue.put(body)
    assert [item.body for item in queue.receive(10, 30)] == ["c", "d", "e"]
    queue.put("f")  # all in flight: the newest gives way
    assert queue.counts() == (0, 3)


def test_an_empty_queue_makes_a_poll_wait_its_time() -> None:
    async def poll() -> float:
        start = time.monotonic()
        await Queue().arrival(0.05)
        return time.monotonic() - start

    assert asyncio.run(poll()) >= 0.05
