"""`relay queue show ID --privacy`: what of a message is gone, what is left, and until when."""

from __future__ import annotations

from typing import Any

from relay.cli.options import moment, show_one
from relay.errors import Kind, Problem
from relay.settings import Settings
from relay.store import database, files, proving
from relay.store.beside import with_database
from relay.store.clock import milliseconds
from relay.store.proving import Proof


def show_privacy(settings: Settings, public_id: str, *, as_json: bool) -> None:
    """Empties SQLite's log first, so that what is said of the rows is true of the files. Raises Problem(NOT_FOUND)."""
    found = with_database(settings, lambda db, _: proving.prove(db, public_id))
    if found is None:
        raise Problem(Kind.NOT_FOUND, f"there is no message {public_id}")
    show_one(
        {"id": public_id, "mode": found.mode} | _content(found, settings) | _rows(found, settings), as_json=as_json
    )


def _content(found: Proof, settings: Settings) -> dict[str, Any]:
    url = files.database_url(settings)
    path = database.sqlite_path(url) if database.is_sqlite(url) else None
    emptied_at = None if path is None else proving.empty_log(path)
    return {
        "content": _fate(found),
        "content_destroyed_at": moment(found.destroyed_at),
        "content_key_left": found.has_key,
        "content_parts_left": found.parts,
        "content_until": moment(found.keep_until) if found.has_key else None,
        "attachments_until": moment(found.slim_at) if found.has_key else None,
        "log": _log(path is not None, emptied_at),
        "log_emptied_at": moment(emptied_at),
        "in_backups": proving.backups(path, found.accepted_at, found.destroyed_at) if path else [],
    }


def _fate(found: Proof) -> str:
    if not found.has_key:
        gone = "nothing of it is left" if not found.parts else "without the key nobody can read what is left of it"
        return f"destroyed: {gone}"
    if found.is_open:
        return "kept, sealed, until the message is final" + (", and for its time" if found.keep_until else "")
    return "kept, sealed"


def _log(is_sqlite: bool, emptied_at: int | None) -> str:
    if not is_sqlite:
        return "PostgreSQL keeps dead rows until vacuum, and its WAL for as long as it is archived"
    if emptied_at is None:
        return "could not be emptied just now, because somebody reads: it may hold what was deleted since it last was"
    return "is empty: it holds nothing of what was deleted before"


def _rows(found: Proof, settings: Settings) -> dict[str, Any]:
    until = found.accepted_at + milliseconds(settings.retention.log)
    return {
        "recipients": found.recipients,
        "recipients_with_address": found.addresses,
        "recipients_with_hash": found.hashes,
        "events": found.events,
        "empty": list(found.empty),
        "left": list(found.left),
        "rows_until": moment(max(until, found.keep_until or 0) if found.has_key else until),
    }
