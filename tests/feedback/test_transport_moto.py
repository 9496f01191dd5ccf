"""Events by way of SNS and SQS as moto has them: an implementation that is not ours, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from sqlalchemy import Connection, select

from relay.declared import AccountFields, Credentials, FeedbackFields
from relay.delivery import State
from relay.feedback import feed, pace
from relay.ses import sqs
from relay.ses.clients import Accounts
from relay.store import database
from relay.store.directory import accounts
from relay.store.directory.audit import RELAY
from relay.store.schema import heard, recipients
from relay.store.store import Store
from tests import databases
from tests.feedback import samples
from tests.feedback.poller_scene import NAME, Scene, locked
from tests.feedback.sqs_stand import Stand
from tests.processes import answers, free_ports, wait_until
from tests.store.stories import message, play, put

REGION = "eu-west-1"
ANA = "ana@dest.example"


@dataclass(frozen=True)
class Cloud:
    """A topic whose messages go to the queue of events, as `relay account setup` makes them."""

    url: str
    sqs: Any
    sns: Any
    queue: str
    dead: str
    topic: str
    subscription: str

    def publish(self, event: samples.Event, *, is_raw: bool = False) -> None:
        raw = "true" if is_raw else "false"
        self.sns.set_subscription_attributes(
            SubscriptionArn=self.subscription, AttributeName="RawMessageDelivery", AttributeValue=raw
        )
        self.sns.publish(TopicArn=self.topic, Message=json.dumps(event), Subject="Amazon SES Email Event Notification")

    def counts(self, queue: str) -> tuple[int, int]:
        """How many messages of a queue wait, and how many are in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: answers(f"{url}/moto-api/data.json"), "moto's start")
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def cloud(moto: str) -> Iterator[Cloud]:
    def client(service: str) -> Any:
        return boto3.client(
            service, region_name=REGION, endpoint_url=moto, aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="s"
        )

    sqs, sns = client("sqs"), client("sns")

    def made(name: str, **attributes: str) -> tuple[str, str]:
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    dead, dead_arn = made(f"{NAME}-dead")
    queue, arn = made(NAME, RedrivePolicy=json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 5}))
    topic = sns.create_topic(Name=NAME)["TopicArn"]
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)
    try:
        yield Cloud(moto, sqs, sns, queue, dead, topic, subscription["SubscriptionArn"])
    finally:
        sns.delete_topic(TopicArn=topic)
        for each in (queue, dead):
            sqs.delete_queue(QueueUrl=each)
        sqs.close()
        sns.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "backoff", lambda failures: 0.05)
    monkeypatch.setattr(feed, "LONGEST", 1)  # moto answers one who waits, too, only when there is something
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 20)


@contextlib.asynccontextmanager
async def scene(folder: Path, store: Store, url: str) -> AsyncIterator[Scene]:
    async with Accounts() as opened:
        stand = Stand()
        stand.port = int(url.rpartition(":")[2])
        stage = Scene(folder, store, stand, opened)
        try:
            yield stage
        finally:
            await stage.stop()


def add_account(db: Connection, store: Store) -> None:
    if not accounts.every(db):
        key = Credentials(access_key_id="k", secret_access_key="s" * 16)  # type: ignore[arg-type]
        accounts.add(db, store.sealer, RELAY, "acme", AccountFields(region=REGION, credentials=key))


async def sent(store: Store, tenant: int) -> tuple[int, samples.Event]:
    """A message whose only attempt is under way: its delivery, and the mail that events of it are about."""
    await store.change(lambda db: add_account(db, store))
    new = await put(store, message(store, tenant, (ANA,), state=State.SENDING, account="acme"))
    return new.deliveries[0].id, samples.mail(new.deliveries[0].id, [ANA])


async def states(store: Store) -> Counter[str]:
    found = await store.read(lambda db: db.scalars(select(recipients.c.state)).all())
    return Counter(found)


async def until(ask: Callable[[], Any], wanted: object) -> None:
    """Until what `ask` answers, in a thread, is this."""
    async with asyncio.timeout(15):
        while (found := await asyncio.to_thread(ask)) != wanted:
            await asyncio.sleep(0.02)
    assert found == wanted


def test_events_in_envelopes_and_raw_ones_are_heard_and_then_gone(tmp_path: Path, cloud: Cloud) -> None:
    async def story(store: Store, tenant: int) -> None:
        (_, first), (_, second) = await sent(store, tenant), await sent(store, tenant)
        for event, is_raw in (
            (samples.send(first), False),
            (samples.delivery(first, ANA), False),
            (samples.send(second), True),
            (samples.bounce(second, ANA), True),
            (samples.bounce(second, ANA), False),  # twice
        ):
            cloud.publish(event, is_raw=is_raw)
        async with scene(tmp_path, store, cloud.url) as stage:
            stage.start(acme=FeedbackFields())
            await until(lambda: cloud.counts(cloud.queue), (0, 0))
            assert await states(store) == {"delivered": 1, "bounced": 1}
            row = await stage.row_is(lambda row: row.heard is not None or row.waiting is not None)
            assert (row.waiting, row.dead, row.fault) == (0, 0, "")
            assert stage.metric('relay_feedback_events_total{account="acme",verdict="heard"}') == 5

    play(databases.sqlite(tmp_path), story)


def test_what_nobody_can_read_ends_in_the_dead_letter_queue(
    tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs, "VISIBLE_AGAIN", 0)
    monkeypatch.setattr(feed, "COUNT_EVERY", 0.1)

    async def story(store: Store, tenant: int) -> None:
        cloud.sqs.send_message(QueueUrl=cloud.queue, MessageBody="no event at all")
        async with scene(tmp_path, store, cloud.url) as stage:
            stage.start(acme=FeedbackFields())
            await until(lambda: cloud.counts(cloud.dead), (1, 0))
            assert stage.metric('relay_feedback_events_total{account="acme",verdict="broken"}') == 5
            await stage.row_is(lambda row: row.dead == 1)
            assert stage.metric('relay_feedback_dead{account="acme"}') == 1

    play(databases.sqlite(tmp_path), story)


def test_an_event_is_taken_off_after_its_commit_and_never_before(
    tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs, "VISIBLE_AGAIN", 2)

    async def story(store: Store, tenant: int) -> None:
        _, mail = await sent(store, tenant)
        with locked(tmp_path):
            cloud.publish(samples.send(mail))
            async with scene(tmp_path, store, cloud.url) as stage:
                stage.start(acme=FeedbackFields())
                await stage.until(stage.poller.faults)
                assert cloud.counts(cloud.queue) == (0, 1)  # in flight, and not deleted
                assert await stage.stop() < 1.5
        await until(lambda: cloud.counts(cloud.queue), (1, 0))  # there again
        async with scene(tmp_path, store, cloud.url) as stage:
            stage.start(acme=FeedbackFields())
            await until(lambda: cloud.counts(cloud.queue), (0, 0))
        assert await states(store) == {"sent": 1}

    play(databases.sqlite(tmp_path), story)


def test_a_process_that_dies_between_commit_and_deletion_counts_nothing_twice(
    tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed when its first deletion is asked for."""
    monkeypatch.setattr(sqs, "VISIBLE_AGAIN", 2)
    url = databases.sqlite(tmp_path)
    found: list[Any] = []

    async def before(store: Store, tenant: int) -> None:
        _, mail = await sent(store, tenant)
        cloud.publish(samples.send(mail))
        cloud.publish(samples.delivery(mail, ANA))

    async def after(store: Store, tenant: int) -> None:
        found.append((await states(store), len(await store.read(lambda db: db.execute(select(heard)).all()))))
        async with scene(tmp_path, store, cloud.url) as stage:
            stage.start(acme=FeedbackFields())
            await until(lambda: cloud.counts(cloud.queue), (0, 0))
        found.append((await states(store), len(await store.read(lambda db: db.execute(select(heard)).all()))))

    play(url, before)
    code = "import sys; from tests.feedback.test_transport_moto import die; die(*sys.argv[1:])"
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path), cloud.url], timeout=30)
    assert died.returncode == -signal.SIGKILL
    assert sum(cloud.counts(cloud.queue)) == 2
    play(url, after)
    assert found[0][0] == {"delivered": 1}
    assert found[0] == found[1]


def die(folder: str, url: str) -> None:
    """Read the queue in this process, and end it with a kill before anything is deleted."""

    async def killed(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def story(store: Store, _: int) -> None:
        async with scene(Path(folder), store, url) as stage:
            stage.start(acme=FeedbackFields())
            await asyncio.sleep(20)

    sqs.VISIBLE_AGAIN = 2
    sqs.EventQueue.delete = killed  # type: ignore[method-assign]
    play(databases.sqlite(Path(folder)), story)
