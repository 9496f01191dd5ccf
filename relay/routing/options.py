"""Reads the options in a message's own header: X-Relay-Tag and its like, which are for us, not for the recipient."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from relay.errors import Fault, Kind, Problem
from relay.message import Options, Stream
from relay.routing.headers import HeaderField
from relay.store.clock import milliseconds, moment_ms

MAX_METADATA = 8 << 10  # octets of the field
MAX_ENTRIES = 50
MAX_NAME = 64  # characters
MAX_VALUE = 500
AHEAD = timedelta(days=30)

_TAG = re.compile(rb"[A-Za-z0-9_.-]{1,64}")  # what SES takes as the value of a tag (SES fact 1.6)
_KEY = re.compile(rb"[!-~]([ -~]{0,254}[!-~])?")
_SECONDS = re.compile(rb"\d{1,12}")
_RFC3339 = re.compile(rb"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)")  # its section 5.6
_UNSTORABLE = re.compile(r"[\0-\x1f\x7f\ud800-\udfff]")
_SWITCH = {b"true": True, b"yes": True, b"false": False, b"no": False}


class _Wrong(Exception):
    """What a field should be, for whoever wrote it."""


def _tag(value: bytes) -> str:
    if not _TAG.fullmatch(value):
        raise _Wrong("takes 1 to 64 letters (a-z), digits, dots, hyphens and underscores")
    return value.decode("ascii")


def _metadata(value: bytes) -> tuple[tuple[str, str], ...]:
    if len(value) > MAX_METADATA:
        raise _Wrong(f"is over {MAX_METADATA >> 10} KB")
    try:
        found = json.loads(value.decode("utf-8"), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as exc:  # the former for what is not UTF-8, too
        raise _Wrong('is not JSON: write an object such as {"order": "4711"}, in ASCII or UTF-8, not encoded') from exc
    if not isinstance(found, _Pairs) or not all(isinstance(text, str) for _, text in found):
        raise _Wrong('takes a JSON object of texts, such as {"order": "4711"}; numbers go in quotes')
    if len(found) > MAX_ENTRIES:
        raise _Wrong(f"has {len(found)} entries; it takes {MAX_ENTRIES}")
    if len({name for name, _ in found}) < len(found):
        raise _Wrong("has a name twice")
    for name, text in found:
        if not 0 < len(name) <= MAX_NAME or len(text) > MAX_VALUE:
            raise _Wrong(f"takes names of 1 to {MAX_NAME} characters and values of at most {MAX_VALUE}")
        if _UNSTORABLE.search(name + text):
            raise _Wrong("has a control character or half of a surrogate pair")
    return tuple(found)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written, names that are there twice included."""


def _stream(value: bytes) -> Stream:
    try:
        return Stream(value.decode("ascii").lower())
    except ValueError as exc:
        raise _Wrong(f"takes one of {', '.join(stream.value for stream in Stream)}") from exc


def _key(value: bytes) -> str:
    if not _KEY.fullmatch(value):
        raise _Wrong("takes 1 to 256 printable ASCII characters")
    return value.decode("ascii")


def _switch(value: bytes) -> bool:
    if (found := _SWITCH.get(value.lower())) is None:
        raise _Wrong("takes true or false")
    return found


def _moment(value: bytes) -> int:
    if _SECONDS.fullmatch(value):
        return int(value) * 1000
    if match := _RFC3339.fullmatch(value):
        day, time, fraction, zone = (part.decode("ascii") for part in match.groups(b""))
        try:
            return moment_ms(datetime.fromisoformat(f"{day}T{time}{fraction[:7]}{zone.upper()}"))
        except ValueError:
            pass  # no such day or hour
    raise _Wrong("takes a moment such as 2030-01-31T09:00:00Z, or seconds since 1970")


_READERS: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    "x-relay-tag": ("tag", _tag),
    "x-relay-metadata": ("metadata", _metadata),
    "x-relay-stream": ("stream", _stream),
    "x-relay-idempotency-key": ("idempotency_key", _key),
    "idempotency-key": ("idempotency_key", _key),
    "resend-idempotency-key": ("idempotency_key", _key),
    "x-relay-track-opens": ("track_opens", _switch),
    "x-relay-track-clicks": ("track_clicks", _switch),
    "x-relay-send-at": ("send_at", _moment),
}
NAMES = frozenset(_READERS)


def read(fields: Iterable[HeaderField], now: datetime) -> Options:
    """What the header says of how the message is to be handled; fields that are no options do not matter.

    Raises Problem(BAD_REQUEST) with every fault, each with the name of its field.
    """
    found: dict[str, Any] = {}
    said_by: dict[str, str] = {}
    faults: dict[str, str] = {}  # one a field, however often a hostile header repeats it
    for each in fields:
        if each.name not in NAMES:
            continue
        option, reader = _READERS[each.name]
        first = said_by.setdefault(option, each.name)
        if option in found:
            also = "" if first == each.name else f", by {first}"
            faults[each.name] = f"is given more than once{also}: give it once"
            continue
        try:
            found[option] = reader(each.value)
        except _Wrong as wrong:
            found[option] = None
            faults[each.name] = str(wrong)
    send_at = found.get("send_at")
    if send_at is not None and send_at > moment_ms(now) + milliseconds(AHEAD):
        faults.setdefault("x-relay-send-at", f"is more than {AHEAD.days} days ahead")
    if faults:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(Fault(*each) for each in faults.items()))
    return Options(**found)
