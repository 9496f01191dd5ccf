"""Look-ups on SQLite by the driver itself, on the loop's own thread: through an engine each costs a hundredfold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, Select


class HotRow:
    """One statement that finds a row or none.

    It reads and ends by itself: no snapshot is held, and the log can be emptied.
    """

    def __init__(self, engine: Engine, statement: Select[Any]) -> None:
        self._driver = engine.raw_connection()
        compiled = statement.compile(engine)
        self._names = compiled.positiontup or []
        self._statement = str(compiled)

    def find(self, values: Mapping[str, object]) -> Any:
        """The columns of the row, in order; None where there is none."""
        cursor = self._driver.cursor()
        row = cursor.execute(self._statement, [values[name] for name in self._names]).fetchone()
        cursor.close()
        return row

    def close(self) -> None:
        self._driver.close()
