"""`relay send`: everything that its options say reaches SES, by a running server and by the queue alone."""

from __future__ import annotations

import email
import email.policy
import json
import os
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from relay.declared import Permission
from tests.cli.program import refused, relay, run
from tests.support import World, wait_for

EML = b"""From: Ana <ana@shared.example>\r
To: machine@one.test\r
Subject: As it is\r
X-Relay-Tag: whole\r
X-Own: kept   as  it stands\r
\r
Exactly  this.\r
"""
EVENT = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("send")) as world:
        file = world.folder / "config.yaml"  # it says port 0; the command needs the real one
        raw = json.loads(file.read_text())
        raw["http"]["address"] = f"127.0.0.1:{world.http}"
        file.write_text(json.dumps(raw))
        yield world


def sent(world: World, *options: str, stdin: str | bytes = "") -> str:
    """The id of what a command sent."""
    done = run(world.folder, "send", "--key", world.key, *options, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def letter(world: World, address: str) -> EmailMessage:
    found = email.message_from_bytes(world.sent_to(address)[0]["raw"], policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def test_every_option_is_in_what_is_sent(world: World, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Grüße\n")
    (tmp_path / "a.html").write_text('<p>Grüße <img src="cid:logo"></p>')
    (tmp_path / "bill.pdf").write_bytes(b"%PDF-1.7 bill")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG logo")
    (tmp_path / "event.ics").write_text(EVENT)
    public_id = sent(
        world,
        *("--from", "news@shared.example", "--from-name", "Näws", "--to", "all@one.test", "--to", "more@one.test"),
        *("--cc", "copy@one.test", "--bcc", "hidden@one.test", "--reply-to", "help@shared.example"),
        *("--return-path", "bounces@shared.example", "--subject", "Für alle", "--header", "X-Order: 9"),
        *("--text-file", str(tmp_path / "text.txt"), "--html-file", str(tmp_path / "a.html")),
        *("--attach", str(tmp_path / "bill.pdf"), "--attach", f"{tmp_path / 'text.txt'};application/x-own"),
        *("--inline", f"logo={tmp_path / 'logo.png'}", "--calendar", str(tmp_path / "event.ics")),
        *("--tag", "orders", "--metadata", "order=9", "--stream", "transactional"),
        *("--track-opens", "--no-track-clicks"),
    )
    for each in ("all@one.test", "more@one.test", "copy@one.test", "hidden@one.test"):
        [arrived] = world.sent_to(each)  # one call each, for opens are tracked
        assert arrived["recipients"] == [each]
    found = letter(world, "all@one.test")
    assert (found["From"], found["To"]) == ("Näws <news@shared.example>", "all@one.test, more@one.test")
    assert (found["Cc"], found["Reply-To"], found["Bcc"]) == ("copy@one.test", "help@shared.example", None)
    assert (found["Subject"], found["X-Order"]) == ("Für alle", "9")
    parts = {part.get_content_type(): part for part in found.walk() if not part.is_multipart()}
    assert parts["text/plain"].get_content().strip() == "Grüße"
    assert "cid:logo" in parts["text/html"].get_content()
    assert parts["application/pdf"].get_content() == b"%PDF-1.7 bill"
    assert parts["application/x-own"].get_filename() == "text.txt"
    assert parts["image/png"]["Content-ID"] == "<logo>"
    assert parts["text/calendar"].get_param("method") == "REQUEST"
    shown = world.call("GET", f"/api/v1/emails/{public_id}").json
    assert (shown["tag"], shown["metadata"], shown["stream"]) == ("orders", {"order": "9"}, "transactional")
    assert (shown["track_opens"], shown["track_clicks"]) == (True, False)


def test_text_comes_by_standard_input(world: World) -> None:
    sent(world, "--from", "news@shared.example", "--to", "pipe@one.test", "--subject", "Piped", stdin="by a pipe\n")
    assert letter(world, "pipe@one.test").get_content().strip() == "by a pipe"


def test_a_whole_message_goes_as_it_is(world: World) -> None:
    sent(world, "--eml", "-", stdin=EML)
    raw = world.sent_to("machine@one.test")[0]["raw"]
    assert raw.endswith(b"X-Own: kept   as  it stands\r\n\r\nExactly  this.\r\n")
    assert b"X-Relay-Tag" not in raw
    # With recipients of its own, those of the header are only shown.
    sent(world, "--eml", "-", "--to", "other@one.test", stdin=EML)
    assert world.sent_to("other@one.test")[0]["recipients"] == ["other@one.test"]


def test_large_files_go_in_a_form(world: World, tmp_path: Path) -> None:
    content = os.urandom(9 << 20)
    (tmp_path / 'größe "x".bin').write_bytes(content)
    sent(
        world,
        *("--from", "news@shared.example", "--to", "large@one.test", "--subject", "Large", "--text", "x"),
        *("--attach", str(tmp_path / 'größe "x".bin')),
    )
    [part] = letter(world, "large@one.test").iter_attachments()
    assert (part.get_filename(), part.get_content()) == ('größe "x".bin', content)


def test_a_request_as_the_api_takes_it(world: World, tmp_path: Path) -> None:
    asked = {"from": "news@shared.example", "to": ["asked@one.test"], "subject": "Asked", "text": "x", "tag": "t"}
    (tmp_path / "request.json").write_text(json.dumps(asked))
    sent(world, "--request", str(tmp_path / "request.json"), "--subject", "Said")
    assert letter(world, "asked@one.test")["Subject"] == "Said"


def test_a_template_is_filled_in(world: World, tmp_path: Path) -> None:
    made = {"name": "receipt", "subject": "Order {{ order.id }}", "text": "Thanks, {{ name }}{{ title }}."}
    assert world.call("POST", "/api/v1/templates", made).status == 201
    (tmp_path / "variables.json").write_text(json.dumps({"name": "nobody", "order": {"id": 9}}))
    options = ("--from", "news@shared.example", "--to", "filled@one.test", "--template", "receipt@1")
    options += ("--variables", str(tmp_path / "variables.json"), "--var", "name=Ana")
    assert "variables.title" in refused(world.folder, "send", "--key", world.key, *options)
    sent(world, *options, "--missing", "empty")
    found = letter(world, "filled@one.test")
    assert (found["Subject"], found.get_content().strip()) == ("Order 9", "Thanks, Ana.")


def test_under_one_key_it_is_sent_once(world: World) -> None:
    options = ("--from", "news@shared.example", "--to", "once@one.test", "--subject", "Once", "--text", "x")
    ids = {sent(world, *options, "--idempotency-key", "o-1") for _ in range(3)}
    assert len(ids) == 1
    assert len(world.sent_to("once@one.test")) == 1
    said = refused(world.folder, "send", "--key", world.key, *options[:-1], "y", "--idempotency-key", "o-1")
    assert "idempotency key was used" in said


def test_a_rehearsal_sends_nothing(world: World) -> None:
    options = ("--from", "news@shared.example", "--to", "dry@one.test", "--subject", "Dry", "--text", "x")
    assert "all is well" in sent(world, *options, "--dry-run")
    assert "all is well" in sent(world, "--eml", "-", "--to", "dry@one.test", "--dry-run", stdin=EML)
    sent(world, "--from", "news@shared.example", "--to", "after-dry@one.test", "--subject", "x", "--text", "x")
    world.sent_to("after-dry@one.test")
    assert not [each for each in world.messages() if "dry@one.test" in each["recipients"]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--from", "news@shared.example", "--subject", "x", "--text", "x"), "to: is required"),
        (("--from", "news@nowhere.example", "--to", "a@one.test", "--subject", "x", "--text", "x"), "not registered"),
        (("--to", "a@one.test", "--text", "x", "--header", "no colon"), "--header"),
        (("--to", "a@one.test", "--text", "x", "--inline", "logo.png"), "--inline: takes CID=PATH"),
        (("--to", "a@one.test", "--template", "name@x"), "--template"),
        (("--to", "a@one.test", "--template", "t", "--var", "novalue"), "--var"),
        (("--to", "a@one.test", "--text", "x", "--metadata", "a=1", "--metadata", "a=2"), "a twice"),
        (("--to", "a@one.test", "--text", "x", "--key", "relay_…"), "--key: takes printable ASCII"),
        (
            ("--to", "a@one.test", "--text", "x", "--idempotency-key", "a\nb"),
            "--idempotency-key: takes printable ASCII",
        ),
        (
            ("--eml", "config.yaml", "--to", "a@one.test", "--cc", "b@one.test", "--send-at", "2030-01-31T09:00:00Z"),
            "--eml: is a whole message, to which --cc and --send-at cannot add",
        ),
    ],
)
def test_what_is_wrong_is_said(world: World, options: tuple[str, ...], words: str) -> None:
    assert words in refused(world.folder, "send", "--key", world.key, *options)


def test_without_a_server(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        key = world.new_key(Permission.SEND_ONLY)
        gone = {"RELAY_KEY": key}
    options = ("send", "--from", "news@shared.example", "--to", "later@one.test", "--subject", "Later", "--text", "x")
    done = run(tmp_path, *options, environment=gone)
    assert done.returncode == os.EX_TEMPFAIL
    assert "is the server running?" in done.stderr

    said = json.loads(run(tmp_path, *options, "--local", "--json", environment=gone).stdout)
    assert [each["state"] for each in json.loads(relay(tmp_path, "queue", "list", "--json"))] == ["queued"]
    assert run(tmp_path, *options, "--local", environment={"RELAY_KEY": "no key"}).returncode == os.EX_DATAERR

    with World(tmp_path) as world:  # the next server sends what waits
        wait_for(lambda: world.call("GET", f"/api/v1/emails/{said['id']}", key=world.key).json["status"] == "sent")
        assert "another relay is serving" in run(tmp_path, *options, "--local", environment=gone).stderr
