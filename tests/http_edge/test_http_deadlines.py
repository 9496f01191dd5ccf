"""How long the HTTP server waits: for heads, for bodies that nobody reads, and for clients that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from starlette.types import Receive, Scope, Send

from relay.http import hall, patience
from relay.http.server import HttpServer
from relay.values import Endpoint
from tests.http_edge.raw import BODY, CHUNKED, PATH, Raw, asked, request, watchful
from tests.support import World, wait_for

SHORT = 0.4  # seconds: what the deadlines are here


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with watchful(tmp_path_factory.mktemp("server")) as world:
        yield world


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD", "IDLE", "READING", "LINGERING_IN_SILENCE"):
        monkeypatch.setattr(patience, name, SHORT)


# -- bodies that nobody waits for ------------------------------------------------------------------------------------


def test_an_answer_is_read_before_the_rest_of_a_body(world: World) -> None:
    """A refusal comes before the body; the client sends on, and reads it nevertheless, and its connection ends."""
    for fields in (["Authorization: Bearer no"], [f"Authorization: Bearer {world.key}"]):
        with Raw(world.http) as raw:
            raw.send(request(PATH, f"Content-Length: {48 << 20}", *fields, method="POST"))
            wait_for(lambda raw=raw: raw.socket.recv(1, socket.MSG_PEEK))
            for _ in range(48):
                raw.send(b" " * (1 << 20))
            said = raw.answer()
            assert said.status == (413 if world.key in fields[0] else 401)
            assert said.headers["connection"] == "close"
            assert raw.ends()


def test_a_body_is_not_drained_for_ever(world: World) -> None:
    with Raw(world.http) as raw:
        raw.send(request("/nowhere", CHUNKED, method="POST"))
        assert not raw.takes(b"100000\r\n" + b" " * (1 << 20) + b"\r\n", 400)


def test_a_small_body_that_nobody_reads_keeps_the_connection(world: World) -> None:
    with Raw(world.http) as raw:
        assert raw.send(request("/nowhere", method="POST", body=b"{}")).answer().status == 404
        assert raw.send(request()).answer("GET").status == 200


def test_a_body_is_asked_for_only_where_it_is_wanted(world: World) -> None:
    body = json.dumps(BODY).encode()
    expecting = ("Expect: 100-continue", f"Content-Length: {len(body)}")
    with Raw(world.http) as raw:
        raw.send(request(PATH, *expecting, f"Authorization: Bearer {world.key}", method="POST"))
        assert raw._file.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert raw.send(body).answer().status == 202
    for fields in (
        (*expecting, "Authorization: Bearer no"),
        ("Expect: 100-continue", "Content-Length: 99999999", f"Authorization: Bearer {world.key}"),
    ):
        assert asked(world.http, request(PATH, *fields, method="POST")).status in (401, 413)


def test_who_has_said_all_may_still_listen(world: World) -> None:
    with Raw(world.http) as raw:
        raw.send(request())
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.answer("GET").status == 200
        assert raw.ends()


# -- how long --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_a_head_has_its_time_as_a_whole(world: World) -> None:
    begun = time.monotonic()
    with Raw(world.http) as raw:
        raw.socket.settimeout(0.05)
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < 10:
                raw.send(b"A")
                with contextlib.suppress(TimeoutError):
                    if raw.socket.recv(1, socket.MSG_PEEK):
                        break
        raw.socket.settimeout(15)
        said = raw.answer("GET")
    assert SHORT < time.monotonic() - begun < 5
    assert (said.status, said.json["reason"]) == (408, "too_slow")
    assert said.headers["connection"] == "close"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("before", [b"", request(), b"\r\n"])
def test_silence_ends_a_connection(world: World, before: bytes) -> None:
    with Raw(world.http) as raw:
        raw.send(before)
        if before.startswith(b"GET"):
            assert raw.answer("GET").status == 200
        begun = time.monotonic()
        assert raw.ends()
        assert SHORT * 0.8 < time.monotonic() - begun < 5


@pytest.mark.usefixtures("impatient")
def test_the_next_head_has_its_time_from_its_first_octet(world: World) -> None:
    with Raw(world.http) as raw:
        assert raw.send(request()).answer("GET").status == 200
        assert raw.send(request()[:10]).answer("GET").status == 408


LONG = 24 << 20  # octets: more than the kernel takes off our hands


async def long_answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    head = [(b"content-length", b"%d" % LONG)]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    for at in range(0, LONG, 1 << 20):
        await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": at + (1 << 20) < LONG})


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fields", [(), ("Connection: close",)])
def test_a_long_answer_is_for_those_who_read_it(monkeypatch: pytest.MonkeyPatch, fields: tuple[str, ...]) -> None:
    """However slowly, as long as it goes on; who stops is let go, with what was not read."""
    monkeypatch.setattr(hall, "WATCH_EVERY", 0.05)

    async def read(port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        try:
            writer.write(request("/", *fields))
            await reader.readuntil(b"\r\n\r\n")
            octets = 0
            while octets < LONG:
                octets += len(await reader.readexactly(1 << 20))
                await asyncio.sleep(SHORT / 10)
            return octets
        finally:
            writer.close()

    async def story() -> None:
        server = HttpServer(long_answer, Endpoint("127.0.0.1", 0), None)
        await server.open()
        assert await read(server.port) == LONG
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 16)
        writer.write(request("/", *fields))
        await asyncio.sleep(4 * SHORT)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(LONG)
        writer.close()
        await server.close(timedelta(seconds=1))

    asyncio.run(story())


@pytest.mark.usefixtures("impatient")
def test_who_does_not_leave_is_let_go(world: World) -> None:
    with Raw(world.http) as raw:
        assert raw.send(b"GARBAGE\r\n\r\n").answer("GET").status == 400
        assert raw.ends()  # the server's half
        begun = time.monotonic()
        time.sleep(3 * SHORT)
        assert not raw.takes(b"x", 1000)
        assert time.monotonic() - begun < 5
