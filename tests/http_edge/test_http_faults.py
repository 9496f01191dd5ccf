"""What hostile or unlucky requests once did: each stays as it was mended."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from relay.errors import Kind, Problem
from relay.http.requests import MOST_MARKS, read_json, weight_of
from relay.management import declaring
from relay.routing.limits import LARGE
from relay.store.beside import with_database
from tests.support import Answer, World, wait_for

PATH = "/api/v1/emails"
MB = 1 << 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    domains = {"byoc.example": {"mode": "byoc", "account": "customer", "default_sender": "desk@byoc.example"}}
    with World(tmp_path_factory.mktemp("faults"), domains=domains) as world:
        yield world


def email(to: str, **members: Any) -> dict[str, Any]:
    return {"from": "news@byoc.example", "to": to, "subject": "Hi", "text": "Hi", **members}


# -- JSON of many values: memory and time are of their number, not of the octets they came in ---------------------------

BOMBS = {
    "lists": b'{"to":[' + b"[]," * (2 * MB) + b"1]}",
    "objects": b'{"to":[' + b"{}," * (2 * MB) + b"1]}",
    "numbers": b'{"to":[' + b"1," * (3 * MB) + b"1]}",
    "strings": b'{"to":[' + b'"",' * (2 * MB) + b'""]}',
    "members": b"{" + b",".join(b'"%d":1' % n for n in range(500_000)) + b"}",
    "no JSON": b'{"to":[,' + b'""' * (3 * MB),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_body_of_too_many_values_is_not_made_into_objects(bomb: str) -> None:
    body = BOMBS[bomb]
    tracemalloc.start()
    try:
        with pytest.raises(Problem) as caught:
            read_json(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.kind is Kind.BAD_REQUEST
    assert most < len(body) + MB  # itself as text


def test_as_many_values_as_a_batch_may_have() -> None:
    people = [{"email": f"a{n}@one.test", "name": "Ana"} for n in range(50)]
    letter = email("") | {"to": people, "metadata": {str(n): "x" for n in range(50)}, "headers": {"X-A": "b"}}
    assert len(read_json(json.dumps({"emails": [letter] * 100}).encode())["emails"]) == 100
    assert read_json(json.dumps({"text": 'a, "b", [c] {' * 200_000}).encode())
    assert read_json(b'{"to":[' + b"1," * (MOST_MARKS - 10) + b"1]}")


def test_many_values_in_few_octets_are_not_read_on_the_loop() -> None:
    assert weight_of(json.dumps(email("a@one.test", html="<p>one, two, three</p>" * 300)).encode()) < LARGE
    assert weight_of(json.dumps({"to": ["a@one.test"] * 15_000}).encode()) > LARGE
    assert weight_of(b"[]," * 80_000) > LARGE
