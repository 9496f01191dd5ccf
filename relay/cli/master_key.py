"""`relay master-key`: which key seals, what older keys are still needed for, and a new one in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, actor, settings_of, show_one
from relay.cli.transfers import progress
from relay.errors import Kind, Problem
from relay.sealing import MasterKey
from relay.settings import Settings
from relay.store import Connection, database, files, rewrapping
from relay.store.beside import Beside, open_beside
from relay.store.clock import now_ms
from relay.store.database import StoreError
from relay.store.directory import audit, installation
from relay.store.rewrapping import Anew, Looked

LOOK_EVERY = 0.2  # seconds
STALLED = 60.0  # seconds without progress of the server after which the command gives up waiting

BY_HAND = """\
the master key is not in a file of its own beside a SQLite database, so it is changed by the configuration:
  1. put the new key into previous_master_keys (`openssl rand -base64 32` makes one) and restart every server
  2. make it master_key, and the old one the first of previous_master_keys; restart every server, one by one
  3. when `relay master-key status` says so on a running installation, take the old key out and restart once more"""

app = typer.Typer(help="The master key: its state, and a new one in its place.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Needed:
    """What master keys are needed for. `old`: messages that an older one sealed; `lost`: those that none of them opens.
    `is_taken_over`: the current one seals the installation key."""

    messages: int
    old: int
    lost: int
    is_taken_over: bool


@app.command()
def status(as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Say which key seals, and whether older ones are still needed. Looks at every message that has content."""
    settings = settings_of(config)
    master = files.existing_master_key(settings)
    needed = asyncio.run(_needed(settings, master))
    file = files.key_file(settings)
    found = {
        "fingerprint": master.fingerprint,
        "file": None if file is None else str(file),
        "older_keys": master.count - 1,
        "sealed_by_older": needed.old + (not needed.is_taken_over),
        "unreadable": needed.lost,
        "older_can_go": master.has_older and needed.is_taken_over and not needed.old,
    }
    show_one(found, as_json=as_json)


@app.command()
def rotate(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Make a new master key and seal anew, beside a running server, what the old one sealed.

    It may be cut off at any moment and is then taken up by giving the command again. The old key goes into a file
    of its own, for backups from before.
    """
    settings = settings_of(config)
    url, file = files.database_url(settings), files.key_file(settings)
    if file is None or not database.is_sqlite(url):
        raise Problem(Kind.BAD_REQUEST, BY_HAND)
    path = database.sqlite_path(url)
    if not path.exists():
        raise StoreError(f"there is no database at {path}: its first start makes the first key")
    with database.alone(file.with_name(f".{file.name}.lock"), "the master key is being changed by another command"):
        asyncio.run(_rotate(settings, path, file))


async def _rotate(settings: Settings, path: Path, file: Path) -> None:
    files.existing_master_key(settings)
    async with open_beside(settings) as store:  # raises SealingError where the key is not this database's
        master = MasterKey.read(file)
        await store.read(partial(rewrapping.is_taken_over, master=master))  # raises SealingError where it needs another
        if not master.has_older:
            master = master.successor()
            master.replace(file)
            typer.echo(f"the new key has the fingerprint {master.fingerprint}; the old one stays behind it in {file}")
        found = await _look_over(store, master)
        is_served = database.is_served(path)
        await _taken_over(store, master, is_served=is_served)
        began = now_ms()
        await _follow(store, master, 0, found.messages, is_served=is_served)
        if is_served:
            typer.echo("waiting until all that was being received meanwhile is in")
            await asyncio.sleep(rewrapping.SETTLED)
            await _follow(store, master, rewrapping.before(began), None, is_served=True)
        retired = file.with_name(f"{file.name}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.retired")
        master.older().replace(retired)
        master.alone().replace(file)
        await store.change(partial(_note, master=master))
    typer.echo(f"{found.old} messages and the installation key are sealed anew; {file} holds the new key alone")
    typer.echo(f"copy it to where you keep the other copy. Backups from before need {retired}: delete it with them")


async def _taken_over(store: Beside, master: MasterKey, *, is_served: bool) -> None:
    """The installation key first: by it, everybody sees which key it is now."""
    if not is_served:
        await store.change(partial(rewrapping.rewrap_installation, items=[master]))
        return
    await store.change(installation.bump)
    await _until(lambda: store.read(partial(rewrapping.is_taken_over, master=master)), "take over the new key")


async def _follow(store: Beside, master: MasterKey, after: int, total: int | None, *, is_served: bool) -> None:
    """Go over the messages after this one in their order, and on from each slice when nothing old is left in it: the
    server sees to that, or where there is none, this does."""
    with progress("messages", total) as advance:
        while True:
            found = await store.read(partial(rewrapping.look, master=master, after=after))
            if found.old and is_served:
                await _until(partial(_is_clean, store, master, after), "seal messages anew")
            elif found.old:
                await _rewrap(store, master, found)
            if found.last is None:
                return
            advance(found.count)
            after = found.last


async def _is_clean(store: Beside, master: MasterKey, after: int) -> bool:
    return not (await store.read(partial(rewrapping.look, master=master, after=after))).old


async def _rewrap(store: Beside, master: MasterKey, found: Looked) -> None:
    for start in range(0, len(found.old), rewrapping.SLICE):
        anew = Anew(master, found.old[start : start + rewrapping.SLICE])
        await store.change(partial(rewrapping.rewrap, items=[anew]))


async def _until(ask: Callable[[], Awaitable[bool]], what: str) -> None:
    """Raises StoreError where the server does not do it."""
    deadline = time.monotonic() + STALLED
    while not await ask():
        if time.monotonic() > deadline:
            raise StoreError(
                f"the server did not {what} within {STALLED:.0f} s: its log says why. Both keys stay; give the command "
                "again when it does"
            )
        await asyncio.sleep(LOOK_EVERY)


def _note(db: Connection, master: MasterKey) -> None:
    changes = {"fingerprint": [master.older().fingerprint, master.fingerprint]}
    audit.record(db, actor(), "master_key.rotate", "installation", tenant_id=None, changes=changes)


async def _look_over(store: Beside, master: MasterKey) -> Needed:
    messages = old = lost = 0
    after: int | None = 0
    while after is not None:
        found = await store.read(partial(rewrapping.look, master=master, after=after))
        messages, old, lost, after = messages + found.count, old + len(found.old), lost + found.lost, found.last
    is_taken_over = await store.read(partial(rewrapping.is_taken_over, master=master))
    return Needed(messages, old, lost, is_taken_over)


async def _needed(settings: Settings, master: MasterKey) -> Needed:
    async with open_beside(settings) as store:
        return await _look_over(store, master)
