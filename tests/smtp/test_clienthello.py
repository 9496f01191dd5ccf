"""Reading a ClientHello: those of OpenSSL, those of no one, and every prefix of both."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp import tls
from relay.smtp.clienthello import LONGEST, ClientHello, is_tls, is_whole, parse
from tests.smtp.test_tls import client_hello

V = ssl.TLSVersion
HELLOS = {newest: client_hello(V.TLSv1, newest) for newest in (V.TLSv1, V.TLSv1_1, V.TLSv1_2, V.TLSv1_3)}


def hello(*versions: int, legacy: int = 0x0303, extensions: bytes = b"") -> bytes:
    """A ClientHello by hand; no versions: without extensions."""
    if versions:
        names = b"".join(each.to_bytes(2) for each in versions)
        extensions += b"\0\x2b" + (len(names) + 1).to_bytes(2) + len(names).to_bytes(1) + names
    body = legacy.to_bytes(2) + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    if extensions:
        body += len(extensions).to_bytes(2) + extensions
    message = b"\1" + len(body).to_bytes(3) + body
    return b"\x16\3\1" + len(message).to_bytes(2) + message


@pytest.mark.parametrize(("newest", "octets"), HELLOS.items())
def test_what_openssl_offers(newest: ssl.TLSVersion, octets: bytes) -> None:
    assert is_tls(octets)
    assert is_whole(octets)
    assert parse(octets) == ClientHello(newest)


@pytest.mark.parametrize(
    ("octets", "newest"),
    [
        (hello(), 0x0303),
        (hello(legacy=0x0301), 0x0301),
        (hello(legacy=0x0300), 0x0300),
        (hello(0x0304, 0x0303), 0x0304),
        (hello(0x0302, legacy=0x0303), 0x0302),  # the extension counts (RFC 8446 section 4.2.1)
        (hello(0x7A7A, 0x0304, 0xFAFA), 0x0304),  # RFC 8701
        (hello(0x0304, extensions=b"\xff\1\0\1\0"), 0x0304),
        (hello() + b"more", 0x0303),
    ],
)
def test_what_others_offer(octets: bytes, newest: int) -> None:
    assert parse(octets) == ClientHello(newest)


@pytest.mark.parametrize(
    "octets", [b"", hello(0x7A7A), hello(legacy=0x0505), b"\x16\3\1\0\4\2\0\0\0", b"\x15\3\1\0\2\2\x46"]
)
def test_what_offers_nothing_known(octets: bytes) -> None:
    assert parse(octets) is None


@pytest.mark.parametrize("octets", [hello(0x0304), *HELLOS.values()])
def test_nothing_is_read_from_a_part(octets: bytes) -> None:
    for end in range(len(octets)):
        assert parse(octets[:end]) is None
        assert not is_whole(octets[:end])
        assert end == 0 or is_tls(octets[:end])


@pytest.mark.parametrize("octets", [b"EHLO x\r\n", b"\x16\x16", b"\x80\x2e\1", b"\0"])
def test_what_is_no_tls_needs_no_more(octets: bytes) -> None:
    assert is_whole(octets)
    assert not is_tls(octets)


def test_a_record_longer_than_any_is_not_waited_for() -> None:
    assert is_whole((b"\x16\3\1\xff\xff" + bytes(LONGEST))[:LONGEST])


@given(st.binary(max_size=200) | st.builds(lambda tail: b"\x16\3\1\0\x50\1\0\0\x4c" + tail, st.binary(max_size=100)))
def test_whatever_comes_is_read_without_a_fault(octets: bytes) -> None:
    parse(octets)
    is_whole(octets)
    assert tls.hello_sentence(octets).isascii()


def test_the_sentence_about_tls_in_the_wrong_place() -> None:
    assert tls.hello_sentence(hello(legacy=0x0301)).startswith(
        "spoke TLS, up to TLS 1.0, on a port that begins in clear"
    )
    assert tls.hello_sentence(b"\x16\3").startswith("spoke TLS on a port that begins in clear")
