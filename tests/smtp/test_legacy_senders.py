"""Senders that cannot be mended: devices, machines that send as root@localhost, networks that never log in."""

from __future__ import annotations

import base64
import contextlib
import email
import email.policy
import sqlite3
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from relay.declared import KeyFields, TenantFields
from relay.errors import Kind
from relay.store.beside import with_database
from relay.store.directory import keys, tenants
from relay.store.directory.audit import Actor
from relay.store.directory.installation import shown
from tests.support import World, wait_for
from tests.wire import Wire

ADMIN = Actor("test", is_operator=True)
SCANNER = "scanner@shared.example"
LISTENER = {"address": "127.0.0.1:0", "tls": "none", "auth_without_tls": True}
NETWORK = "127.0.5.0/24"
CRON, CAMERA, NOBODY = "127.0.5.1", "127.0.6.1", "127.0.7.1"
SECRETS = {"camera": "camera-0123456789abcdef"}
LISTENERS: list[dict[str, Any]] = [
    LISTENER,
    LISTENER | {"sender_rule": {"sender": "listener@shared.example", "replaces": ["*@localhost", "missing", "<>"]}},
    LISTENER
    | {
        "trusted_networks": [
            {"network": NETWORK, "sender": "cron@shared.example"},
            {"network": f"{CAMERA}/32", "key": "camera"},
            {"network": "127.0.8.0/24", "key": "gone"},
        ]
    },
]
OVERRIDES: dict[str, Any] = {
    "smtp": {"listeners": LISTENERS},
    "logins": {"exempt": ["127.0.0.0/8"]},  # whoever waits for a new key fails until it is known
    "keys": [
        {
            "name": "camera",
            "secret": SECRETS["camera"],
            "device": {"networks": ["127.0.6.0/24"], "sender": "camera@shared.example", "recipients": ["*@guard.test"]},
        }
    ],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), **OVERRIDES) as world:
        yield world


def new_key(world: World, **fields: Any) -> str:
    """Known to the running server when it is returned."""
    wanted = KeyFields.model_validate({"name": "key"} | fields)
    _, secret = with_database(world.settings, lambda db, sealer: keys.create(db, sealer, ADMIN, wanted))
    wait_for(lambda: world.call("GET", "/api/v1/keys", key=secret).status != Kind.UNAUTHORIZED.http)
    return secret


def new_device(world: World, **fields: Any) -> str:
    return new_key(world, device={"networks": ["127.0.2.0/24"], "sender": SCANNER} | fields)


def log_in(wire: Wire, key: str) -> str:
    assert wire.reply().startswith("220 ")
    wire.say("EHLO client.test")
    return wire.say("AUTH PLAIN " + base64.b64encode(f"\0any\0{key}".encode()).decode())


def send(wire: Wire, sender: str, recipient: str, header: str = "") -> str:
    """The answer to a message, or to whatever of it was refused."""
    for line in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA"):
        reply = wire.say(line)
        if reply[0] not in "23":
            return reply
    return wire.say(f"{header}Subject: report\r\n\r\nhello\r\n.")


def seen(world: World, recipient: str) -> EmailMessage:
    """The one message that Amazon SES has for a recipient."""
    [sent] = world.sent_to(recipient)
    found = email.message_from_bytes(sent["raw"], policy=email.policy.SMTP)
    assert isinstance(found, EmailMessage)
    return found


# -- devices ---------------------------------------------------------------------------------------------------------


def envelope_senders(world: World) -> set[str]:
    """Of every message there is."""
    with contextlib.closing(sqlite3.connect(world.folder / "relay.db")) as db:
        return {sender for (sender,) in db.execute("select mail_from from messages")}


@pytest.mark.parametrize(
    ("sender", "header", "reply_to"),
    [
        ("admin@printer.local", "From: Printer <admin@printer.local>\r\n", "admin@printer.local"),
        ("x@shared.example", "From: x@shared.example\r\nReply-To: y@shared.example\r\n", "y@shared.example"),
        (SCANNER, "", None),
    ],
)
def test_all_that_a_device_sends_goes_out_under_its_address(
    world: World, sender: str, header: str, reply_to: str | None
) -> None:
    recipient = f"from-{sender.replace('@', '-at-')}@example.org"
    with Wire(world.starttls, source="127.0.2.9") as wire:
        assert log_in(wire, new_device(world)).startswith("235 ")
        accepted = send(wire, sender, recipient, header)
    mail = seen(world, recipient)
    assert mail["From"] == SCANNER
    assert (mail["Reply-To"] and mail["Reply-To"].addresses[0].addr_spec) == reply_to
    found = world.call("GET", f"/api/v1/emails/{accepted.split()[-1]}").json
    assert found["from"] == SCANNER
    assert f"{'replaced' if header else 'added'} From by the sender rule" in found["changes"]
    assert not envelope_senders(world) & {"admin@printer.local", "x@shared.example"}


def test_a_device_elsewhere_is_told_where_it_may_be(world: World) -> None:
    key = new_device(world)
    with Wire(world.starttls, source="127.0.3.9") as wire:
        reply = log_in(wire, key)
        assert reply.startswith("535 5.7.8 ")
        for word in ("127.0.2.0/24", "127.0.3.9", "ask the operator"):
            assert word in reply


def test_a_device_needs_the_tls_it_is_said_to_need(world: World) -> None:
    key = new_device(world, min_tls="1.0")
    with Wire(world.starttls, source="127.0.2.9") as wire:
        reply = log_in(wire, key)
        assert reply.startswith("535 5.7.8 ")
        assert "needs TLS 1.0 or later" in reply


def test_a_device_writes_to_whom_it_may(world: World) -> None:
    key = new_device(world, recipients=["*@office.test"])
    with Wire(world.starttls, source="127.0.2.9") as wire:
        log_in(wire, key)
        wire.say(f"MAIL FROM:<{SCANNER}>")
        assert wire.say("RCPT TO:<anyone@example.org>").startswith("550 5.7.1 this key writes to *@office.test only")
        assert wire.say("RCPT TO:<boss@office.test>").startswith("250 ")


def test_a_device_sends_no_bounces(world: World) -> None:
    key = new_device(world)
    with Wire(world.starttls, source="127.0.2.9") as wire:
        log_in(wire, key)
        assert wire.say("MAIL FROM:<>").startswith("550 5.7.1 ")


def test_a_device_has_no_business_over_http(world: World) -> None:
    key = new_device(world)
    body = {"from": SCANNER, "to": ["a@example.org"], "subject": "x", "text": "x"}
    for method, path, what in (("POST", "/api/v1/emails", body), ("GET", "/api/v1/domains", None)):
        answer = world.call(method, path, what, key=key)
        assert (answer.status, answer.json["reason"]) == (403, "forbidden")
        assert "sends by SMTP" in answer.json["message"]


def test_the_daily_cap_outlives_the_server(tmp_path: Path) -> None:
    with World(tmp_path, **OVERRIDES) as world:
        key = new_device(world, daily=2)
        with Wire(world.starttls, source="127.0.2.9") as wire:
            log_in(wire, key)
            assert send(wire, SCANNER, "one@example.org").startswith("250 ")
            for line in (f"MAIL FROM:<{SCANNER}>", "RCPT TO:<two@example.org>", "RCPT TO:<three@example.org>", "DATA"):
                wire.say(line)
            assert "2 recipients a day: 1 are used, and 2 more do not fit" in wire.say("Subject: x\r\n\r\nx\r\n.")
            assert send(wire, SCANNER, "two@example.org").startswith("250 ")
    with World(tmp_path, **OVERRIDES) as world, Wire(world.starttls, source="127.0.2.9") as wire:
        log_in(wire, key)
        reply = wire.say(f"MAIL FROM:<{SCANNER}>")
        assert reply.startswith("550 5.7.1 this device has 2 recipients a day: 2 are used")


# -- sender rules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "sender", "header", "author", "recipient"),
    [
        (None, "root@localhost", "From: root@localhost\r\n", "listener@shared.example", "1@rules.test"),
        (None, "", "", "listener@shared.example", "2@rules.test"),
        (None, "app@byoc.example", "From: app@byoc.example\r\n", "app@byoc.example", "3@rules.test"),
        (
            "key@byoc.example",
            "root@web.internal",
            "From: Cron <root@web.internal>\r\n",
            "key@byoc.example",
            "4@rules.test",
        ),
        ("key@byoc.example", "app@byoc.example", "", "key@byoc.example", "5@rules.test"),
    ],
)
def test_rules_of_listener_and_key(
    world: World, rule: str | None, sender: str, header: str, author: str, recipient: str
) -> None:
    key = new_key(world, sender_rule=rule and {"sender": rule})
    with Wire(world.tls, source=NOBODY) as wire:
        assert log_in(wire, key).startswith("235 ")
        assert send(wire, sender, recipient, header).startswith("250 ")
    mail = seen(world, recipient)
    assert mail["From"] == author
    is_replaced = header and author not in header
    assert (mail["Reply-To"] is not None) == bool(is_replaced)


def test_a_rule_whose_sender_is_another_tenants_is_refused_as_any_author(world: World) -> None:
    """The listener's rule is the operator's, the key another tenant's."""
    with_database(world.settings, lambda db, _: tenants.create(db, ADMIN, "acme", TenantFields()))
    key = new_key(world, tenant="acme")
    with Wire(world.tls, source=NOBODY) as wire:
        log_in(wire, key)
        assert wire.say("MAIL FROM:<root@localhost>").startswith("550 5.7.1 shared.example is not registered here")


def test_over_http_an_application_says_whom_it_sends_as(world: World) -> None:
    key = new_key(world, sender_rule={"sender": "key@byoc.example", "replaces": ["*@byoc.example"]})
    body = {"from": "app@byoc.example", "to": ["http@example.org"], "subject": "x", "text": "x"}
    assert world.call("POST", "/api/v1/emails", body, key=key).status == 202
    assert seen(world, "http@example.org")["From"] == "app@byoc.example"


# -- trusted networks ------------------------------------------------------------------------------------------------


def test_a_trusted_network_has_its_own_sender(world: World) -> None:
    with Wire(world.plain, source=CRON) as wire:
        wire.reply()
        wire.say("HELO cron")
        assert send(wire, "root@localhost", "cron@example.org", "From: root@localhost\r\n").startswith("250 ")
    mail = seen(world, "cron@example.org")
    assert (mail["From"], mail["Reply-To"]) == ("cron@shared.example", "root@localhost")


def test_a_trusted_device_is_the_device_without_logging_in(world: World) -> None:
    with Wire(world.plain, source=CAMERA) as wire:
        wire.reply()
        wire.say("EHLO camera")
        assert send(wire, "a@b.c", "anyone@example.org").startswith("550 5.7.1 this key writes to *@guard.test only")
        wire.say("RSET")
        assert send(wire, "a@b.c", "night@guard.test").startswith("250 ")
    mail = seen(world, "night@guard.test")
    assert mail["From"] == "camera@shared.example"
    assert "with ESMTP id" in mail["Received"]


def test_a_trusted_client_may_log_in_as_someone_else(world: World) -> None:
    key = new_key(world)
    with Wire(world.plain, source=CAMERA) as wire:
        assert log_in(wire, key).startswith("235 ")
        assert send(wire, "me@byoc.example", "else@example.org", "From: me@byoc.example\r\n").startswith("250 ")
    mail = seen(world, "else@example.org")
    assert mail["From"] == "me@byoc.example"
    assert "with ESMTPA id" in mail["Received"]


def test_nobody_else_is_trusted(world: World) -> None:
    for source in (NOBODY, "127.0.8.1"):
        with Wire(world.plain, source=source) as wire:
            wire.reply()
            wire.say("EHLO x")
            assert wire.say("MAIL FROM:<a@shared.example>").startswith("530 5.7.0 ")


def test_readiness_says_which_network_is_not_trusted_and_why(tmp_path: Path) -> None:
    network = {"network": "127.0.9.0/24", "key": "floor"}
    listeners = [LISTENER, LISTENER, LISTENER | {"trusted_networks": [network]}]
    with World(tmp_path, smtp={"listeners": listeners}, logins=OVERRIDES["logins"]) as world:

        def may_send() -> bool:
            with Wire(world.plain, source="127.0.9.1") as wire:
                wire.reply()
                wire.say("HELO x")
                return wire.say("MAIL FROM:<a@shared.example>").startswith("250 ")

        name = "trusted network 127.0.9.0/24 at 127.0.0.1:0"
        fault = "there is no valid key 'floor': make one, or name another one"
        assert world.call("GET", "/readyz").json["faults"][name] == fault
        new_key(world, name="floor")
        wait_for(may_send)
        assert name not in world.call("GET", "/readyz").json["faults"]
        [floor] = [
            each for each in with_database(world.settings, lambda db, _: keys.usable(db)) if each.name == "floor"
        ]
        with_database(world.settings, lambda db, _: keys.revoke(db, ADMIN, shown(floor.id)))
        wait_for(lambda: not may_send())
        assert name in world.call("GET", "/readyz").json["faults"]
