"""What a failure of a database means: whose it is, what its callers are told, and whether it can be written at all."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

from relay import log
from relay.errors import Kind, Problem, printable

# Of a SQLite file: what a connection is not trusted any more after. What a failed fsync left is not known, and the next
# one may say "done" (SMTP fact 1.1).
BROKEN = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PROTOCOL,
}
AWAY = BROKEN | {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
GONE = {"08", "57"}  # PostgreSQL's classes: connection exception, operator intervention


def is_away(fault: BaseException) -> bool:
    """Whether the database itself fails: no caller is to blame, and each by itself would only wait as long again."""
    if isinstance(fault, Problem):
        return fault.kind is Kind.STORAGE_DOWN
    if not isinstance(fault, DBAPIError):
        return isinstance(fault, OSError)
    code = str(getattr(fault.orig, "sqlstate", None) or "")
    return fault.connection_invalidated or sqlite_code(fault) in AWAY or code[:2] in GONE


def sqlite_code(fault: BaseException) -> int:
    """SQLite's primary result code; 0 for what is not SQLite's."""
    cause = fault.orig if isinstance(fault, DBAPIError) else fault
    return int(getattr(cause, "sqlite_errorcode", 0)) & 0xFF


def translated(fault: BaseException) -> BaseException:
    """A database's own trouble as a Problem: temporary to the sender, loud to the operator."""
    if not isinstance(fault, DBAPIError | OSError):
        return fault
    cause = fault.orig if isinstance(fault, DBAPIError) else fault  # no connection is the network's own error
    log.trouble("store.write_failed", fault, cause=type(cause).__name__)
    words = str(cause).lower()
    if "disk is full" in words or "no space left" in words or getattr(cause, "sqlstate", "") == "53100":
        return Problem(Kind.STORAGE_FULL)
    return Problem(Kind.STORAGE_DOWN if is_away(fault) else Kind.INTERNAL)


class Health:
    """Whether a database can be written, said when it changes. `fault` is for an operator; "" while it can."""

    def __init__(self) -> None:
        self.fault = ""

    def failed(self, fault: BaseException) -> None:
        words = printable(str(getattr(fault, "orig", None) or fault)) or type(fault).__name__
        if not self.fault:
            log.trouble("store.unavailable", reason=words)
        self.fault = words

    def wrote(self) -> None:
        if self.fault:
            self.fault = ""
            log.event("store.available")
