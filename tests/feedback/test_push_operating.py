"""What SNS posts, as an operator sees it: subscriptions, choices, what is not as it should be, the log."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from relay.feedback import push as pushing
from relay.http.ses_notifications import PATH
from relay.store import feeds
from tests.feedback import sns
from tests.feedback.posted import ANA, CUSTOMER, OPERATOR, Posted, outside, play
from tests.feedback.sns_server import DENIED, answer

# -- subscriptions ---------------------------------------------------------------------------------------------------


def test_a_subscription_is_confirmed_by_the_api_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Posted) -> None:
        members = sns.confirmation(topic=sns.OTHER_TOPIC)
        post = sns.signed(
            members | {"SubscribeURL": "http://169.254.169.254/latest/meta-data"}, url=sns.OTHER_CERTIFICATE
        )
        with outside(monkeypatch) as reached:
            assert (await scene.post(post)).body == b"confirmed"
            assert (await scene.post(post)).body == b"repeated"
        assert reached == []
        assert scene.stand_in.asked == [f"GET {sns.PEM} HTTP/1.1", "POST / HTTP/1.1"]
        [body] = scene.stand_in.bodies
        asked = {name: value for name, [value] in parse_qs(body).items()}
        assert asked == {
            "Action": "ConfirmSubscription",
            "Version": "2010-03-31",
            "TopicArn": sns.OTHER_TOPIC,
            "Token": members["Token"],
            "AuthenticateOnUnsubscribe": "true",
        }

    play(tmp_path, story)


def test_what_may_not_be_confirmed_says_what_to_allow_and_is_to_come_again(tmp_path: Path) -> None:
    async def story(scene: Posted) -> None:
        post = sns.signed(sns.confirmation(topic=sns.OTHER_TOPIC), url=sns.OTHER_CERTIFICATE)
        confirmed = scene.stand_in.answers["/"]
        scene.stand_in.answers["/"] = answer(403, DENIED)
        assert (await scene.post(post)).status == 503
        fault = scene.push.faults()[f"feedback of {CUSTOMER}"]
        assert "allow sns:ConfirmSubscription on that topic" in fault
        scene.stand_in.answers["/"] = confirmed
        assert (await scene.post(post)).body == b"confirmed"
        assert scene.push.faults() == {}

    play(tmp_path, story)


def test_an_end_of_the_subscription_is_loud_until_events_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(scene: Posted) -> None:
        with outside(monkeypatch) as reached:
            said = await scene.post(sns.signed(sns.confirmation("UnsubscribeConfirmation")))
        assert (said.status, said.body, reached) == (200, b"unsubscribed", [])
        assert "relay account setup operator --push URL" in scene.push.faults()[f"feedback of {OPERATOR}"]
        assert (await scene.post(sns.signed(sns.notification(await scene.bounced())))).body == b"heard"
        assert scene.push.faults() == {}

    play(tmp_path, story)


# -- what an operator chooses and sees -------------------------------------------------------------------------------


def test_sha_1_is_refused_where_it_is_to_be(tmp_path: Path) -> None:
    async def story(scene: Posted) -> None:
        event = await scene.bounced()
        assert (await scene.post(sns.signed(sns.notification(event), "1"))).status == 403
        assert "set SignatureVersion 2" in scene.push.faults()[f"feedback of {OPERATOR}"]
        assert await scene.states() == ["sent"]
        assert (await scene.post(sns.signed(sns.notification(event), "2"))).status == 200
        assert scene.push.faults() == {}

    play(tmp_path, story, only_signature_2=True)


def test_a_topic_that_is_taken_off_the_list_is_a_strangers(tmp_path: Path) -> None:
    async def story(scene: Posted) -> None:
        post = sns.signed(sns.notification(await scene.bounced()))
        snapshot = scene.core.senders.snapshot
        scene.push.replace(replace(snapshot, accounts={}), {})
        assert (await scene.post(post)).status == 403
        assert (scene.counted(), scene.names.asked) == ({"stranger": 1}, [])

    play(tmp_path, story)


def test_how_it_goes_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "NOTE_EVERY", 0.01)

    async def story(scene: Posted) -> None:
        await scene.post(sns.signed(sns.notification(await scene.bounced())))
        await scene.post(sns.signed(sns.confirmation("UnsubscribeConfirmation")))
        noting = asyncio.create_task(scene.push.run())
        while not (found := await scene.core.store.read(feeds.every)):
            await asyncio.sleep(0.01)
        noting.cancel()
        [look] = found
        assert look.account == OPERATOR
        assert look.heard is not None
        assert look.heard < timedelta(minutes=1)
        assert "ended the subscription" in look.fault

    play(tmp_path, story)


def test_a_stranger_is_refused_before_the_body_is_read(tmp_path: Path) -> None:
    async def story(scene: Posted) -> None:
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nx-amz-sns-topic-arn: {sns.TOPIC}2\r\n\r\n"
        )
        said = await asyncio.to_thread(first_line, scene.port, head.encode())
        assert said.split()[1] == b"403"

    play(tmp_path, story)


def first_line(port: int, octets: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(octets)
        return connection.makefile("rb").readline()


def test_nothing_of_what_is_posted_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(scene: Posted) -> None:
        event = await scene.bounced()
        post = sns.signed(sns.notification(event))
        await scene.post(post | {"Subject": "a secret"})
        await scene.post(post)
        await scene.post(sns.signed(sns.notification("a secret")))
        await scene.post(
            sns.signed(sns.confirmation(token="asecret", topic=sns.OTHER_TOPIC), url=sns.OTHER_CERTIFICATE)
        )
        lines = [json.dumps({"word": each.getMessage(), **getattr(each, "fields", {})}) for each in caplog.records]
        assert any("push.refused" in line and "its Signature" in line for line in lines)
        assert any("push.unreadable" in line for line in lines)
        assert any("push.confirmed" in line for line in lines)
        for line in lines:
            assert ANA not in line
            assert "secret" not in line
            assert str(post["Signature"]) not in line

    with caplog.at_level("INFO", "relay"):
        play(tmp_path, story)
