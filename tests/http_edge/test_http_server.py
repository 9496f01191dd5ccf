"""The HTTP server beneath the application: what it takes for HTTP, and how much of it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

import pytest

from relay.http.connection import AHEAD
from tests.http_edge.raw import BODY, CHUNKED, PATH, Raw, asked, request, watchful
from tests.support import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with watchful(tmp_path_factory.mktemp("server")) as world:
        yield world


# -- what is HTTP ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"GARBAGE\r\n\r\n", "bad_request"),
        (b"FROB /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "bad_request"),
        (b"GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n", "bad_request"),
        (b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", "bad_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_request"),
        (b"GET /healthz\r\n\r\n", "bad_request"),
        (b"GET /healthz HTTP/1.1\n\n", "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "bad_request"),
        (b"CONNECT one.test:25 HTTP/1.1\r\nHost: one.test:25\r\n\r\n", "bad_request"),
        (b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", "bad_request"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", "host is missing"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "host may stand only once"),
        (b"GET /healthz HTTP/1.1\r\nHost: x/y\r\n\r\n", "host is not"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", "bad_request"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "bad_request"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", "bad_request"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\x01c\r\n\r\n", "bad_request"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\rX: y\r\n\r\n", "bad_request"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-API-Key: a\r\nX-API-Key: b\r\n\r\n", "x-api-key may stand only once"),
        (b"GET /healthz%00 HTTP/1.1\r\nHost: x\r\n\r\n", "NUL"),
        (b"GET /healthz?a=%00 HTTP/1.1\r\nHost: x\r\n\r\n", "NUL"),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "bad_request"),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", "bad_request"),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello", "bad_request"),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nhello", "bad_request"),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "bad_request",
        ),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "only chunked"),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "only chunked"),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "only chunked"),
        (b"POST /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "only chunked"),
    ],
)
def test_what_is_not_http_is_told_so_and_ends(world: World, octets: bytes, reason: str) -> None:
    said = asked(world.http, octets, octets.split()[0].decode("latin-1"))
    assert (said.status, said.json["reason"]) == (400, "bad_request"), said.body
    assert reason in said.body.decode()
    assert said.headers["connection"] == "close"
    assert re.fullmatch(r"req_[0-9a-f]{16}", said.headers["x-request-id"])
    assert said.headers["x-content-type-options"] == "nosniff"


def test_a_refusal_is_in_the_dialect_of_its_path(world: World) -> None:
    for path, shape in {
        "/sendfleet/api/send/": {"success", "error", "detail"},
        "/sendmux/api/v1/me": {"ok", "error", "meta"},
    }.items():
        said = asked(world.http, f"POST {path} HTTP/1.1\r\n\r\n".encode())
        assert said.status == 400
        assert shape & said.json.keys(), said.body


@pytest.mark.parametrize(
    "octets",
    [
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET http://elsewhere.test/healthz HTTP/1.1\r\nHost: relay.test\r\n\r\n",
        b"GET //healthz HTTP/1.1\r\nHost: relay.test\r\n\r\n".replace(b"//", b"/"),
        b"GET /%68ealthz?%ff#x HTTP/1.1\r\nHost: relay.test:8080\r\n\r\n",
        b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost:\r\nAccept: *\r\nAccept: text/html\r\n\r\n",
    ],
)
def test_what_is_unusual_and_allowed(world: World, octets: bytes) -> None:
    with Raw(world.http) as raw:
        assert raw.send(octets).answer("GET").status == 200


@pytest.mark.parametrize(
    ("octets", "status", "allow"),
    [
        (request(method="HEAD"), 200, None),
        (request(method="OPTIONS"), 405, "GET, HEAD"),
        (request(method="POST", body=b"{}"), 405, "GET, HEAD"),
        (request(PATH, method="PROPFIND"), 405, "GET, HEAD, POST"),
        (request("*", method="OPTIONS"), 404, None),
        (request("/api/v1/emails/", method="POST"), 404, None),
        (request("/%ed%a0%80/%ff%fe/%0d%0aX:y"), 404, None),
        (request("/api/v1/emails/%ed%a0%80%0d%0a"), 401, None),
        (request("/" + "a" * 60_000), 404, None),
    ],
)
def test_methods_and_odd_paths(world: World, octets: bytes, status: int, allow: str | None) -> None:
    method = octets.split()[0].decode()
    with Raw(world.http) as raw:
        said = raw.send(octets).answer(method)
        assert said.status == status, said
        assert method != "HEAD" or said.body == b""
        if allow is not None:
            assert sorted(re.split(", ?", said.headers["allow"])) == allow.split(", ")
        assert "x:y" not in said.headers
        assert raw.send(request()).answer("GET").status == 200  # and goes on


def test_an_upgrade_that_is_offered_is_not_taken(world: World) -> None:
    """Java's client offers HTTP/2 with every first request: it is answered in HTTP/1.1 (RFC 9110 section 7.8)."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA")
    fields = (*offer, f"Authorization: Bearer {world.key}")
    body = json.dumps(BODY).encode()
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for octets in (
        request("/healthz", *offer),
        request(PATH, *fields, method="POST", body=body),
        request(PATH, *fields, CHUNKED, method="POST") + chunked,
    ):
        with Raw(world.http) as raw:
            assert raw.send(octets).answer().status in (200, 202)
            assert raw.send(request()).answer().status == 200
        with Raw(world.http) as raw:  # octet by octet, and with the next one at once
            for octet in octets[:-3]:
                raw.send(bytes([octet]))
            raw.send(octets[-3:] + request())
            assert raw.answer().status in (200, 202)
            assert raw.answer().status == 200


def test_a_trailer_is_no_header(world: World) -> None:
    with Raw(world.http) as raw:
        raw.send(request(PATH, CHUNKED, method="POST"))
        raw.send(b"2\r\n{}\r\n0\r\nAuthorization: Bearer " + world.key.encode() + b"\r\n\r\n")
        assert raw.answer().status == 401


# -- how much --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 300_000,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * (1 << 20),
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(100)) + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A:\r\n" * 100_000 + b"\r\n",
    ],
)
def test_heads_are_bounded(world: World, octets: bytes) -> None:
    with Raw(world.http) as raw:
        with contextlib.suppress(ConnectionError):
            raw.send(octets)
        said = raw.answer("GET")
    assert (said.status, said.json["reason"]) == (431, "headers_too_large")


def test_framing_is_bounded(world: World) -> None:
    """Chunks of one octet, an extension without an end, and trailers without an end: none of it is body."""
    head = request(PATH, CHUNKED, f"Authorization: Bearer {world.key}", method="POST")
    for part in (b"1\r\n \r\n" * 10_000, b"5;" + b"a" * 60_000, b"0\r\n" + b"A: b\r\n" * 10_000):
        with Raw(world.http) as raw:
            raw.send(head + part)
            with contextlib.suppress(ConnectionError):
                for _ in range(9):
                    raw.send(part if part[:1] == b"1" else b"a" * 60_000)
            said = raw.answer()
            assert (said.status, said.json["message"]) == (400, "the body was cut off")


def test_what_is_no_chunk_ends_the_body(world: World) -> None:
    head = request(PATH, CHUNKED, f"Authorization: Bearer {world.key}", method="POST")
    said = asked(world.http, head + b"2\r\n{}\r\nzz\r\n")
    assert (said.status, said.json["message"]) == (400, "the body was cut off")
    assert asked(world.http, head.replace(world.key.encode(), b"no") + b"2\r\n{}\r\nzz\r\n").status == 401


def test_requests_sent_ahead_are_answered_in_order(world: World) -> None:
    with Raw(world.http) as raw:
        raw.send(b"".join(request("/healthz", f"X-Request-Id: r{n}") for n in range(10)))
        assert [raw.answer("GET").headers["x-request-id"] for _ in range(10)] == [f"r{n}" for n in range(10)]
        raw.send(request("/nowhere") + b"GARBAGE\r\n\r\n")  # what was whole is answered all the same
        assert raw.answer("GET").status == 404
        assert raw.ends()


def test_no_more_requests_ahead_than_are_kept(world: World) -> None:
    with Raw(world.http) as raw:
        raw.send(b"".join(request("/healthz", f"X-Request-Id: r{n}") for n in range(1000)))
        said = [raw.answer("GET") for _ in range(AHEAD + 1)]
        assert [each.headers["x-request-id"] for each in said] == [f"r{n}" for n in range(AHEAD + 1)]
        assert [each.headers.get("connection") for each in said] == [None] * AHEAD + ["close"]
        assert raw.ends()
