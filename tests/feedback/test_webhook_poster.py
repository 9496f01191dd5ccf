"""Webhooks that are posted to: receivers that take, refuse, redirect, dawdle, or are away for a day."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from aiohttp import web
from sqlalchemy import func, select
from sqlalchemy.engine import URL

from relay.feedback.webhooks import poster as posting
from relay.following import Webhooks
from relay.store.clock import milliseconds, now_ms
from relay.store.directory.installation import shown
from relay.store.schema import audit, events, notices
from relay.store.store import Store, open_store
from relay.store.webhooks import log, outbox
from relay.store.webhooks.log import PostState
from tests import databases
from tests.feedback.webhook_scene import HERE, Scene, ids, staged
from tests.store.stories import MASTER

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


@pytest.fixture
def lite(tmp_path: Path) -> URL:
    return databases.sqlite(tmp_path)


def test_an_event_is_posted_once_and_signed(url: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook(events=["email.*", "domain.failed"])
        await scene.happen(message_id=ids.next(), smtp_response="250 ok")
        await scene.happen("account.held")
        await scene.post_all()
        await scene.post_all()
        [got] = scene.receiver.got
        assert json.loads(got.body)["type"] == "email.delivered"
        assert got.headers["webhook-signature"].startswith("v1,")
        assert got.headers["webhook-id"].startswith("evt_")
        assert got.path == "/hook?token=very-secret"
        [post] = await scene.posts(hook)
        assert post.state is PostState.DELIVERED
        [attempt] = post.attempts
        assert (attempt.number, attempt.status, attempt.said, attempt.answer) == (1, 200, "", None)
        shown_post = await scene.store.read(lambda db: log.post(db, scene.store.sealer, hook.id, shown(post.id)))
        assert shown_post.attempts[0].answer == "thank you"

    staged(url, story)


def test_a_receiver_that_is_away_for_a_day_misses_nothing(url: URL, caplog: pytest.LogCaptureFixture) -> None:
    """In order for every message, each event once, and few attempts in vain."""
    caplog.set_level("INFO", "relay")
    messages = [ids.next() for _ in range(20)]
    types = ["email.queued", "email.sent", "email.delivered"]

    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        await scene.receiver.shut()
        for type in types:
            for number, message in enumerate(messages):
                await scene.happen(type, message_id=message, number=number)
        for _ in range(24 * 4):
            await scene.later(15 * MINUTE)
        assert scene.receiver.got == []
        assert await scene.posts(hook, PostState.DEAD) == []
        failing = await scene.found(hook)
        assert failing.is_enabled
        assert failing.failing_since is not None
        assert failing.failures <= 100 + posting.TO_ONE

        await scene.receiver.open()
        for _ in range(100):
            await scene.later(30 * MINUTE)
        assert len(await scene.posts(hook, PostState.DELIVERED)) == 60
        told = [json.loads(got.body) for got in scene.receiver.got]
        assert len({got.event for got in scene.receiver.got}) == len(told) == 60
        for number in range(20):
            assert [each["type"] for each in told if each["data"]["number"] == number] == types
        recovered = await scene.found(hook)
        assert (recovered.failing_since, recovered.failures) == (None, 0)

    staged(url, story)
    said = "\n".join(str(record.__dict__) for record in caplog.records)
    assert "no connection" in said
    assert "webhook.recovered" in said
    assert "very-secret" not in said
    assert "a@b.example" not in said


def test_attempts_end_in_a_dead_letter_that_can_be_replayed(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook(retries=2)
        scene.receiver.status = 500
        await scene.happen()
        for _ in range(5):
            await scene.later(11 * MINUTE)
        [post] = await scene.posts(hook, PostState.DEAD)
        assert [(each.number, each.status, each.said) for each in post.attempts] == [
            (number, 500, "it was not taken") for number in (1, 2, 3)
        ]
        scene.receiver.status = 200
        assert await scene.replay(hook) == 1
        await scene.later(MINUTE)
        [post] = await scene.posts(hook, PostState.DELIVERED)
        assert [each.status for each in post.attempts] == [500, 500, 500, 200]
        assert len({got.event for got in scene.receiver.got}) == 1

    staged(lite, story)


def test_without_retries_there_is_one_attempt(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook(retries=0)
        scene.receiver.status = 500
        await scene.happen()
        await scene.later(DAY)
        [post] = await scene.posts(hook, PostState.DEAD)
        assert len(post.attempts) == 1

    staged(lite, story)


def test_a_later_event_of_a_message_waits_for_the_earlier_one(url: URL) -> None:
    first, other = ids.next(), ids.next()

    async def story(scene: Scene) -> None:
        await scene.hook(retries=1)

        async def refuse_sent(request: web.Request) -> web.Response:
            body = json.loads(scene.receiver.got[-1].body)
            refused = body["type"] == "email.sent" and body["data"]["which"] == 1
            return web.Response(status=500 if refused else 200)

        scene.receiver.handler = refuse_sent
        await scene.happen("email.sent", message_id=first, which=1)
        await scene.happen("email.delivered", message_id=first, which=1)
        await scene.happen("email.sent", message_id=other, which=2)
        await scene.happen("email.delivered", message_id=other, which=2)
        await scene.post_all()
        await scene.happen("email.opened", message_id=first, which=1)
        await scene.post_all()

        def taken(which: int) -> list[str]:
            told = [json.loads(got.body) for got in scene.receiver.got]
            return [each["type"] for each in told if each["data"]["which"] == which]

        assert taken(2) == ["email.sent", "email.delivered"]
        assert taken(1) == ["email.sent"]
        await scene.later(MINUTE)  # it fails for the last time: it is dead, and the others wait no longer
        assert taken(1) == ["email.sent", "email.sent", "email.delivered", "email.opened"]

    staged(url, story)


def test_whatever_fails_nothing_is_lost_and_messages_stay_in_order(lite: URL) -> None:
    """A receiver that breaks off, refuses and dawdles by chance, and events that come meanwhile."""
    chance = Random(7)
    messages = [ids.next() for _ in range(12)]

    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        taken: list[tuple[int, int]] = []

        async def moody(request: web.Request) -> web.Response:
            told = json.loads(await request.read())["data"]
            await asyncio.sleep(chance.random() / 500)
            if chance.random() < 0.1 and request.transport is not None:
                request.transport.close()  # it may have been taken, and nobody knows
            elif chance.random() < 0.15:
                return web.Response(status=chance.choice([302, 404, 429, 500, 503]))
            taken.append((told["message"], told["number"]))
            return web.Response()

        scene.receiver.handler = moody
        for number in range(8):
            for which, message in enumerate(messages):
                await scene.happen(message_id=message, message=which, number=number)
            await scene.later(chance.randrange(MINUTE))
        for _ in range(60):
            await scene.later(15 * MINUTE)
        assert len(await scene.posts(hook, PostState.DELIVERED)) == 96
        for which in range(12):
            numbers = [number for message, number in taken if message == which]
            assert set(numbers) == set(range(8))
            assert numbers == sorted(numbers)  # a repeated one comes before what is next

    staged(lite, story)


def test_of_two_servers_one_posts() -> None:
    url = databases.postgresql()

    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        await scene.happen()
        await scene.post_all()
        async with open_store(url, MASTER) as beside:
            other = Scene(beside, scene.tenant_id, scene.receiver)
            await other.reload()
            await other.happen()
            assert await other.poster.look() == []
            await scene.post_all()
        assert [each.state for each in await scene.posts(hook)] == [PostState.DELIVERED] * 2
        assert len(scene.receiver.got) == 2

    staged(url, story)


def test_a_redirect_is_a_failure_and_is_not_followed(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook(retries=0)
        scene.receiver.status, scene.receiver.headers = 307, {"Location": "/elsewhere"}
        await scene.happen()
        await scene.post_all()
        assert [got.path for got in scene.receiver.got] == ["/hook?token=very-secret"]
        [post] = await scene.posts(hook, PostState.DEAD)
        assert post.attempts[0].said == "it redirects, which is not followed"

    staged(lite, story)


def test_a_receiver_that_is_gone_is_posted_to_no_more(url: URL) -> None:
    async def story(scene: Scene) -> None:
        watcher = await scene.hook(events=["webhook.*"], url=scene.receiver.url + "&watch")
        hook = await scene.hook(name="ours", events=["*"])

        async def gone(request: web.Request) -> web.Response:
            return web.Response(status=200 if "watch" in request.path_qs else 410)

        scene.receiver.handler = gone
        await scene.happen()
        await scene.happen("email.bounced")
        await scene.post_all()
        given_up = await scene.found(hook)
        assert given_up.disabled_reason == "its receiver answered 410 Gone"
        assert "watch" in scene.receiver.got[-1].path
        assert len(scene.receiver.got) <= 1 + posting.TO_ONE
        await scene.reload()
        await scene.happen("email.complained")
        await scene.later(DAY)
        assert [each.type for each in await scene.posts(hook)] == ["email.delivered", "email.bounced"]

        assert [each.type for each in await scene.posts(watcher, PostState.DELIVERED)] == ["webhook.disabled"]
        text = await scene.store.read(lambda db: db.scalars(select(notices.c.text)).one())
        assert shown(hook.id) in text
        assert "very-secret" not in text

        # What waited is there when it is enabled again.
        scene.receiver.handler = None
        await scene.change(hook, enabled=True)
        await scene.later(3 * DAY)
        assert {each.state for each in await scene.posts(hook)} == {PostState.DELIVERED}

    staged(url, story)


def test_three_days_of_nothing_but_failures_disable_it(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        scene.receiver.status = 503
        for _ in range(4):
            await scene.happen()
        for _ in range(71):
            await scene.later(HOUR)
        assert (await scene.found(hook)).is_enabled
        await scene.happen()
        await scene.later(2 * HOUR)
        found = await scene.found(hook)
        assert not found.is_enabled
        assert (found.disabled_reason or "").startswith("nothing but failures since ")
        actions = await scene.store.read(lambda db: db.scalars(select(audit.c.action)).all())
        assert actions[-1] == "webhook.disable"

    staged(lite, story)


def test_a_receiver_is_waited_for_as_long_as_it_asks(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        await scene.hook()
        scene.receiver.status, scene.receiver.headers = 429, {"Retry-After": "1800"}
        await scene.happen()
        await scene.post_all()
        await scene.happen("email.bounced")  # it rests from all events
        await scene.later(29 * MINUTE)
        assert len(scene.receiver.got) == 1
        scene.receiver.status = 200
        await scene.later(5 * MINUTE)
        assert len(scene.receiver.got) == 3

    staged(lite, story)


def test_one_slow_receiver_keeps_no_other_waiting(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        release = asyncio.Event()

        async def dawdle(request: web.Request) -> web.Response:
            if "slow" in request.path_qs:
                await release.wait()
            return web.Response()

        scene.receiver.handler = dawdle
        slow = await scene.hook(url=scene.receiver.url + "&slow")
        fast = await scene.hook()
        for _ in range(20):
            await scene.happen()
        work = await scene.poster.look()
        _, pending = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        assert len(pending) == 1
        assert len(await scene.posts(fast, PostState.DELIVERED)) == 20
        paths = Counter("slow" in got.path for got in scene.receiver.got)
        assert paths == {True: posting.TO_ONE, False: 20}
        release.set()
        await asyncio.gather(*pending)
        await scene.post_all()
        assert len(await scene.posts(slow, PostState.DELIVERED)) == 20

    staged(lite, story)


def test_an_answer_that_does_not_come_in_time_is_a_failure(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        async def never(request: web.Request) -> web.Response:
            await asyncio.sleep(30)
            return web.Response()

        scene.receiver.handler = never
        hasty = scene.new_poster(HERE.model_copy(update={"timeout": timedelta(milliseconds=200)}))
        scene.poster = hasty
        hook = await scene.hook(retries=0)
        await scene.happen()
        await scene.post_all()
        [post] = await scene.posts(hook, PostState.DEAD)
        assert post.attempts[0].said == "no answer within 0.2 s"
        assert post.attempts[0].status is None
        await hasty.close()

    staged(lite, story)


def test_of_an_answer_only_the_beginning_is_read(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            with_end = 10_000
            for _ in range(with_end):
                await response.write(b"x" * 65536)
            return response

        scene.receiver.handler = endless
        hook = await scene.hook()
        await scene.happen()
        await scene.post_all()
        [post] = await scene.posts(hook)
        assert post.state is PostState.DELIVERED
        whole = await scene.store.read(lambda db: log.post(db, scene.store.sealer, hook.id, shown(post.id)))
        assert whole.attempts[0].answer == "x" * 1024

    staged(lite, story)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Webhooks(allow_plain=True), "its URL stands for an address that is not public"),
        (Webhooks(allow_networks=HERE.allow_networks), "its URL must begin with https://"),
    ],
    ids=["private", "plain"],
)
def test_what_was_allowed_once_is_checked_at_each_post(lite: URL, settings: Webhooks, said: str) -> None:
    async def story(scene: Scene) -> None:
        scene.poster = stern = scene.new_poster(settings)
        hook = await scene.hook(retries=0)
        await scene.happen()
        await scene.post_all()
        assert scene.receiver.got == []
        [post] = await scene.posts(hook, PostState.DEAD)
        assert post.attempts[0].said.startswith(said)
        await stern.close()

    staged(lite, story)


def test_a_post_that_a_crash_cut_off_is_made_again_under_its_id(url: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        reached = asyncio.Event()

        async def hang(request: web.Request) -> web.Response:
            reached.set()
            await asyncio.sleep(30)
            return web.Response()

        scene.receiver.handler = hang
        await scene.happen()
        [work] = await scene.poster.look()
        await reached.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        assert (await scene.posts(hook))[0].attempts == ()

        scene.receiver.handler = None
        dead, scene.poster = scene.poster, scene.new_poster()
        await scene.reload()
        await scene.post_all()
        first, second = scene.receiver.got
        assert (first.event, first.body) == (second.event, second.body)
        [post] = await scene.posts(hook, PostState.DELIVERED)
        assert len(post.attempts) == 1
        await dead.close()
        await scene.poster.close()

    staged(url, story)


def test_what_the_dialect_has_no_word_for_is_not_kept(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook(dialect="sendfleet")
        await scene.happen("email.opened")
        assert await scene.posts(hook) == []
        await scene.happen("email.bounced")
        await scene.post_all()
        assert [each.type for each in await scene.posts(hook)] == ["email.bounced"]

    staged(lite, story)


def test_a_post_that_nobody_can_read_is_dead_and_no_fault_of_the_receiver(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        await scene.happen()
        await scene.store.change(lambda db: db.execute(log.webhook_posts.update().values(sealed=b"nonsense")))
        await scene.post_all()
        [post] = await scene.posts(hook, PostState.DEAD)
        assert post.attempts[0].said == posting.SEALED_ELSEWHERE
        assert (await scene.found(hook)).failures == 0

    staged(lite, story)


def test_while_the_database_is_away_nothing_is_lost(lite: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        await scene.happen()
        write = Store.write

        async def refuse(*_: object, **__: object) -> None:
            raise OSError("away")

        monkeypatch.setattr(Store, "write", refuse)
        await scene.post_all()
        monkeypatch.setattr(Store, "write", write)
        await scene.later(10 * SECOND)
        assert len(scene.receiver.got) == 2  # at least once
        assert [each.state for each in await scene.posts(hook)] == [PostState.DELIVERED]

    staged(lite, story)


def test_a_running_poster_looks_by_itself_and_stops_soon(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        running = asyncio.create_task(scene.poster.run())
        await scene.happen()
        while not await scene.posts(hook, PostState.DELIVERED):
            await asyncio.sleep(0.02)
        assert scene.metrics.webhook_waiting._value.get() in {0, 1}
        assert scene.metrics.webhook_posts.labels("taken")._value.get() == 1
        started = now_ms()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert now_ms() - started < milliseconds(timedelta(seconds=1))

    staged(lite, story)


def test_what_waits_is_counted(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        await scene.hook()
        for _ in range(3):
            await scene.happen()
        assert await scene.store.read(outbox.waiting) == 3
        assert await scene.store.read(lambda db: db.scalar(select(func.count()).select_from(events))) == 3

    staged(lite, story)
