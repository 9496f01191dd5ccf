"""Files of a killed server that somebody or something changed: refused in clear words, and never touched; or whole."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from relay.errors import Kind, Problem
from relay.store import checking, database, schema
from relay.store.database import StoreError
from relay.store.directory import installation
from relay.store.store import Store, open_store
from tests import databases
from tests.faults.tampered import read_only
from tests.store.stories import MASTER, message, play, put

IN_FILE, IN_LOG = 30, 20  # messages that were moved into the database, and that only the write-ahead log has
PAGE = 4096


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a server leaves that is killed: the file, its log, and the index of that."""
    live, copy = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("killed")

    async def story(store: Store, tenant: int) -> None:
        for _ in range(IN_FILE):
            await put(store, message(store, tenant))
        assert await store.truncate_log()
        for _ in range(IN_LOG):
            await put(store, message(store, tenant))
        for file in live.glob("relay.db*"):
            shutil.copy(file, copy)

    play(databases.sqlite(live), story)
    assert {file.name for file in copy.iterdir()} == {"relay.db", "relay.db-wal", "relay.db-shm", "relay.db.lock"}
    return copy


@pytest.fixture
def folder(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "copy"))


def spoil(file: Path, at: int, octets: int = 200) -> None:
    with file.open("r+b") as changed:
        changed.seek(at)
        changed.write(b"\xa5" * octets)


def whole(folder: Path) -> int:
    """Open as a server does; how many messages there are."""

    async def count() -> int:
        async with open_store(databases.sqlite(folder), MASTER) as store:
            return await store.read(lambda db: len(db.scalars(select(schema.messages.c.id)).all()))

    return asyncio.run(count())


def images(folder: Path) -> dict[str, bytes]:
    """The index is no part of the data: SQLite makes it anew."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}


def beginning(folder: Path) -> None:
    spoil(folder / "relay.db", 0)


def a_page(folder: Path) -> None:
    for page in range(3, 12):
        spoil(folder / "relay.db", page * PAGE)


def half_the_file(folder: Path) -> None:
    file = folder / "relay.db"
    os.truncate(file, file.stat().st_size // 2 // PAGE * PAGE)


def no_log(folder: Path) -> None:
    (folder / "relay.db-wal").unlink()


def only_the_log(folder: Path) -> None:
    (folder / "relay.db").unlink()


def an_empty_file(folder: Path) -> None:
    os.truncate(folder / "relay.db", 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (beginning, "cannot be read as a database"),
        (a_page, "is damaged|cannot be read as a database"),
        (half_the_file, "is damaged|cannot be read as a database"),
        (no_log, "-wal is missing, and the last mail that was acknowledged is in it"),
        (only_the_log, "-wal is there, with mail in it, but .*relay.db is not"),
        (an_empty_file, "-wal is there, with mail in it, but .*relay.db is not"),
    ],
)
def test_it_is_refused_and_left_alone(folder: Path, change: Callable[[Path], None], says: str) -> None:
    # What is in the log would stand in for pages of the file.
    if change in (beginning, a_page, half_the_file):
        for name in ("relay.db-wal", "relay.db-shm"):
            (folder / name).unlink()
    change(folder)
    before = images(folder)
    with pytest.raises(StoreError, match=says):
        whole(folder)
    after = images(folder)
    after.pop("relay.db-wal", None) if "relay.db-wal" not in before else None
    assert after == before


def test_a_large_file_is_looked_over_beside_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for; and when damage is found nothing is written any more, for good."""
    monkeypatch.setattr(checking, "AT_START", 0)
    assert whole(folder) == IN_FILE + IN_LOG  # sound
    last = (folder / "relay.db").stat().st_size // PAGE - 1
    spoil(folder / "relay.db", last * PAGE, PAGE)

    async def story() -> None:
        async with open_store(databases.sqlite(folder), MASTER) as store:
            async with asyncio.timeout(10):
                while not store.fault:
                    await asyncio.sleep(0.01)
            assert "damaged" in store.fault
            tenant = await store.read(installation.default_tenant)
            for _ in range(2):
                with pytest.raises(Problem) as refused:
                    await put(store, message(store, tenant))
                assert refused.value.kind is Kind.STORAGE_DOWN

    asyncio.run(story())


def no_index(folder: Path) -> None:
    (folder / "relay.db-shm").unlink()


def a_spoilt_index(folder: Path) -> None:
    spoil(folder / "relay.db-shm", 0)


@pytest.mark.parametrize("change", [lambda folder: None, no_index, a_spoilt_index], ids=["none", "gone", "spoilt"])
def test_the_index_of_the_log_is_made_anew(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder)
    assert whole(folder) == IN_FILE + IN_LOG


def the_end_is_gone(log: Path) -> None:
    os.truncate(log, log.stat().st_size - 100)


def the_end_is_spoilt(log: Path) -> None:
    spoil(log, log.stat().st_size - 300)


def a_second_half_is_gone(log: Path) -> None:
    os.truncate(log, log.stat().st_size // 2)


@pytest.mark.parametrize("change", [the_end_is_gone, the_end_is_spoilt, a_second_half_is_gone])
def test_a_log_that_ends_early_is_read_up_to_there(folder: Path, change: Callable[[Path], None]) -> None:
    """It cannot be told from one that a power cut ended: whole commits before that stay, and nothing half done."""
    change(folder / "relay.db-wal")
    assert IN_FILE <= whole(folder) < IN_FILE + IN_LOG
    with database.reading_engine(databases.sqlite(folder)).connect() as db:
        assert db.exec_driver_sql("pragma integrity_check").scalar() == "ok"
        assert db.exec_driver_sql("pragma foreign_key_check").all() == []


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    config = folder / "config.yaml"
    config.write_text("hostname: relay.test\nhttp: {address: '127.0.0.1:0'}\nmaster_key: '" + "A" * 43 + "='\n")
    before = images(folder)
    with read_only(folder):
        command = [sys.executable, "-W", "error", "-m", "relay", "serve", "--config", str(config)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert said.returncode != 0
    assert str(folder) in said.stderr
    assert "Traceback" not in said.stderr
    assert "read-only" in said.stderr.lower(), said.stderr
    assert images(folder) == before
