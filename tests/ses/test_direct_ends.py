"""Every way a call can end, and what is known of the mail then."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientTimeout

from relay.errors import Kind
from relay.ses import direct, egress
from relay.ses.access import Access
from relay.ses.errors import Scope, SesProblem
from tests.ses.ses_server import Reaction, Request, Stage, answering, refusing, staged
from tests.ses.ses_stand import BOTH, UNAVAILABLE, UNKNOWN, Stand, access, send

# -- how a call can end ----------------------------------------------------------------------------------------------


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


OK = "200 OK"
ENDS: dict[str, tuple[Reaction, tuple[Kind, Scope]]] = {
    "closed": (answering(b""), UNKNOWN),
    "reset": (reset, UNKNOWN),
    "no_http": (answering(b"220 mail.example ESMTP\r\n\r\n"), UNKNOWN),
    "half_a_head": (answering(b"HTTP/1.1 200 OK\r\nContent-Le"), UNKNOWN),
    "half_a_body": (refusing(OK, b'{"MessageId":', length=17), UNKNOWN),
    "no_json": (refusing(OK, b"<html>taken</html>"), UNKNOWN),
    "no_object": (refusing(OK, b'["7"]'), UNKNOWN),
    "no_text": (refusing(OK, b"\xff\xfe\x00"), UNKNOWN),
    "no_id": (refusing(OK, b'{"MessageId": null}'), UNKNOWN),
    "said_no": (
        refusing("400 Bad Request", b'{"message":"Bad"}', "x-amzn-ErrorType: MessageRejected"),
        (Kind.SES_REJECTED, Scope.MESSAGE),
    ),
    "with_a_url": (
        refusing("429 Too Many", b'{"message":null}', "x-amzn-ErrorType: TooManyRequestsException:http://aws/x"),
        (Kind.SES_THROTTLED, Scope.ACCOUNT),
    ),
    "code_in_the_body": (
        refusing("400 Bad Request", b'{"__type":"com.amazon#ThrottlingException","message":"Rate exceeded"}'),
        (Kind.SES_THROTTLED, Scope.ACCOUNT),
    ),
    "a_gateway": (refusing("502 Bad Gateway", b"<html>nginx</html>"), UNAVAILABLE),
}


@BOTH
@pytest.mark.parametrize(("react", "expected"), ENDS.values(), ids=ENDS)
def test_how_a_call_ends(stand: Stand, react: Reaction, expected: tuple[Kind, Scope], way: Any) -> None:
    problem = stand.problem_with(way, react)
    assert (problem.kind, problem.scope) == expected


@pytest.mark.parametrize("body", [b'["no object"]', b"\xff\xfe", b'"text"', b'{"message":{"a":1}}', b"{", b""])
def test_a_refusal_is_read_by_its_header_whatever_its_body_is(stand: Stand, body: bytes) -> None:
    react = refusing("400 Bad Request", body, "x-amzn-ErrorType: MessageRejected:http://x/", length=max(len(body), 1))
    problem = stand.problem_with(send, react)
    assert (problem.kind, problem.code) == (Kind.SES_REJECTED, "MessageRejected")


@pytest.mark.parametrize(("status", "kind"), [("200 OK", UNKNOWN[0]), ("503 Busy", UNAVAILABLE[0])])
def test_an_endless_answer_is_read_no_further_than_it_may_be(stand: Stand, status: str, kind: Kind) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 1000000000\r\n\r\n".encode())
        while True:
            writer.write(b" " * 65536)
            await writer.drain()

    assert stand.problem_with(send, flood).kind is kind


def test_redirects_are_not_followed(stand: Stand) -> None:
    async def story() -> tuple[SesProblem, list[Request]]:
        async with staged() as elsewhere:
            react = refusing("307 Temporary Redirect", b"", f"Location: {elsewhere.url}/v2/email/outbound-emails")
            return await stand.problem(send, react), elsewhere.requests

    problem, seen = stand.run(story())
    assert problem.code == "307"
    assert seen == []


def test_an_answer_that_does_not_come_leaves_the_outcome_unknown(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "READ_TIMEOUT", 0.1)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    problem = stand.problem_with(send, hang)
    assert ((problem.kind, problem.scope), problem.said) == (UNKNOWN, "no answer: TimeoutError")


def test_an_answer_octet_by_octet_does_not_hold_a_call_for_ever(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "READ_TIMEOUT", 0.1)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    problem = stand.problem_with(send, drip)
    assert (problem.kind, problem.scope) == UNKNOWN


def test_what_fails_in_a_way_nobody_thought_of_may_have_left(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    post = egress.Egress.post

    async def fail(self: egress.Egress, *given: Any) -> egress.Reply:
        await post(self, *given)
        raise AttributeError("'NoneType' object has no attribute 'get_extra_info'")

    monkeypatch.setattr(egress.Egress, "post", fail)
    problem = stand.problem_with(send, None)
    assert (problem.kind, problem.scope) == UNKNOWN


def test_a_call_that_times_out_while_its_account_closes_keeps_nothing_open(stand: Stand) -> None:
    async def story() -> None:
        closing = direct.Direct("acme", None, None, None)  # type: ignore[arg-type]
        async with asyncio.timeout(0.01) as limit:
            closing._in_hand.add(limit)
            try:
                await asyncio.sleep(1)
            finally:
                await closing.close()

    with pytest.raises(TimeoutError):
        stand.run(story())


# -- what never left -------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://ses.invalid"], ids=["refused", "no_such_name"])
def test_what_reaches_nobody_has_not_left(stand: Stand, url: str, way: Any) -> None:
    problem = stand.problem_with(way, None, by=lambda _: access(url))
    assert (problem.kind, problem.scope) == UNAVAILABLE


def test_a_connection_that_is_never_taken_has_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "_TIMEOUT", ClientTimeout(total=None, sock_connect=0.2))
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # more than the backlog: further SYNs get no answer
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        with asyncio.Runner() as runner:
            fresh = Stand(runner)
            problem = fresh.problem_with(send, None, by=lambda _: access(f"http://127.0.0.1:{address[1]}"))
            fresh.close()
        for each in waiting:
            each.close()
    assert (problem.kind, problem.scope) == UNAVAILABLE


@BOTH
def test_what_cannot_be_encrypted_has_not_left(stand: Stand, way: Any) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no TLS here\r\n")
        writer.close()

    async def story() -> SesProblem:
        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await stand.problem(way, None, lambda _: access(f"https://127.0.0.1:{port}"))

    problem = stand.run(story())
    assert (problem.kind, problem.scope) == UNAVAILABLE


@BOTH
def test_a_proxy_that_refuses_has_passed_nothing_on(stand: Stand, way: Any) -> None:
    def by(stage: Stage) -> Access:
        return replace(access("https://ses.invalid"), proxy=f"http://me:pass-word@127.0.0.1:{stage.port}")

    problem = stand.problem_with(way, refusing("407 Proxy Authentication Required", b""), by)
    assert (problem.kind, problem.scope) == UNAVAILABLE
    assert "pass-word" not in problem.detail
