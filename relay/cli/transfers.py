"""Whole suppression lists between files and the database: in little memory, and beside a server that sends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any, BinaryIO, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from relay.cli.options import actor, moment
from relay.settings import Settings
from relay.store import database, files, suppressions
from relay.store.beside import open_beside
from relay.store.directory.paging import Asked
from relay.store.importing import Imported, batches, csv_of, read_csv
from relay.store.suppressions import PAGE, Batch, Suppression, import_rows, listed

LONGEST_PAUSE = 0.05  # seconds


def row(each: Suppression) -> dict[str, Any]:
    """An entry as commands show it."""
    return {
        "address": each.address,
        "reason": each.reason,
        "source": each.source,
        "note": each.note,
        "created_at": moment(each.created_at),
        "expires_at": moment(each.expires_at),
    }


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Called with how much more is done. Draws on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)


async def take_in(settings: Settings, source: BinaryIO, tenant_id: int, found: Imported, *, is_strict: bool) -> None:
    """Put a CSV file on a list, in small transactions; counts into `found`. Raises Problem(BAD_REQUEST)."""
    by = actor()
    is_sqlite = database.is_sqlite(files.database_url(settings))
    size = os.fstat(source.fileno()).st_size if source.seekable() else None
    async with open_beside(settings) as store:
        with progress("octets", size) as advance:
            read = 0
            for batch in batches(read_csv(source), found, is_strict=is_strict):
                started = monotonic()
                [added] = await store.change(partial(import_rows, items=[Batch(by, tenant_id, batch)]))
                found.added += added
                if size is not None:
                    read, before = source.tell(), read
                    advance(read - before)
                if is_sqlite:  # a server beside us waits for the same lock: it gets as long as we had it
                    await asyncio.sleep(min(monotonic() - started, LONGEST_PAUSE))


async def write_out(settings: Settings, target: TextIO, tenant_id: int, *, as_json: bool) -> int:
    """Write a list page by page; how many entries it had."""
    written, cursor, is_first = 0, None, True
    async with open_beside(settings) as store:
        is_watched = sys.stderr.isatty()
        total = await store.read(partial(suppressions.count, tenant_id=tenant_id)) if is_watched else None
        with progress("addresses", total) as advance:
            while is_first or cursor is not None:
                page = await store.read(partial(listed, asked=Asked(PAGE, cursor), tenant_id=tenant_id))
                if as_json:
                    target.writelines(json.dumps(row(each)) + "\n" for each in page.items)
                else:
                    target.write(csv_of(page.items, with_header=is_first))
                is_first, cursor = False, page.next_cursor
                written += len(page.items)
                advance(len(page.items))
    return written
