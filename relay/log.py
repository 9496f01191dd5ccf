"""One line per event, in stable words, on standard error. Never content, never secrets, never addresses."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

from relay.errors import printable

Value = str | int | float | bool | None
Format = Literal["text", "json"]

_logger = logging.getLogger("relay")
_PLAIN = re.compile(r"[!#-<>-~]{1,500}")  # what needs no quotes: printable ASCII without space, quotation mark and =


class _Formatter(logging.Formatter):
    def __init__(self, form: Format) -> None:
        super().__init__()
        self._form = form
        self._second = 0
        self._second_text = ""

    def _moment(self, at: float) -> str:
        second = int(at)
        if second != self._second:
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = second
        return f"{self._second_text}.{int((at - second) * 1000):03d}Z"

    def format(self, record: logging.LogRecord) -> str:
        at = self._moment(record.created)
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


class _Lines(logging.Handler):
    """Writes what is said in one turn of the event loop in one go, at its end: a line each would be a system call each.

    Trouble, and what is said where no loop runs, is written at once, after what waits; the rest at exit.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._waiting: list[str] = []
        self._due_on: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append(self.format(record))
            loop = None if record.levelno > logging.INFO else _running_loop()
            if loop is None:
                self.flush()
            elif loop is not self._due_on:
                self._due_on = loop
                loop.call_soon(self.flush)
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        self.acquire()
        try:
            lines, self._waiting, self._due_on = self._waiting, [], None
            if lines:
                self._stream.write("\n".join([*lines, ""]))
                self._stream.flush()
        except (OSError, ValueError):  # closed: there is nobody left to tell
            pass
        finally:
            self.release()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _text(value: Value) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
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
    handler = _Lines(sys.stderr)
    handler.setFormatter(_Formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _logger.setLevel(level.upper())


def event(word: str, /, **fields: Value) -> None:
    """Something that happened as it should."""
    if _logger.isEnabledFor(logging.INFO):
        # By hand: Logger.info() would look for the line of code it was called from.
        _logger.handle(_logger.makeRecord("relay", logging.INFO, "", 0, word, (), None, extra={"fields": fields}))


def detail(word: str, /, **fields: Value) -> None:
    """Something that happened as it should, and happens too often to be told unasked."""
    if _logger.isEnabledFor(logging.DEBUG):
        _logger.debug(word, extra={"fields": fields})


def trouble(word: str, /, exception: BaseException | None = None, **fields: Value) -> None:
    """Something an operator should see."""
    if exception is not None:
        fields["exception"] = exception_place(exception)
    _logger.error(word, extra={"fields": fields})
