"""Looks at this machine alone: configuration, disk, database, master key, and what SES stopped. Asks nobody outside."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from relay.errors import Unusable
from relay.management.doctoring.checked import Checked, fine, red
from relay.routing.disk import Disk
from relay.settings import Settings
from relay.store import database, files
from relay.store.clock import rfc3339
from relay.store.examining import Examined, examine, try_master_key
from relay.store.stops import Stopped

MEGABYTE = 1 << 20


def look(settings: Settings) -> Iterator[Checked]:
    """In order. What cannot be looked at because of what came before is left out."""
    yield from _disk(settings)
    try:
        found = examine(settings)
    except (Unusable, OSError) as exc:
        yield _unusable("database", exc, "see that it is reached, and whole")
        return
    if found is None:
        yield red("database", "there is none yet", "start the server, `relay serve`: it makes one")
        return
    yield fine("database", f"it answers, with schema {found.schema}")
    yield _master_key(settings, found)
    if not found.stops:
        yield fine("sending", "SES stops no account and no domain")
    for stop in found.stops:
        yield _stopped(stop)


def is_served(settings: Settings) -> bool | None:
    """Whether a server runs on the database; None where the database does not tell, as with PostgreSQL."""
    url = files.database_url(settings)
    return database.is_served(database.sqlite_path(url)) if database.is_sqlite(url) else None


def _unusable(check: str, exc: Exception, otherwise: str) -> Checked:
    """The text of what is unusable says what is wrong, then mostly how to mend it."""
    said, _, remedy = str(exc).partition(": ")
    return red(check, said, remedy or otherwise)


def _disk(settings: Settings) -> Iterator[Checked]:
    url = files.database_url(settings)
    if not database.is_sqlite(url):
        return
    folder = database.sqlite_path(url).parent
    if not folder.is_dir():
        yield red("disk", f"the folder of the database, {folder}, does not exist", "create it")
        return
    said = f"{shutil.disk_usage(folder).free // MEGABYTE:,} MB are free in {folder}"
    if lack := Disk(folder, settings.limits.max_message_size).lack:
        yield red("disk", f"{said}: too little {lack}", "make room: mail is refused until there is")
        return
    yield fine("disk", said)


def _master_key(settings: Settings, found: Examined) -> Checked:
    if found.wrapped_key is None:
        return fine("master key", "nothing is sealed with one yet")
    try:
        try_master_key(settings, found.wrapped_key)
    except (Unusable, OSError) as exc:
        return _unusable("master key", exc, "put back the key that the database was made with")
    return fine("master key", "it fits the database")


def _stopped(stop: Stopped) -> Checked:
    check = f"account {stop.account}" + (f", domain {stop.domain}" if stop.domain else "")
    since = rfc3339(stop.since, "seconds")
    return red(check, f"stopped by SES since {since}: {stop.said}", stop.remedy or "see the SES console")
