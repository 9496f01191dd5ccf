"""Where an installation keeps its database, its master key and what else it makes."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL

from relay.config import Settings
from relay.sealing import MasterKey
from relay.store import database


def database_url(settings: Settings) -> URL:
    return database.parse_url(settings.database, settings.folder)


def state_folder(settings: Settings) -> Path:
    """Beside the SQLite database, else beside the configuration."""
    url = database_url(settings)
    return database.sqlite_path(url).parent if database.is_sqlite(url) else settings.folder


def master_key(settings: Settings) -> MasterKey:
    """The configured key, or the one in `master.key` in the state folder, made if need be. Raises SealingError."""
    if settings.master_key is not None:
        return MasterKey.decode(settings.master_key.get_secret_value())
    return MasterKey.read_or_create(state_folder(settings) / "master.key")
