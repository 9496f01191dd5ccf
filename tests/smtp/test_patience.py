"""How long clients are waited for: a table of waits, and the moment each ends."""

from __future__ import annotations

import pytest

from relay.smtp.patience import BARE_END, STRESSED, WINDOW, Overdue, Patience, Wait, Waiting
from relay.smtp.replies import Reply

PATIENCE = Patience(idle=300, login=60, data=1800, min_rate=500)


def overdue(waiting: Waiting, now: float, *, is_known: bool = True, is_stressed: bool = False) -> Overdue | None:
    return PATIENCE.overdue(waiting, now, connected_at=0.0, is_known=is_known, is_stressed=is_stressed)


@pytest.mark.parametrize(
    ("waiting", "is_known", "is_stressed", "limit", "reply"),
    [
        (Waiting(Wait.COMMAND, since=1000.0), True, False, 1300.0, Reply.TIMEOUT),
        (Waiting(Wait.COMMAND, since=1000.0), True, True, 1000.0 + STRESSED, Reply.TIMEOUT),
        # Not known: from the beginning of the connection, whatever was said since.
        (Waiting(Wait.COMMAND, since=59.0), False, False, 60.0, Reply.TIMEOUT),
        (Waiting(Wait.COMMAND, since=9.0), False, True, STRESSED, Reply.TIMEOUT),
        (Waiting(Wait.READING, since=1000.0), True, False, 1300.0, None),
        (Waiting(Wait.READING, since=1000.0), False, True, 1000.0 + STRESSED, None),
        # Nothing came in the window.
        (Waiting(Wait.DATA, since=0.0), True, False, WINDOW, Reply.TIMEOUT),
        (Waiting(Wait.DATA, since=0.0, octets=29_999), True, False, WINDOW, Reply.TIMEOUT),
        # It came fast enough, but for too long.
        (Waiting(Wait.DATA, since=1790.0, octets=10**9), True, False, 1800.0, Reply.TIMEOUT),
        (
            Waiting(Wait.DATA, heard_at=5.0, octets=10**9, is_bare_end=True),
            True,
            False,
            5 + BARE_END,
            Reply.BARE_NEWLINE,
        ),
    ],
)
def test_a_wait_ends(waiting: Waiting, is_known: bool, is_stressed: bool, limit: float, reply: Reply | None) -> None:
    assert overdue(waiting, limit, is_known=is_known, is_stressed=is_stressed) is None
    found = overdue(waiting, limit + 0.1, is_known=is_known, is_stressed=is_stressed)
    assert found is not None
    assert found.reply is reply
    assert found.sentence


def test_our_own_slowness_is_not_the_clients() -> None:
    assert overdue(Waiting(Wait.NOTHING), 10**9, is_known=False, is_stressed=True) is None


def test_a_window_that_was_good_is_followed_by_another() -> None:
    waiting = Waiting(Wait.DATA, since=0.0, octets=30_000)
    assert overdue(waiting, WINDOW + 1) is None
    assert (waiting.since, waiting.octets) == (WINDOW + 1, 0)
    assert overdue(waiting, 2 * WINDOW + 1) is None
    assert overdue(waiting, 2 * WINDOW + 1.1) is not None
