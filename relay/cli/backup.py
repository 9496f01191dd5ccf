"""`relay backup` and `relay restore`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from relay import log
from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, actor, settings_of
from relay.cli.transfers import progress
from relay.errors import Kind, Problem
from relay.sealing import Sealer
from relay.settings import Settings
from relay.store import Connection, database, files, locks
from relay.store import backup as backups
from relay.store.beside import with_database
from relay.store.clock import HELD_AT_MOST
from relay.store.database import StoreError

NEXT = """\
They may have been sent since, so none of them goes by itself, and after {days} days they fail. To see them:
`relay queue list --state held`. To let them go: `relay queue release --restored`; what was sent after the backup was
made goes a second time then."""


def backup(
    file: Annotated[Path, typer.Argument(help="Where the backup goes: a file that does not exist yet.")],
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Copy the database, as it is at this moment, beside a running server. The master key is not in the copy."""
    settings = settings_of(config)
    path = _sqlite(
        settings, "back it up with `pg_dump --format=custom`; `relay restore --mark` is for after pg_restore"
    )
    with _pages(path) as advance:
        found = backups.back_up(path, file, advance)
    unsent = sum(found.unsent.values())
    if as_json:
        counted = {"messages": found.messages, "unsent": unsent, "octets": found.octets, "schema": found.schema}
        typer.echo(json.dumps({"file": str(file), **counted, "master_key": _where_the_key_is(settings)}, indent=2))
        return
    typer.echo(f"wrote {file}: {found.octets} octets, {found.messages} messages, {unsent} deliveries unsent; checked")
    typer.echo(
        "it is of no use without the master key, which is NOT in it: keep a copy of "
        f"{_where_the_key_is(settings)}, too, and apart from it. Nor is the configuration in it."
    )


def restore(
    file: Annotated[Path | None, typer.Argument(help="The backup.")] = None,
    mark: Annotated[
        bool, typer.Option("--mark", help="Only hold what is unsent, in a database that was restored by other means.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Put a backup in the database's place, with the server stopped, and hold what is unsent in it.

    The database that was there is kept beside it. Mail that was unsent when the backup was made may have been sent
    since, so none of it goes by itself: `relay queue release --restored` lets it go.
    """
    settings = settings_of(config)
    log.set_up()
    if mark is (file is not None):
        raise Problem(Kind.BAD_REQUEST, "give a backup to restore, or --mark for a database that was restored already")
    if file is None:
        _say(_mark(settings), None, None, as_json=as_json)
        return
    path = _sqlite(settings, "restore it with `pg_restore`, then run `relay restore --mark`")
    with database.sole_owner(path):
        done = backups.restore(path, file, files.existing_master_key(settings), actor())
    _say(done.held, done.messages, done.aside, as_json=as_json)


def _mark(settings: Settings) -> int:
    """Hold what is unsent in the database that is there. Returns how many deliveries."""
    url = files.database_url(settings)
    files.existing_master_key(settings)

    def hold(db: Connection, _: Sealer) -> int:
        locks.require_alone(db)
        return backups.hold_unsent(db, actor(), "database")

    if not database.is_sqlite(url):
        return with_database(settings, hold)
    path = database.sqlite_path(url)
    if not path.exists():
        raise StoreError(f"there is no database at {path}")
    with database.sole_owner(path):
        return with_database(settings, hold)


def _say(held: int, messages: int | None, aside: Path | None, *, as_json: bool) -> None:
    if as_json:
        said = {"messages": messages, "held": held, "aside": None if aside is None else str(aside)}
        typer.echo(json.dumps(said, indent=2))
        return
    if messages is not None:
        typer.echo(f"restored {messages} messages" + (f"; the database from before is {aside}" if aside else ""))
    typer.echo(f"{held} deliveries were unsent and are held")
    if held:
        typer.echo(NEXT.format(days=HELD_AT_MOST.days))


def _sqlite(settings: Settings, otherwise: str) -> Path:
    """Where the file is. Raises StoreError for a database on PostgreSQL, with what to do instead."""
    url = files.database_url(settings)
    if not database.is_sqlite(url):
        raise StoreError(f"the database is on PostgreSQL: {otherwise}")
    return database.sqlite_path(url)


def _where_the_key_is(settings: Settings) -> str:
    return str(files.key_file(settings) or "master_key in the configuration")


@contextlib.contextmanager
def _pages(path: Path) -> Iterator[Callable[[int, int], None]]:
    """Draws how much of a database is copied, on a terminal."""
    seen = 0
    total = path.stat().st_size if path.exists() else None
    with progress("octets", total) as advance:

        def step(done: int, pages: int) -> None:
            nonlocal seen
            now = (total or 0) * done // max(1, pages)
            advance(now - seen)
            seen = now

        yield step


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (backup, restore):
        app.command()(command)
