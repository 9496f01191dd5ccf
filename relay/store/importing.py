"""Suppression lists as CSV: read row by row whatever comes, and written so that a spreadsheet runs nothing of it."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO

from relay.errors import Fault, Kind, Problem, printable
from relay.store.clock import moment_ms, now_ms, rfc3339
from relay.store.suppressions import Entry, Suppression

COLUMNS = ("address", "reason", "source", "note", "created_at", "expires_at")
SOURCE, REASON = "import", "imported"  # of rows that do not say
MAX_LINE = 8192  # octets; an entry has at most a quarter of it
NAMED = 20  # bad rows that are named; the others are counted
# Sorted in memory before they are written: neighbours share a page of the database, which makes it four times as fast.
RUN = 100_000
BATCH = 1000  # entries in a transaction: some 20 ms, after which mail that waits is stored

# What else these columns are called elsewhere, without case, blanks and _; LastUpdateTime is SES's.
_NAMES = {
    "address": "address",
    "email": "address",
    "emailaddress": "address",
    "recipient": "address",
    "reason": "reason",
    "suppressionreason": "reason",
    "source": "source",
    "origin": "source",
    "note": "note",
    "createdat": "created_at",
    "created": "created_at",
    "lastupdatetime": "created_at",
    "expiresat": "expires_at",
}
# A spreadsheet takes a cell that starts so for a formula. An apostrophe before it stops that, and is undone by reading.
_FORMULA = re.compile(r"'*[=+\-@]")
_GUARDED = re.compile(r"'+[=+\-@]")


# -- reading ---------------------------------------------------------------------------------------------------------


def read_csv(file: BinaryIO) -> Iterator[Entry | Fault]:
    """One entry or fault per line after the first, which names the columns; `address` is the one that must be there.

    UTF-8; columns are parted by commas, semicolons or tabs, in any order, unknown ones ignored; moments as `moment`
    reads them. A row is one line, so that a stray quote spoils no other. Keeps no more than a line in memory.
    Raises Problem(BAD_REQUEST) for a first line that names no address.
    """
    lines = _lines(file)
    _, first = next(lines, (1, b""))
    delimiter, names = _header(first)
    for number, line in lines:
        try:
            values = _fields(line, delimiter)
            if any(values):
                yield _entry(dict(zip(names, values, strict=False)))
        except Problem as problem:
            yield Fault(f"line {number}", problem.detail)
        except ValueError as exc:
            yield Fault(f"line {number}", str(exc))


def moment(text: str) -> int:
    """RFC 3339 with its zone, or seconds since 1970, in milliseconds since 1970. Raises ValueError."""
    found: datetime | None = None
    with suppress(ValueError, OverflowError, OSError):
        is_number = text.isascii() and text.isdecimal()
        found = datetime.fromtimestamp(int(text[:16]), UTC) if is_number else datetime.fromisoformat(text)
    if found is None or found.tzinfo is None or found.year < 1970:
        raise ValueError(f"{printable(text, 40)} is not a time such as 2026-03-01T12:00:00Z")
    return moment_ms(found)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their numbers from 1; None for one that is too long, which is passed over."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if line.endswith(b"\n") or len(line) < MAX_LINE:
            yield number, line
            continue
        while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
            pass
        yield number, None


def _header(line: bytes | None) -> tuple[str, list[str]]:
    try:
        text = _text(line).removeprefix("\ufeff")
        delimiter = max(",;\t", key=text.count)
        named = [re.sub(r"[\s_]", "", name.lower()) for name in _row(text, delimiter)]
    except ValueError as exc:
        raise Problem(Kind.BAD_REQUEST, f"line 1: {exc}") from exc
    names = [_NAMES.get(name, "") for name in named]
    if names.count("address") != 1:
        raise Problem(Kind.BAD_REQUEST, f"line 1: must name the columns, one of them `address`: {','.join(COLUMNS)}")
    return delimiter, names


def _fields(line: bytes | None, delimiter: str) -> list[str]:
    return _row(_text(line), delimiter)


def _text(line: bytes | None) -> str:
    if line is None:
        raise ValueError(f"is over {MAX_LINE} octets")
    try:
        text = line.decode()
    except UnicodeDecodeError as exc:
        raise ValueError("is not UTF-8: save the file as CSV in UTF-8") from exc
    if "\0" in text:
        raise ValueError("has a NUL octet: save the file as CSV in UTF-8")
    return text.rstrip("\r\n")


def _row(text: str, delimiter: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader([text], delimiter=delimiter, strict=True), [])]
    except csv.Error as exc:
        raise ValueError(f"is not CSV: {exc}") from exc


def _entry(values: dict[str, str]) -> Entry:
    given = {name: value[1:] if _GUARDED.match(value) else value for name, value in values.items() if value}
    if "address" not in given:
        raise ValueError("has no address")
    expires_at = moment(given["expires_at"]) if "expires_at" in given else None
    if expires_at is not None and expires_at <= now_ms():
        raise ValueError("expires_at: is over already")
    reason = given.get("reason", REASON)
    return Entry.parse(
        given["address"],
        # The same few words a million times. SES writes BOUNCE and COMPLAINT.
        sys.intern(reason.lower() if reason.isupper() else reason),
        sys.intern(given.get("source", SOURCE)),
        given.get("note"),
        moment(given["created_at"]) if "created_at" in given else None,
        expires_at,
    )


# -- a whole file ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Imported:
    """What became of a file so far. `bad` rows were left out, and `faults` names the first of them."""

    rows: int = 0
    added: int = 0
    bad: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def known(self) -> int:
        return self.rows - self.bad - self.added


def batches(rows: Iterable[Entry | Fault], found: Imported, *, is_strict: bool = False) -> Iterator[Sequence[Entry]]:
    """The entries in batches for `import_rows`, roughly in the order of the key; counts into `found` but for `added`.

    Raises Problem(BAD_REQUEST) at the first bad row if `is_strict`; what came in batches before stays.
    """
    run: list[Entry] = []
    for row in rows:
        found.rows += 1
        if isinstance(row, Entry):
            run.append(row)
            if len(run) == RUN:
                yield from _sorted(run)
                run.clear()
            continue
        found.bad += 1
        if len(found.faults) < NAMED:
            found.faults.append(row)
        if is_strict:
            raise Problem(Kind.BAD_REQUEST, f"{row}; stopped there")
    yield from _sorted(run)


def _sorted(run: list[Entry]) -> Iterator[Sequence[Entry]]:
    run.sort(key=lambda entry: entry.address)
    for start in range(0, len(run), BATCH):
        yield run[start : start + BATCH]


# -- writing ---------------------------------------------------------------------------------------------------------


def csv_of(entries: Sequence[Suppression], *, with_header: bool = False) -> str:
    """Lines of CSV as `read_csv` takes them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if with_header:
        writer.writerow(COLUMNS)
    for each in entries:
        expires_at = None if each.expires_at is None else rfc3339(each.expires_at)
        texts = (each.address, each.reason, each.source, each.note or "")
        writer.writerow((*map(_guarded, texts), rfc3339(each.created_at), expires_at))
    return out.getvalue()


def _guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text
