"""Blocks of failed logins: written down in place of older ones, seen by every process, lifted by hand."""

from __future__ import annotations

import asyncio

from sqlalchemy.engine import URL

from relay.store import blocks
from relay.store.blocks import Block
from relay.store.clock import now_ms
from relay.store.directory.audit import Actor, entries
from relay.store.directory.installation import generation
from relay.store.store import Store, open_store
from relay.store.writer import Rank
from tests.store.stories import MASTER, play

NOW = now_ms()
OVER, LATER, LATEST = NOW - 1000, NOW + 3_600_000, NOW + 7_200_000


async def begin(store: Store, *items: Block) -> None:
    await asyncio.gather(*(store.write(blocks.begin, item, Rank.MANAGE) for item in items))


def test_what_holds_now(url: URL) -> None:
    pair = Block("192.0.2.1", "relay_abcdefgh", 10, NOW, LATER)
    whole = Block("2001:db8::/64", "", 100, NOW - 5, LATER)

    async def story(store: Store, _: int) -> None:
        before = await store.read(generation)
        await begin(store, pair, whole, Block("192.0.2.2", "", 10, OVER - 1, OVER))
        assert await store.read(blocks.standing) == [whole, pair]
        assert await store.read(generation) == before  # a stranger makes nobody read the directory again

    play(url, story)


def test_a_newer_block_stands_in_place_of_the_older(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        await begin(store, Block("192.0.2.1", "a", 10, NOW, LATER), Block("192.0.2.1", "b", 10, NOW, LATER))
        newer = Block("192.0.2.1", "a", 12, NOW + 1, LATEST)
        await begin(store, Block("192.0.2.1", "a", 11, NOW, LATER), newer)
        assert await store.read(blocks.standing) == [Block("192.0.2.1", "b", 10, NOW, LATER), newer]

    play(url, story)


def test_lifting_ends_all_blocks_of_an_address_and_is_written_down(url: URL) -> None:
    other = Block("192.0.2.2", "", 100, NOW, LATER)
    actor = Actor("command root")

    async def story(store: Store, _: int) -> None:
        await begin(store, Block("192.0.2.1", "", 100, NOW, LATER), Block("192.0.2.1", "a", 10, NOW, LATER), other)
        before = await store.read(generation)
        assert await store.change(lambda db: blocks.lift(db, actor, "192.0.2.1")) == 2
        assert await store.read(blocks.standing) == [other]
        assert await store.read(generation) > before
        assert await store.change(lambda db: blocks.lift(db, actor, "192.0.2.1")) == 0
        [entry] = await store.read(lambda db: entries(db, target="address 192.0.2.1", tenant_id=None, limit=10))
        assert (entry.actor, entry.action) == ("command root", "block.lift")

    play(url, story)


def test_two_processes_that_begin_the_same_blocks_do_not_clash(url: URL) -> None:
    items = [Block(f"192.0.2.{number}", "a", 10, NOW, LATER) for number in range(20)]

    async def story(store: Store, _: int) -> None:
        if store.is_alone:  # a SQLite file has one server
            await asyncio.gather(begin(store, *items), begin(store, *reversed(items)))
        else:
            async with open_store(url, MASTER) as other:
                await asyncio.gather(begin(store, *items), begin(other, *reversed(items)))
        assert {block.address for block in await store.read(blocks.standing)} == {item.address for item in items}

    play(url, story)
