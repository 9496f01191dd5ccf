"""The master key is changed while mail goes on: what is sealed opens at every moment, and in the end by the new key."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, select
from sqlalchemy.engine import URL

from relay.dispatch.upkeep import Upkeep
from relay.errors import Kind, Problem
from relay.metrics import Metrics
from relay.sealing import INSTALLATION, MasterKey, Sealer, SealingError, content_purpose
from relay.store import rewrapping, schema
from relay.store.rewrapping import Anew
from relay.store.settling import destroy
from relay.store.store import Store
from relay.store.writer import Rank
from tests.store.stories import MASTER, message, play, put

CONTENT = b"Subject: hi\r\n\r\nbody\r\n"
PURPOSE = content_purpose(7)


def fresh(*older: MasterKey) -> MasterKey:
    made = MasterKey(os.urandom(32))
    for each in older:
        made = made.after(each)
    return made


async def opened(store: Store, message_id: int) -> bytes:
    table = schema.messages
    wrapped = await store.read(lambda db: db.scalar(select(table.c.wrapped_key).where(table.c.id == message_id)))
    assert wrapped is not None
    return await store.content(message_id, wrapped)


async def rewrap_all(store: Store) -> int:
    """As the sweep does, to its end. How many rounds it took."""
    upkeep = Upkeep(store, Metrics())
    rounds = 1
    while not await upkeep.rewrap():
        rounds += 1
    return rounds


def test_everything_opens_by_the_new_key_alone(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrapping, "WIDTH", 4)
    monkeypatch.setattr(rewrapping, "SLICE", 3)
    monkeypatch.setattr(rewrapping, "SETTLED", -1.0)
    new = fresh(MASTER)

    async def story(store: Store, tenant: int) -> None:
        secret = store.sealer.seal_secret("s", "p")
        kept = [await put(store, message(store, tenant)) for _ in range(9)]
        gone = await put(store, message(store, tenant))
        await store.change(lambda db: destroy(db, schema.messages.c.id == gone.id, 1))
        upkeep = Upkeep(store, Metrics())
        assert await upkeep.rewrap()  # nothing to do yet
        store.sealer.adopt(new, await store.read(rewrapping.wrapped_installation_key))
        assert not await store.read(lambda db: rewrapping.is_taken_over(db, new))
        late = await put(store, message(store, tenant))
        while not await upkeep.rewrap():
            pass
        alone = new.alone()
        assert await store.read(lambda db: rewrapping.is_taken_over(db, alone))
        sealer = Sealer(alone, await store.read(rewrapping.wrapped_installation_key))
        assert sealer.open_secret(secret, "p") == "s"
        assert sealer.hash("x", "y") == store.sealer.hash("x", "y")
        found = await store.read(lambda db: rewrapping.look(db, alone, 0))
        assert (found.old, found.lost) == ((), 0)
        store.sealer = sealer
        for each in (*kept, late):
            assert await opened(store, each.id) == CONTENT
        wrapped = select(schema.messages.c.wrapped_key).where(schema.messages.c.id == gone.id)
        assert await store.read(lambda db: db.scalar(wrapped)) is None

    play(url, story)


def test_a_database_that_was_away_when_a_key_was_taken_over_is_wrapped_when_it_is_back(
    url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrapping, "SETTLED", -1.0)
    new = fresh(MASTER)

    def away(db: Connection, items: object) -> list[bool]:
        raise Problem(Kind.STORAGE_DOWN)

    async def story(store: Store, tenant: int) -> None:
        upkeep = Upkeep(store, Metrics())
        store.sealer.adopt(new, await store.read(rewrapping.wrapped_installation_key))
        with monkeypatch.context() as patched:
            patched.setattr(rewrapping, "rewrap_installation", away)
            with pytest.raises(Problem):
                await upkeep.rewrap()
        while not await upkeep.rewrap():
            pass
        assert await store.read(lambda db: rewrapping.is_taken_over(db, new.alone()))

    play(url, story)


def test_a_message_that_was_sealed_before_and_committed_after_is_found(
    url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = fresh(MASTER)

    async def story(store: Store, tenant: int) -> None:
        slow = message(store, tenant)  # sealed by the old key, still on its way to the writer
        store.sealer.adopt(new, await store.read(rewrapping.wrapped_installation_key))
        await put(store, message(store, tenant))
        upkeep = Upkeep(store, Metrics())
        assert not await upkeep.rewrap()  # at the end, but not sure yet
        await put(store, slow)
        monkeypatch.setattr(rewrapping, "SETTLED", -1.0)
        while not await upkeep.rewrap():
            pass
        found = await store.read(lambda db: rewrapping.look(db, new.alone(), 0))
        assert (found.old, found.lost) == ((), 0)

    play(url, story)


def test_a_start_with_older_keys_looks_over_everything(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrapping, "SETTLED", -1.0)
    new = fresh(MASTER)

    async def story(store: Store, tenant: int) -> None:
        await put(store, message(store, tenant))
        wrapped = await store.read(rewrapping.wrapped_installation_key)
        store.sealer = Sealer(new, wrapped)  # as the next start reads both lines
        assert await rewrap_all(store) >= 1
        assert (await store.read(lambda db: rewrapping.look(db, new.alone(), 0))).old == ()

    play(url, story)


def test_what_was_destroyed_meanwhile_stays_destroyed(url: URL) -> None:
    new = fresh(MASTER)

    async def story(store: Store, tenant: int) -> None:
        each = await put(store, message(store, tenant))
        seen = await store.read(lambda db: rewrapping.look(db, new, 0))
        assert [message_id for message_id, _ in seen.old] == [each.id]
        await store.change(lambda db: destroy(db, schema.messages.c.id == each.id, 1))
        await store.write(rewrapping.rewrap, Anew(new, seen.old), Rank.SWEEP)
        assert await store.read(lambda db: db.scalar(select(schema.messages.c.wrapped_key))) is None

    play(url, story)


def test_a_message_that_no_key_opens_is_counted_and_left(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrapping, "SETTLED", -1.0)
    new = fresh(MASTER)

    async def story(store: Store, tenant: int) -> None:
        bad, good = await put(store, message(store, tenant)), await put(store, message(store, tenant))
        table = schema.messages
        await store.change(
            lambda db: db.execute(table.update().where(table.c.id == bad.id).values(wrapped_key=b"x" * 60))
        )
        store.sealer.adopt(new, await store.read(rewrapping.wrapped_installation_key))
        await rewrap_all(store)
        found = await store.read(lambda db: rewrapping.look(db, new.alone(), 0))
        assert (found.old, found.lost) == ((), 1)
        assert await opened(store, good.id) == CONTENT

    play(url, story)


def test_a_key_of_another_installation_is_not_taken_over(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        wrapped = await store.read(rewrapping.wrapped_installation_key)
        before = store.sealer.master.fingerprint
        with pytest.raises(SealingError, match="not the one this database was made with"):
            store.sealer.adopt(fresh(), wrapped)
        assert store.sealer.master.fingerprint == before

    play(url, story)


# -- the keys themselves ---------------------------------------------------------------------------------------------

KEYS = [MasterKey(bytes([number]) * 32) for number in range(4)]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(0, 3))
def test_whoever_has_the_key_among_his_opens(order: list[int], by: int) -> None:
    master = KEYS[order[0]]
    for number in order[1:]:
        master = master.after(KEYS[number])
    wrapped = KEYS[by].wrap(b"key", PURPOSE)
    if by in order:
        assert master.unwrap(wrapped, PURPOSE) == b"key"
        assert master.is_current(wrapped, PURPOSE) is (by == order[0])
        assert KEYS[order[0]].unwrap(master.rewrapped(wrapped, PURPOSE), PURPOSE) == b"key"
    else:
        with pytest.raises(SealingError):
            master.unwrap(wrapped, PURPOSE)
    assert master.count == len(set(order))
    assert master.fingerprint == KEYS[order[0]].fingerprint
    with pytest.raises(SealingError):
        master.unwrap(wrapped, INSTALLATION)


def test_a_file_holds_the_new_key_and_those_behind_it(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    first = MasterKey.create(file)
    second = first.successor()
    second.replace(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().splitlines()) == 2
    read = MasterKey.read(file)
    assert (read.count, read.fingerprint) == (2, second.fingerprint)
    assert read.older().fingerprint == first.fingerprint
    read.alone().replace(file)
    assert MasterKey.read(file).count == 1
    assert [each.name for each in tmp_path.iterdir()] == ["master.key"]


def test_no_repr_tells_a_key() -> None:
    key = os.urandom(32)
    master = MasterKey(key).successor()
    assert repr(key) not in repr(master) + repr(Anew(master, [(1, key)]))


def test_wrapping_goes_on_while_it_is_changed(tmp_path: Path) -> None:
    """Readers and writers of one installation, with keys changed under them: nobody ever fails to open."""
    sealer = Sealer(MASTER, wrapped := Sealer.new_installation_key(MASTER))
    stored: dict[int, tuple[bytes, list[bytes]]] = {}

    async def seal() -> None:
        for number in range(200):
            stored[number] = sealer.seal(number, b"%d" % number)
            await asyncio.sleep(0)

    async def change() -> None:
        for _ in range(20):
            sealer.adopt(sealer.master.successor(), wrapped)
            for number, (key, parts) in list(stored.items()):
                stored[number] = (sealer.master.rewrapped(key, content_purpose(number)), parts)
                await asyncio.sleep(0)
                assert b"".join(sealer.open(number, *stored[number])) == b"%d" % number

    async def both() -> None:
        await asyncio.gather(seal(), change())

    asyncio.run(both())
