"""Failed SMTP sessions over the management API: pages, filters, and what cannot be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.http_edge.managed import DATABASES, Managed, managing
from tests.support import wait_for
from tests.wire import Wire

PATH = "/smtp-failures"
CLIENTS = ("127.0.1.1", "127.0.1.2", "127.0.2.1")


@pytest.fixture(scope="module", params=DATABASES)
def managed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Managed]:
    with managing(tmp_path_factory.mktemp("failures"), request.param) as managed:
        for client in CLIENTS:
            with Wire(managed.world.starttls, source=client) as wire:
                wire.reply()
                wire.say("MAIL FROM:<me@one.test>" if client == CLIENTS[-1] else "EHLP me")
                wire.say("QUIT")
            wait_for(partial(clients, managed, f"?client={client}"))  # one after the other
        yield managed


def clients(managed: Managed, query: str = "") -> list[str]:
    answer = managed.ask("GET", PATH + query)
    assert answer.status == 200, answer.body
    assert (answer.json["total"], answer.json["next_cursor"]) == (None, None)
    return [item["client"] for item in answer.json["data"]]


def test_one_as_it_is_listed(managed: Managed) -> None:
    first = managed.ask("GET", PATH).json["data"][0]
    assert first.keys() == {"id", "at", "listener", "client", "tenant", "key", "reason", "sentence"}
    assert (first["client"], first["reason"], first["tenant"], first["key"]) == (CLIENTS[-1], "protocol", None, None)
    assert first["sentence"].endswith("EHLO first")
    assert first["listener"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", CLIENTS[::-1]),
        ("?client=127.0.1.2", CLIENTS[1:2]),
        ("?client=127.0.1.0/24", CLIENTS[1::-1]),
        ("?client=127.0.1.7/24&reason=protocol", CLIENTS[1::-1]),
        ("?client=2001:db8::/32", ()),
        ("?reason=tls", ()),
        ("?since=2026-01-31T00:00:00%2B01:00", CLIENTS[::-1]),
        ("?since=9998-01-31T00:00:00Z", ()),
    ],
)
def test_filters(managed: Managed, query: str, expected: tuple[str, ...]) -> None:
    assert clients(managed, query) == list(expected)


def test_the_pages_together_are_the_list(managed: Managed) -> None:
    found, query = [], "?limit=1"
    while True:
        page = managed.ask("GET", PATH + query).json
        found += [item["client"] for item in page["data"]]
        if page["next_cursor"] is None:
            break
        query = f"?limit=1&cursor={page['next_cursor']}"
    assert found == list(CLIENTS[::-1])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?client=here", "client: write it as an IP address or a network"),
        ("?client=", "client: write it as an IP address or a network"),
        ("?reason=bad-luck", "reason: "),
        ("?since=2h", "since: "),
        ("?since=2026-01-31T00:00:00", "since: "),
        ("?cursor=YWJj", "cursor: is not one of ours"),
        ("?tenant=acme", "tenant: is not a parameter of this request"),
    ],
)
def test_what_cannot_be_asked_for(managed: Managed, query: str, words: str) -> None:
    answer = managed.ask("GET", PATH + query)
    assert answer.status == 400
    assert words in answer.json["message"]
