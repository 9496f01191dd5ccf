"""One line per event, in stable words, on standard error. Never content, never secrets, never addresses."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from relay.errors import printable

Value = str | int | float | bool | None
Format = Literal["text", "json"]

_logger = logging.getLogger("relay")


class _Formatter(logging.Formatter):
    def __init__(self, form: Format) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        level = record.levelname.lower()
        fields: dict[str, Value] = getattr(record, "fields", {})
        word = record.getMessage() if record.name == "relay" else f"{record.name} {record.getMessage()}"
        if record.exc_info:
            # The place, not the exception's text: that may quote content.
            fields = fields | {"exception": exception_place(record.exc_info[1])}
        if self._form == "json":
            return json.dumps({"at": at, "level": level, "event": word, **fields})
        return " ".join(
            [at, level, printable(word, 500), *(f"{name}={_text(value)}" for name, value in fields.items())]
        )


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = printable("-" if value is None else str(value), 500)
    return json.dumps(text) if not text or any(c in text for c in ' ="') else text


def exception_place(exception: BaseException | None) -> str:
    """Where an exception was raised and its type: enough to find the fault, without its text."""
    if exception is None:
        return ""
    trace = exception.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
    return f"{type(exception).__name__} at {place}"


def set_up(level: str = "info", form: Format = "text") -> None:
    """Send every line of this process, our own and the libraries', to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _logger.setLevel(level.upper())


def event(word: str, /, **fields: Value) -> None:
    """Something that happened as it should."""
    if _logger.isEnabledFor(logging.INFO):
        _logger.info(word, extra={"fields": fields})


def trouble(word: str, /, exception: BaseException | None = None, **fields: Value) -> None:
    """Something an operator should see."""
    if exception is not None:
        fields["exception"] = exception_place(exception)
    _logger.error(word, extra={"fields": fields})
