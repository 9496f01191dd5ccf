"""Mail to people: what is sent, to whom, and what becomes of notices that cannot be."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.engine import URL

from relay.declared import Application, TenantFields
from relay.management import noticing
from relay.management.noticing import Notifier, wait_after
from relay.sealing import MasterKey
from relay.settings import Notices
from relay.store import notices
from relay.store.clock import now_ms
from relay.store.directory import accounts, tenants
from relay.store.schema import notices as notice_rows
from relay.store.store import open_store
from tests import databases
from tests.management.scene import ACTOR, OWNED, Scene, play

NOTICES = Notices.model_validate({"from": f"relay@{OWNED}", "account": "operator", "to": "ops@operator.example"})
CONTACT = "boss@acme.example"
DAY = timedelta(days=1)


@pytest.fixture
def url(tmp_path: Path) -> URL:
    return databases.sqlite(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    if request.param == "sqlite":
        return databases.sqlite(tmp_path)
    return databases.postgresql()


def notifier(scene: Scene, settings: Notices | None = NOTICES) -> Notifier:
    return Notifier(scene.store, scene.clients, settings)


async def suspend(scene: Scene, name: str = "acme", contact: str | None = CONTACT) -> None:
    fields = TenantFields(contact=contact)
    await scene.store.change(lambda db: tenants.change(db, ACTOR, name, fields))
    await scene.store.change(lambda db: tenants.suspend(db, ACTOR, name, "bounces"))


async def age(scene: Scene, by: timedelta) -> None:
    """Let time pass for every notice."""
    earlier = {
        column: column - int(by.total_seconds() * 1000) for column in (notice_rows.c.due_at, notice_rows.c.created_at)
    }
    await scene.store.change(lambda db: db.execute(update(notice_rows).values(earlier)))


async def waiting(scene: Scene) -> int:
    return await scene.store.read(lambda db: db.scalar(select(func.count()).select_from(notice_rows)) or 0)


def sent(scene: Scene) -> list[tuple[list[str], EmailMessage, dict[str, str]]]:
    return [
        (list(each.recipients), message_from_bytes(each.raw, policy=policy.default), dict(each.tags))  # type: ignore[misc]
        for each in scene.sandbox.state.mailbox.after("")
    ]


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(str(each.__dict__) for each in caplog.records)


def test_a_suspended_tenant_is_told(either: URL, caplog: pytest.LogCaptureFixture) -> None:
    async def story(scene: Scene) -> None:
        await suspend(scene)
        assert await notifier(scene).pass_once() == 1
        [(people, mail, tags)] = sent(scene)
        assert people == [CONTACT, "ops@operator.example"]
        assert (mail["From"], mail["To"], mail["Cc"]) == (f"relay@{OWNED}", CONTACT, None)
        assert mail["Subject"] == "Sending is suspended"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["Date"] is not None
        assert "Sending for acme is suspended: bounces" in mail.get_content()
        assert list(tags) == ["relay_notice"]
        assert await waiting(scene) == 0
        assert await notifier(scene).pass_once() == 0
        assert len(sent(scene)) == 1

    with caplog.at_level("INFO", "relay"):
        play(either, story)
    assert [each.getMessage() for each in caplog.records if each.getMessage().startswith("notice")] == ["notice.sent"]
    assert CONTACT not in logged(caplog)


def test_the_operator_is_told_of_requests(url: URL) -> None:
    said = Application(
        use_case="Receipts, für alle; " + "x" * 150, company="Acme", website="acme.example", expected_volume=9
    )

    async def story(scene: Scene) -> None:
        await scene.store.change(lambda db: tenants.create(db, ACTOR, "new", TenantFields(contact=CONTACT)))
        await scene.store.change(lambda db: tenants.apply_for_approval(db, ACTOR, "new", said))
        assert await notifier(scene).pass_once() == 1
        [(people, mail, _)] = sent(scene)
        assert people == ["ops@operator.example"]
        assert mail["To"] == "ops@operator.example"
        assert said.use_case in mail.get_content()

    play(url, story)


def test_a_subject_is_one_line(url: URL) -> None:
    async def story(scene: Scene) -> None:
        tenant = await scene.store.read(lambda db: tenants.find(db, "acme"))
        await scene.store.change(
            lambda db: notices.write(db, tenant.id, CONTACT, "Grüße\r\nBcc: evil@x.example", ".\r\nFrom: x\r\n.\r\n")
        )
        assert await notifier(scene).pass_once() == 1
        [(people, mail, _)] = sent(scene)
        assert mail["Subject"] == "Grüße Bcc: evil@x.example"
        assert mail["Bcc"] is None
        assert "evil@x.example" not in people

    play(url, story)


def test_without_a_contact_only_the_operator_is_told(url: URL) -> None:
    async def story(scene: Scene) -> None:
        await suspend(scene, contact=None)
        await notifier(scene).pass_once()
        assert [people for people, _, _ in sent(scene)] == [["ops@operator.example"]]

    play(url, story)


def test_without_an_operators_address_contacts_are_told_and_the_rest_waits_a_day(
    url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    settings = NOTICES.model_copy(update={"to": None})

    async def story(scene: Scene) -> None:
        await scene.tenant("mute")
        await suspend(scene, "mute", None)
        await suspend(scene)
        assert await notifier(scene, settings).pass_once() == 1
        assert [people for people, _, _ in sent(scene)] == [[CONTACT]]
        assert await waiting(scene) == 1
        await age(scene, DAY)
        assert await notifier(scene, settings).pass_once() == 0
        assert await waiting(scene) == 0

    play(url, story)
    [told] = [each for each in caplog.records if each.getMessage() == "notices.dropped"]
    assert told.fields == {"count": 1, "remedy": "set notices.to in the configuration file"}  # type: ignore[attr-defined]


def test_without_a_sender_notices_wait_a_day_and_are_dropped_with_one_line(
    url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(scene: Scene) -> None:
        for name in ("a", "b", "c"):
            await scene.tenant(name)
            await suspend(scene, name)
        mute = notifier(scene, None)
        assert await mute.pass_once() == 0
        assert await waiting(scene) == 3
        await age(scene, DAY)
        await suspend(scene)
        assert await mute.pass_once() == 0
        assert await waiting(scene) == 4  # it looks once an hour
        assert await notifier(scene, None).pass_once() == 0
        assert await waiting(scene) == 1
        assert sent(scene) == []

    play(url, story)
    [told] = [each for each in caplog.records if each.getMessage() == "notices.dropped"]
    assert "notices: {from, account, to}" in told.fields["remedy"]  # type: ignore[attr-defined]


def test_what_ses_does_not_take_is_tried_again_for_three_days(either: URL, caplog: pytest.LogCaptureFixture) -> None:
    async def story(scene: Scene) -> None:
        await suspend(scene)
        scene.fail("SendEmail", "ServiceUnavailable", times=None)
        for wait in (1, 2, 4):
            assert await notifier(scene).pass_once() == 0
            [row] = await scene.store.read(lambda db: db.execute(select(notice_rows)).all())
            assert wait * 60_000 - 10_000 < row.due_at - now_ms() <= wait * 60_000
            assert await notifier(scene).pass_once() == 0
            await age(scene, timedelta(minutes=wait))
        scene.mend()
        assert await notifier(scene).pass_once() == 1

        await scene.tenant("other")
        await suspend(scene, "other")
        scene.fail("SendEmail", "MessageRejected", "Email address is not verified. x@y.example", times=None)
        await notifier(scene).pass_once()
        await age(scene, timedelta(days=3))
        assert await waiting(scene) == 1
        await notifier(scene).pass_once()
        assert await waiting(scene) == 0

    with caplog.at_level("INFO", "relay"):
        play(either, story)
    words = [each.getMessage() for each in caplog.records if each.getMessage().startswith("notice.")]
    assert words == [*["notice.postponed"] * 3, "notice.sent", "notice.postponed", "notice.given_up"]
    assert "x@y.example" not in logged(caplog)


def test_waits() -> None:
    waits = [wait_after(failures) for failures in (0, 1, 5, 6, 100)]
    assert waits == [timedelta(minutes=minutes) for minutes in (1, 2, 32, 60, 60)]


def test_a_paused_account_sends_no_notices_either(url: URL, caplog: pytest.LogCaptureFixture) -> None:
    async def story(scene: Scene) -> None:
        await suspend(scene)
        await scene.store.change(lambda db: accounts.pause(db, ACTOR, "operator", "maintenance"))
        assert await notifier(scene).pass_once() == 0
        await scene.store.change(lambda db: accounts.resume(db, ACTOR, "operator"))
        await age(scene, timedelta(minutes=1))
        assert await notifier(scene).pass_once() == 1

    play(url, story)


def test_no_fault_ends_the_task(url: URL, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noticing, "EVERY", 0.01)

    async def story(scene: Scene) -> None:
        await suspend(scene)
        await scene.store.change(lambda db: db.exec_driver_sql("ALTER TABLE notices RENAME TO hidden"))
        task = asyncio.create_task(notifier(scene).run())
        while "notices.failed" not in [each.getMessage() for each in caplog.records]:
            await asyncio.sleep(0.01)
        await scene.store.change(lambda db: db.exec_driver_sql("ALTER TABLE hidden RENAME TO notices"))
        while not sent(scene):
            await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    play(url, story)


def test_of_several_processes_one_sends() -> None:
    async def story(scene: Scene) -> None:
        first = notifier(scene)
        assert await first.pass_once() == 0
        await suspend(scene)
        async with open_store(shared, MasterKey(bytes(32))) as other:
            assert await Notifier(other, scene.clients, NOTICES).pass_once() == 0
            assert await first.pass_once() == 1

    shared = databases.postgresql()
    play(shared, story)
