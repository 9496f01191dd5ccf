"""What a message's own header may say of how it is handled, and what is refused, by the name of the field."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.message import Options, Stream
from relay.routing import options
from relay.routing.headers import HeaderField, split

NOW = datetime(2026, 3, 5, 12, 0, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
NO_TAG = "takes 1 to 64 letters (a-z), digits, dots, hyphens and underscores"
NO_MOMENT = "takes a moment such as 2030-01-31T09:00:00Z, or seconds since 1970"
NO_TEXTS = 'takes a JSON object of texts, such as {"order": "4711"}; numbers go in quotes'
NO_JSON = 'is not JSON: write an object such as {"order": "4711"}, in ASCII or UTF-8, not encoded'


def read(header: bytes) -> Options:
    return options.read(split(header + b"\r\n")[0], NOW)


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (b"Subject: x", Options()),
        (b"X-Relay-Anything-Else: x", Options()),
        (b"X-Relay-Tag: welcome_2.b-C", Options(tag="welcome_2.b-C")),
        (b"x-relay-TAG :\twelcome  ", Options(tag="welcome")),
        (b"X-Relay-Tag:\r\n " + b"t" * 64, Options(tag="t" * 64)),
        (b'X-Relay-Metadata: {"order": "4711", "who": "J\\u00fcrgen"}',
         Options(metadata=(("order", "4711"), ("who", "Jürgen")))),
        ('X-Relay-Metadata: {"wer": "Jürgen"}'.encode(), Options(metadata=(("wer", "Jürgen"),))),
        (b'X-Relay-Metadata: {"a":\r\n "b c",\r\n\t"d": ""}', Options(metadata=(("a", "b c"), ("d", "")))),
        (b"X-Relay-Metadata: {}", Options()),
        (b"X-Relay-Stream: broadcast", Options(stream=Stream.BROADCAST)),
        (b"X-Relay-Stream: Transactional", Options(stream=Stream.TRANSACTIONAL)),
        (b"X-Relay-Idempotency-Key: order 4711", Options(idempotency_key="order 4711")),
        (b"Idempotency-Key: k", Options(idempotency_key="k")),
        (b"Resend-Idempotency-Key: " + b"k" * 256, Options(idempotency_key="k" * 256)),
        (b"X-Relay-Track-Opens: true", Options(track_opens=True)),
        (b"X-Relay-Track-Opens: No", Options(track_opens=False)),
        (b"X-Relay-Track-Clicks: YES", Options(track_clicks=True)),
        (b"X-Relay-Send-At: %d" % (SECONDS + 60), Options(send_at=(SECONDS + 60) * 1000)),
        (b"X-Relay-Send-At: 0", Options(send_at=0)),  # the past is now
        (b"X-Relay-Send-At: 2026-03-05T13:00:00Z", Options(send_at=(SECONDS + 3600) * 1000)),
        (b"X-Relay-Send-At: 2026-03-05t14:00:00.5+01:00", Options(send_at=(SECONDS + 3600) * 1000 + 500)),
        (b"X-Relay-Send-At: 2026-03-05 13:00:00.123456789z", Options(send_at=(SECONDS + 3600) * 1000 + 123)),
        (b"X-Relay-Send-At: 0001-01-01T00:00:00+23:59", Options(send_at=-62135683140000)),
        (b"X-Relay-Send-At: 2026-04-04T12:00:00Z", Options(send_at=(SECONDS + 30 * 86400) * 1000)),
    ],
)  # fmt: skip
def test_taken(field: bytes, found: Options) -> None:
    assert read(field + b"\r\n") == found


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        (b"X-Relay-Tag", b"", NO_TAG),
        (b"X-Relay-Tag", b"t" * 65, NO_TAG),
        (b"X-Relay-Tag", b"two words", NO_TAG),
        (b"X-Relay-Tag", "ü".encode(), NO_TAG),
        (b"X-Relay-Tag", b"=?utf-8?q?x?=", NO_TAG),
        (b"X-Relay-Metadata", b"", NO_JSON),
        (b"X-Relay-Metadata", b"{'a': 'b'}", NO_JSON),
        (b"X-Relay-Metadata", b"=?utf-8?q?=7B=7D?=", NO_JSON),
        (b"X-Relay-Metadata", b'{"a": "\xff"}', NO_JSON),
        (b"X-Relay-Metadata", b"[" * 8000, NO_JSON),
        (b"X-Relay-Metadata", b'{"a": ' + b"9" * 5000 + b"}", NO_JSON),
        (b"X-Relay-Metadata", b"[]", NO_TEXTS),
        (b"X-Relay-Metadata", b"null", NO_TEXTS),
        (b"X-Relay-Metadata", b'{"a": 1}', NO_TEXTS),
        (b"X-Relay-Metadata", b'{"a": NaN}', NO_TEXTS),
        (b"X-Relay-Metadata", b'{"a": {"b": "c"}}', NO_TEXTS),
        (b"X-Relay-Metadata", b'{"a": "b", "a": "c"}', "has a name twice"),
        (b"X-Relay-Metadata", b'{"": "b"}', "takes names of 1 to 64 characters and values of at most 500"),
        (b"X-Relay-Metadata", json.dumps({"n" * 65: ""}).encode(),
         "takes names of 1 to 64 characters and values of at most 500"),
        (b"X-Relay-Metadata", json.dumps({"n": "v" * 501}).encode(),
         "takes names of 1 to 64 characters and values of at most 500"),
        (b"X-Relay-Metadata", json.dumps({str(n): "" for n in range(51)}).encode(), "has 51 entries; it takes 50"),
        (b"X-Relay-Metadata", json.dumps({str(n): "v" * 500 for n in range(17)}).encode(), "is over 8 KB"),
        (b"X-Relay-Metadata", b'{"a": "\\u0000"}', "has a control character or half of a surrogate pair"),
        (b"X-Relay-Metadata", b'{"a": "\\ud800"}', "has a control character or half of a surrogate pair"),
        (b"X-Relay-Stream", b"gossip", "takes one of transactional, shared, broadcast"),
        (b"X-Relay-Stream", b"\xff", "takes one of transactional, shared, broadcast"),
        (b"X-Relay-Idempotency-Key", b"", "takes 1 to 256 printable ASCII characters"),
        (b"Idempotency-Key", b"k" * 257, "takes 1 to 256 printable ASCII characters"),
        (b"Resend-Idempotency-Key", b"a\tb", "takes 1 to 256 printable ASCII characters"),
        (b"X-Relay-Track-Opens", b"maybe", "takes true or false"),
        (b"X-Relay-Track-Clicks", b"", "takes true or false"),
        (b"X-Relay-Send-At", b"tomorrow", NO_MOMENT),
        (b"X-Relay-Send-At", b"-1", NO_MOMENT),
        (b"X-Relay-Send-At", b"1e9", NO_MOMENT),
        (b"X-Relay-Send-At", b"2026-03-05T13:00:00", NO_MOMENT),
        (b"X-Relay-Send-At", b"2026-02-30T13:00:00Z", NO_MOMENT),
        (b"X-Relay-Send-At", b"2026-04-04T12:00:01Z", "is more than 30 days ahead"),
        (b"X-Relay-Send-At", b"1772712000000", NO_MOMENT),  # milliseconds
        (b"X-Relay-Send-At", b"177271200000", "is more than 30 days ahead"),
    ],
)  # fmt: skip
def test_refused(name: bytes, value: bytes, fault: str) -> None:
    with pytest.raises(Problem) as refused:
        read(name + b": " + value + b"\r\n")
    assert refused.value.kind is Kind.BAD_REQUEST
    assert [str(each) for each in refused.value.faults] == [f"{name.decode().lower()}: {fault}"]


@pytest.mark.parametrize("first", [b"x", b"!"])  # whether it was good or not
@pytest.mark.parametrize("second", [b"x", b"y"])
def test_what_is_said_twice_is_refused(first: bytes, second: bytes) -> None:
    with pytest.raises(Problem, match="x-relay-tag: is given more than once: give it once"):
        read(b"X-Relay-Tag: " + first + b"\r\nX-Relay-Tag: " + second + b"\r\n")


def test_a_hostile_header_is_answered_in_few_words() -> None:
    with pytest.raises(Problem) as refused:
        read(b"X-Relay-Tag: a b\r\n" * 10_000)
    assert len(refused.value.faults) == 1


def test_one_option_by_two_names_is_said_twice() -> None:
    with pytest.raises(Problem) as refused:
        read(b"Idempotency-Key: a\r\nX-Relay-Idempotency-Key: a\r\n")
    [fault] = refused.value.faults
    assert str(fault) == "x-relay-idempotency-key: is given more than once, by idempotency-key: give it once"


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(Problem) as refused:
        read(b"X-Relay-Tag: a b\r\nX-Relay-Stream: x\r\nX-Relay-Send-At: 9999-12-31T00:00:00Z\r\n")
    assert [each.path for each in refused.value.faults] == ["x-relay-tag", "x-relay-stream", "x-relay-send-at"]


@given(st.sampled_from(sorted(options.NAMES)), st.binary(max_size=600))
def test_any_octets_are_read_or_refused(name: str, value: bytes) -> None:
    field = HeaderField(name, name.encode() + b":" + value + b"\r\n")
    try:
        found = options.read([field], NOW)
    except Problem as problem:
        assert [each.path for each in problem.faults] == [name]
    else:
        said = json.dumps([found.tag, found.metadata, found.idempotency_key])
        assert "\0" not in said
        said.encode("utf-8")


@given(st.dictionaries(st.text(min_size=1, max_size=64), st.text(max_size=100), max_size=50))
def test_metadata_comes_out_as_it_went_in(metadata: dict[str, str]) -> None:
    for is_ascii in (True, False):
        octets = json.dumps(metadata, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
        field = HeaderField("x-relay-metadata", b"X-Relay-Metadata: " + octets + b"\r\n")
        try:
            found = options.read([field], NOW)
        except Problem:
            whole = "".join([*metadata, *metadata.values()])
            assert len(octets) > options.MAX_METADATA or any(
                c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in whole
            )
        else:
            assert dict(found.metadata) == metadata
