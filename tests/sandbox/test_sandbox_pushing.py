"""What SNS posts to an endpoint: confirmations, notifications with a signature that holds, tries after failures."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SIGNED = {
    "Notification": ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
    "SubscriptionConfirmation": ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
}
QUICK = {"DeliveryPolicy": '{"healthyRetryPolicy": {"numRetries": 2, "minDelayTarget": 0}}'}


class Endpoint:
    """Somebody's web server: keeps what is posted to it, and answers with the statuses it was given, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.posts: asyncio.Queue[tuple[Mapping[str, str], str]] = asyncio.Queue()
        self.url = ""

    async def __aenter__(self) -> Endpoint:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/sns?x=1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def post(self) -> tuple[Mapping[str, str], dict[str, str]]:
        headers, body = await asyncio.wait_for(self.posts.get(), 10)
        return headers, json.loads(body)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        assert request == "POST /sns?x=1 HTTP/1.1"
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = (await reader.readexactly(int(headers["content-length"]))).decode()
        self.posts.put_nowait((headers, body))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(b"HTTP/1.1 %d Said\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()


async def is_signed(world: Any, envelope: Mapping[str, str]) -> bool:
    """Whether the certificate that the sandbox has under the file's name vouches for the envelope."""
    host, _, path = envelope["SigningCertURL"].removeprefix("https://").partition("/")
    assert host == "sns.eu-west-1.amazonaws.com"
    async with world.http.get(f"{world.url}/{path}") as response:
        assert response.status == 200
        certificate = x509.load_pem_x509_certificate(await response.read())
    assert certificate.subject.rfc4514_string() == "CN=sns.amazonaws.com"
    names = [name for name in SIGNED[envelope["Type"]] if name in envelope]
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names).encode()
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    digest: hashes.HashAlgorithm = {"1": hashes.SHA1(), "2": hashes.SHA256()}[envelope["SignatureVersion"]]
    key.verify(base64.b64decode(envelope["Signature"]), text, padding.PKCS1v15(), digest)
    return True


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_endpoint_confirms_and_then_hears(play: Any, version: str) -> None:
    async def story(world: Any) -> None:
        sns = await world.client("sns")
        topic = (await sns.create_topic(Name="events", Attributes={"SignatureVersion": version}))["TopicArn"]
        async with Endpoint() as there:
            made = await sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=there.url, ReturnSubscriptionArn=True)
            await sns.publish(TopicArn=topic, Message="too early")
            headers, asked = await there.post()
            assert headers["x-amz-sns-message-type"] == asked["Type"] == "SubscriptionConfirmation"
            assert headers["content-type"] == "text/plain; charset=UTF-8"
            assert "x-amz-sns-subscription-arn" not in headers
            assert await is_signed(world, asked)
            [listed] = (await sns.list_subscriptions_by_topic(TopicArn=topic))["Subscriptions"]
            assert listed["SubscriptionArn"] == "PendingConfirmation"
            confirmed = await sns.confirm_subscription(TopicArn=topic, Token=asked["Token"])
            assert confirmed["SubscriptionArn"] == made["SubscriptionArn"]
            for subject in ({"Subject": "Hi"}, {}):
                id = (await sns.publish(TopicArn=topic, Message="Hello", **subject))["MessageId"]
                headers, told = await there.post()
                assert headers["x-amz-sns-message-id"] == told["MessageId"] == id
                assert headers["x-amz-sns-subscription-arn"] == made["SubscriptionArn"]
                assert headers["x-amz-sns-topic-arn"] == told["TopicArn"] == topic
                assert (told["Message"], told.get("Subject")) == ("Hello", subject.get("Subject"))
                assert told["SignatureVersion"] == version
                assert await is_signed(world, told)
        async with world.http.get(f"{world.url}/SimpleNotificationService-0123456789abcdef.pem") as response:
            assert response.status == 404

    play(story)


@pytest.mark.parametrize(
    ("statuses", "tries", "lost"),
    [
        ((503, 500), 3, {}),
        ((503, 503, 503), 3, {"endpoint failed": 1}),
        ((403,), 1, {"endpoint refused": 1}),
        ((302,), 1, {"endpoint refused": 1}),
    ],
)
def test_failures_are_tried_again_and_refusals_not(
    play: Any, statuses: tuple[int, ...], tries: int, lost: dict[str, int]
) -> None:
    async def story(world: Any) -> None:
        async with Endpoint(*statuses) as there:
            topic = world.sandbox.state.region_of("operator", "eu-west-1").topics.create("events", {}, {})
            subscription = topic.subscribe("http", there.url, QUICK | {"RawMessageDelivery": "true"})
            subscription.is_confirmed = True
            office = world.sandbox.state.office
            office.publish(topic, "{}", None)
            for _ in range(tries):
                headers, body = await there.post()
                assert (headers["x-amz-sns-rawdelivery"], body) == ("true", {})
            while office.pusher._tasks:
                await asyncio.sleep(0)
            assert (there.posts.qsize(), office.lost) == (0, lost)

    play(story)


def test_nobody_there_is_a_failure_and_stopping_waits_for_no_one(play: Any) -> None:
    async def story(world: Any) -> None:
        async with Endpoint() as gone:
            pass
        topic = world.sandbox.state.region_of("operator", "eu-west-1").topics.create("events", {}, {})
        patient = topic.subscribe("http", gone.url, {})
        patient.is_confirmed = True
        world.sandbox.state.office.publish(topic, "x", None)  # tried again in 20 seconds, when nobody is there to do it

    play(story)
