"""Options in a message's header, told over SMTP: taken out, kept with the message, shown, and gone by."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.engine import URL

from relay.store import hand
from relay.store.beside import with_database
from relay.store.clock import rfc3339
from relay.store.database import is_sqlite, migrate_postgresql
from relay.store.schema import idempotency
from tests import databases
from tests.cli.program import relay
from tests.support import World, wait_for
from tests.wire import Wire

DOMAINS = {"letters.example": {"mode": "byoc", "account": "customer", "streams": ["transactional"]}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("options"), domains=DOMAINS) as world:
        yield world


def send(world: World, header: str, *recipients: str, sender: str = "app@shared.example", mail: str = "") -> str:
    """Send a message with more in its header; the answer to it."""
    with Wire(world.plain) as wire:
        assert wire.reply().startswith("220 ")
        for line in ("EHLO client.test", f"MAIL FROM:<{sender}>{mail}", *(f"RCPT TO:<{each}" for each in recipients)):
            line += ">" if line.startswith("RCPT") and ">" not in line else ""
            assert wire.say(line).startswith("250 "), line
        assert wire.say("DATA").startswith("354 ")
        return wire.say(f"{header}From: {sender}\r\nSubject: s\r\n\r\nHello.\r\n.")


def id_of(reply: str) -> str:
    start, _, public_id = reply.partition("Accepted as ")
    assert start == "250 2.0.0 ", reply
    return public_id.strip()


def look(world: World, public_id: str) -> dict[str, Any]:
    found: dict[str, Any] = world.call("GET", f"/api/v1/emails/{public_id}").json
    return found


def test_options_are_kept_and_shown_and_reach_nobody(world: World) -> None:
    public_id = id_of(
        send(
            world,
            "X-Relay-Tag: welcome\r\nX-Relay-Unheard-Of: 1\r\nX-Relay-Stream: broadcast\r\nX-Relay-Track-Opens: yes\r\n"
            'X-Relay-Metadata: {"order": "4711",\r\n "esc": "\\u00fc"}\r\nIdempotency-Key: all of them\r\n',
            "a@options.test",
            "b@options.test",
        )
    )
    # Of the stream broadcast: one call a recipient.
    messages = world.sent_to("a@options.test") + world.sent_to("b@options.test")
    assert [each["recipients"] for each in messages] == [["a@options.test"], ["b@options.test"]]
    for each in messages:
        _, _, rest = each["raw"].partition(b"\r\nDate: ")
        assert rest.partition(b"\r\n")[2] == b"From: app@shared.example\r\nSubject: s\r\n\r\nHello.\r\n"
        assert b"elay-" not in each["raw"]
        assert b"dempotency" not in each["raw"]
    seen = look(world, public_id)
    assert (seen["tag"], seen["metadata"], seen["stream"]) == ("welcome", {"order": "4711", "esc": "ü"}, "broadcast")
    assert (seen["track_opens"], seen["track_clicks"], seen["scheduled_at"]) == (True, None, None)
    assert seen["changes"] == [
        "took x-relay-tag as an option",
        "dropped x-relay-unheard-of",
        "took x-relay-stream as an option",
        "took x-relay-track-opens as an option",
        "took x-relay-metadata as an option",
        "took idempotency-key as an option",
        "added Received",
        "added Message-ID",
        "added Date",
    ]
    shown = json.loads(relay(world.folder, "queue", "show", public_id, "--json"))
    assert {name: shown[name] for name in ("tag", "metadata", "stream", "track_opens")} == {
        name: seen[name] for name in ("tag", "metadata", "stream", "track_opens")
    }
    assert shown["changes"] == seen["changes"]
    words = relay(world.folder, "queue", "show", public_id)
    assert '            metadata  {"order": "4711", "esc": "\\u00fc"}\n' in words
    assert "         track_opens  yes\n" in words
    assert "track_clicks" not in words


def test_what_is_wrong_with_options_is_said_all_at_once(world: World) -> None:
    reply = send(world, "X-Relay-Tag: a b\r\nX-Relay-Send-At: soon\r\n", "a@options.test")
    assert reply.startswith("554 5.6.0 x-relay-tag: takes 1 to 64 letters")
    assert "x-relay-send-at: takes a moment such as" in reply


def test_a_stream_is_still_one_that_the_domain_may_use(world: World) -> None:
    header = "List-Id: x\r\nX-Relay-Stream: transactional\r\n"
    id_of(send(world, header, "list@options.test", sender="app@letters.example"))
    reply = send(world, "X-Relay-Stream: broadcast\r\n", "list@options.test", sender="app@letters.example")
    assert reply.startswith("550 5.7.1 ")


def test_mail_can_be_sent_later(world: World) -> None:
    at = int(time.time()) + 86_400
    public_id = id_of(send(world, f"X-Relay-Send-At: {at}\r\n", "later@options.test"))
    now = id_of(send(world, "X-Relay-Send-At: 2020-01-01T00:00:00Z\r\n", "now@options.test"))
    world.sent_to("now@options.test")
    assert look(world, now)["scheduled_at"] is None
    seen = look(world, public_id)
    assert (seen["status"], seen["scheduled_at"]) == ("queued", rfc3339(at * 1000))
    assert seen["deliveries"][0]["next_attempt_at"] == rfc3339(at * 1000)
    shown = json.loads(relay(world.folder, "queue", "show", public_id, "--json"))
    assert shown["scheduled_at"] == datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert not [each for each in world.messages() if "later@options.test" in each["recipients"]]
    with_database(world.settings, lambda db, _: hand.move_by_hand(db, [hand.ByHand(public_id, hand.Verb.RETRY)]))
    world.sent_to("later@options.test")


def test_dsn_is_kept_and_shown(world: World) -> None:
    public_id = id_of(
        send(
            world,
            f"X-Relay-Send-At: {int(time.time()) + 3600}\r\n",
            "a@options.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old+2Ba@options.test",
            "b@options.test",
            mail=" RET=HDRS ENVID=QQ314159",
        )
    )
    seen = look(world, public_id)
    assert {name: each.lower() for name, each in seen["dsn"].items()} == {"ret": "hdrs", "envid": "qq314159"}
    first, second = (each["dsn"] for each in seen["recipients"])
    assert (first["notify"].lower(), second) == ("success,delay", {"notify": None, "orcpt": None})
    assert first["orcpt"].startswith("rfc822;old")
    shown = json.loads(relay(world.folder, "queue", "show", public_id, "--json"))
    assert (shown["dsn_ret"], shown["dsn_envid"]) == (seen["dsn"]["ret"], seen["dsn"]["envid"])
    assert [(each["dsn_notify"], each["dsn_orcpt"]) for each in shown["recipients"]] == [
        (first["notify"], first["orcpt"]),
        (None, None),
    ]


# -- the same message twice ------------------------------------------------------------------------------------------


def test_the_same_message_twice_is_one_message(world: World) -> None:
    key = "X-Relay-Idempotency-Key: order 4711\r\n"
    first = send(world, key, "a@twice.test", "b@twice.test")
    for header in (key, "Idempotency-Key: order 4711\r\n", "X-More: 1\r\nResend-Idempotency-Key: order 4711\r\n"):
        assert (
            send(world, header, "b@twice.test", "A@twice.test") == first
        )  # the order and case of recipients is no matter
    id_of(first)
    world.sent_to("a@twice.test")
    # Another key, another recipient, another sender, another tenant's key: other messages.
    others = [
        send(world, "Idempotency-Key: order 4712\r\n", "a@twice.test", "b@twice.test"),
        send(world, key, "a@twice.test"),
        send(world, key, "a@twice.test", "b@twice.test", sender="other@shared.example"),
        send(world, "", "a@twice.test", "b@twice.test"),
        send(world, "", "a@twice.test", "b@twice.test"),
    ]
    assert len({id_of(each) for each in [first, *others]}) == 6
    world.sent_to("a@twice.test", 6)


def test_a_refusal_frees_the_key(world: World) -> None:
    key = "Idempotency-Key: refused at first\r\n"
    assert send(world, key + "X-Relay-Stream: broadcast\r\n", "x@twice.test", sender="app@letters.example")[0] == "5"
    accepted = send(world, key, "x@twice.test", sender="app@letters.example")
    id_of(accepted)
    # What it was answered holds, whatever would be said of it now.
    again = send(world, key + "X-Relay-Stream: broadcast\r\n", "x@twice.test", sender="app@letters.example")
    assert again == accepted


def test_of_many_at_once_one_is_taken(world: World) -> None:
    wires = [Wire(world.plain) for _ in range(10)]
    for wire in wires:
        wire.open("app@shared.example", "many@twice.test")
    for wire in wires:
        wire.send("From: app@shared.example\r\nIdempotency-Key: many\r\n\r\nHello.\r\n.")
    replies = {wire.reply() for wire in wires}
    for wire in wires:
        wire.socket.close()
    [accepted] = [each for each in replies if each.startswith("250 ")]
    assert all(each.startswith("451 4.5.0 ") for each in replies - {accepted})
    header = "Idempotency-Key: many\r\n"
    assert send(world, header, "many@twice.test") == accepted
    world.sent_to("many@twice.test")


def test_a_key_outlives_a_restart(tmp_path: Path, url: URL) -> None:
    database = "relay.db"
    if not is_sqlite(url):
        asyncio.run(migrate_postgresql(url))
        database = databases.setting(url)
    key = "Idempotency-Key: before and after\r\n"
    with World(tmp_path, database=database) as world:
        first = send(world, key, "restart@twice.test")
        wait_for(lambda: look(world, id_of(first))["status"] == "sent")
    with World(tmp_path, database=database) as world:
        assert send(world, key, "restart@twice.test") == first
        assert world.messages() == []


def test_a_day_later_a_key_is_forgotten(tmp_path: Path) -> None:
    key = "Idempotency-Key: yesterday\r\n"

    def rows(world: World) -> list[int]:
        return with_database(world.settings, lambda db, _: list(db.scalars(select(idempotency.c.expires_at))))

    with World(tmp_path) as world:
        first = send(world, key, "day@twice.test")
        [expires_at] = rows(world)
        assert abs(expires_at - (time.time() + 86_400) * 1000) < 60_000
    with_database(world.settings, lambda db, _: db.execute(update(idempotency).values(expires_at=1)))
    with World(tmp_path) as world:
        wait_for(lambda: not rows(world))
        assert id_of(send(world, key, "day@twice.test")) != id_of(first)


def test_over_http_a_key_is_a_header_of_the_request_and_not_of_the_message(world: World) -> None:
    body = {"from": "app@shared.example", "to": "http@twice.test", "subject": "s", "text": "t"}
    refused = world.call("POST", "/api/v1/emails", {**body, "headers": {"Idempotency-Key": "k"}})
    assert (refused.status, refused.json["param"]) == (400, "headers.Idempotency-Key")
    twice = [world.call("POST", "/api/v1/emails", body, Idempotency_Key="k") for _ in range(2)]
    assert [each.status for each in twice] == [202, 202]
    assert twice[0].json == twice[1].json
    world.sent_to("http@twice.test")
