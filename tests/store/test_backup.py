"""A backup is whole and of one moment, and what comes out of it sends nothing by itself."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.engine import URL

from relay.delivery import RetryPolicy, Settlement, State
from relay.errors import Kind
from relay.sealing import MasterKey, SealingError
from relay.store import backup, copying, database, duplicates, hand, locks, lots, schema, sweeping
from relay.store.clock import HELD_AT_MOST, milliseconds, now_ms
from relay.store.database import StoreError
from relay.store.directory.audit import Actor
from relay.store.hand import ByHand, Verb
from relay.store.lots import Lot
from relay.store.queue import Order, take
from relay.store.schema import deliveries
from relay.store.settling import settle
from relay.store.store import Store
from relay.store.writer import Rank
from tests import databases
from tests.store.stories import MASTER, message, play, put

ROOT = Actor("command root", is_operator=True)
DAYS = milliseconds(HELD_AT_MOST)


def silent(done: int, total: int) -> None:
    pass


def filled(folder: Path, count: int = 5, content: bytes = b"Subject: hi\r\n\r\nbody\r\n") -> Path:
    """A database with so many queued messages."""

    async def story(store: Store, tenant: int) -> None:
        for _ in range(count):
            await put(store, message(store, tenant, content=content))

    url = databases.sqlite(folder)
    play(url, story)
    return database.sqlite_path(url)


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(statement).fetchall()


# -- the copy --------------------------------------------------------------------------------------------------------


def test_a_backup_is_one_file_for_its_owner_alone(tmp_path: Path) -> None:
    path, target = filled(tmp_path), tmp_path / "copy"
    found = backup.back_up(path, target, silent)
    assert (found.messages, dict(found.unsent), found.schema) == (5, {State.QUEUED: 5}, schema.REVISIONS[-1])
    assert target.stat().st_mode & 0o777 == 0o600
    assert rows(target, "PRAGMA journal_mode") == [("delete",)]
    assert not list(tmp_path.glob(".copy*"))
    assert rows(target, "PRAGMA auto_vacuum") == [(2,)]


def test_a_backup_beside_a_writer_is_of_one_moment(tmp_path: Path) -> None:
    """Two tables that a writer keeps alike are alike in each copy, however it hurries."""
    path = filled(tmp_path, 20, os.urandom(200_000))  # four steps
    with closing(sqlite3.connect(path)) as db:
        db.execute("create table a (n)")
        db.execute("create table b (n)")
    ending, copied = threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            number = 0
            while not ending.is_set():
                number += 1
                db.execute("begin immediate")
                db.execute("insert into a values (?)", [number])
                db.execute("insert into b values (?)", [number])
                db.execute("commit")
                copied.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copied.wait(10)
        counts = []
        for number in range(5):
            copying.copy(path, tmp_path / f"copy{number}")
            [(a, b)] = rows(tmp_path / f"copy{number}", "select (select max(n) from a), (select max(n) from b)")
            assert a == b
            counts.append(a)
    finally:
        ending.set()
        writer.join()
    assert counts == sorted(counts)
    assert counts[0] != counts[-1]  # it did write meanwhile


def test_another_file_is_never_replaced(tmp_path: Path) -> None:
    path, target = filled(tmp_path, 1), tmp_path / "copy"
    target.write_text("mine")
    with pytest.raises(StoreError, match="exists already"):
        backup.back_up(path, target, silent)
    assert target.read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy", "relay.db", "relay.db.lock"]


def test_one_that_appears_meanwhile_is_not_replaced_either(tmp_path: Path) -> None:
    path, target = filled(tmp_path, 1), tmp_path / "copy"

    def meanwhile(done: int, total: int) -> None:
        target.write_text("mine")

    with pytest.raises(StoreError, match="exists already"):
        backup.back_up(path, target, meanwhile)
    assert target.read_text() == "mine"


def test_a_backup_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    path, target = filled(tmp_path, 1), tmp_path / "copy"

    def cut(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.back_up(path, target, cut)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["relay.db", "relay.db.lock"]


def test_a_damaged_database_makes_no_backup(tmp_path: Path) -> None:
    path = filled(tmp_path, 40, b"x" * 5000)
    octets = bytearray(path.read_bytes())
    octets[4096 * 3 : 4096 * 12] = os.urandom(4096 * 9)
    path.write_bytes(octets)
    with pytest.raises(StoreError, match="cannot be backed up"):
        backup.back_up(path, tmp_path / "copy", silent)
    assert not (tmp_path / "copy").exists()


def test_there_must_be_a_database_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        backup.back_up(tmp_path / "relay.db", tmp_path / "copy", silent)
    with pytest.raises(StoreError, match="create it first"):
        backup.back_up(filled(tmp_path, 0), tmp_path / "nowhere" / "copy", silent)


# -- what is unsent in it --------------------------------------------------------------------------------------------


async def in_state(store: Store, tenant: int, state: State) -> int:
    """The delivery of a new message in this state."""
    new = await put(store, message(store, tenant))
    final = state in (State.SENT, State.FAILED, State.CANCELLED)
    values = {"state": state.value, "finished_at": 1 if final else None, "due_at": None if final else now_ms() + 1}
    which = deliveries.c.message_id == new.id
    await store.change(lambda db: db.execute(deliveries.update().where(which).values(**values)))
    found = await store.read(lambda db: db.scalar(select(deliveries.c.id).where(which)))
    assert found is not None
    return found


async def seen(store: Store, delivery: int) -> tuple[str, str | None, int | None]:
    which = select(deliveries.c.state, deliveries.c.kind, deliveries.c.due_at).where(deliveries.c.id == delivery)
    state, kind, due_at = (await store.read(lambda db: db.execute(which).all()))[0]
    return state, kind, due_at


@pytest.mark.parametrize("state", list(State))
def test_only_what_is_final_stays_as_it_is(url: URL, state: State) -> None:
    async def story(store: Store, tenant: int) -> None:
        delivery = await in_state(store, tenant, state)
        held = await store.change(lambda db: backup.hold_unsent(db, ROOT, "database"))
        now = now_ms()
        found, kind, due_at = await seen(store, delivery)
        if state.is_final:
            assert (held, found, due_at) == (0, state.value, None)
        else:
            assert (held, found, kind) == (1, "held", Kind.RESTORED.slug)
            assert due_at is not None
            assert now + DAYS - 5000 < due_at <= now + DAYS
        # Nothing of it is taken, and nothing of it is resolved by a sweep.
        order = Order("customer", (("byoc.example", message(store, tenant).stream),), 10, 100)
        assert (await store.write(take, order, Rank.SETTLE)).started == ()
        swept = await store.write(sweeping.sweep_waiting, sweeping.Round(RetryPolicy(), (), True), Rank.SWEEP)
        assert (swept.requeued, swept.failed) == (0, 0)

    play(url, story)


def test_what_is_for_later_is_held_five_days_longer_than_that(url: URL) -> None:
    later = now_ms() + milliseconds(timedelta(days=20))

    async def story(store: Store, tenant: int) -> None:
        new = await put(store, message(store, tenant))
        which = deliveries.c.message_id == new.id
        await store.change(
            lambda db: db.execute(deliveries.update().where(which).values(due_at=later, first_due_at=later))
        )
        await store.change(lambda db: backup.hold_unsent(db, ROOT, "database"))
        due_at = await store.read(lambda db: db.scalar(select(deliveries.c.due_at).where(which)))
        assert due_at == later + DAYS

    play(url, story)


def test_a_send_event_moves_it_to_sent(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        delivery = await in_state(store, tenant, State.QUEUED)
        await store.change(lambda db: backup.hold_unsent(db, ROOT, "database"))
        fact = Settlement(delivery, 1, State.SENT, "customer", ses_message_id="0100-1")
        assert not (await store.write(settle, fact, Rank.SETTLE)).is_stale
        assert (await seen(store, delivery))[0] == "sent"

    play(url, story)


@pytest.mark.parametrize("is_lot", [True, False], ids=["all", "one"])
def test_what_is_let_go_is_counted_as_a_possible_duplicate(url: URL, is_lot: bool) -> None:
    async def story(store: Store, tenant: int) -> None:
        delivery = await in_state(store, tenant, State.QUEUED)
        await store.change(lambda db: backup.hold_unsent(db, ROOT, "database"))
        public_id = await store.read(lambda db: db.scalar(select(schema.messages.c.public_id)))
        assert public_id is not None
        if is_lot:
            lot = Lot("all mail", kinds=lots.RESTORED)
            assert await store.change(lots.moving(Verb.RELEASE, lot, [delivery], ROOT)) == 1
        else:
            assert await store.change(lambda db: hand.move(db, ByHand(public_id, Verb.RELEASE, by=ROOT))) == 1
        assert (await seen(store, delivery))[:2] == ("queued", None)
        counted = select(deliveries.c.possible_duplicates).where(deliveries.c.id == delivery)
        assert await store.read(lambda db: db.scalar(counted)) == 1
        assert sum(each.deliveries for each in await store.read(lambda db: duplicates.since(db, 0))) == 1

    play(url, story)


def test_it_fails_when_its_days_are_over(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        delivery = await in_state(store, tenant, State.QUEUED)
        await store.change(lambda db: backup.hold_unsent(db, ROOT, "database"))
        await store.change(lambda db: db.execute(deliveries.update().values(due_at=1)))
        await store.write(sweeping.sweep_waiting, sweeping.Round(RetryPolicy(), (), True), Rank.SWEEP)
        assert (await seen(store, delivery))[:2] == ("failed", "expired")

    play(url, story)


def test_a_server_at_work_is_noticed() -> None:
    url = databases.postgresql()

    async def story(store: Store, tenant: int) -> None:
        await store.change(locks.require_alone)
        assert await store.own("lane customer")
        with pytest.raises(StoreError, match="stop all of them first"):
            await store.change(locks.require_alone)

    play(url, story)


# -- the restore -----------------------------------------------------------------------------------------------------


def test_a_restore_keeps_what_was_there_and_holds_what_was_unsent(tmp_path: Path) -> None:
    path, copy = filled(tmp_path, 3), tmp_path / "copy"
    backup.back_up(path, copy, silent)
    before = copy.read_bytes()
    with closing(sqlite3.connect(path)) as db:
        db.execute("update deliveries set state = 'sent', finished_at = 1, due_at = null")
        db.commit()
    done = backup.restore(path, copy, MASTER, ROOT)
    assert (done.messages, done.held) == (3, 3)
    assert copy.read_bytes() == before
    assert done.aside is not None
    assert rows(done.aside, "select state from deliveries") == [("sent",)] * 3
    assert rows(path, "select state, kind from deliveries") == [("held", "restored")] * 3
    assert rows(path, "select actor, action, target from audit") == [
        ("command root", "database.restore", "backup copy")
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".relay.db*"))
    assert not list(tmp_path.glob("*-wal"))


def test_a_log_of_the_database_before_is_never_read_as_the_new_one_s(tmp_path: Path) -> None:
    """A server that was killed leaves its last commits in the log. They go aside with it."""
    path, copy = filled(tmp_path, 1), tmp_path / "copy"
    backup.back_up(path, copy, silent)
    images = {}
    with closing(sqlite3.connect(path)) as db:
        db.execute("update tenants set contact = 'from-the-log@x.example'")
        db.commit()
        images = {ending: Path(f"{path}{ending}").read_bytes() for ending in ("", "-wal")}
    for ending, image in images.items():
        Path(f"{path}{ending}").write_bytes(image)
    assert b"from-the-log" not in path.read_bytes()
    done = backup.restore(path, copy, MASTER, ROOT)
    assert rows(path, "select contact from tenants") == [(None,)]
    assert done.aside is not None
    assert rows(done.aside, "select contact from tenants") == [("from-the-log@x.example",)]


def test_a_damaged_database_goes_aside_as_it_is(tmp_path: Path) -> None:
    path, copy = filled(tmp_path, 1), tmp_path / "copy"
    backup.back_up(path, copy, silent)
    path.write_bytes(b"rubbish" * 1000)
    Path(f"{path}-wal").write_bytes(b"more of it")
    done = backup.restore(path, copy, MASTER, ROOT)
    assert done.aside is not None
    assert done.aside.read_bytes() == b"rubbish" * 1000
    assert Path(f"{done.aside}-wal").read_bytes() == b"more of it"
    assert not Path(f"{path}-wal").exists()
    assert rows(path, "select state from deliveries") == [("held",)]


def test_a_restore_where_there_was_nothing(tmp_path: Path) -> None:
    path, copy = filled(tmp_path, 2), tmp_path / "copy"
    backup.back_up(path, copy, silent)
    elsewhere = tmp_path / "elsewhere" / "relay.db"
    elsewhere.parent.mkdir()
    done = backup.restore(elsewhere, copy, MASTER, ROOT)
    assert (done.held, done.aside) == (2, None)


def spoil(write: Callable[[sqlite3.Connection], object]) -> Callable[[Path], None]:
    def apply(copy: Path) -> None:
        with closing(sqlite3.connect(copy)) as db:
            write(db)
            db.commit()

    return apply


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (lambda copy: copy.write_bytes(b"x" * 9000), "no backup, or a damaged one"),
        (lambda copy: copy.write_bytes(copy.read_bytes()[:40_000]), "no backup, or a damaged one"),
        (lambda copy: copy.unlink(), "there is no backup"),
        (spoil(lambda db: db.execute("update alembic_version set version_num = '9999'")), "written by a newer Relay"),
        (spoil(lambda db: db.execute("drop table alembic_version")), "no backup of a Relay database"),
        (spoil(lambda db: db.execute("delete from installation")), "no server has used yet"),
    ],
    ids=["rubbish", "cut", "absent", "newer", "another's", "empty"],
)
def test_what_cannot_be_restored_changes_nothing(tmp_path: Path, spoiled: Callable[[Path], None], words: str) -> None:
    path, copy = filled(tmp_path, 2), tmp_path / "copy"
    backup.back_up(path, copy, silent)
    spoiled(copy)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=words):
        backup.restore(path, copy, MASTER, ROOT)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.replaced"))
    assert not list(tmp_path.glob(".relay.db*"))


def test_another_master_key_changes_nothing(tmp_path: Path) -> None:
    path, copy = filled(tmp_path, 2), tmp_path / "copy"
    backup.back_up(path, copy, silent)
    before = path.read_bytes()
    with pytest.raises(SealingError, match="not the one this database was made with"):
        backup.restore(path, copy, MasterKey(b"x" * 32), ROOT)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".relay.db*"))


def test_a_database_that_a_command_has_open_is_not_replaced(tmp_path: Path) -> None:
    path, copy = filled(tmp_path, 1), tmp_path / "copy"
    backup.back_up(path, copy, silent)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("begin")
        db.execute("select * from tenants").fetchall()
        with pytest.raises(StoreError, match="wait for its end"):
            backup.restore(path, copy, MASTER, ROOT)
    assert rows(path, "select state from deliveries") == [("queued",)]


def older_copy(tmp_path: Path) -> tuple[Path, Path]:
    """A database, and a backup of it in the layout and schema of an older Relay."""
    from alembic import command
    from alembic.config import Config

    old = tmp_path / "old.db"
    engine = database.writing_engine(URL.create("sqlite", database=str(old)))
    with engine.begin() as db:
        config = Config()
        config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
        config.attributes["connection"] = db
        command.upgrade(config, "0004")
    engine.dispose()
    with closing(sqlite3.connect(old, isolation_level=None)) as plain:
        plain.execute("PRAGMA auto_vacuum = NONE")
        plain.execute("VACUUM")
        plain.execute("PRAGMA journal_mode = DELETE")
        assert plain.execute("PRAGMA auto_vacuum").fetchone() == (0,)
        from relay.sealing import Sealer

        wrapped = Sealer.new_installation_key(MASTER)
        plain.execute(
            "insert into installation (id, wrapped_key, generation, created_at) values (1, ?, 0, 1)", [wrapped]
        )
    return tmp_path / "relay.db", old


def test_an_older_backup_is_migrated_and_can_shrink(tmp_path: Path) -> None:
    path, old = older_copy(tmp_path)
    before = old.read_bytes()
    done = backup.restore(path, old, MASTER, ROOT)
    assert (done.schema, done.held) == ("0004", 0)
    assert old.read_bytes() == before
    assert rows(path, "select version_num from alembic_version") == [(schema.REVISIONS[-1],)]
    assert rows(path, "PRAGMA auto_vacuum") == [(2,)]
    assert not list(tmp_path.glob("*.backup"))


def test_an_upgrade_in_place_backs_up_and_can_shrink_then(tmp_path: Path) -> None:
    path, old = older_copy(tmp_path)
    old.rename(path)
    database.migrate_sqlite(databases.sqlite(tmp_path))
    assert rows(path, "PRAGMA auto_vacuum") == [(2,)]
    [copy] = tmp_path.glob("*.backup")
    assert rows(copy, "select version_num from alembic_version") == [("0004",)]


def test_an_upgrade_goes_on_where_the_disk_has_no_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, old = older_copy(tmp_path)
    old.rename(path)
    monkeypatch.setattr(database, "ROOM_TO_VACUUM", 1e12)
    database.migrate_sqlite(databases.sqlite(tmp_path))
    assert rows(path, "PRAGMA auto_vacuum") == [(0,)]
    assert rows(path, "select version_num from alembic_version") == [(schema.REVISIONS[-1],)]


def test_a_copy_takes_its_time(tmp_path: Path) -> None:
    """It pauses after each step: what else uses the disk comes first."""
    path = filled(tmp_path, 20, os.urandom(200_000))
    steps: list[int] = []
    started = time.monotonic()
    copying.copy(path, tmp_path / "copy", lambda done, total: steps.append(done))
    assert len(steps) >= 4
    assert steps == sorted(steps)
    assert time.monotonic() - started >= len(steps) * copying.PAUSE
