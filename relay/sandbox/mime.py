"""Reads what SES reads of a raw message: its header fields, the mailboxes in them, its longest line.

By hand rather than with the email package: this is the sandbox's hot path, and it must not choke on hostile bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

Headers = list[tuple[str, str]]

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_NEXT_FIELD = re.compile(r"\r?\n(?![ \t])")
_FOLD = re.compile(r"\r?\n")
_ADDRESS = r'[^\s"()<>,;:@\\]+@[^\s"()<>,;:@\\]+'
_PLAIN = re.compile(rf'({_ADDRESS})|[^"()<>,;:@\\]*<({_ADDRESS})>')
_LEXEME = re.compile(r'"(?:[^"\\]|\\.)*"|<[^<>]*>|[,;:()]|\\.|[^",;:()<\\]+|.', re.DOTALL)


def read_headers(raw: bytes) -> Headers:
    """The header fields in order, unfolded (RFC 5322 section 2.2.3). A line that is no field is skipped."""
    if raw.startswith((b"\r\n", b"\n")):
        return []
    end = _BLANK_LINE.search(raw)
    head = (raw if end is None else raw[: end.start()]).decode("utf-8", "replace")
    fields = []
    for line in _NEXT_FIELD.split(head):
        name, colon, value = line.partition(":")
        if colon:
            fields.append((name.rstrip(), _FOLD.sub("", value).strip() if "\n" in value else value.strip()))
    return fields


def has_longer_line(raw: bytes, limit: int) -> bool:
    """Whether a line, its line end included, exceeds the limit in bytes. Hops from line end to line end."""
    start = 0
    while start + limit <= len(raw):
        end = raw.rfind(b"\n", start, start + limit)
        if end < 0:
            return True
        start = end + 1
    return False


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """The addresses of one address list (RFC 5322 section 3.4), display names and comments dropped."""

    addresses: tuple[str, ...]
    has_group: bool = False


def read_mailboxes(value: str) -> Mailboxes:
    """The mailboxes of a From, To or other address field. Wrong syntax gives an address that is no address."""
    plain = _PLAIN.fullmatch(value.strip())
    if plain is not None:
        return Mailboxes((plain[1] or plain[2],))
    found: list[str] = []
    words: list[str] = []
    has_group = False
    for lexeme in [*_without_comments(_LEXEME.findall(value)), ","]:
        if lexeme in {",", ";"}:
            angles = [word for word in words if word[0] == "<" and word[-1] == ">"]
            found.append(angles[0].strip("<> \t") if angles else "".join(words).strip())
            words = []
        elif lexeme == ":":  # what stood before it is a group's name
            words, has_group = [], True
        else:
            words.append(lexeme)
    return Mailboxes(tuple(address for address in found if address), has_group)


def _without_comments(lexemes: list[str]) -> Iterator[str]:
    depth = 0
    for lexeme in lexemes:
        if lexeme in {"(", ")"}:
            depth = max(0, depth + (1 if lexeme == "(" else -1))
        elif not depth:
            yield lexeme
