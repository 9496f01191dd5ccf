"""The rules for how a message may ask to be handled; and what its own header asks, by X-Relay-Tag and its like."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
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
TOO_MUCH = f"is over {MAX_METADATA >> 10} KB"
NO_TEXTS = 'takes a JSON object of texts, such as {"order": "4711"}; numbers go in quotes'

TAG = r"[A-Za-z0-9_.-]{1,64}"  # what SES takes as the value of a tag (SES fact 1.6)

_TAG = re.compile(TAG)
_KEY = re.compile(rb"[!-~]([ -~]{0,254}[!-~])?")
_SECONDS = re.compile(rb"\d{1,12}")
_RFC3339 = re.compile(  # its section 5.6
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_UNSTORABLE = re.compile(r"[\0-\x1f\x7f\ud800-\udfff]")
_SWITCH = {b"true": True, b"yes": True, b"false": False, b"no": False}


class Wrong(ValueError):
    """What a value should be, for whoever wrote it."""


# -- the rules, whichever way an option comes ------------------------------------------------------------------------


def tag(text: str) -> str:
    """Raises Wrong."""
    if not _TAG.fullmatch(text):
        raise Wrong("takes 1 to 64 letters (a-z), digits, dots, hyphens and underscores")
    return text


def metadata(entries: Sequence[tuple[str, Any]]) -> tuple[tuple[str, str], ...]:
    """The entries of a JSON object. Raises Wrong."""
    if not all(isinstance(text, str) for _, text in entries):
        raise Wrong(NO_TEXTS)
    if len(entries) > MAX_ENTRIES:
        raise Wrong(f"has {len(entries)} entries; it takes {MAX_ENTRIES}")
    if len({name for name, _ in entries}) < len(entries):
        raise Wrong("has a name twice")
    for name, text in entries:
        if not 0 < len(name) <= MAX_NAME or len(text) > MAX_VALUE:
            raise Wrong(f"takes names of 1 to {MAX_NAME} characters and values of at most {MAX_VALUE}")
        if _UNSTORABLE.search(name + text):
            raise Wrong("has a control character or half of a surrogate pair")
    if sum(len((name + text).encode()) for name, text in entries) > MAX_METADATA:
        raise Wrong(TOO_MUCH)
    return tuple(entries)


def moment(text: str) -> int:
    """RFC 3339, as milliseconds since 1970. Raises Wrong."""
    if match := _RFC3339.fullmatch(text):
        day, time, fraction, zone = match.groups("")
        try:
            return moment_ms(datetime.fromisoformat(f"{day}T{time}{fraction[:7]}{zone.upper()}"))
        except ValueError:
            pass  # no such day or hour
    raise Wrong("takes a moment such as 2030-01-31T09:00:00Z")


def require_soon(send_at: int, now: int) -> None:
    """Both in milliseconds since 1970. Raises Wrong."""
    if send_at > now + milliseconds(AHEAD):
        raise Wrong(f"is more than {AHEAD.days} days ahead")


# -- fields of a header ----------------------------------------------------------------------------------------------


def _tag(value: bytes) -> str:
    return tag(value.decode("latin-1"))


def _metadata(value: bytes) -> tuple[tuple[str, str], ...]:
    if len(value) > MAX_METADATA:
        raise Wrong(TOO_MUCH)
    try:
        found = json.loads(value.decode("utf-8"), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as exc:  # the former for what is not UTF-8, too
        raise Wrong('is not JSON: write an object such as {"order": "4711"}, in ASCII or UTF-8, not encoded') from exc
    if not isinstance(found, _Pairs):
        raise Wrong(NO_TEXTS)
    return metadata(found)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written, names that are there twice included."""


def _stream(value: bytes) -> Stream:
    try:
        return Stream(value.decode("ascii").lower())
    except ValueError as exc:
        raise Wrong(f"takes one of {', '.join(stream.value for stream in Stream)}") from exc


def _key(value: bytes) -> str:
    if not _KEY.fullmatch(value):
        raise Wrong("takes 1 to 256 printable ASCII characters")
    return value.decode("ascii")


def _switch(value: bytes) -> bool:
    if (found := _SWITCH.get(value.lower())) is None:
        raise Wrong("takes true or false")
    return found


def _moment(value: bytes) -> int:
    if _SECONDS.fullmatch(value):
        return int(value) * 1000
    try:
        return moment(value.decode("latin-1"))
    except Wrong as wrong:
        raise Wrong(f"{wrong}, or seconds since 1970") from None


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
        except Wrong as wrong:
            found[option] = None
            faults[each.name] = str(wrong)
    send_at = found.get("send_at")
    if send_at is not None:
        try:
            require_soon(send_at, moment_ms(now))
        except Wrong as wrong:
            faults.setdefault("x-relay-send-at", str(wrong))
    if faults:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(Fault(*each) for each in faults.items()))
    return Options(**found)
