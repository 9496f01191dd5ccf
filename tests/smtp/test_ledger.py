"""What Relay changes in a message, change by change: seen at the sandbox octet for octet, and written down."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.cli.program import relay
from tests.support import World
from tests.wire import Wire

RULE = {"sender": "noreply@shared.example"}
ANYWHERE = {"address": "127.0.0.1:0"}
LISTENERS = [
    ANYWHERE | {"tls": "starttls"},
    ANYWHERE | {"tls": "implicit"},
    ANYWHERE | {"tls": "none", "trusted_networks": ["127.0.0.1/32"], "sender_rule": RULE},
]
RECEIVED = rb"Received: from client\.test by relay\.test with ESMTP id [0-9a-f]{24};\r\n\t.{31}\r\n"
MESSAGE_ID = rb"Message-ID: <[0-9a-f]{24}@shared\.example>\r\n"
DATE = rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\n"
FROM = b"From: app@shared.example\r\n"
NOREPLY = b"From: noreply@shared.example\r\n"
REST = b"Date: x\r\nMessage-ID: <a@b>\r\n"
LONG = b"word " * 240

# What goes in, what is added in front, what comes out of it, and what is written down besides "added Received".
CHANGES = {
    "nothing": (FROM + REST, rb"", FROM + REST, []),
    "no Message-ID": (FROM + b"Date: x\r\n", MESSAGE_ID, FROM + b"Date: x\r\n", ["added Message-ID"]),
    "no Date": (FROM + b"Message-ID: <a@b>\r\n", DATE, FROM + b"Message-ID: <a@b>\r\n", ["added Date"]),
    "empty Message-ID": (FROM + b"Message-ID:\r\nDate: x\r\n", MESSAGE_ID, FROM + b"Date: x\r\n",
                         ["dropped an empty message-id", "added Message-ID"]),
    "From of this machine": (b"From: Cron <root@vm>\r\n" + REST, rb"",
                             NOREPLY + b"Reply-To: Cron <root@vm>\r\n" + REST,
                             ["replaced From by the sender rule", "added Reply-To with the original From"]),
    "and Reply-To": (b"From: root@vm\r\nReply-To: a@b.test\r\n" + REST, rb"",
                     NOREPLY + b"Reply-To: a@b.test\r\n" + REST, ["replaced From by the sender rule"]),
    "no From": (REST, rb"", NOREPLY + REST, ["added From by the sender rule"]),
    "Bcc": (FROM + b"Bcc: x@one.test,\r\n y@one.test\r\n" + REST, rb"", FROM + REST, ["dropped bcc"]),
    "Resent-Bcc": (b"Resent-Bcc: x@one.test\r\n" + FROM + REST, rb"", FROM + REST, ["dropped resent-bcc"]),
    "Return-Path": (b"Return-Path: <x@one.test>\r\n" + FROM + REST, rb"", FROM + REST, ["dropped return-path"]),
    "Sender": (FROM + b"Sender: x@one.test\r\n" + REST, rb"", FROM + REST, ["dropped sender"]),
    "X-SES": (FROM + REST + b"X-SES-MESSAGE-TAGS: a=b\r\n", rb"", FROM + REST, ["dropped x-ses-message-tags"]),
    "X-Relay": (FROM + REST + b"X-Relay-Colour: red\r\n", rb"", FROM + REST, ["dropped x-relay-colour"]),
    "option": (FROM + REST + b"X-Relay-Tag: t\r\n", rb"", FROM + REST, ["took x-relay-tag as an option"]),
    "bare CR": (FROM + b"X-A: b\rX-C: d\r\n" + REST, rb"", FROM + b"X-A: b\r\nX-C: d\r\n" + REST,
                ["made every line end in CR LF"]),
    "long field": (FROM + REST + b"X-A: " + LONG + b"\r\n", rb"",
                   FROM + REST + (b"X-A: " + LONG)[:994] + b"\r\n" + (b"X-A: " + LONG)[994:] + b"\r\n",
                   ["folded the header field x-a: it had a line of 1,205 octets"]),
}  # fmt: skip
BODY = b"\r\nHello.\r\n\r\nFrom: x\r\n\xc3\xbc\xff\r\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("ledger"), smtp={"listeners": LISTENERS}) as world:
        yield world


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_made_alone_and_written_down(world: World, change: str) -> None:
    header, added, becomes, ledger = CHANGES[change]
    recipient = f"{change.replace(' ', '-').lower()}@ledger.test"
    with Wire(world.plain) as wire:
        wire.open("app@shared.example", recipient)
        reply = wire.say(header + BODY + b".")
    assert reply.startswith("250 2.0.0 Accepted as "), reply
    public_id = reply.split()[-1]
    [sent] = world.sent_to(recipient)
    raw = sent["raw"]
    front = re.match(RECEIVED + added, raw)
    assert front is not None, raw
    assert raw[front.end() :] == becomes + BODY
    seen = world.call("GET", f"/api/v1/emails/{public_id}").json
    assert sorted(seen["changes"]) == sorted(["added Received", *ledger])
    if ledger:
        assert ledger[0] in relay(world.folder, "queue", "show", public_id)
        assert json.loads(relay(world.folder, "queue", "show", public_id, "--json"))["changes"] == seen["changes"]


def test_an_envelope_sender_of_this_machine_goes_by_the_rule_too(world: World) -> None:
    with Wire(world.plain) as wire:
        wire.open("root@localhost", "envelope@ledger.test")
        assert wire.say(b"From: root@localhost\r\n" + BODY + b".").startswith("250 2.0.0 Accepted as ")
    world.sent_to("envelope@ledger.test")
