"""What several commands share: where the configuration is, the database beside a server, and how lists look."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import Connection

from relay import config
from relay.config import Settings
from relay.errors import Fault
from relay.sealing import Sealer
from relay.store import database, directory, files
from relay.store.database import StoreError

Answer = TypeVar("Answer")

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", envvar="RELAY_CONFIG", help="The configuration file.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DEFAULT_CONFIG = Path("config.yaml")


def settings_of(file: Path) -> Settings:
    """Raises ConfigError."""
    if not file.exists():
        raise config.ConfigError(file, (Fault("", "there is no such file; `relay init` writes one"),))
    return config.load(file)


def with_database(settings: Settings, work: Callable[[Connection, Sealer], Answer]) -> Answer:
    """Run `work` in one small transaction, beside a running server if there is one. Raises StoreError."""
    url = files.database_url(settings)
    master = files.master_key(settings)

    def run(db: Connection) -> Answer:
        if not database.check_revision(db):
            raise StoreError("the database's schema is old: start the server, or run `relay migrate`, first")
        return work(db, directory.establish(db, master))

    if database.is_sqlite(url):
        if not database.sqlite_path(url).exists():
            database.migrate_sqlite(url)
        engine = database.writing_engine(url)
        try:
            with engine.begin() as db:
                return run(db)
        finally:
            engine.dispose()

    async def over_asyncpg() -> Answer:
        engine = database.listing_engine(url)
        try:
            await database.reach(engine)
            async with engine.begin() as db:
                return await db.run_sync(run)
        finally:
            await engine.dispose()

    return asyncio.run(over_asyncpg())


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, nothing: str) -> None:
    """A listing: a table for people, JSON for programs."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo(nothing)
    else:
        table = Table(*(Column(name, overflow="fold") for name in rows[0]))
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        # In a pipe nothing is cut: the next program wants whole ids.
        Console(width=None if sys.stdout.isatty() else 240).print(table)


def moment(milliseconds: int | None) -> str | None:
    """A time for people and programs alike: RFC 3339, UTC, seconds."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
