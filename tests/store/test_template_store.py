"""Templates as they are kept: made, changed into versions that stay, looked up, listed, removed. On both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.engine import URL

from relay.declared import TenantFields
from relay.errors import Kind, Problem
from relay.store import templates
from relay.store.directory import audit, tenants
from relay.store.directory.audit import Actor
from relay.store.directory.paging import Asked
from relay.store.schema import template_versions
from relay.store.store import Store
from relay.store.templates import MOST_VERSIONS, Version, Written, change, create, find, history, listed, remove
from tests.store.stories import play

Answer = TypeVar("Answer")
ACTOR = Actor("test", "request-1")
FIRST = Written("Hi {{ name }}", "Hello", None, "error")


def say(subject: str) -> Written:
    return Written(subject, None, "<p>\u05d0</p>", "empty")


def refused(kind: Kind, words: str, work: Callable[[], object]) -> None:
    with pytest.raises(Problem) as caught:
        work()
    assert caught.value.kind is kind
    assert words in caught.value.detail


def test_a_template_changes_and_its_versions_stay(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def work(db: Connection) -> None:
            made = create(db, ACTOR, tenant, "receipt", FIRST)
            assert (made.tenant, made.name, made.version, made.latest, made.written) == (
                "default",
                "receipt",
                1,
                1,
                FIRST,
            )
            second = change(db, ACTOR, tenant, "receipt", say("Hello"))
            assert (second.version, second.latest, second.written) == (2, 2, say("Hello"))
            assert find(db, tenant, "receipt") == second
            first = find(db, tenant, "receipt", 1)
            assert (first.version, first.latest, first.written) == (1, 2, FIRST)
            assert change(db, ACTOR, tenant, "receipt", say("Hello")) == second  # nothing is new
            assert [(each.version, each.subject) for each in history(db, Asked(), tenant, "receipt").items] == [
                (1, "Hi {{ name }}"),
                (2, "Hello"),
            ]
            remove(db, ACTOR, tenant, "receipt")
            refused(Kind.NOT_FOUND, "no template receipt", lambda: find(db, tenant, "receipt"))
            assert db.scalar(select(func.count()).select_from(template_versions)) == 0
            again = create(db, ACTOR, tenant, "receipt", FIRST)
            assert again.template_id != made.template_id

        await store.change(work)

    play(url, story)


def test_what_is_not_there_or_there_already_is_told(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def work(db: Connection) -> None:
            create(db, ACTOR, tenant, "receipt", FIRST)
            refused(Kind.CONFLICT, "already", lambda: create(db, ACTOR, tenant, "receipt", FIRST))
            refused(Kind.NOT_FOUND, "no template other", lambda: change(db, ACTOR, tenant, "other", FIRST))
            refused(Kind.NOT_FOUND, "no template other", lambda: remove(db, ACTOR, tenant, "other"))
            refused(Kind.NOT_FOUND, "no template other", lambda: history(db, Asked(), tenant, "other"))
            refused(Kind.NOT_FOUND, "no version 2", lambda: find(db, tenant, "receipt", 2))
            refused(Kind.NOT_FOUND, "no template Receipt", lambda: find(db, tenant, "Receipt"))
            refused(Kind.NOT_FOUND, "no template receipt", lambda: find(db, tenant + 1, "receipt"))

        await store.change(work)

    play(url, story)


def test_a_change_is_made_to_what_was_seen(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def work(db: Connection) -> None:
            create(db, ACTOR, tenant, "receipt", FIRST)
            change(db, ACTOR, tenant, "receipt", say("two"), seen=1)
            refused(Kind.CONFLICT, "version 2 now", lambda: change(db, ACTOR, tenant, "receipt", say("3"), seen=1))
            refused(Kind.CONFLICT, "version 2 now", lambda: remove(db, ACTOR, tenant, "receipt", seen=1))
            assert find(db, tenant, "receipt").written.subject == "two"

        await store.change(work)

    play(url, story)


def test_of_many_who_change_what_they_saw_one_does(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        await store.change(lambda db: create(db, ACTOR, tenant, "receipt", FIRST))

        async def one(number: int) -> Version | Problem:
            try:
                return await store.change(
                    lambda db: change(db, ACTOR, tenant, "receipt", say(f"number {number}"), seen=1)
                )
            except Problem as problem:
                return problem

        outcomes = await asyncio.gather(*map(one, range(20)))
        done = [each for each in outcomes if isinstance(each, Version)]
        assert len(done) == 1
        assert await store.read(lambda db: find(db, tenant, "receipt")) == done[0]

    play(url, story)


def test_old_versions_go_where_there_are_many(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def work(db: Connection) -> None:
            create(db, ACTOR, tenant, "receipt", FIRST)
            for number in range(2, MOST_VERSIONS + 4):
                change(db, ACTOR, tenant, "receipt", say(str(number)))
            refused(Kind.NOT_FOUND, "no version 3", lambda: find(db, tenant, "receipt", 3))
            assert find(db, tenant, "receipt", 4).written == say("4")
            page = history(db, Asked(limit=100), tenant, "receipt")
            assert (page.total, page.items[0].version, page.items[-1].version) == (MOST_VERSIONS, 4, MOST_VERSIONS + 3)

        await store.change(work)

    play(url, story)


def test_there_are_no_more_than_so_many(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MOST_TEMPLATES", 3)

    async def story(store: Store, tenant: int) -> None:
        def work(db: Connection) -> None:
            for name in ("a", "b", "c"):
                create(db, ACTOR, tenant, name, FIRST)
            refused(Kind.CONFLICT, "delete some first", lambda: create(db, ACTOR, tenant, "d", FIRST))
            remove(db, ACTOR, tenant, "b")
            create(db, ACTOR, tenant, "d", FIRST)

        await store.change(work)

    play(url, story)


def test_each_tenant_has_its_own(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def work(db: Connection) -> None:
            other = tenants.create(db, Actor("test", is_operator=True), "acme", TenantFields(), is_approved=True).id
            create(db, ACTOR, tenant, "receipt", FIRST)
            create(db, ACTOR, other, "receipt", say("theirs"))
            create(db, ACTOR, other, "more", say("more"))
            assert find(db, tenant, "receipt").written == FIRST
            assert [each.name for each in listed(db, Asked(), tenant_id=other).items] == ["receipt", "more"]
            assert listed(db, Asked(), tenant_id=None).total == 3
            first = listed(db, Asked(limit=1), tenant_id=other)
            [rest] = listed(db, Asked(limit=1, cursor=first.next_cursor), tenant_id=other).items
            assert (rest.tenant, rest.name, rest.version) == ("acme", "more", 1)
            remove(db, ACTOR, other, "receipt")
            assert find(db, tenant, "receipt").written == FIRST

        await store.change(work)

    play(url, story)


def test_the_newest_is_looked_up_as_it_is_now(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        assert await store.latest_template(tenant, "receipt") is None
        made = await store.change(lambda db: create(db, ACTOR, tenant, "receipt", FIRST))
        assert await store.latest_template(tenant, "receipt") == (made.template_id, 1)
        await store.change(lambda db: change(db, ACTOR, tenant, "receipt", say("two")))
        assert await store.latest_template(tenant, "receipt") == (made.template_id, 2)
        assert await store.latest_template(tenant + 1, "receipt") is None
        await store.change(lambda db: remove(db, ACTOR, tenant, "receipt"))
        assert await store.latest_template(tenant, "receipt") is None
        assert await store.truncate_log()  # looking up holds no snapshot

    play(url, story)


def test_changes_are_written_down_without_what_is_in_them(url: URL) -> None:
    async def story(store: Store, tenant: int) -> None:
        def work(db: Connection) -> None:
            create(db, ACTOR, tenant, "receipt", FIRST)
            change(db, ACTOR, tenant, "receipt", say("secret plans"))
            change(db, ACTOR, tenant, "receipt", say("secret plans"))
            remove(db, ACTOR, tenant, "receipt")
            entries = audit.entries(db, target="template receipt", tenant_id=tenant, limit=10)
            assert [(each.action, each.changes, each.actor, each.request_id) for each in reversed(entries)] == [
                ("template.create", {"version": [None, 1]}, "test", "request-1"),
                ("template.change", {"version": [1, 2]}, "test", "request-1"),
                ("template.remove", {"version": [2, None]}, "test", "request-1"),
            ]

        await store.change(work)

    play(url, story)


def test_what_an_author_wrote_is_in_no_repr() -> None:
    version = Version(1, "acme", "receipt", 1, 1, 0, Written("secret", "secret", "secret", "error"))
    assert "secret" not in repr(version)
