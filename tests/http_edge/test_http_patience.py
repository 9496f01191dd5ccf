"""How long an HTTP client is waited for."""

from __future__ import annotations

import pytest

from relay.http.patience import Overdue, Wait, Waiting, overdue

CLOSE, TELL, ABORT = Overdue


@pytest.mark.parametrize(
    ("what", "spent", "silent", "expected"),
    [
        (Wait.NOTHING, 9999, 9999, None),
        (Wait.FIRST, 10, 10, None),
        (Wait.FIRST, 11, 11, CLOSE),
        (Wait.HEAD, 10, 0, None),
        (Wait.HEAD, 11, 0, TELL),
        (Wait.NEXT, 75, 75, None),
        (Wait.NEXT, 76, 76, CLOSE),
        (Wait.LEAVING, 29, 1, None),
        (Wait.LEAVING, 29, 3, ABORT),
        (Wait.LEAVING, 31, 1, ABORT),
    ],
)
def test_each_wait_has_its_limit(what: Wait, spent: float, silent: float, expected: Overdue | None) -> None:
    waiting = Waiting(what, since=100, heard_at=100 + spent - silent)
    assert overdue(waiting, 100 + spent, is_crowded=False, is_turned_away=False) is expected


def test_who_needs_no_place_gives_it_up_sooner() -> None:
    waiting = Waiting(Wait.NEXT, since=100)
    assert overdue(waiting, 106, is_crowded=False, is_turned_away=False) is None
    assert overdue(waiting, 106, is_crowded=True, is_turned_away=False) is CLOSE
    waiting = Waiting(Wait.FIRST, since=100)
    assert overdue(waiting, 103, is_crowded=True, is_turned_away=False) is None
    assert overdue(waiting, 103, is_crowded=True, is_turned_away=True) is CLOSE


@pytest.mark.parametrize("what", Wait)
def test_an_answer_that_is_not_read_has_one_limit_whatever_comes_next(what: Wait) -> None:
    waiting = Waiting(what, since=0, unread_since=100)
    assert overdue(waiting, 130, is_crowded=True, is_turned_away=False) is None
    assert overdue(waiting, 131, is_crowded=False, is_turned_away=False) is ABORT
