"""Whoever goes away in the middle: nothing is held for them, what was begun is done, and it is there once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from relay import core
from relay.cli.starting import create_key
from relay.declared import Permission
from relay.http.calling import call
from relay.http.state import State
from relay.store import usage
from relay.store.clock import now_ms
from relay.store.directory import installation
from tests.support import relay_settings

PATH = "/api/v1/emails"
LARGE = "Hi there. \n" * 40_000


def email(to: str, **members: Any) -> dict[str, Any]:
    return {"from": "news@byoc.example", "to": to, "subject": "Hi", "text": "Hi", **members}


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "one": (PATH, email("ana@one.test")),
    "a large one": (PATH, email("ana@one.test", text=LARGE)),
    "many, one of them refused": (
        f"{PATH}/batch",
        {"emails": [email("ana@one.test"), email("nobody"), email("bo@one.test"), email("x@one.test", text=LARGE)]},
    ),
}


@pytest.mark.parametrize("sort", BODIES)
def test_a_client_that_goes_away_at_any_moment(tmp_path: Path, sort: str) -> None:
    path, body = BODIES[sort]
    octets = json.dumps(body).encode()
    settings = relay_settings(tmp_path, "http://127.0.0.1:9")
    key = create_key(tmp_path / "config.yaml", "test", Permission.FULL)

    async def ask(state: State, name: str) -> int:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", "Idempotency-Key": name}
        status, _ = await call(state, path, (), headers, octets)
        return status

    async def story() -> list[bool]:
        cut: list[bool] = []
        async with core.accepting(settings) as state:
            tenant = await state.store.read(installation.default_tenant)
            for turns in range(60):
                asking = asyncio.create_task(ask(state, f"k{turns}"))
                for _ in range(turns):
                    await asyncio.sleep(0.0002 if turns > 30 else 0)
                asking.cancel()
                await asyncio.wait([asking])
                cut.append(asking.cancelled())
                await state.intake.close()
                assert state.memory.used == 0
                assert await ask(state, f"k{turns}") == 202  # the key is free, or answered: in nobody's hand
                at = now_ms()
                used = (await state.store.read(lambda db: usage.of_month(db, at)))[tenant].recipients  # noqa: B023
                assert used == (turns + 1) * (3 if path != PATH else 1)
                assert state.intake._quota.used(tenant, at) == used
        return cut

    assert sum(asyncio.run(story())) > 1
