"""Inserts many rows by few statements.

Each call of a driver gives the interpreter's lock away and waits to get it back: row by row, the threads of a busy
server would hand it to and fro a hundred times a commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, Table

# How many rows a statement has. Few sizes, for drivers keep a prepared statement of each.
SIZES = (64, 32, 16, 8, 7, 6, 5, 4, 3, 2, 1)


def put(db: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns, in the same order, with values as the driver takes them."""
    _put(db, table, rows, ())


def add(db: Connection, table: Table, rows: Sequence[Mapping[str, Any]], sums: tuple[str, ...]) -> None:
    """The same, but where there is a row of that primary key its columns in `sums` are added to.

    No two rows may have the same key. Two writers never wait for each other if both name them in one order.
    """
    _put(db, table, rows, sums)


def _put(db: Connection, table: Table, rows: Sequence[Mapping[str, Any]], sums: tuple[str, ...]) -> None:
    at = 0
    for size in _sizes(len(rows)):
        values = chain.from_iterable(row.values() for row in rows[at : at + size])
        db.exec_driver_sql(_statement(db.dialect, table, tuple(rows[at]), size, sums), tuple(values))
        at += size


def _sizes(rows: int) -> Iterator[int]:
    for size in SIZES:
        while rows >= size:
            yield size
            rows -= size


@cache
def _statement(dialect: Dialect, table: Table, columns: tuple[str, ...], rows: int, sums: tuple[str, ...]) -> str:
    names = ", ".join(dialect.identifier_preparer.format_column(table.c[name]) for name in columns)
    numbers = range(1, len(columns) * rows + 1)
    places = (f"${number}" if dialect.paramstyle == "numeric_dollar" else "?" for number in numbers)
    values = ", ".join(f"({', '.join(next(places) for _ in columns)})" for _ in range(rows))
    into = dialect.identifier_preparer.format_table(table)
    statement = f"INSERT INTO {into} ({names}) VALUES {values}"  # noqa: S608 - names of our own schema
    if not sums:
        return statement
    key = ", ".join(map(dialect.identifier_preparer.format_column, table.primary_key.columns))
    each = (dialect.identifier_preparer.format_column(table.c[name]) for name in sums)
    added = ", ".join(f"{column} = {into}.{column} + excluded.{column}" for column in each)
    return f"{statement} ON CONFLICT ({key}) DO UPDATE SET {added}"
