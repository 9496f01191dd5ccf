"""By which way mail leaves: proxies, authorities, and connections that are used again or not."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from relay.ses import egress
from relay.ses.clients import Accounts
from tests.ses.ses_server import Request, staged
from tests.ses.ses_stand import access, send
from tests.ses.test_clients import certified


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> list[Request]:
        async with staged() as proxy, Accounts() as accounts:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            await send(accounts.open(access("http://ses.invalid")))
            return proxy.requests

    [request] = asyncio.run(story())
    assert request.line == "POST http://ses.invalid/v2/email/outbound-emails HTTP/1.1"


def test_authorities_of_the_environment_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ca.pem"
    context = certified(file)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(file))

    async def story() -> str:
        async with staged(context=context) as stage, Accounts() as accounts:
            return await send(accounts.open(access(stage.url.replace("http:", "https:"))))

    assert asyncio.run(story()) == "7"


def test_a_tunnel_keeps_what_the_proxy_is_told_to_itself(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    context = certified(file)
    asked: list[bytes] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while octets := await reader.read(65536):
                writer.write(octets)
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        port = int(asked[-1].split()[1].rpartition(b":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    async def story() -> list[Request]:
        async with staged(context=context) as stage, Accounts() as accounts:
            async with await asyncio.start_server(tunnel, "127.0.0.1", 0) as proxy:
                by_proxy = replace(
                    access(stage.url.replace("http:", "https:")),
                    proxy=f"http://me:word@127.0.0.1:{proxy.sockets[0].getsockname()[1]}",
                    ca_bundle=str(file),
                )
                await send(accounts.open(by_proxy))
                await send(accounts.open(by_proxy))
                await accounts._egresses.close()
                return stage.requests

    requests = asyncio.run(story())
    assert len(asked) == 1  # the tunnel is used again
    assert b"Proxy-Authorization: Basic bWU6d29yZA==" in asked[0]
    for request in requests:
        assert request.line == "POST /v2/email/outbound-emails HTTP/1.1"
        assert "proxy-authorization" not in request.headers


def test_accounts_with_one_way_out_share_its_connections() -> None:
    async def story() -> int:
        async with staged() as stage, Accounts() as accounts:
            for name in ("one", "two", "three"):
                await send(accounts.open(replace(access(stage.url), name=name)))
            return stage.connections

    assert asyncio.run(story()) == 1


def test_a_connection_that_was_idle_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "IDLE_CONNECTION", 0.05)

    async def story() -> list[int]:
        async with staged() as stage, Accounts() as accounts:
            account = accounts.open(access(stage.url))
            await send(account)
            await send(account)
            before = stage.connections
            await asyncio.sleep(0.06)  # longer than it may be idle: the time itself is what counts
            await send(account)
            return [before, stage.connections]

    assert asyncio.run(story()) == [1, 2]
