"""Bodies that do not come as they should: how long they are waited for, and how deep their JSON may be."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.http import hall, requests
from relay.http.requests import MAX_DEPTH, read_json
from tests.http_edge.raw import Raw, request
from tests.support import World

PATH = "/api/v1/emails"
BODY = json.dumps({"from": "news@shared.example", "to": "ana@one.test", "subject": "Hi", "text": "x" * 2000}).encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hall, "WATCH_EVERY", 0.05)
        patch.setattr(requests, "PATIENCE", timedelta(seconds=0.5))
        patch.setattr(requests, "PER_MEGABYTE", timedelta(seconds=1000))
        with World(tmp_path_factory.mktemp("bodies")) as world:
            yield world


def begun(world: World, raw: Raw, length: int) -> None:
    raw.send(request(PATH, f"Authorization: Bearer {world.key}", f"Content-Length: {length}", method="POST"))


def test_a_body_that_stops_is_told_so(world: World) -> None:
    for part in (b"", b"{", BODY[:1000]):
        with Raw(world.http) as raw:
            started = time.monotonic()
            begun(world, raw, len(BODY))
            said = raw.send(part).answer()
            took = time.monotonic() - started
            assert (said.status, said.json["reason"]) == (408, "too_slow")
            assert said.headers["connection"] == "close"
            assert raw.ends()
            assert 0.4 < took < 4


def test_octets_now_and_then_do_not_buy_much_time(world: World) -> None:
    with Raw(world.http) as raw:
        started = time.monotonic()
        begun(world, raw, 40 << 20)
        raw.socket.settimeout(0.05)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 10:
                raw.send(b" ")
                with contextlib.suppress(TimeoutError):
                    if raw.socket.recv(1):
                        break
        assert time.monotonic() - started < 4


def test_a_body_that_goes_on_is_waited_for(world: World) -> None:
    """Each of its octets buys a millisecond here."""
    with Raw(world.http) as raw:
        begun(world, raw, len(BODY))
        for at in range(0, len(BODY), 200):
            time.sleep(0.1)
            raw.send(BODY[at : at + 200])
        assert raw.answer().status == 202


NESTED = st.recursive(
    st.none() | st.text(st.sampled_from('{}[]"\\a'), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["[", '"', "{\\"]), inner, max_size=2),
    max_leaves=20,
)


@given(NESTED, st.integers(1, MAX_DEPTH + 5))
def test_depth_is_that_of_the_json_not_of_its_strings(value: object, depth: int) -> None:
    for _ in range(depth):
        value = {"[": value}

    def measured(value: object) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return (isinstance(value, dict | list)) + max(map(measured, inner), default=0)

    octets = json.dumps(value).encode()
    if measured(value) <= MAX_DEPTH:
        assert read_json(octets) == value
    else:
        with pytest.raises(Problem, match="nested more than 20 deep") as raised:
            read_json(octets)
        assert raised.value.kind is Kind.BAD_REQUEST


@given(st.text(st.sampled_from('{}[]"\\ab,:1 '), max_size=200))
def test_odd_texts_are_refused_and_nothing_more(text: str) -> None:
    with pytest.raises(Problem):
        read_json(("[" + text).encode())


@pytest.mark.parametrize(
    "text", ["[" * 5_000_000, '"' + "\\" * 5_000_000 + "[" * 30, "[" * 30 + '"' + '\\"' * 2_000_000, '["' * 1_000_000]
)
def test_much_of_it_takes_no_longer_than_it_has_to(text: str) -> None:
    started = time.process_time()
    with pytest.raises(Problem):
        read_json(text.encode())
    assert time.process_time() - started < 6  # five million brackets one by one
