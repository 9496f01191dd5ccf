"""docs/privacy.md names every column in which text or octets can rest, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import LargeBinary, Text

from relay.store.schema import metadata

PAGE = (Path(__file__).parents[1] / "docs/privacy.md").read_text("utf-8")
ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.M)


def test_every_column_is_listed() -> None:
    listed = {
        table: sorted(re.findall(r"`(\w+)`", rest)) for table, rest in ROW.findall(PAGE.split("## Every column")[1])
    }
    there = {
        table.name: sorted(column.name for column in table.c if isinstance(column.type, Text | LargeBinary))
        for table in metadata.sorted_tables
    }
    assert listed == {name: columns for name, columns in there.items() if columns}


def test_every_table_is_explained() -> None:
    explained = set(re.findall(r"`(\w+)", PAGE.split("## In the database")[1].split("## Removing a person")[0]))
    assert {table.name for table in metadata.sorted_tables} - {"installation"} <= explained
