"""The mirror of an SES account's own suppression list, against the sandbox and a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from relay import config
from relay.declared import AccountFields
from relay.errors import Kind
from relay.management import mirror as mirroring
from relay.management.mirror import Mirrored, mirror
from relay.sandbox.accounts import Account
from relay.sandbox.faults import read_script
from relay.sandbox.server import Running
from relay.sandbox.server import running as running_sandbox
from relay.ses import suppression
from relay.ses.access import Access, StaticKeys
from relay.ses.clients import Accounts
from relay.ses.errors import SesProblem
from relay.ses.wire import SesAccount
from relay.store.beside import Beside, open_beside
from relay.store.clock import now_ms
from relay.store.directory import accounts, audit, installation
from relay.store.directory.audit import Actor
from relay.store.directory.paging import Asked
from relay.store.suppressions import EVERYONE, Entry, Suppression, listed, suppress

ACTOR = Actor("test")


class Stage:
    """A sandbox with two accounts, one of them in what AWS calls the sandbox, and a database that knows both."""

    def __init__(self, store: Beside, sandbox: Running, opened: Accounts, tenant: int) -> None:
        self.store = store
        self.sandbox = sandbox
        self.tenant = tenant
        self._opened = opened
        self.progress: list[int] = []

    def ses(self, name: str = "customer") -> SesAccount:
        return self._opened.open(Access(name, "eu-west-1", StaticKeys(name, "s"), self.sandbox.url))

    async def mirror(self, name: str = "customer", *, is_pushing: bool = False) -> Mirrored:
        row = await self.store.read(lambda db: accounts.find(db, name))
        return await mirror(
            self.store, row, self.ses(name), ACTOR, is_pushing=is_pushing, progress=self.progress.append
        )

    async def suppress(self, address: str, reason: str = "manual", **fields: Any) -> None:
        entry = Entry.parse(address, reason, **fields)
        await self.store.change(lambda db: suppress(db, ACTOR, self.tenant, entry))

    async def list(self, tenant_id: int | None = None) -> dict[str, Suppression]:
        wanted = self.tenant if tenant_id is None else tenant_id
        page = await self.store.read(lambda db: listed(db, Asked(100), tenant_id=wanted))
        return {each.address: each for each in page.items}

    async def at_ses(self) -> dict[str, str]:
        return {each.address: each.reason async for page in suppression.suppressed(self.ses()) for each in page}

    def fail(self, operation: str, code: str, text: str = "", times: int = 1) -> None:
        script = (
            f'{{"operation": "{operation}", "times": {times}, "fault": {{"error": "{code}", "message": "{text}"}}}}'
        )
        self.sandbox.state.faults.scripts.append(read_script(script.encode(), {"customer"}))


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    monkeypatch.setattr(mirroring, "PACE", 0.0)
    monkeypatch.setattr(mirroring, "PATIENCE", (0.01, 0.01))
    monkeypatch.setattr(suppression, "PAGE", 2)
    (tmp_path / "config.yaml").write_text('database: relay.db\nhttp: {address: "127.0.0.1:0"}\n')
    settings = config.load(tmp_path / "config.yaml")

    def run(story: Callable[[Stage], Awaitable[None]]) -> None:
        async def live() -> None:
            people = [Account("customer", ()), Account("operator", ()), Account("beginner", (), production=False)]
            async with running_sandbox(people) as sandbox, open_beside(settings) as store, Accounts() as opened:
                for name, owner in (("customer", "default"), ("operator", None), ("beginner", "default")):
                    fields = AccountFields(tenant=owner, region="eu-west-1", endpoint_url=sandbox.url)
                    await store.change(
                        lambda db, name=name, fields=fields: accounts.add(db, store.sealer, ACTOR, name, fields)
                    )
                tenant = await store.read(installation.default_tenant)
                await story(Stage(store, sandbox, opened, tenant))

        asyncio.run(live())

    return run


Play = Callable[[Callable[[Stage], Awaitable[None]]], None]


def test_what_ses_suppresses_is_pulled(play: Play) -> None:
    async def story(stage: Stage) -> None:
        before = datetime.now(UTC).timestamp() * 1000 - 2000
        for name, reason in (("Ana", "BOUNCE"), ("bo", "COMPLAINT"), ("cy", "BOUNCE")):
            await suppression.put(stage.ses(), f"{name}@dest.example", reason)
        await stage.suppress("cy@dest.example", "known", note="ours")
        assert await stage.mirror() == Mirrored(pulled=2, pushed=0, skipped=1)
        found = await stage.list()
        assert {name: (each.reason, each.source) for name, each in found.items()} == {
            "ana@dest.example": ("bounce", "ses-account"),
            "bo@dest.example": ("complaint", "ses-account"),
            "cy@dest.example": ("known", "manual"),
        }
        assert found["ana@dest.example"].created_at > before
        assert stage.progress == [2, 1]
        assert await stage.list(EVERYONE) == {}
        assert await stage.mirror() == Mirrored(0, 0, 3)
        rows = await stage.store.read(lambda db: audit.entries(db, target=None, tenant_id=stage.tenant, limit=10))
        assert [row.action for row in rows].count("suppression.import") == 1

    play(story)


def test_an_account_of_the_operator_feeds_the_list_for_everyone(play: Play) -> None:
    async def story(stage: Stage) -> None:
        await suppression.put(stage.ses("operator"), "ana@dest.example", "BOUNCE")
        await stage.suppress("mine@dest.example")
        assert await stage.mirror("operator", is_pushing=True) == Mirrored(1, 0, 0)
        assert list(await stage.list(EVERYONE)) == ["ana@dest.example"]
        assert list(await stage.list()) == ["mine@dest.example"]

    play(story)


def test_what_is_ours_is_pushed_once(play: Play) -> None:
    async def story(stage: Stage) -> None:
        await suppression.put(stage.ses(), "Known@dest.example", "BOUNCE")
        await stage.suppress("hand@dest.example", "asked to")
        await stage.suppress("bounced@dest.example", "bounce", source="import")
        await stage.suppress("complained@dest.example", "complaint", source="complaint")
        await stage.suppress("unsubscribed@dest.example", "unsubscribed", source="import")
        await stage.suppress("soft@dest.example", "bounce", expires_at=now_ms() + 60_000)
        stage.fail("PutSuppressedDestination", "TooManyRequestsException")
        assert await stage.mirror(is_pushing=True) == Mirrored(pulled=1, pushed=3, skipped=0)
        assert await stage.at_ses() == {
            "Known@dest.example": "BOUNCE",
            "hand@dest.example": "BOUNCE",
            "bounced@dest.example": "BOUNCE",
            "complained@dest.example": "COMPLAINT",
        }
        assert await stage.mirror(is_pushing=True) == Mirrored(pulled=0, pushed=0, skipped=4)
        rows = await stage.store.read(lambda db: audit.entries(db, target="account customer", tenant_id=None, limit=1))
        assert (rows[0].action, rows[0].changes) == ("suppression.push", {"entries": [0, 3]})

    play(story)


def test_one_address_that_ses_refuses_stops_nothing(play: Play) -> None:
    async def story(stage: Stage) -> None:
        await stage.suppress("a@dest.example")
        await stage.suppress("b@dest.example")
        stage.fail("PutSuppressedDestination", "BadRequestException", "no")
        assert await stage.mirror(is_pushing=True) == Mirrored(0, 1, 1)
        assert list(await stage.at_ses()) == ["b@dest.example"]

    play(story)


@pytest.mark.parametrize("operation", ["ListSuppressedDestinations", "PutSuppressedDestination"])
def test_a_missing_permission_is_named(play: Play, operation: str) -> None:
    async def story(stage: Stage) -> None:
        await stage.suppress("a@dest.example")
        stage.fail(operation, "AccessDeniedException", f"User: x is not authorized to perform: ses:{operation}")
        with pytest.raises(SesProblem) as caught:
            await stage.mirror(is_pushing=True)
        assert caught.value.kind is Kind.SES_DENIED
        assert f"perform: ses:{operation}" in caught.value.said
        assert "allow customer ses:ListSuppressedDestinations" in caught.value.remedy

    play(story)


def test_in_the_ses_sandbox_nothing_is_pushed(play: Play) -> None:
    async def story(stage: Stage) -> None:
        await stage.suppress("a@dest.example")
        with pytest.raises(SesProblem, match=r"beginner is in the SES sandbox.*production access"):
            await stage.mirror("beginner", is_pushing=True)
        assert await stage.mirror("beginner") == Mirrored(0, 0, 0)

    play(story)
