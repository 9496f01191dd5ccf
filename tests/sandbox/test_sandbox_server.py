"""The sandbox as a process: its address, its signals, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys

import aiohttp
import pytest

from relay.sandbox.accounts import Account
from relay.sandbox.cloud import Cloud
from relay.sandbox.server import running

ACCOUNT = Account("operator", ("shared.example",))
PROGRAM = """
import asyncio, sys
from relay import log
from relay.sandbox.accounts import Account
from relay.sandbox.server import serve

log.set_up()
asyncio.run(serve([Account("operator", ("shared.example",))], port=int(sys.argv[1])))
"""


def test_a_taken_port_is_said_clearly() -> None:
    async def story() -> None:
        async with running([ACCOUNT]) as sandbox:
            port = int(sandbox.url.rpartition(":")[2])
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port}"):
                async with running([ACCOUNT], port=port):
                    pass

    asyncio.run(story())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, "0"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        started = process.stderr.readline()
        assert "sandbox.started url=http://127.0.0.1:" in started
        host, port = started.strip().rpartition("//")[2].split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            os.kill(process.pid, number)
            assert process.wait(10) == 0
        rest = process.stderr.read()
        assert "sandbox.stopped" in rest
        assert "Traceback" not in rest
        assert "healthz" not in rest


def test_calls_that_hang_do_not_keep_it_alive() -> None:
    async def stop_under_a_call() -> None:
        authorization = "AWS4-HMAC-SHA256 Credential=operator/20260101/eu-west-1/ses/aws4_request, x"
        async with aiohttp.ClientSession(headers={"Authorization": authorization}) as http:
            async with running([ACCOUNT]) as sandbox:
                async with http.post(f"{sandbox.url}/faults", json={"fault": "hang"}) as met:
                    assert met.status == 201
                call = asyncio.create_task(http.post(f"{sandbox.url}/v2/email/outbound-emails"))
                while sandbox.state.faults.scripts:  # until the call has met its fault
                    await asyncio.sleep(0)
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await call

    asyncio.run(asyncio.wait_for(stop_under_a_call(), 10))


def test_two_accounts_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="same name"):
        Cloud([ACCOUNT, ACCOUNT])
