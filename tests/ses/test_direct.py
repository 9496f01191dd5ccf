"""Mail that goes past botocore's client: the same request as botocore's, by the same way out."""

from __future__ import annotations

import asyncio
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials

from relay.delivery import Tracking
from relay.ses import direct
from relay.ses.access import Profile, StaticKeys
from relay.ses.clients import Accounts
from relay.ses.errors import Answer, SesProblem, classify
from relay.ses.slices import SLICE
from tests.ses.ses_server import Request, answering, refusing, staged
from tests.ses.ses_stand import BOTH, KEYS, RAW, Stand, access, send, send_plainly
from tests.ses.test_slices import Parts

# -- the same request ------------------------------------------------------------------------------------------------

SIZES = {
    "small": RAW,
    "just_whole": RAW + b"y" * (SLICE - len(RAW)),
    "in_slices": RAW + b"y" * SLICE,
    "large": RAW + b"y" * 3_000_000,
    "in_parts": Parts(RAW + b"z" * 1_000_000, 300_000),
}
PER_CALL = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "x-amz-content-sha256"}


@pytest.mark.parametrize("keys", [KEYS, StaticKeys("AKID2", "other", "a-token")], ids=["keys", "session"])
@pytest.mark.parametrize("raw", SIZES.values(), ids=SIZES)
def test_both_ways_send_the_same_request(stand: Stand, raw: Any, keys: StaticKeys) -> None:
    async def story() -> list[Request]:
        async with staged() as stage:
            account = stand.accounts.open(access(stage.url, keys))
            assert [await send(account, raw), await send_plainly(account, raw)] == ["7", "7"]
            return stage.requests

    ours, theirs = stand.run(story())
    assert ours.line == theirs.line == "POST /v2/email/outbound-emails HTTP/1.1"
    assert ours.body == theirs.body
    assert _constant(ours) == _constant(theirs)
    frozen = ReadOnlyCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    assert ours.is_signed_by(frozen)
    assert theirs.is_signed_by(frozen)
    assert ours.headers["amz-sdk-invocation-id"] != theirs.headers["amz-sdk-invocation-id"]


def _constant(request: Request) -> dict[str, str]:
    """What botocore says of itself comes in no order."""
    kept = {name: value for name, value in request.headers.items() if name not in PER_CALL}
    return kept | {"user-agent": "".join(sorted(kept["user-agent"]))}


def test_a_changed_octet_breaks_the_signature(stand: Stand) -> None:
    async def story() -> Request:
        async with staged() as stage:
            await send(stand.accounts.open(access(stage.url)))
            return stage.requests[0]

    request = stand.run(story())
    key = ReadOnlyCredentials(KEYS.access_key_id, KEYS.secret_access_key, None)
    assert request.is_signed_by(key)
    assert not replace(request, body=request.body.replace(b"ana@", b"eve@")).is_signed_by(key)
    assert not request.is_signed_by(ReadOnlyCredentials(KEYS.access_key_id, "guessed", None))


def test_what_botocore_signs_otherwise_it_sends_itself(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story() -> tuple[str, list[Request]]:
        async with staged() as stage:
            account = stand.accounts.open(access(stage.url))
            opened = await account._link._open()
            opened.client.meta.events.register("choose-signer.sesv2.SendEmail", lambda **_: "v4-query")
            return await send(account), stage.requests

    said, [request] = stand.run(story())
    assert said == "7"
    assert "X-Amz-Signature=" in request.line
    assert [each for each in caplog.records if "ses.by_botocore" in each.getMessage()]


def test_learning_the_way_sends_nothing_and_is_done_once(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[object] = []
    learn = direct.learn

    async def noted(*given: Any) -> Any:
        learnt.append(given)
        return await learn(*given)

    monkeypatch.setattr(direct, "learn", noted)

    async def story() -> int:
        async with staged() as stage:
            account = stand.accounts.open(access(stage.url))
            await asyncio.gather(*(send(account) for _ in range(20)))
            return len(stage.requests)

    assert stand.run(story()) == 20
    assert len(learnt) == 1


@pytest.mark.parametrize(
    ("tracking", "overrides"),
    [
        (Tracking(), None),
        (Tracking(opens=True), {"OpenTrackingEnabled": "ENABLED"}),
        (Tracking(clicks=False), {"ClickTrackingEnabled": "DISABLED"}),
        (Tracking(False, True), {"OpenTrackingEnabled": "DISABLED", "ClickTrackingEnabled": "ENABLED"}),
    ],
    ids=["nothing", "opens", "no_clicks", "both"],
)
def test_tracking_is_said_call_by_call(stand: Stand, tracking: Tracking, overrides: dict[str, str] | None) -> None:
    async def story() -> Request:
        async with staged() as stage:
            account = stand.accounts.open(access(stage.url))
            await account.send(
                RAW, ["a@d.example"], domain="byoc.example", tags={}, configuration_set=None, tracking=tracking
            )
            return stage.requests[0]

    said = json.loads(stand.run(story()).body)
    assert said.get("ConfigurationOverrides") == (overrides and {"Tracking": overrides})


# -- large messages --------------------------------------------------------------------------------------------------


def test_a_large_message_is_never_all_in_memory() -> None:
    class Endless:
        size = 24 << 20

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for _ in range(24):
                yield b"y" * (1 << 20)

    async def drain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while left:
            left -= len(await reader.read(min(left, 65536)))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"MessageId":"7"}')
        await writer.drain()
        writer.close()

    async def story() -> int:
        async with await asyncio.start_server(drain, "127.0.0.1", 0) as server, Accounts() as accounts:
            account = accounts.open(access(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
            await account._link._open()
            tracemalloc.start()
            try:
                assert await send(account, Endless()) == "7"
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert asyncio.run(story()) < 8 << 20


# -- what an answer brings, and what calls are made with -------------------------------------------------------------


@BOTH
def test_the_clock_of_a_refusal_is_kept(stand: Stand, way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Answer] = []
    meaning = classify
    date = "Sat, 21 Nov 2026 14:06:08 GMT"

    def noting(answer: Answer, domain: str) -> SesProblem:
        seen.append(answer)
        return meaning(answer, domain)

    monkeypatch.setattr(f"{send.__module__}.classify", noting)
    monkeypatch.setattr("relay.ses.wire.classify", noting)
    react = refusing("403 Forbidden", b"{}", "x-amzn-ErrorType: SignatureDoesNotMatch", f"Date: {date}")
    stand.problem_with(way, react)
    assert [(each.code, each.status, each.date) for each in seen] == [("SignatureDoesNotMatch", 403, date)]


def test_refreshing_looks_for_credentials_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.ses.link.FRESH", 0)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write(key: str) -> None:
        file.write_text(f"[acme]\naws_access_key_id = {key}\naws_secret_access_key = s\n")

    async def story() -> list[str]:
        async with staged() as stage, Accounts() as accounts:
            write("OLD")
            account = accounts.open(replace(access(stage.url), credentials=Profile("acme")))
            await send(account)
            write("NEW")
            await send(account)
            await account.refresh()
            await send(account)
            return [each.headers["authorization"].split("Credential=")[1].split("/")[0] for each in stage.requests]

    assert asyncio.run(story()) == ["OLD", "OLD", "NEW"]


def test_many_who_refresh_at_once_refresh_once_and_break_off_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await answering(b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"MessageId":"7"}')(reader, writer)

    async def story() -> None:
        async with staged(late) as stage, Accounts() as accounts:
            account = accounts.open(access(stage.url))
            call = asyncio.create_task(send(account))
            while not stage.requests:
                await asyncio.sleep(0.01)
            first = account._link._now
            await account.refresh()  # opened just now: nothing newer can be had
            assert account._link._now is first
            monkeypatch.setattr("relay.ses.link.FRESH", -1)
            await asyncio.gather(*(account.refresh() for _ in range(10)))
            assert account._link._now is None
            release.set()
            assert await call == "7"
            assert await send(account) == "7"

    asyncio.run(asyncio.wait_for(story(), 10))
