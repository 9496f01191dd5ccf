"""How commands reach the database, on both: small transactions, checked before the first."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from relay import config
from relay.declared import TenantFields
from relay.errors import Kind, Problem
from relay.sealing import SealingError
from relay.settings import Settings
from relay.store import database
from relay.store.beside import open_beside
from relay.store.database import StoreError
from relay.store.directory import tenants
from relay.store.directory.audit import Actor
from relay.store.store import open_store
from tests.store.stories import MASTER

ACTOR = Actor("command test")


def settings_for(url: URL, folder: Path, master: bytes = bytes(32)) -> Settings:
    written = url.database if database.is_sqlite(url) else url.set(drivername="postgresql").render_as_string(False)
    file = folder / "config.yaml"
    listener = {"address": "127.0.0.1:0"}
    file.write_text(json.dumps({"database": written, "master_key": b64encode(master).decode(), "http": listener}))
    return config.load(file)


def test_changes_stand_each_by_itself_and_a_server_sees_them(url: URL, tmp_path: Path) -> None:
    async def story() -> None:
        if not database.is_sqlite(url):
            await database.migrate_postgresql(url)
        async with open_store(url, MASTER) as server, open_beside(settings_for(url, tmp_path)) as beside:
            assert beside.sealer.hash("a", "b") == server.sealer.hash("a", "b")
            await beside.change(lambda db: tenants.create(db, ACTOR, "acme", TenantFields()))
            assert (await server.read(lambda db: tenants.find(db, "acme"))).name == "acme"
            with pytest.raises(Problem) as refused:
                await beside.change(lambda db: tenants.create(db, ACTOR, "acme", TenantFields()))
            assert refused.value.kind is Kind.CONFLICT
            await server.change(lambda db: tenants.create(db, ACTOR, "other", TenantFields()))
            assert [each.name for each in await beside.read(tenants.every)] == ["default", "acme", "other"]

    asyncio.run(story())


def test_what_a_failed_change_wrote_is_undone(url: URL, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def half(db: tenants.Connection) -> None:
        tenants.create(db, ACTOR, "acme", TenantFields())
        db.execute(text("SELECT * FROM nowhere"))

    async def story() -> None:
        if not database.is_sqlite(url):
            await database.migrate_postgresql(url)
        async with open_beside(settings_for(url, tmp_path)) as beside:
            with pytest.raises(Problem) as failed:
                await beside.change(half)
            assert failed.value.kind is Kind.INTERNAL
            assert [each.name for each in await beside.read(tenants.every)] == ["default"]

    asyncio.run(story())
    assert [each.getMessage() for each in caplog.records] == ["store.write_failed"]


def test_a_database_that_is_not_ready_is_said_so(url: URL, tmp_path: Path) -> None:
    async def open_it(settings: Settings) -> None:
        async with open_beside(settings):
            pass

    async def story() -> None:
        settings = settings_for(url, tmp_path)
        if not database.is_sqlite(url):
            with pytest.raises(StoreError, match="relay migrate"):
                await open_it(settings)
            await database.migrate_postgresql(url)
        await open_it(settings)  # a SQLite file is made
        with pytest.raises(SealingError):
            await open_it(settings_for(url, tmp_path, bytes(31) + b"x"))

    asyncio.run(story())
