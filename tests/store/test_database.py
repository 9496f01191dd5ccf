"""Opening a database: alone, migrated, backed up, and refused where it cannot be trusted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.engine import URL

from relay.sealing import MasterKey, SealingError
from relay.store import database, schema
from relay.store.database import StoreError
from relay.store.directory import installation
from relay.store.store import Store
from tests import databases
from tests.store.stories import MASTER, play


def test_the_migrations_make_the_schema(url: URL) -> None:
    def differences(db: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(db), schema.metadata))

    async def story(store: Store, tenant: int) -> list[object]:
        return await store.read(differences)

    assert play(url, story) == []


def test_the_revisions_are_those_of_the_scripts() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    scripts = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(scripts)) == schema.REVISIONS


def test_sqlite_is_set_up_to_lose_nothing(tmp_path: Path) -> None:
    engine = database.writing_engine(databases.sqlite(tmp_path))
    with engine.connect() as db:
        found = {
            name: db.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    engine.dispose()


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    with database.sole_owner(path):
        with pytest.raises(StoreError, match="another relay is serving"), database.sole_owner(path):
            pass
    with database.sole_owner(path):
        pass


def test_a_newer_schema_is_refused_with_what_to_do(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def age(db: Connection, items: object) -> list[None]:
            db.exec_driver_sql("update alembic_version set version_num = '9999'")
            return [None]

        await store.write(age, None, 2)  # type: ignore[arg-type]

    play(url, story)
    with pytest.raises(StoreError, match="written by a newer Relay"):
        play(url, story)


def test_an_upgrade_backs_up_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = databases.sqlite(tmp_path)
    database.migrate_sqlite(url)
    path = database.sqlite_path(url)
    assert list(tmp_path.glob("*.backup")) == []  # nothing to lose yet
    with sqlite3.connect(path) as db:
        db.execute("insert into blocks values ('192.0.2.1', 'kept', 10, 0, 1)")
    db.close()
    # A file as an older version would have left it: everything there, the last step not yet taken.
    monkeypatch.setattr(database, "check_revision", lambda db: False)
    monkeypatch.setattr(database, "upgrade", lambda db: None)
    database.migrate_sqlite(url)
    (backup,) = tmp_path.glob("*.backup")
    assert backup.stat().st_mode & 0o077 == 0
    copy = sqlite3.connect(backup)
    assert copy.execute("select prefix from blocks").fetchall() == [("kept",)]
    copy.close()


@pytest.mark.parametrize("junk", [b"not a database" * 500, b"SQLite format 3\0" + b"\xff" * 8176])
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "relay.db"
    path.write_bytes(junk)
    with pytest.raises(StoreError):
        database.migrate_sqlite(databases.sqlite(tmp_path))
    assert path.read_bytes() == junk


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist: create it first"):
        database.migrate_sqlite(databases.sqlite(tmp_path / "nowhere"))


def test_another_master_key_is_refused(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def try_other(db: Connection) -> None:
            with pytest.raises(SealingError, match="not the one this database was made with"):
                installation.establish(db, MasterKey(b"x" * 32))
            installation.establish(db, MASTER)

        await store.read(try_other)

    play(url, story)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    url = databases.sqlite(tmp_path)
    database.migrate_sqlite(url)
    MasterKey.read_or_create(tmp_path / "master.key")
    for name in ("relay.db", "master.key"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, name
