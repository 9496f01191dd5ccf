"""What is kept of a message's header for webhooks: its author's own fields, within bounds."""

from __future__ import annotations

import pytest

from relay.routing.echoing import MOST_FIELDS, own_fields
from relay.routing.headers import MAX_HEADER

USUAL = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        (b"", {}),
        (b"X-Campaign: spring\r\n", {"X-Campaign": "spring"}),
        (b"List-Id:\r\n folded\r\n value\r\n", {"List-Id": "folded value"}),
        (b"Received: by one\r\nDKIM-Signature: v=1\r\nReturn-Path: <a@b.example>\r\nContent-Language: de\r\n", {}),
        ("X-Name: Grüße\r\n".encode(), {"X-Name": "Grüße"}),
        (b"x-one: 1\r\nX-One: 2\r\n", {"x-one": "1"}),
        (b"X-Long: " + b"x" * 10_000 + b"\r\n", {}),
        (b"".join(b"X-%d: y\r\n" % n for n in range(99)), {f"X-{n}": "y" for n in range(MOST_FIELDS)}),
    ],
    ids=["none", "one", "folded", "usual", "utf-8", "twice", "too long", "too many"],
)
def test_own_fields(fields: bytes, kept: dict[str, str]) -> None:
    assert own_fields(USUAL + fields + b"\r\nX-Body: no\r\n") == kept


def test_a_header_that_the_relay_made_too_long_refuses_nothing() -> None:
    """One field more than a message may come with: the last of its lines is cut off in the middle."""
    long = b"X-Other: " + b"y" * (MAX_HEADER - 80) + b"\r\n"
    head = b"Received: by us\r\nX-One: 1\r\n" + long + b"X-Cut: " + b"z" * 100 + b"\r\n\r\nbody"
    for end in range(MAX_HEADER - 3, MAX_HEADER):
        assert own_fields(head[:end]) == {"X-One": "1"}
    assert own_fields(b"X-One: 1\r\n" * 3 + b"X-C") == {"X-One": "1"}
    assert own_fields(b"X-C") == {}
