"""Webhooks as they are kept: made, changed, given new secrets, removed; their log, and what is posted anew."""

from __future__ import annotations

from base64 import b64decode
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select, update
from sqlalchemy.engine import URL

from relay.declared import TenantFields, WebhookChange, WebhookFields
from relay.errors import Kind, Problem
from relay.store.clock import milliseconds, now_ms
from relay.store.directory import audit, installation, tenants
from relay.store.directory.installation import shown
from relay.store.directory.paging import Asked
from relay.store.directory.snapshot import read_alone
from relay.store.hooks import Hook
from relay.store.schema import webhook_attempts, webhook_posts, webhooks
from relay.store.webhooks import log, outbox, replay, rows, sweeping
from relay.store.webhooks.log import PostState
from relay.store.writer import Rank
from relay.telling import TELLS, Dialect
from tests import databases
from tests.feedback.webhook_scene import ACTOR, Scene, ids, staged

PLACE = "https://hooks.example/in?token=very-secret"
DAY = timedelta(days=1)


@pytest.fixture
def lite(tmp_path: Path) -> URL:
    return databases.sqlite(tmp_path)


# -- what may be asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"url": "hooks.example"},
        {"url": PLACE, "events": []},
        {"url": PLACE, "events": ["email.*", "email.bumped"]},
        {"url": PLACE, "events": ["mail.*"]},
        {"url": PLACE, "events": ["email.b*"]},
        {"url": PLACE, "dialect": "mailjet"},
        {"url": PLACE, "dialect": "sendmux", "events": ["email.sent"]},
        {"url": PLACE, "dialect": "sendfleet", "events": ["domain.*"]},
        {"url": PLACE, "retries": 9},
        {"url": PLACE, "retries": -1},
        {"url": PLACE, "domains": []},
        {"url": PLACE, "domains": ["not a domain"]},
        {"url": PLACE, "secret": "whsec_mine"},
    ],
    ids=lambda fields: "-".join(str(value) for value in list(fields)[1:]) or "url",
)
def test_what_no_webhook_can_be(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebhookFields.model_validate(fields)


def test_what_one_is_if_nothing_is_said() -> None:
    fields = WebhookFields.model_validate({"url": PLACE})
    assert (fields.events, fields.domains, fields.retries, fields.dialect) == (("email.*",), None, 8, Dialect.NATIVE)


@pytest.mark.parametrize(
    ("events", "domains", "dialect", "wanted"),
    [
        (("*",), None, Dialect.NATIVE, {"email.opened", "email.bounced", "domain.failed", "webhook.disabled"}),
        (("email.*",), None, Dialect.NATIVE, {"email.opened", "email.bounced"}),
        (("email.bounced", "domain.*"), None, Dialect.NATIVE, {"email.bounced", "domain.failed"}),
        (("*",), frozenset({"a.example"}), Dialect.NATIVE, {"email.opened", "email.bounced", "domain.failed"}),
        (("*",), frozenset({"b.example"}), Dialect.NATIVE, set()),
        (("*",), None, Dialect.SENDFLEET, {"email.bounced"}),
        (("email.*",), None, Dialect.SENDEX, {"email.opened", "email.bounced"}),
    ],
)
def test_what_a_webhook_is_told(
    events: tuple[str, ...], domains: frozenset[str] | None, dialect: Dialect, wanted: set[str]
) -> None:
    hook = Hook(1, 1, events, domains, TELLS[dialect])
    happen = {"email.opened": "a.example", "email.bounced": "a.example", "domain.failed": "a.example"}
    assert {
        type for type, domain in (happen | {"webhook.disabled": None}).items() if hook.wants(type, domain)
    } == wanted


# -- rows --------------------------------------------------------------------------------------------------------------


def test_a_secret_is_shown_once_and_nowhere_else(url: URL) -> None:
    async def story(scene: Scene) -> None:
        store = scene.store
        fields = WebhookFields.model_validate({"url": PLACE, "name": "billing"})
        before = await store.read(installation.generation)
        made, secret = await store.change(lambda db: rows.create(db, store.sealer, ACTOR, fields))
        assert await store.read(installation.generation) > before
        assert secret.startswith("whsec_")
        assert len(b64decode(secret.removeprefix("whsec_"), validate=True)) == 24
        assert made.secrets(store.sealer, now_ms()) == (secret,)
        assert (made.tenant, made.origin, made.is_enabled) == ("default", "https://hooks.example", True)
        [entry] = await store.read(
            lambda db: audit.entries(db, target=f"webhook {shown(made.id)}", tenant_id=None, limit=9)
        )
        assert entry.action == "webhook.create"
        for said in (repr(made), repr(entry)):
            assert secret not in said
            assert "very-secret" not in said
        kept = await store.read(lambda db: db.execute(select(webhooks)).one())
        assert secret.encode() not in kept.sealed_secret
        snapshot = await store.read_whole(read_alone)
        assert snapshot.webhooks == {made.id: made}

    staged(url, story)


def test_a_new_secret_and_the_old_one_for_a_while(url: URL) -> None:
    async def story(scene: Scene) -> None:
        store, hook = scene.store, await scene.hook()
        [first] = hook.secrets(store.sealer, now_ms())
        which = shown(hook.id)
        hook, second = await store.change(lambda db: rows.rotate(db, store.sealer, ACTOR, which, DAY))
        assert hook.old_until is not None
        assert hook.secrets(store.sealer, hook.old_until - 1) == (second, first)
        assert hook.secrets(store.sealer, hook.old_until) == (second,)
        hook, third = await store.change(lambda db: rows.rotate(db, store.sealer, ACTOR, which, timedelta(0)))
        assert hook.secrets(store.sealer, now_ms()) == (third,)
        assert len({first, second, third}) == 3
        entries = await store.read(lambda db: audit.entries(db, target=f"webhook {which}", tenant_id=None, limit=9))
        assert [entry.action for entry in entries] == ["webhook.rotate", "webhook.rotate", "webhook.create"]
        assert "sealed" not in repr(entries)

    staged(url, story)


def test_a_post_is_signed_with_both(lite: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        await scene.store.change(lambda db: rows.rotate(db, scene.store.sealer, ACTOR, shown(hook.id), DAY))
        await scene.reload()
        await scene.happen()
        await scene.post_all()
        assert len(scene.receiver.got[0].headers["webhook-signature"].split()) == 2

    staged(lite, story)


def test_a_tenant_knows_only_its_own(url: URL) -> None:
    async def story(scene: Scene) -> None:
        store = scene.store
        other = await store.change(lambda db: tenants.create(db, ACTOR, "acme", TenantFields()))
        ours, theirs = await scene.hook(name="same"), await scene.hook(name="same", tenant="acme")
        for which in (shown(theirs.id), "nobody", "", "same' or 1=1", str(theirs.id)):
            for work in (
                lambda db, which=which: rows.find(db, which, within=scene.tenant_id),
                lambda db, which=which: rows.remove(db, ACTOR, which, within=scene.tenant_id),
                lambda db, which=which: rows.rotate(db, store.sealer, ACTOR, which, DAY, within=scene.tenant_id),
                lambda db, which=which: rows.change(db, ACTOR, which, WebhookChange(), within=scene.tenant_id),
                lambda db, which=which: replay.replay(db, ACTOR, which, within=scene.tenant_id),
                lambda db, which=which: replay.try_out(db, store.sealer, ACTOR, which, within=scene.tenant_id),
            ):
                with pytest.raises(Problem) as caught:
                    await store.change(work)
                assert caught.value.kind is Kind.NOT_FOUND
        assert (await store.read(lambda db: rows.find(db, "same", within=other.id))).id == theirs.id
        with pytest.raises(Problem, match="several"):
            await store.read(lambda db: rows.find(db, "same"))
        page = await store.read(lambda db: rows.listed(db, Asked(1), tenant_id=scene.tenant_id))
        assert ([each.id for each in page.items], page.total, page.next_cursor) == ([ours.id], 1, None)
        page = await store.read(lambda db: rows.listed(db, Asked(1)))
        assert page.next_cursor is not None
        rest = await store.read(lambda db: rows.listed(db, Asked(1, page.next_cursor)))
        assert [each.id for each in rest.items] == [theirs.id]

    staged(url, story)


def test_a_change_is_of_what_it_names(url: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook(name="a", domains=["byoc.example"], dialect="sendfleet", retries=3)
        changed = await scene.change(hook, events=["email.bounced"], domains=None)
        assert (changed.name, changed.events, changed.domains, changed.retries) == ("a", ("email.bounced",), None, 3)
        with pytest.raises(Problem) as caught:
            await scene.change(hook, events=["email.opened"])
        assert [fault.path for fault in caught.value.faults] == ["events"]
        moved = await scene.change(hook, url=PLACE + "&again")
        assert moved.url == PLACE + "&again"
        entries = await scene.store.read(
            lambda db: audit.entries(db, target=f"webhook {shown(hook.id)}", tenant_id=None, limit=9)
        )
        assert "very-secret" not in repr(entries)
        assert entries[0].changes["url"] == [hook.origin, "https://hooks.example"]

    staged(url, story)


def test_a_disabled_one_collects_nothing_and_begins_anew(url: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        await scene.store.change(
            lambda db: db.execute(update(webhooks).values(failing_since=1_700_000_000_000, failures=7))
        )
        off = await scene.change(hook, enabled=False)
        assert (off.is_enabled, off.disabled_reason, off.failures) == (False, rows.BY_HAND, 7)
        await scene.happen()
        assert await scene.posts(hook) == []
        for work in (
            lambda db: replay.replay(db, ACTOR, shown(hook.id)),
            lambda db: replay.try_out(db, scene.store.sealer, ACTOR, shown(hook.id)),
        ):
            with pytest.raises(Problem, match="disabled by hand"):
                await scene.store.change(work)
        on = await scene.change(hook, enabled=True)
        assert (on.is_enabled, on.disabled_reason, on.failing_since, on.failures) == (True, None, None, 0)
        await scene.happen()
        assert len(await scene.posts(hook)) == 1

    staged(url, story)


def test_there_is_a_most(lite: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST", 2)

    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        await scene.hook()
        with pytest.raises(Problem) as caught:
            await scene.hook()
        assert caught.value.kind is Kind.CONFLICT
        await scene.store.change(lambda db: rows.remove(db, ACTOR, shown(hook.id)))
        await scene.hook()

    staged(lite, story)


def test_a_removed_one_is_gone_and_keeps_no_secret(url: URL) -> None:
    """Though a server that has not heard of it yet may write to its outbox: mail must not fail for that."""

    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        await scene.happen()
        await scene.store.change(lambda db: rows.remove(db, ACTOR, shown(hook.id)))
        await scene.happen()
        await scene.post_all()
        assert scene.receiver.got == []
        with pytest.raises(Problem):
            await scene.found(hook)
        left = await scene.store.read(lambda db: db.execute(select(webhooks)).one())
        assert (left.url, left.sealed_secret, left.sealed_old_secret) == ("", b"", None)
        assert not (await scene.store.read_whole(read_alone)).webhooks

        assert await sweep(scene) == 2
        assert await count(scene, webhook_posts) == 0
        await scene.store.change(lambda db: db.execute(update(webhooks).values(removed_at=now_ms() - 2 * 86_400_000)))
        assert await sweep(scene) == 1
        assert await count(scene, webhooks) == 0

    staged(url, story)


async def sweep(scene: Scene, keep_for: timedelta = timedelta(days=30)) -> int:
    total = 0
    while gone := await scene.store.write(sweeping.sweep, keep_for, Rank.SWEEP):
        total += gone
    return total


async def count(scene: Scene, table: Any) -> int:
    return await scene.store.read(lambda db: db.scalar(select(func.count()).select_from(table)) or 0)


# -- the log, and posting anew -----------------------------------------------------------------------------------------


def test_the_log_is_read_a_page_at_a_time_newest_first(url: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook(retries=0)
        for number in range(5):
            scene.receiver.status = 500 if number % 2 else 200
            await scene.happen(number=number)
            await scene.post_all()
        await scene.happen()
        asked, seen = Asked(2), []
        while True:
            page = await scene.store.read(lambda db, asked=asked: log.posts(db, asked, hook.id))
            seen += page.items
            if page.next_cursor is None:
                break
            asked = Asked(2, page.next_cursor)
        assert len(seen) == 6
        assert [each.id for each in seen] == sorted((each.id for each in seen), reverse=True)
        states = [each.state.value for each in seen]
        assert states == ["waiting", "delivered", "dead", "delivered", "dead", "delivered"]
        for state, number in ((PostState.WAITING, 1), (PostState.DELIVERED, 3), (PostState.DEAD, 2)):
            assert len(await scene.posts(hook, state)) == number
        for wrong in ("nonsense", shown(hook.id), shown(0), ""):
            with pytest.raises(Problem) as caught:
                await scene.store.read(lambda db, wrong=wrong: log.post(db, scene.store.sealer, hook.id, wrong))
            assert caught.value.kind is Kind.NOT_FOUND
        stranger = await scene.hook()
        with pytest.raises(Problem):
            await scene.store.read(lambda db: log.post(db, scene.store.sealer, stranger.id, shown(seen[0].id)))

    staged(url, story)


def test_what_is_replayed(url: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook(retries=0)
        scene.receiver.status = 500
        for _ in range(3):
            await scene.happen()
        await scene.post_all()
        scene.receiver.status = 200
        await scene.happen()
        await scene.later(2000)  # after three failures it rests for a second
        a, b, c, good = await scene.posts(hook)
        before = len(scene.receiver.got)

        assert await scene.replay(hook, post=shown(a.id)) == 1
        with pytest.raises(Problem, match="waiting for its next attempt already"):
            await scene.replay(hook, post=shown(a.id))
        with pytest.raises(Problem, match="no delivery"):
            await scene.replay(hook, post=shown(hook.id))
        assert await scene.replay(hook, since=b.created_at, until=b.created_at) == 0
        assert await scene.replay(hook, until=now_ms() + 1000) == 2  # b and c: a waits, and good is not dead
        assert await scene.replay(hook) == 0
        await scene.post_all()
        assert [each.state for each in await scene.posts(hook)] == [PostState.DELIVERED] * 4
        assert await scene.replay(hook, only_dead=False, since=good.created_at) == 1
        assert await scene.replay(hook, post=shown(c.id)) == 1
        await scene.post_all()
        assert len(scene.receiver.got) - before == 5
        actions = await scene.store.read(lambda db: audit.entries(db, target=None, tenant_id=None, limit=4))
        assert {entry.action for entry in actions} == {"webhook.replay"}

    staged(url, story)


def test_a_replay_is_of_the_oldest_where_there_are_too_many(lite: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST_AT_ONCE", 2)

    async def story(scene: Scene) -> None:
        hook = await scene.hook(retries=0)
        scene.receiver.status = 500
        for _ in range(3):
            await scene.happen()
        await scene.post_all()
        assert [await scene.replay(hook) for _ in range(3)] == [2, 1, 0]

    staged(lite, story)


@pytest.mark.parametrize("dialect", [each.value for each in Dialect])
def test_a_webhook_is_tried_by_an_event_for_it_alone(lite: URL, dialect: str) -> None:
    async def story(scene: Scene) -> None:
        hook, other = await scene.hook(dialect=dialect), await scene.hook(events=["*"])
        post_id = await scene.store.change(lambda db: replay.try_out(db, scene.store.sealer, ACTOR, shown(hook.id)))
        await scene.post_all()
        [got] = scene.receiver.got
        assert b"test" in got.body
        [post] = await scene.posts(hook, PostState.DELIVERED)
        assert (post.id, post.type) == (post_id, "webhook.test")
        assert await scene.posts(other) == []

    staged(lite, story)


def test_what_is_over_is_kept_for_a_time(url: URL) -> None:
    async def story(scene: Scene) -> None:
        hook, off = await scene.hook(retries=0), await scene.hook(events=["email.bounced"])
        await scene.happen()
        await scene.post_all()
        scene.receiver.status = 500
        await scene.happen()
        await scene.post_all()
        await scene.happen()
        await scene.happen("email.bounced")
        await scene.change(off, enabled=False)
        assert await sweep(scene) == 0
        assert await sweep(scene, timedelta(seconds=-5)) == 3  # also what waits for a disabled one
        assert [each.state for each in await scene.posts(hook)] == [PostState.WAITING] * 2
        assert await count(scene, webhook_attempts) == 0

    staged(url, story)


def test_an_attempt_counts_only_for_what_was_seen(url: URL) -> None:
    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        await scene.happen(message_id=ids.next())
        [seen] = await scene.store.read(lambda db: outbox.take(db, hook.id, now_ms(), 10))
        at = now_ms()
        failed = outbox.Attempted(seen, outbox.Fate.LATER, at, 5, 500, "no", due_at=at + 1000)
        run = await scene.store.write(outbox.settle, failed, Rank.SWEEP)
        assert run == outbox.Run(at, 1)
        stale = outbox.Attempted(seen, outbox.Fate.TAKEN, at, 5, 200)
        assert await scene.store.write(outbox.settle, stale, Rank.SWEEP) is None
        [post] = await scene.posts(hook)
        assert (post.state, [each.status for each in post.attempts]) == (PostState.WAITING, [500])
        assert await scene.store.read(outbox.first_due) == {hook.id: at + milliseconds(timedelta(seconds=1))}

    staged(url, story)


def test_the_outbox_is_looked_at_by_its_indexes(lite: URL) -> None:
    """However much waits: no look reads all of it."""

    async def story(scene: Scene) -> None:
        hook = await scene.hook()
        plans = []

        def plan(db: Any) -> None:
            real = db.execute

            def explain(statement: Any, *rest: Any) -> Any:
                text = str(statement.compile(db.engine, compile_kwargs={"literal_binds": True}))
                plans.extend(row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
                return real(statement, *rest)

            db.execute = explain
            outbox.first_due(db)
            outbox.take(db, hook.id, now_ms(), 10)

        await scene.store.read(plan)
        looks = [each for each in plans if "webhook_posts" in each or "first" in each]
        assert len(looks) == 3
        assert all("ix_webhook_posts_due" in each or "ix_webhook_posts_order" in each for each in looks), looks
        assert not any("TEMP B-TREE" in each for each in plans), plans

    staged(lite, story)
