"""Members of an event as they may be used: of the type they should be, short, one line, without addresses. Pure.

Whoever owns an SES account can put anything into its events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from relay.errors import Problem
from relay.feedback.envelopes import Json
from relay.message import Address
from relay.store.clock import moment_ms
from relay.store.heard import Person

MOST_TEXT = 500  # characters of what a receiving server said
MOST_LINK = 2000
MOST_PEOPLE = 50  # SES takes no more in one call (SES fact 1.2)

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_MOST_ID = 2**63 - 1
_ADDRESS = re.compile(r"<?[^\s<>@]{1,64}@[^\s<>@]{1,255}>?")
# In a link, where it is a part among others, escaped or not; /@name is none.
_LINKED = re.compile(r"[^\s<>@/?&#=;:,]{1,200}(?:@|%(?:25)*40)[a-z0-9.-]+", re.IGNORECASE)
_ZONE = re.compile(r"([+-]\d\d)(\d\d)$")  # +0000, which ISO 8601 writes with a colon


def part_of(event: Json, name: str) -> Json:
    found = event.get(name)
    return found if isinstance(found, Mapping) else {}


def first_of(people: object) -> Json:
    return people[0] if isinstance(people, list) and people and isinstance(people[0], Mapping) else {}


def people_of(found: object, member: str | None) -> tuple[Person, ...]:
    return tuple(dict.fromkeys(_each(found, member)))


def _each(found: object, member: str | None) -> Iterator[Person]:
    if not isinstance(found, list):
        return
    for each in found[:MOST_PEOPLE]:
        address = each.get(member) if member is not None and isinstance(each, Mapping) else each
        if isinstance(address, str) and (folded := _folded(address)) is not None:
            yield Person(folded)


def _folded(address: str) -> str | None:
    """In the form that is listed; SES may give an address with its name."""
    bare = address.rpartition("<")[2].partition(">")[0] if address.rstrip().endswith(">") else address
    try:
        return Address.parse(bare.strip()).folded
    except Problem:
        return None


def text_of(found: object) -> str | None:
    return found if isinstance(found, str) else None


def said(found: object) -> str | None:
    """A stranger's text as it may be kept and shown: one line, no control characters, no address."""
    return None if not isinstance(found, str) else _ADDRESS.sub("(address)", _line(found, MOST_TEXT))[:MOST_TEXT]


def link_of(found: object) -> str | None:
    """A link that was clicked, without the addresses in it: those who read are often named by it."""
    return None if not isinstance(found, str) else _LINKED.sub("(address)", _line(found, MOST_LINK))[:MOST_LINK]


def _line(text: str, most: int) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text[: most * 2]).split())


def whole_of(found: object) -> int | None:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return int(found) if 0 <= found < _MOST_ID else None


def moment_of(found: object) -> int | None:
    """Milliseconds since 1970 of what SES writes as 2026-01-01T00:00:00.000Z, of older sorts with +0000."""
    if not isinstance(found, str) or len(found) > 40:
        return None
    try:
        at = datetime.fromisoformat(_ZONE.sub(r"\1:\2", found))
    except ValueError:
        return None
    ms = moment_ms(at if at.tzinfo else at.replace(tzinfo=UTC))
    return ms if 0 <= ms < 1 << 42 else None  # ids and days are made of it


def number_of(tag: object) -> int | None:
    """A tag's only value, if it is one that we could have written: anyone may tag mail of the account."""
    if not isinstance(tag, Sequence) or isinstance(tag, str) or len(tag) != 1 or not isinstance(tag[0], str):
        return None
    number = int(tag[0]) if _NUMBER.fullmatch(tag[0]) else 0
    return number if 0 < number <= _MOST_ID else None
