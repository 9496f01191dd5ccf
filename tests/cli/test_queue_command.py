"""`relay queue` beside a running server: messages found by what they are, moved by any form of their id."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.message import uuid_of
from relay.store import duplicates, listing
from relay.store.beside import with_database
from relay.store.clock import now_ms
from relay.store.events import Event, note
from tests.cli.program import found, refused, relay, run
from tests.support import World, wait_for
from tests.wire import Wire

DAY = 86_400  # seconds


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("queue")) as world:
        yield world


def send(world: World, to: str, *fields: str, domain: str = "shared.example") -> str:
    with Wire(world.plain) as wire:
        wire.reply()
        for line in ("EHLO a", f"MAIL FROM:<me@{domain}>", f"RCPT TO:<{to}>", "DATA"):
            assert wire.say(line)[0] in "23"
        reply = wire.say("\r\n".join([f"From: me@{domain}", *fields, "", "Hi", "."]).encode())
        assert reply.startswith("250"), reply
        return reply.split()[-1]


def waiting(world: World, to: str, *fields: str) -> str:
    return send(world, to, f"X-Relay-Send-At: {int(time.time()) + DAY}", *fields)


def look(world: World, public_id: str) -> Any:
    return found(world.folder, "queue", "show", public_id)


def test_messages_are_found_by_what_they_are(world: World) -> None:
    sent = send(world, "ana@list.test", "X-Relay-Tag: first", "Message-ID: <one@list.test>", domain="byoc.example")
    later = waiting(world, "Bo@list.test", "X-Relay-Tag: second")
    wait_for(lambda: look(world, sent)["state"] == "sent")

    def ids(*options: str) -> list[str]:
        return [each["id"] for each in found(world.folder, "queue", "list", *options)]

    assert ids("--recipient", "ANA@list.test") == [sent]  # it is forgotten by now
    assert ids("--recipient", "bo@list.test", "--tenant", "default") == [later]
    assert ids("--tag", "second") == [later]
    assert ids("--message-id", "<one@list.test>") == ids("--message-id", "one@list.test") == [sent]
    assert ids("--message-id", look(world, sent)["deliveries"][0]["ses_message_id"]) == [sent]
    assert ids("--state", "queued") == [later]
    assert ids("--domain", "Byoc.example") == [sent]
    assert ids("--limit", "1") == [later]
    assert "there is no tenant" in refused(world.folder, "queue", "list", "--tenant", "nobody")
    assert "not an address" in refused(world.folder, "queue", "list", "--recipient", "nobody")
    relay(world.folder, "queue", "cancel", later)


@pytest.mark.parametrize("form", ["eml_{}".format, uuid_of])
def test_any_form_of_an_id_is_taken(world: World, form: Any) -> None:
    public_id = waiting(world, "forms@moved.test")
    shown = form(public_id)
    assert look(world, shown)["id"] == public_id
    assert "1 deliveries are due at" in relay(world.folder, "queue", "reschedule", shown, "--at", "2h")
    assert "1 deliveries are due now" in relay(world.folder, "queue", "retry", shown)
    wait_for(lambda: look(world, shown)["state"] == "sent")
    assert f"message {public_id} is sent: it cannot be cancelled" in refused(world.folder, "queue", "cancel", shown)
    for verb in ("show", "retry", "cancel"):
        assert "there is no message" in refused(world.folder, "queue", verb, "\x1b[31mx")


@pytest.mark.parametrize(
    ("at", "seconds"),
    [("30m", 1800), ("30d", 30 * DAY), ("2020-01-01T00:00:00Z", 0), ("{soon}", 3 * DAY)],
)
def test_messages_are_sent_at_another_time(world: World, at: str, seconds: int) -> None:
    public_id = waiting(world, "moments@moved.test")
    soon = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    relay(world.folder, "queue", "reschedule", public_id, "--at", at.format(soon=soon))
    due = look(world, public_id)["scheduled_at"] or datetime.now(UTC).isoformat()
    assert abs(datetime.fromisoformat(due).timestamp() - time.time() - seconds) < 30
    run(world.folder, "queue", "cancel", public_id)
    [entry, *_] = [
        each
        for each in found(world.folder, "audit", "--target", f"message {public_id}")
        if each["action"] == "message.reschedule"
    ]
    assert entry["actor"].startswith("command ")


@pytest.mark.parametrize("at", ["soon", "31d", "2h30m", "2030-01-31T00:00:00", "9999-01-01T00:00:00Z"])
def test_moments_that_are_none(world: World, at: str) -> None:
    assert "--at: " in refused(world.folder, "queue", "reschedule", "0" * 24, "--at", at)


def test_a_moment_is_needed(world: World) -> None:
    assert run(world.folder, "queue", "reschedule", "0" * 24).returncode == os.EX_USAGE


# -- held and released -----------------------------------------------------------------------------------------------


def test_a_message_is_held_and_released(world: World) -> None:
    public_id = waiting(world, "held@moved.test")
    assert "1 deliveries are held" in relay(world.folder, "queue", "hold", public_id, "--reason", "wrong price")
    seen = look(world, public_id)
    assert seen["state"] == "held"
    assert seen["held_because"].startswith("held by the operator")
    assert seen["held_because"].endswith(": wrong price")
    assert "is held: it cannot be held" in refused(world.folder, "queue", "hold", public_id)
    assert "1 deliveries are queued" in relay(world.folder, "queue", "release", public_id)
    assert "is queued: it cannot be released" in refused(world.folder, "queue", "release", public_id)
    seen = look(world, public_id)
    assert (seen["state"], seen["held_because"]) == ("queued", None)
    relay(world.folder, "queue", "cancel", public_id)


def test_lots_are_held_and_released_and_go(world: World) -> None:
    here = [waiting(world, f"lot{number}@moved.test") for number in range(3)]
    there = send(world, "other@moved.test", f"X-Relay-Send-At: {int(time.time()) + DAY}", domain="byoc.example")
    assert "3 deliveries are held" in relay(world.folder, "queue", "hold", "--domain", "Shared.example")
    assert "1 deliveries are held" in relay(world.folder, "queue", "hold", "--tenant", "default", "--reason", "x")
    assert "0 deliveries are held" in relay(world.folder, "queue", "hold", "--all")
    assert "0 deliveries are queued" in relay(world.folder, "queue", "release", "--restored")
    assert "0 deliveries are queued" in relay(world.folder, "queue", "release", "--domain", "nobody.example")
    assert "4 deliveries are queued" in relay(world.folder, "queue", "release", "--all")
    assert {look(world, each)["state"] for each in [*here, there]} == {"queued"}
    entries = found(world.folder, "audit", "--target", "domain shared.example")
    assert ("message.hold", {"deliveries": [None, 3]}) in [(each["action"], each["changes"]) for each in entries]
    for each in [*here, there]:
        relay(world.folder, "queue", "cancel", each)


@pytest.mark.parametrize("verb", ["hold", "release"])
@pytest.mark.parametrize("which", [[], ["0" * 24, "--all"], ["--all", "--domain", "a.example"]])
def test_it_is_said_once_which_mail_is_meant(world: World, verb: str, which: list[str]) -> None:
    assert "one of them" in refused(world.folder, "queue", verb, *which)


def test_lots_of_nobody(world: World) -> None:
    assert "there is no tenant" in refused(world.folder, "queue", "hold", "--tenant", "nobody")
    assert "there is no message" in refused(world.folder, "queue", "hold", "0" * 24)


def test_a_message_is_shown_with_what_happened_to_it(world: World) -> None:
    public_id = send(world, "eve@list.test")
    wait_for(lambda: look(world, public_id)["state"] == "sent")

    def delivered(db: Any) -> None:
        message = listing.message(db, public_id)
        assert message is not None
        people = [person.id for person in message.deliveries[0].recipients]
        note(
            db,
            [
                Event(
                    "email.opened", message_id=message.id, at=0, data={"user_agent": "Caf\u00e9", "recipients": people}
                )
            ],
        )

    with_database(world.settings, lambda db, _: delivered(db))
    events = look(world, public_id)["events"]
    assert [each["event"] for each in events][:2] == ["email.queued", "email.sent"]
    (opened,) = [each for each in events if each["event"] == "email.opened"]
    assert (opened["recipients"], opened["data"]) == (["eve@list.test"], {"user_agent": "Caf\u00e9"})
    table = relay(world.folder, "queue", "show", public_id)
    assert "user_agent: Caf\\u00e9" in table
    assert table.index("email.queued") < table.index("email.opened")


def test_possible_duplicates_are_listed_by_day(world: World) -> None:
    assert "Nothing was sent" in relay(world.folder, "queue", "duplicates")
    now = now_ms()
    with_database(world.settings, lambda db, _: duplicates.count(db, ["operator", "operator", "customer"], now))
    with_database(world.settings, lambda db, _: duplicates.count(db, ["operator"], now - 40 * DAY * 1000))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    listed = found(world.folder, "queue", "duplicates")
    assert listed == [
        {"day": today, "account": "customer", "possible_duplicates": 1},
        {"day": today, "account": "operator", "possible_duplicates": 2},
    ]
    assert len(found(world.folder, "queue", "duplicates", "--days", "41")) == 3
