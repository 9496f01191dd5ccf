"""A database that a release before filled is brought to this one's schema: nothing of it is lost, and it goes on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, inspect, select
from sqlalchemy.engine import URL

from relay.delivery import Settlement, State
from relay.feedback.envelopes import unwrapped
from relay.feedback.reading import read
from relay.sealing import Sealer
from relay.store import database, schema
from relay.store.cases import Outcome
from relay.store.hearing import Told, hear
from relay.store.settling import settle
from relay.store.store import Store
from relay.store.writer import Rank
from tests.feedback import samples
from tests.store.stories import MASTER, play

BEFORE = "0005"
ANA = "ana@dest.example"
TENANT, ACCOUNT, MESSAGE, DELIVERY, RECIPIENT, EVENT = range(11, 17)


def filled(db: Connection) -> None:
    """One row in each table that this release changes, and what they need."""
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    config.attributes["connection"] = db
    command.upgrade(config, BEFORE)
    old = MetaData()
    old.reflect(db)
    sealer = Sealer(MASTER, wrapped := Sealer.new_installation_key(MASTER))
    key, _ = sealer.seal(MESSAGE, b"Subject: x\r\n\r\n")
    rows = {
        "installation": {"id": 1, "wrapped_key": wrapped},
        "tenants": {"id": TENANT, "name": "default", "status": "active"},
        "ses_accounts": {"id": ACCOUNT, "name": "operator", "region": "eu-west-1"},
        "messages": {"id": MESSAGE, "public_id": "0" * 24, "tenant_id": TENANT, "wrapped_key": key, "mode": "shared"}
        | {"stream": "transactional", "open_deliveries": 1, "domain": "shared.example", "key_id": None},
        "deliveries": {"id": DELIVERY, "message_id": MESSAGE, "state": "sending", "attempts": 1, "due_at": 9}
        | {"stream": "transactional", "domain": "shared.example", "account": "operator"},
        "recipients": {"id": RECIPIENT, "delivery_id": DELIVERY, "address": ANA, "field": "to", "state": "queued"}
        | {"address_hash": sealer.hash_address(ANA)},
        "events": {"id": EVENT, "at": 5, "type": "account.held", "account": "operator", "data": "{}"},
    }
    for name, row in rows.items():
        table = old.tables[name]
        needed = {
            column.name: _something(column.type.python_type)
            for column in table.columns
            if not column.nullable and column.server_default is None and column.name not in row
        }
        db.execute(table.insert().values(needed | row))


def _something(of: type) -> object:
    return {str: "", bytes: b"", bool: False}.get(of, 0)


def older(url: URL) -> None:
    async def make() -> None:
        engine = database.listing_engine(url)
        async with engine.begin() as db:
            await db.run_sync(filled)
        await engine.dispose()

    if not database.is_sqlite(url):
        return asyncio.run(make())
    database.sqlite_path(url).touch()
    engine = database.writing_engine(url)
    with engine.begin() as db:
        filled(db)
    engine.dispose()
    return None


def test_what_a_release_before_wrote_is_there_and_goes_on(url: URL) -> None:
    async def story(store: Store, default: int) -> None:
        differences = await store.read(
            lambda db: list(compare_metadata(MigrationContext.configure(db), schema.metadata))
        )
        assert differences == []
        assert default == TENANT
        row = await store.read(lambda db: db.execute(select(schema.events).where(schema.events.c.id == EVENT)).one())
        assert (row.type, row.untold, row.sealed) == ("account.held", False, None)
        row = await store.read(lambda db: db.execute(select(schema.ses_accounts)).one())
        assert json.loads(row.feedback) == {}
        row = await store.read(lambda db: db.execute(select(schema.messages)).one())
        assert (row.echo, row.public_id) == (None, "0" * 24)
        fact = Settlement(DELIVERY, 1, State.SENT, "operator", ses_message_id="0102-a")
        assert not (await store.write(settle, fact, Rank.SETTLE)).is_stale
        event = read(unwrapped(json.dumps(samples.bounce(samples.mail(DELIVERY, [ANA]), ANA))))
        told = await store.write(hear, Told("operator", (event,)), Rank.SETTLE)
        assert told.outcomes == (Outcome.NEW,)
        row = await store.read(lambda db: db.execute(select(schema.recipients)).one())
        assert (row.state, row.facts > 0) == ("bounced", True)

    older(url)
    play(url, story)


@pytest.mark.parametrize("table", ["webhook_posts", "events", "messages", "deliveries", "suppressions"])
def test_indexes_and_checks_are_those_of_the_schema(url: URL, table: str) -> None:
    """What Alembic does not compare: the conditions of partial indexes, and checks."""

    def of_database(db: Connection) -> tuple[set[str], set[str]]:
        found = inspect(db)
        names = {str(each["name"]) for each in found.get_indexes(table)}
        partial = {
            str(each["name"])
            for each in found.get_indexes(table)
            if any(name.endswith("_where") for name in each.get("dialect_options", {}))
        }
        return names, partial

    async def story(store: Store, default: int) -> None:
        names, partial = await store.read(of_database)
        dialect = "sqlite" if database.is_sqlite(url) else "postgresql"
        meant = schema.metadata.tables[table].indexes
        assert names >= {str(each.name) for each in meant}
        assert partial == {str(each.name) for each in meant if each.dialect_options[dialect]["where"] is not None}

    play(url, story)
