"""Copies a SQLite database while others write to it: as it was at one moment, whole, checked, and on disk."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from relay.store.checking import SOUND, looked_at

STEP = 256  # pages, 1 MB, between pauses
PAUSE = 0.005  # seconds, in which the disk is the writer's (docs/backup.md has what was measured)
FLUSHED = 4  # steps after which the copy is forced to disk: else all of it would be at once, and everybody would wait

Progress = Callable[[int, int], None]  # pages done, pages in all


def copy(source: Path, target: Path, progress: Progress = lambda done, total: None) -> None:
    """Make `target`, which must not exist, a copy for its owner alone.

    It appears under its name when it is whole, on disk and found sound. Raises FileExistsError, sqlite3.DatabaseError,
    OSError.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    with growing(target) as part:
        _copy(source, part, progress)
        check(part)
        claim(part, target)


@contextlib.contextmanager
def growing(target: Path) -> Iterator[Path]:
    """A file beside another, with a name of its own, that is gone at the end unless it was renamed."""
    file, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)  # mode 0600
    os.close(file)
    part = Path(name)
    try:
        yield part
    finally:
        for each in (part, *(part.with_name(part.name + ending) for ending in ("-wal", "-shm", "-journal"))):
            each.unlink(missing_ok=True)


def claim(part: Path, target: Path) -> None:
    """Give a file that is whole its name, for good. Raises FileExistsError where another has it."""
    flush(part)
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(f"{target} exists already") from None
        part.rename(target)
    flush(target.parent)


def flush(path: Path) -> None:
    """A file's content, or a folder's names, onto the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def check(path: Path) -> None:
    """Raises sqlite3.DatabaseError for a file that is damaged, as far as SQLite can see."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        found = looked_at(db)
        if found != SOUND:
            raise sqlite3.DatabaseError(f"{path} is damaged: {found}")


def _copy(source: Path, part: Path, progress: Progress) -> None:
    file = os.open(part, os.O_RDWR)
    with (
        contextlib.ExitStack() as stack,
        closing(sqlite3.connect(source, isolation_level=None)) as of,
        closing(sqlite3.connect(part, isolation_level=None)) as to,
    ):
        stack.callback(os.close, file)
        of.execute("PRAGMA busy_timeout = 5000")
        of.execute("PRAGMA query_only = ON")
        # One moment for all steps: without this snapshot each write of others would make the copy begin anew.
        of.execute("BEGIN")
        of.execute("SELECT count(*) FROM sqlite_master").fetchone()
        to.execute("PRAGMA synchronous = OFF")  # it is forced to disk here, and worth nothing before its end
        steps = 0

        def step(_status: int, left: int, total: int) -> None:
            nonlocal steps
            steps += 1
            if steps % FLUSHED == 0:
                os.fdatasync(file)
            progress(total - left, total)
            time.sleep(PAUSE)

        of.backup(to, pages=STEP, progress=step)
        to.execute("PRAGMA journal_mode = DELETE").fetchone()  # one file, that needs none beside it
