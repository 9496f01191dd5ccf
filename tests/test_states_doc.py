"""docs/states.md says what relay/delivery.py does: the states, the moves, and the files it names."""

from __future__ import annotations

import re
from pathlib import Path

from relay.delivery import MOVES, RecipientState, State

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "states.md").read_text("utf-8")
MOVE = {(here.value, there.value) for here, ways in MOVES.items() for there in ways}


def table(*head: str) -> list[list[str]]:
    """The rows of the one table with these headings, cells as they are written."""
    lines = PAGE.splitlines()
    at = lines.index(f"| {' | '.join(head)} |") + 2
    rows = []
    while at < len(lines) and lines[at].startswith("|"):
        rows.append([cell.strip() for cell in lines[at].strip("|").split("|")])
        at += 1
    assert all(len(row) == len(head) for row in rows)
    return rows


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_states_are_those_of_the_code() -> None:
    rows = table("state", "meaning")
    assert [words(row[0]) for row in rows] == [[state.value] for state in State]
    assert [row[1].startswith("final") for row in rows] == [state.is_final for state in State]


def test_the_moves_are_those_of_the_code() -> None:
    written = [(*words(row[0]), *words(row[1])) for row in table("from", "to", "when", "made by", "written in")]
    assert set(written) == MOVE
    assert len(written) == len(MOVE)


def test_the_diagram_has_the_same_moves() -> None:
    drawn = re.findall(r"^ +(\S+) --> (\w+):", PAGE, re.M)
    assert {each for each in drawn if each[0] != "[*]"} == MOVE
    assert {there for here, there in drawn if here == "[*]"} == {State.QUEUED.value, State.SENDING.value}
    assert set(re.findall(r"^ +(\w+) --> \[\*\]", PAGE, re.M)) == {state.value for state in State if state.is_final}


def test_every_recipient_state_is_on_the_page() -> None:
    section = PAGE.partition("## Recipients")[2]
    assert {state.value for state in RecipientState} <= set(words(section))


def test_every_file_it_names_is_there_and_writes_that_move() -> None:
    for row in table("from", "to", "when", "made by", "written in"):
        for path in re.findall(r"relay/\S+\.py", " ".join(row)):
            assert (ROOT / path).is_file(), path
        for path in words(row[4]):
            assert "update(deliveries)" in (ROOT / path).read_text("utf-8"), path
