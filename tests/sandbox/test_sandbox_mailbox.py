"""The captured mail stays bounded and keeps its order."""

from __future__ import annotations

from datetime import UTC, datetime

from relay.sandbox.mailbox import Captured, Mailbox


def captured(id: str, size: int = 1) -> Captured:
    return Captured(id, "operator", "eu-west-1", ("x@d.test",), {}, None, b"x" * size, datetime.now(UTC))


def ids(messages: list[Captured]) -> list[str]:
    return [message.id for message in messages]


def test_the_oldest_messages_go_first() -> None:
    mailbox = Mailbox(max_messages=3)
    for id in "abcde":
        mailbox.add(captured(id))
    assert ids(mailbox.after()) == ["c", "d", "e"]
    assert ids(mailbox.after("a")) == ["c", "d", "e"]
    assert ids(mailbox.after("d")) == ["e"]
    assert ids(mailbox.before("e")) == ["d", "c"]
    assert ids(mailbox.before(limit=2)) == ["e", "d"]
    assert mailbox.find("a") is None
    assert mailbox.find("d") is not None


def test_bytes_are_bounded_too() -> None:
    mailbox = Mailbox(max_bytes=10)
    for id, size in [("a", 4), ("b", 4), ("c", 4), ("d", 99)]:
        mailbox.add(captured(id, size))
        assert ids(mailbox.after())[-1] == id
    assert ids(mailbox.after()) == ["d"]  # the newest is kept whatever its size


def test_cleared_is_empty_and_goes_on() -> None:
    mailbox = Mailbox()
    mailbox.add(captured("a"))
    mailbox.clear()
    assert (len(mailbox), mailbox.after(), mailbox.find("a")) == (0, [], None)
    mailbox.add(captured("b"))
    assert ids(mailbox.after("a")) == ["b"]
    assert ids(mailbox.before()) == ["b"]
