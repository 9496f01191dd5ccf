"""What SNS posts, over real sockets: heard once, confirmed by the API, refused or to be repeated as is right."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from relay.errors import Kind, Problem
from relay.feedback import hearing
from relay.feedback import push as pushing
from relay.feedback.sns import certificates, fetching
from relay.store.schema import suppressions
from tests.feedback import sns
from tests.feedback.posted import CUSTOMER, OPERATOR, Posted, outside, play
from tests.feedback.sns_server import answer, file
from tests.support import PATIENCE


async def suppressed(scene: Posted) -> int:
    return len(await scene.core.store.read(lambda db: db.execute(select(suppressions)).all()))


# -- what is believed ------------------------------------------------------------------------------------------------


def test_an_event_is_heard_by_either_signature_with_and_without_subject(tmp_path: Path) -> None:
    async def story(scene: Posted) -> None:
        named = {"Subject": "Amazon SES Email Event Notification"}
        for number, (version, subject) in enumerate((("1", {}), ("1", named), ("2", {}), ("2", named))):
            event = await scene.bounced(OPERATOR, f"0102-{number}")
            said = await scene.post(sns.signed(sns.notification(event, **subject), version))
            assert (said.status, said.body) == (200, b"heard")
        assert await scene.states() == ["bounced"] * 4
        assert await suppressed(scene) == 1
        assert scene.core.dispatcher.feedback.window(OPERATOR, time.monotonic()) > timedelta(0)
        assert scene.names.asked == [(sns.HOST, 443)]
        assert scene.aws.asked == [f"GET {sns.PEM} HTTP/1.1"]

    play(tmp_path, story)


def test_it_counts_once_however_often_it_comes(tmp_path: Path) -> None:
    """The same post again, at once, and the same event in another post; by one certificate."""

    async def story(scene: Posted) -> None:
        event = await scene.bounced()
        post = sns.signed(sns.notification(event))
        said = await asyncio.gather(*(scene.post(post) for _ in range(8)))
        assert {each.status for each in said} == {200}
        after = await scene.everything()
        assert (await scene.post(post)).body == b"repeated"
        assert (await scene.post(sns.signed(sns.notification(event)))).body == b"heard"
        assert await scene.everything() == after
        assert await scene.states() == ["bounced"]
        assert len(scene.aws.asked) == 1

    play(tmp_path, story)


def test_a_topic_is_about_the_mail_of_its_own_account(tmp_path: Path) -> None:
    """Whoever has a topic of theirs on the list can sign whatever they like."""

    async def story(scene: Posted) -> None:
        event = await scene.bounced()
        event["mail"]["sendingAccountId"] = "210987654321"
        before = await scene.everything()
        said = await scene.post(sns.signed(sns.notification(event, sns.OTHER_TOPIC), url=sns.OTHER_CERTIFICATE))
        assert (said.status, said.body) == (200, b"foreign")
        assert await scene.everything() == before
        theirs = await scene.bounced(CUSTOMER, "0102-b")
        said = await scene.post(sns.signed(sns.notification(theirs, sns.OTHER_TOPIC), url=sns.OTHER_CERTIFICATE))
        assert (said.status, said.body) == (200, b"heard")
        assert sorted(await scene.states()) == ["bounced", "sent"]

    play(tmp_path, story)


NO_EVENTS = {
    "Successfully validated SNS topic for Amazon SES event publishing.": b"heard",
    "no JSON": b"broken",
    "[" * 100_000: b"broken",
    '{"a":' * 20_000 + "1" + "}" * 20_000: b"broken",
    "[]": b"broken",
    '{"eventType": "Bounce"}': b"broken",
    '{"mail": {"messageId": "0102-elsewhere"}, "eventType": "Send", "send": {}}': b"foreign",
    "": b"broken",
}


def test_what_is_no_event_of_ours_need_not_come_again(tmp_path: Path) -> None:
    async def story(scene: Posted) -> None:
        before = await scene.everything()
        for message, outcome in NO_EVENTS.items():
            said = await scene.post(sns.signed(sns.notification(message)))
            assert (said.status, said.body) == (200, outcome), message[:40]
        assert await scene.everything() == before

    play(tmp_path, story)


# -- what is to come again -------------------------------------------------------------------------------------------


def test_while_nothing_can_be_written_it_is_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(db: Connection, items: Sequence[object]) -> Sequence[Any]:
        raise Problem(Kind.STORAGE_DOWN)

    async def story(scene: Posted) -> None:
        post = sns.signed(sns.notification(await scene.bounced()))
        before = await scene.everything()
        with monkeypatch.context() as patched:
            patched.setattr(hearing, "hear", broken)
            said = await scene.post(post)
        assert (said.status, said.json["reason"]) == (503, "storage_down")
        assert int(said.headers["retry-after"]) > 0
        assert await scene.everything() == before
        assert (await scene.post(post)).body == b"heard"  # it was not remembered as taken

    play(tmp_path, story)


NO_CERTIFICATES: dict[str, tuple[bytes | None, str]] = {
    "missing0": (answer(404), "unavailable"),
    "failing0": (answer(500), "unavailable"),
    "toolarge": (answer(200, b"x" * (17 << 10)), "unavailable"),
    "redirect": (answer(302, b"", "Location: http://127.0.0.2:1/x.pem"), "unavailable"),
    "garbage0": (b"no HTTP\r\n\r\n", "unreachable"),
    "cutshort": (b"", "unreachable"),
    "silence0": (None, "unreachable"),
}


def test_without_a_certificate_it_is_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "AGAIN_AFTER", timedelta(0))
    monkeypatch.setattr(certificates, "MOST_A_MINUTE", 100)
    monkeypatch.setattr(fetching, "WITHIN", 0.3)

    async def story(scene: Posted) -> None:
        event = await scene.bounced()
        for name, (certificate, outcome) in NO_CERTIFICATES.items():
            path = f"/SimpleNotificationService-{name}.pem"
            post = sns.signed(sns.notification(event), url=f"https://{sns.HOST}{path}")
            scene.aws.answers[path] = certificate
            before = scene.counted().get(outcome, 0)
            with outside(monkeypatch) as reached:
                said = await scene.post(post)
            assert said.status == 503, name
            assert int(said.headers["retry-after"]) > 0
            assert scene.counted()[outcome] == before + 1, name
            assert bool(scene.push.faults()) == (outcome == "unreachable")  # what anybody can bring about is no fault
            assert reached == []
            scene.aws.answers[path] = file("sns.pem")
            assert (await scene.post(post)).body == b"heard", name
            assert scene.push.faults() == {}

    play(tmp_path, story)


def test_what_takes_too_long_is_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SNS waits 15 s. Who waits may go; the certificate is fetched all the same."""
    monkeypatch.setattr(pushing, "WITHIN", 0.2)

    async def story(scene: Posted) -> None:
        scene.aws.answers[sns.PEM] = None
        said = await scene.post(sns.signed(sns.notification(await scene.bounced())))
        assert (said.status, scene.counted()) == (503, {"failed": 1})

    play(tmp_path, story)


def test_what_is_being_written_is_written_whoever_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "WITHIN", 0.2)
    whole, is_free = hearing.hear, threading.Event()

    def slow(db: Connection, items: Sequence[Any]) -> Sequence[Any]:
        is_free.wait(PATIENCE)
        return whole(db, items)

    async def story(scene: Posted) -> None:
        event = await scene.bounced()
        await scene.post(sns.signed(sns.notification("no event, for the certificate")))
        with monkeypatch.context() as patched:
            patched.setattr(hearing, "hear", slow)
            post = sns.signed(sns.notification(event))
            assert (await scene.post(post)).status == 503
        is_free.set()
        await scene.push.close()
        assert await scene.states() == ["bounced"]
        assert scene.core.metrics.events.labels(OPERATOR, "email.bounced", "new")._value.get() == 1
        assert (await scene.post(post)).body == b"heard"
        assert scene.core.metrics.events.labels(OPERATOR, "email.bounced", "known")._value.get() == 1

    play(tmp_path, story)
