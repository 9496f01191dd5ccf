"""Runs a relay that does not wait for the disk: what a power-cut test must be able to catch.

In front of the command that starts one, as `limits` of tests.processes.Relay.
"""

from __future__ import annotations

import sys
from typing import Any

from sqlalchemy import Engine, event

from relay.cli.main import main
from relay.store import database

prepare = database._prepare_sqlite


def unsynced(engine: Engine, *, read_only: bool) -> None:
    prepare(engine, read_only=read_only)
    if not read_only:
        event.listen(engine, "connect", lambda driver, _record: hurry(driver))


def hurry(driver: Any) -> None:
    driver.execute("PRAGMA synchronous = OFF")


if __name__ == "__main__":
    database._prepare_sqlite = unsynced
    sys.argv = sys.argv[sys.argv.index("relay") :]
    main()
