"""Log lines: how they read, and that few writes carry them without any being late or lost."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import log


class Stream(io.StringIO):
    """Remembers every write, for each is a system call."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)

    @property
    def words(self) -> list[list[str]]:
        """The events of each write."""
        return [[line.split()[2] for line in text.splitlines()] for text in self.writes]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    root, ours = logging.getLogger(), logging.getLogger("relay")
    before = root.handlers[:], root.level, ours.level
    monkeypatch.setattr(sys, "stderr", Stream())
    log.set_up()
    yield sys.stderr  # type: ignore[misc]
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_what_is_said_in_one_turn_of_the_loop_is_one_write(stream: Stream) -> None:
    async def story() -> None:
        for number in range(3):
            log.event(f"first.{number}")
        assert stream.writes == []
        await asyncio.sleep(0)
        log.event("second")
        await asyncio.sleep(0)

    asyncio.run(story())
    assert stream.words == [["first.0", "first.1", "first.2"], ["second"]]


def test_trouble_is_written_at_once_after_what_waits(stream: Stream) -> None:
    async def story() -> None:
        log.event("one")
        log.trouble("two")
        assert stream.words == [["one", "two"]]
        log.event("three")
        logging.getLogger("library").warning("four")
        assert stream.words == [["one", "two"], ["three", "library"]]

    asyncio.run(story())
    assert len(stream.writes) == 2


def test_without_a_loop_every_line_is_written_at_once(stream: Stream) -> None:
    log.event("main")
    thread = threading.Thread(target=log.event, args=("thread",))
    thread.start()
    thread.join()
    assert stream.words == [["main"], ["thread"]]


def test_a_loop_that_ends_loses_no_line_and_keeps_none_back(stream: Stream) -> None:
    loop = asyncio.new_event_loop()
    loop.call_soon(log.event, "last of one loop")
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert stream.writes == []

    async def story() -> None:
        log.event("first.of.another")
        await asyncio.sleep(0)

    asyncio.run(story())
    assert stream.words == [["last", "first.of.another"]]
    log.event("after")
    logging.getLogger().handlers[0].flush()  # as logging does at exit
    assert stream.words[1:] == [["after"]]


def test_a_closed_stream_is_no_fault(stream: Stream) -> None:
    stream.close()
    log.event("nobody hears it")
    log.trouble("nor that")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain/text;<ok>", "plain/text;<ok>"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("new\nline", "new\\nline"),
        ("é", "\\xe9"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 497 + "..."),
        (None, "-"),
        (True, "true"),
        (7, "7"),
        (0.1234567, "0.123457"),
    ],
)
def test_how_a_value_reads(stream: Stream, value: log.Value, written: str) -> None:
    log.event("word", field=value)
    assert stream.getvalue().rstrip("\n").split(" ", 3)[3] == f"field={written}"


@given(st.text())
def test_a_value_never_breaks_out_of_its_place(value: str) -> None:
    written = log._text(value)
    assert written.isascii()
    assert written.isprintable()
    assert written.startswith('"') or not set(written) & set(' "=')


def test_the_moment_is_that_of_the_event_to_the_millisecond(stream: Stream) -> None:
    before = datetime.now(UTC)
    for _ in range(3):
        log.event("word")
    after = datetime.now(UTC)
    for line in stream.getvalue().splitlines():
        at = datetime.fromisoformat(line.split()[0])
        assert before.replace(microsecond=before.microsecond // 1000 * 1000) <= at <= after
        assert len(line.split()[0]) == len("2026-01-01T00:00:00.000Z")


def test_json_has_the_same_fields(stream: Stream) -> None:
    logging.getLogger().handlers[0].setFormatter(log._Formatter("json"))
    log.event("word", id="x y", recipients=2)
    found = json.loads(stream.getvalue())
    assert found.pop("at")
    assert found == {"level": "info", "event": "word", "id": "x y", "recipients": 2}
