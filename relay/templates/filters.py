"""The filters that a template may use: the library's, each measured before and after, and a few of our own.

Ours replace what is slow on purpose-made input, or reads the machine's time zone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from liquid.exceptions import LiquidError
from liquid.undefined import is_undefined

from relay.templates.limits import LONGEST_LIST, LONGEST_RESULT
from relay.templates.meter import PER_STEP, Meter, TooMuch, Unfit

Filter: TypeAlias = Callable[..., Any]
FAILURES = (LiquidError, ArithmeticError, ValueError, TypeError, LookupError, AttributeError, RecursionError)

# fmt: off
TAKEN = {
    "abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus", "round", "times",
    "append", "capitalize", "downcase", "escape", "escape_once", "escapejs", "lstrip", "newline_to_br", "prepend",
    "remove", "remove_first", "remove_last", "replace", "replace_first", "replace_last", "rstrip", "safe", "slice",
    "split", "squish", "strip", "strip_newlines", "truncate", "truncatewords", "upcase", "url_decode", "url_encode",
    "base64_decode", "base64_encode", "base64_url_safe_decode", "base64_url_safe_encode",
    "compact", "concat", "default", "find", "find_index", "first", "has", "join", "last", "map", "reject", "reverse",
    "size", "sort", "sort_natural", "sum", "uniq", "where",
}
# fmt: on
LONGEST_FORMAT = 100  # characters of a moment, and of how it is to be written


def measured(filters: Mapping[str, Filter]) -> dict[str, Filter]:
    """What of the library's filters is taken, with ours."""
    return {name: _measured(name, each) for name, each in ({name: filters[name] for name in TAKEN} | OWN).items()}


def _measured(name: str, inner: Filter) -> Filter:
    ahead = _AHEAD.get(name)
    needs_environment = getattr(inner, "with_environment", False)

    def outer(value: object, *given: object, context: Any, **named: object) -> object:
        meter: Meter = context.meter
        for each in (value, *given, *named.values()):
            meter.weigh(each)
        if needs_environment:
            named["environment"] = context.env
        try:
            if ahead is not None:
                ahead(meter, value, *given)
            found = inner(value, *given, **named)
        except FAILURES:
            raise Unfit(f"the filter {name} cannot take what it is given") from None
        meter.weigh(found)
        return found

    outer.with_context = True  # type: ignore[attr-defined]
    return outer


# -- what would be large, before it is -------------------------------------------------------------------------------


def _require(size: int) -> None:
    if size > LONGEST_RESULT:
        raise TooMuch(f"makes more than {LONGEST_RESULT} characters of a value")


def _members(value: object) -> int:
    """How many there are in lists within lists, which the library makes one list of."""
    count = 0
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Sequence) and not isinstance(each, str):
            count += len(each)
            if not isinstance(each, range):
                waiting.extend(inner for inner in each if isinstance(inner, list | tuple))
    return count


def _replaced(_: Meter, value: object, sought: object = "", by: object = "") -> None:
    text = str(value)
    _require(len(text) + text.count(str(sought)) * len(str(by)))


def _joined(meter: Meter, value: object, separator: object = " ") -> None:
    _require(meter.weigh(value) + _members(value) * len(str(separator)))


def _split(_: Meter, value: object, separator: object = "") -> None:
    text, mark = str(value), "" if separator is None else str(separator)
    if (text.count(mark) if mark else len(text)) > LONGEST_LIST:
        raise TooMuch(f"makes a list of more than {LONGEST_LIST} members")


def _compared(meter: Meter, value: object, *_: object) -> None:
    """Each with each."""
    meter.spend(_members(value) ** 2 // PER_STEP)


def _sought_backwards(meter: Meter, value: object, sought: object = "", *_: object) -> None:
    """Which takes the product of both lengths at worst."""
    meter.spend(len(str(value)) * len(str(sought)) >> 10)


_AHEAD: dict[str, Callable[..., None]] = {
    "replace": _replaced,
    "join": _joined,
    "split": _split,
    "uniq": _compared,
    "remove_last": _sought_backwards,
    "replace_last": _sought_backwards,
}


# -- our own ---------------------------------------------------------------------------------------------------------


def strip_html(value: object) -> str:
    """Without tags. What is between them stays."""
    text = "" if value is None else str(value)
    pieces: list[str] = []
    at = 0
    while (start := text.find("<", at)) >= 0 and (end := text.find(">", start)) >= 0:
        pieces.append(text[at:start])
        at = end + 1
    return "".join([*pieces, text[at:]])


def date(value: object, form: object = "") -> str:
    """A moment, written by strftime: ISO 8601, seconds since 1970 in UTC, or `now`. What is none stays as it is."""
    written = "" if value is None else str(value)
    pattern = "" if is_undefined(form) or form is None else str(form)
    if not pattern or len(written) > LONGEST_FORMAT or len(pattern) > LONGEST_FORMAT:
        return written
    found = _moment(written)
    return written if found is None else found.strftime(pattern)


def _moment(text: str) -> datetime | None:
    if text in {"now", "today"}:
        return datetime.now(UTC)
    try:
        if text.isascii() and text.isdecimal():
            return datetime.fromtimestamp(int(text), UTC)
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None


OWN: dict[str, Filter] = {"strip_html": strip_html, "date": date}
