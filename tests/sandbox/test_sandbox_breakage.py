"""Scripted faults of the connection and of the account, each as an AWS client meets it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ReadTimeoutError

from relay.sandbox import breakage, changes, travel
from relay.sandbox.accounts import Account, Allowance
from relay.sandbox.faults import BadScript, Faults, read_refusal, read_script
from relay.sandbox.refusals import Refusal

RAW = b"From: a@shared.example\r\n\r\nx\r\n"


async def refused(world: Any, account: str = "operator", **more: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        await world.send(account=account, **more)
    said = caught.value.response["Error"]
    return said["Code"], said["Message"]


async def ask_for_account(world: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """GetAccount, by hand: what stands on the wire is not what a client makes of it."""
    reader, writer = await asyncio.open_connection(*world.url.removeprefix("http://").split(":"))
    scope = "AWS4-HMAC-SHA256 Credential=operator/20260101/eu-west-1/ses/aws4_request, Signature=x"
    writer.write(f"GET /v2/email/account HTTP/1.1\r\nHost: x\r\nAuthorization: {scope}\r\n\r\n".encode())
    return reader, writer


# -- the connection --------------------------------------------------------------------------------------------------


def test_half_closed_sends_half_of_the_answer_to_what_it_took(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault="half_closed")
        with pytest.raises((HTTPClientError, aiohttp.ClientError)):
            await world.send()
        assert len(await world.messages()) == 1
        await world.send()

    play(story)


def test_half_closed_on_the_wire(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(operation="GetAccount", fault="half_closed")
        reader, writer = await ask_for_account(world)
        octets = await asyncio.wait_for(reader.read(), 5)  # until the other side says that no more comes
        head, _, body = octets.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        [length] = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        assert abs(len(body) - length / 2) <= 1
        writer.write(b"more")  # this half is still open
        await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    play(story)


def test_reset_takes_nothing_and_says_so_with_a_reset(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(operation="GetAccount", fault="reset")
        reader, writer = await ask_for_account(world)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await world.script(fault="reset")
        with pytest.raises(BotoCoreError):
            await world.send()
        assert await world.messages() == []
        await world.send()

    play(story)


def test_accept_then_hang_takes_the_message_and_never_says_so(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault="accept_then_hang")
        ses = await world.client("sesv2", read_timeout=0.3)
        with pytest.raises(ReadTimeoutError):
            await ses.send_email(Content={"Raw": {"Data": RAW}}, Destination={"ToAddresses": ["x@d.test"]})
        assert len(await world.messages()) == 1

    play(story)


def test_a_slow_body_comes_octet_by_octet(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault={"slow_body": 0.002})
        started = time.monotonic()
        id = await world.send()
        assert time.monotonic() - started >= 0.002 * len(id)
        assert [message["id"] for message in await world.messages()] == [id]

    play(story)


def test_a_slow_body_does_not_wait_for_a_client_that_left(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault={"slow_body": 3600})
        ses = await world.client("sesv2", read_timeout=0.3)
        with pytest.raises(ReadTimeoutError):
            await ses.send_email(Content={"Raw": {"Data": RAW}}, Destination={"ToAddresses": ["x@d.test"]})

    play(story)


def test_nobody_is_let_in_for_a_while(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.send()
        await world.script(fault={"refuse": 0.4})
        started = time.monotonic()
        host, port = world.url.removeprefix("http://").split(":")
        refusals = 0
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection(host, port)
                except ConnectionRefusedError:
                    refusals += 1
                    await asyncio.sleep(0.01)
                    continue
                writer.close()
                if refusals:
                    break
        assert 0.35 <= time.monotonic() - started < 5
        await world.send()
        assert len(await world.messages()) == 2  # it is as it was
        async with world.http.get(f"{world.url}/faults") as response:
            assert await response.json() == []

    play(story)


def test_a_sandbox_that_lets_nobody_in_can_be_stopped(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(fault={"refuse": 3600})

    started = time.monotonic()
    play(story)
    assert time.monotonic() - started < 5


# -- when a script counts ----------------------------------------------------------------------------------------------


def test_a_script_ends_by_itself(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await world.script(**{"for": 0.3}, operation="GetAccount", fault={"error": "ServiceUnavailable"})
        async with world.http.get(f"{world.url}/faults") as response:
            [shown] = await response.json()
        assert 0 < shown.pop("for") <= 0.3
        assert shown == {
            "account": None,
            "operation": "GetAccount",
            "times": None,
            "fault": {"error": "ServiceUnavailable"},
        }
        failed = 0
        async with asyncio.timeout(10):
            while True:
                try:
                    await ses.get_account()
                    break
                except ClientError:
                    failed += 1
        assert failed > 0
        async with world.http.get(f"{world.url}/faults") as response:
            assert await response.json() == []

    play(story)


def test_a_script_meets_some_calls_by_chance() -> None:
    faults = Faults(random.Random(7).random)
    faults.scripts.append(read_script(b'{"times": null, "probability": 0.2, "fault": "hang"}', set()))
    met = sum(faults.take("a", "SendEmail") is not None for _ in range(1000))
    assert 150 < met < 250
    assert faults.scripts[0].as_json()["probability"] == 0.2


def test_times_counts_the_calls_that_were_met() -> None:
    faults = Faults(iter([0.9, 0.1, 0.9, 0.1, 0.9]).__next__)
    faults.scripts.append(read_script(b'{"times": 2, "probability": 0.5, "fault": "hang"}', set()))
    assert [faults.take("a", "SendEmail") is not None for _ in range(5)] == [False, True, False, True, False]


# -- the account -------------------------------------------------------------------------------------------------------


def test_an_account_is_paused_and_resumed(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await world.script(account="operator", set={"paused": True})
        assert await refused(world) == ("SendingPausedException", "Account sending is disabled.")
        assert (await ses.get_account())["SendingEnabled"] is False
        await world.script(account="operator", set={"paused": False})
        await world.send()
        assert (await ses.get_account())["SendingEnabled"] is True
        async with world.http.get(f"{world.url}/faults") as response:
            assert (await response.json())[0] == {"account": "operator", "set": {"paused": True}}

    play(story)


@pytest.mark.parametrize("enforcement", ["PROBATION", "SHUTDOWN"])
def test_an_account_under_review_sends_on_and_one_shut_down_does_not(play: Any, enforcement: str) -> None:
    async def story(world: Any) -> None:
        await world.script(account="operator", set={"enforcement": enforcement})
        account = await (await world.client("sesv2")).get_account()
        assert (account["EnforcementStatus"], account["SendingEnabled"]) == (enforcement, enforcement == "PROBATION")
        if enforcement == "PROBATION":
            await world.send()
        else:
            code, text = await refused(world)
            assert code == "MessageRejected"
            assert text.startswith("Sending paused for this account. For more information")

    play(story)


def test_a_configuration_set_is_paused_and_others_are_not(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await ses.create_configuration_set(ConfigurationSetName="relay")
        await ses.create_configuration_set(ConfigurationSetName="other")
        await world.script(set={"paused_sets": ["relay"]})
        assert await refused(world, ConfigurationSetName="relay") == (
            "SendingPausedException",
            "Sending is paused for configuration set relay",
        )
        await world.send(ConfigurationSetName="other")
        shown = await ses.get_configuration_set(ConfigurationSetName="relay")
        assert shown["SendingOptions"] == {"SendingEnabled": False}

    play(story)


def test_production_access_goes_and_comes(play: Any) -> None:
    async def story(world: Any) -> None:
        await world.script(account="operator", set={"production": False})
        code, text = await refused(world, to="x@d.test")
        assert code == "MessageRejected"
        assert text.endswith("x@d.test")
        await world.send(to="success@simulator.amazonses.com")
        assert (await (await world.client("sesv2")).get_account())["ProductionAccessEnabled"] is False
        async with world.http.delete(f"{world.url}/faults"):
            pass
        await world.send(to="x@d.test")

    play(story)


def test_rate_and_quota_change_while_it_runs(play: Any) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await world.script(account="operator", set={"rate": 0.001})
        await world.send(to="x@d.test y@d.test")
        assert await refused(world) == ("TooManyRequestsException", "Maximum sending rate exceeded.")
        await world.script(account="operator", set={"rate": 1000, "daily_quota": 2})
        quota = (await ses.get_account())["SendQuota"]
        assert quota == {"Max24HourSend": 2.0, "MaxSendRate": 1000.0, "SentLast24Hours": 2.0}
        assert await refused(world) == ("LimitExceededException", "Daily message quota exceeded")
        assert len(await world.messages()) == 1

    play(story)


def test_an_allowance_counts_recipients_at_the_rate_of_the_moment() -> None:
    allowance = Allowance(Account("a", (), rate=10, daily_quota=-1), now=0.0)
    allowance.follow(Account("a", (), rate=2, daily_quota=-1))
    allowance.spend(2, 2, 0.0)
    with pytest.raises(Refusal):
        allowance.spend(1, 1, 0.0)
    allowance.spend(1, 1, 0.6)
    allowance.follow(Account("a", (), rate=100, daily_quota=-1))
    allowance.spend(50, 50, 1.0)


@pytest.mark.parametrize(
    ("clock", "said"),
    [
        (-420, "Signature not yet current: .* is still later than .* \\+ 5 min"),
        (420, "Signature expired: .* is now earlier than .* - 5 min"),
    ],
)
def test_clocks_that_differ(play: Any, clock: int, said: str) -> None:
    async def story(world: Any) -> None:
        await world.script(account="operator", set={"clock": clock})
        ses = await world.client("sesv2")
        with pytest.raises(ClientError, match=said) as caught:
            await ses.send_email(Content={"Raw": {"Data": RAW}}, Destination={"ToAddresses": ["x@d.test"]})
        answer = caught.value.response
        assert answer["Error"]["Code"] == "InvalidSignatureException"
        shown = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        off = shown - datetime.now(UTC) - timedelta(seconds=clock)
        assert abs(off) < timedelta(seconds=30)
        await world.send(account="customer", raw=RAW.replace(b"shared", b"byoc"))
        await world.script(account="operator", set={"clock": clock // 2})
        await world.send()

    play(story)


def test_every_answer_tells_the_time_once(play: Any) -> None:
    async def story(world: Any) -> None:
        async with world.http.get(f"{world.url}/v2/email/account") as response:  # unsigned
            assert response.status == 403
            [date] = response.headers.getall("date")
        assert abs(parsedate_to_datetime(date) - datetime.now(UTC)) < timedelta(seconds=30)

    play(story)


@pytest.mark.parametrize(
    ("body", "places"),
    [
        (b'{"set":{}}', ["set"]),
        (b'{"set":[]}', ["set"]),
        (b'{"set":{"rate":0,"daily_quota":"1","production":1,"paused":null}}', ["set.rate", "set.daily_quota", "set.production", "set.paused"]),
        (b'{"set":{"paused_sets":"relay","enforcement":"OK","clock":1e9,"mood":1}}', ["set.paused_sets", "set.enforcement", "set.clock", "set.mood"]),
        (b'{"set":{"rate":true}}', ["set.rate"]),
        (b'{"set":{"rate":NaN}}', ["set.rate"]),
        (b'{"set":{"paused_sets":[1],"enforcement":[]}}', ["set.paused_sets", "set.enforcement"]),
        (b'{"set":{"rate":1},"fault":"hang","times":1,"operation":"SendEmail"}', ["operation", "times", "fault"]),
        (b'{"fault":"hang","for":0}', ["for"]),
        (b'{"fault":"hang","for":"1"}', ["for"]),
        (b'{"fault":"hang","for":true}', ["for"]),
        (b'{"fault":"hang","probability":0}', ["probability"]),
        (b'{"fault":"hang","probability":1.1}', ["probability"]),
        (b'{"fault":"hang","probability":NaN}', ["probability"]),
        (b'{"fault":{"slow_body":-1}}', ["fault.slow_body"]),
    ],
    ids=str,
)  # fmt: skip
def test_bad_scripts(body: bytes, places: list[str]) -> None:
    with pytest.raises(BadScript) as bad:
        read_script(body, {"operator"})
    assert [fault.partition(":")[0] for fault in bad.value.faults] == places


@pytest.mark.parametrize(
    ("body", "places"),
    [
        (b'{"fault":{"refuse":-1}}', ["fault.refuse"]),
        (b'{"fault":{"refuse":1,"x":1}}', ["fault.refuse"]),
        (b'{"fault":{"refuse":1},"account":"operator"}', ["account"]),
        (b'{"fault":{"refuse":4000},"times":2}', ["times", "fault.refuse"]),
    ],
    ids=str,
)
def test_bad_refusals(body: bytes, places: list[str]) -> None:
    with pytest.raises(BadScript) as bad:
        read_refusal(body)
    assert [fault.partition(":")[0] for fault in bad.value.faults] == places


def test_what_is_no_refusal_is_none() -> None:
    assert read_refusal(b'{"fault": "hang"}') is None
    assert read_refusal(b'{"fault": {"refuse": 2}}') == 2.0


# -- the page about them -----------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text("utf-8")


def test_the_page_names_every_fault_and_every_change() -> None:
    named = re.findall(r'^\| `["{]*"?(\w+)', PAGE, re.M)
    assert {*breakage.WORDS, *breakage.SPANS, "error", "refuse", *changes.MEMBERS, *travel.MEMBERS} <= set(named)


@pytest.mark.parametrize("body", re.findall(r"^curl .*/faults -d '(.*)'$", PAGE, re.M))
def test_its_examples_can_be_played(body: str) -> None:
    assert read_refusal(body.encode()) or read_script(body.encode(), {"operator"})
