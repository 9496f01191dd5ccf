"""Looks over a template before the library does, whose patterns take very long on what is made to be slow."""

from __future__ import annotations

import re

from relay.templates.limits import LONGEST_MARKUP, MOST_MARKUP

WIDEST = 100  # characters of white space at either end of a tag
_OPENS = re.compile(r"\{[{%]")
_VERBATIM = re.compile(r"\{%-?\s{0,100}(raw|doc)\s{0,100}-?%\}")


def wrong_place(source: str) -> tuple[int, str] | None:
    """Where a template cannot be read for sure, and why; None for one that is fit to be parsed. Takes linear time."""
    at = count = 0
    while (found := _OPENS.search(source, at)) is not None:
        start = found.start()
        count += 1
        if count > MOST_MARKUP:
            return start, f"has more than {MOST_MARKUP} tags and variables"
        closing = "}}" if found[0] == "{{" else "%}"
        end = source.find(closing, start + 2, start + 2 + LONGEST_MARKUP)
        if end < 0:
            return start, f"{found[0]} is not closed by {closing} within {LONGEST_MARKUP} characters"
        inside = source[start + 2 : end].removeprefix("-").removesuffix("-")
        if len(inside) - len(inside.strip()) > WIDEST:
            return start, f"has more than {WIDEST} blanks at an end"
        at = end + 2
        if (verbatim := _VERBATIM.match(source, start)) is not None:
            name = verbatim[1]
            close = re.compile(rf"\{{%-?\s*end{name}\s*-?%\}}").search(source, at)
            if close is None:
                return start, f"{name} is not closed by end{name}"
            at = close.end()
    return None


def line_and_column(source: str, at: int) -> tuple[int, int]:
    """Both from 1, of a place in a text."""
    before = source[: max(at, 0)]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
