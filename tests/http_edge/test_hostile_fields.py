"""What nobody should put into a field, in every dialect: each is answered, and nothing of it becomes a header."""

from __future__ import annotations

import base64
import copy
import email
import gzip
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from relay.http.dialects import mailerlogic_routes, sendfleet, sendmux
from relay.http.dialects.dialect import Batch, Single
from relay.http.emails import batch, sending
from tests.support import World, wait_for

MANY = 1_000_000
HTML = {"html": "<p>Hi</p>"}
FILE = {"filename": "a.txt", "content": base64.b64encode(b"a").decode(), "content_type": "text/plain"}
CALENDAR = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
COMMON: dict[str, Any] = {
    "from": "news@shared.example",
    "to": "ana@one.test",
    "subject": "Hi",
    "text": "Hi",
    "headers": {"X-Own": "x"},
    "stream_type": "transactional",
    "tag": "orders",
    "metadata": {"order": "9"},
}
NATIVE = {
    **COMMON,
    **HTML,
    "from_name": "News",
    "cc": ["bo@one.test"],
    "bcc": ["cy@one.test"],
    "reply_to": ["desk@shared.example"],
    "attachments": [FILE, FILE | {"content_id": "logo"}],
    "ical_event": CALENDAR,
    "return_path": "bounces@shared.example",
}
MAILERLOGIC = {
    **COMMON,
    **HTML,
    "cc": ["bo@one.test"],
    "bcc": ["cy@one.test"],
    "attachments": [{"filename": "a.txt", "content": FILE["content"], "contentType": "text/plain"}],
    "icalEvent": CALENDAR,
    "reply_to": "desk@shared.example",
}
SENDFLEET = {
    "to": "ana@one.test",
    "from_email": "news@shared.example",
    "from_name": "News",
    "subject": "Hi",
    "message": "Hi",
    "reply_to": "desk@shared.example",
    **HTML,
}
SENDMUX = {
    "from": {"email": "news@shared.example", "name": "News"},
    "to": {"email": "ana@one.test", "name": "Ana"},
    "subject": "Hi",
    "html_body": "<p>Hi</p>",
    "text_body": "Hi",
    "reply_to": {"email": "desk@shared.example", "name": "Desk"},
    "cc": [{"email": "bo@one.test", "name": "Bo"}],
    "bcc": [{"email": "cy@one.test"}],
    "custom_headers": {"X-Own": "x"},
    "return_path": "bounces@shared.example",
    "attachments": [{"filename": "a.txt", "content": FILE["content"]}],
}


@dataclass(frozen=True)
class Door:
    """A send route, a body that it takes with all that is a string, and what of its model the body leaves out."""

    route: Single | Batch
    body: dict[str, Any]
    left_out: frozenset[str] = frozenset()


DOORS = {
    "native": Door(
        sending.SEND,
        NATIVE,
        frozenset(
            {"track_opens", "track_clicks", "dry_run", "domain", "template", "variables", "missing", "scheduled_at"}
        ),
    ),
    "native batch": Door(batch.BATCH, {"emails": [NATIVE]}),
    "sendfleet": Door(sendfleet.SEND, SENDFLEET),
    "mailerlogic": Door(
        mailerlogic_routes.SEND, MAILERLOGIC, frozenset({"domain", "customer_id", "track_opens", "track_clicks"})
    ),
    "mailerlogic batch": Door(mailerlogic_routes.BATCH, {"emails": [MAILERLOGIC]}),
    "sendmux": Door(sendmux.SEND, SENDMUX, frozenset({"delivery_group"})),
    "sendmux batch": Door(sendmux.BATCH, {"messages": [SENDMUX]}),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    rates = {
        "requests_per_minute": MANY,
        "dialect_requests_per_minute": dict.fromkeys(("sendfleet", "mailerlogic", "sendmux"), MANY),
    }
    with World(tmp_path_factory.mktemp("fields"), http=rates) as world:
        yield world


def post(world: World, door: Door, body: Any) -> Any:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return world.call("POST", door.route.path, octets, Content_Type="application/json")


def is_taken(door: Door, answer: Any) -> bool:
    """Of a batch: whether its only message was."""
    if answer.status >= 300:
        return False
    told = answer.json
    if isinstance(door.route, Single):
        return True
    return not re.search(r'"(?:error|code)":', json.dumps(told)) or '"accepted": 1' in json.dumps(told)


def strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the strings of a body are; a name of a free object is one, with None at the end of its path."""
    if isinstance(value, dict):
        for name, each in value.items():
            if path[-1:] in (("headers",), ("metadata",), ("custom_headers",)):
                yield (*path, name, None)
            yield from strings(each, (*path, name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from strings(each, (*path, number))
    elif isinstance(value, str):
        yield path


def spoilt(body: dict[str, Any], path: tuple[Any, ...], evil: str) -> dict[str, Any]:
    found = copy.deepcopy(body)
    *way, last = path
    is_name = last is None
    if is_name:
        last = way.pop()
    at: Any = found
    for step in way:
        at = at[step]
    if is_name:
        at[last + evil] = at.pop(last)
    else:
        at[last] += evil
    return found


@pytest.mark.parametrize("name", DOORS)
def test_the_bodies_have_every_field(name: str) -> None:
    door = DOORS[name]
    fields = {field.alias or key for key, field in door.route.model.model_fields.items()}
    assert fields - door.left_out == set(door.body)


@pytest.mark.parametrize("name", DOORS)
def test_no_field_of_any_dialect_gets_into_a_header(world: World, name: str) -> None:
    """In the middle of a value a line end is refused, or stays in a value; at either end it may be passed over."""
    door = DOORS[name]
    assert is_taken(door, post(world, door, door.body)), post(world, door, door.body).body
    before = len(world.messages())
    taken = 0
    for path in strings(door.body):
        for end in ("\r\n", "\n", "\r", "\x0b", "\x0c", "\x85", "\u2028"):
            for evil in (f"{end}X-Evil: yes", f"{end}{end}X-Evil: yes{end}", f" {end} X-Evil: yes"):
                answer = post(world, door, spoilt(door.body, path, evil))
                assert answer.status < 500, (path, evil, answer.body)
                taken += is_taken(door, answer)
    assert taken
    wait_for(lambda: len(world.messages()) >= before + taken)
    for message in world.messages()[before:]:
        raw = message["raw"]
        assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
        for part in email.message_from_bytes(raw).walk():
            assert "X-Evil" not in part, raw.decode()
        assert all("evil" not in each.lower() for each in message["recipients"])


@pytest.mark.parametrize("name", DOORS)
def test_what_no_database_keeps_is_refused_in_every_field(world: World, name: str) -> None:
    door = DOORS[name]
    for path in strings(door.body):
        for evil in ("\0", "a\0b", "\ud800", "\udfff", "\ud83c"):
            answer = post(world, door, spoilt(door.body, path, evil))
            assert answer.status < 500, (path, evil, answer.body)
            assert not is_taken(door, answer), (path, evil, answer.body)
            assert answer.body.isascii() or name.startswith("mailerlogic")


BOMBS: dict[str, bytes] = {
    "100,000 unknown members": json.dumps({f"x{n}": 1 for n in range(100_000)}).encode(),
    "100,000 headers": json.dumps(NATIVE | {"headers": {f"X-{n}": "x" for n in range(100_000)}}).encode(),
    "100,000 metadata": json.dumps(NATIVE | {"metadata": {f"x{n}": "x" for n in range(100_000)}}).encode(),
    "100,000 recipients": json.dumps(NATIVE | {"to": ["ana@one.test"] * 100_000}).encode(),
    "50,000 attachments": json.dumps(NATIVE | {"attachments": [FILE] * 50_000}).encode(),
    "100,000 variables": json.dumps(NATIVE | {"variables": [[]] * 100_000}).encode(),
    "a name twice": b'{"from":"a@shared.example","from":"b@shared.example"}',
    "100,000 names, the last one twice": b"{" + b",".join(b'"x%d":1' % min(n, 99_998) for n in range(100_000)) + b"}",
    "100,000 deep": b'{"metadata":' + b"[" * 100_000,
    "deep in a string": json.dumps(NATIVE | {"text": "[" * 100_000}).encode().replace(b'"Hi"', b'"Hi" x'),
    "a number of 1 MB": b'{"to":' + b"9" * 1_000_000 + b"}",
    "an exponent": b'{"to":1e999999999,"from":-1e-999999999}',
    "base64 that is none": json.dumps(NATIVE | {"attachments": [FILE | {"content": "=" * 1_000_000}]}).encode(),
    "an address of 1 MB": json.dumps(NATIVE | {"to": "a" * 1_000_000 + "@one.test"}).encode(),
    "an address of many parts": json.dumps(NATIVE | {"to": "a@" + "a." * 500_000}).encode(),
    "a quoted address": json.dumps(NATIVE | {"to": '"' + '\\"' * 500_000 + '"@one.test'}).encode(),
    "comments in comments": json.dumps(NATIVE | {"reply_to": ["(" * 100_000 + "a@one.test"]}).encode(),
    "a subject of 5 MB": json.dumps(NATIVE | {"subject": "ü" * 2_500_000}).encode(),
    "a type of 1 MB": json.dumps(NATIVE | {"attachments": [FILE | {"content_type": "a/" + "a;" * 500_000}]}).encode(),
    "a name of 1 MB": json.dumps(NATIVE | {"attachments": [FILE | {"filename": "ü" * 500_000}]}).encode(),
    "a tag of 1 MB": json.dumps(NATIVE | {"tag": "a" * 1_000_000}).encode(),
    "a time": json.dumps(NATIVE | {"scheduled_at": "9" * 100_000}).encode(),
    "half of UTF-8": b'{"subject":"\xc3"}',
    "UTF-7": b'{"subject":"+AGEAYg-"',
    "UTF-32": json.dumps(COMMON).encode("utf-32"),
}


@pytest.mark.parametrize("door", ["native", "sendfleet", "mailerlogic", "sendmux"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_soon_and_shortly(world: World, door: str, bomb: str) -> None:
    begun = time.monotonic()
    answer = post(world, DOORS[door], BOMBS[bomb])
    took = time.monotonic() - begun
    if 200 <= answer.status < 300:  # what this dialect does not know is no bomb to it
        assert DOORS[door].route is not sending.SEND
    assert answer.status < 500, answer.body[:1000]
    assert took < 3, took
    assert len(answer.body) < 64 << 10


@pytest.mark.parametrize("door", ["native", "sendfleet", "mailerlogic", "sendmux"])
def test_nothing_is_unpacked(world: World, door: str) -> None:
    packed = gzip.compress(json.dumps(DOORS[door].body).encode())
    for coding in ("gzip", "deflate", "br", "GZIP", "identity, gzip", "x"):
        said = world.call(
            "POST", DOORS[door].route.path, packed, Content_Type="application/json", Content_Encoding=coding
        )
        assert said.status in (400, 415), coding


@pytest.mark.parametrize("door", ["native", "sendfleet", "mailerlogic", "sendmux"])
@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "utf-7", "none"])
def test_a_charset_that_json_does_not_have(world: World, door: str, charset: str) -> None:
    said = world.call(
        "POST", DOORS[door].route.path, DOORS[door].body, Content_Type=f"application/json; charset={charset}"
    )
    assert said.status in (400, 415)
