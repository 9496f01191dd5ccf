"""How many recipients came to what, by UTC day, sender domain, stream and tag: added up with what they came by."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from relay.store.rows import add
from relay.store.schema import FATES, tallies
from relay.store.usage import day_of

# Of one tenant on one day. What is counted under more has no tag: whoever tags each message with a number of its own
# makes no table of them here.
MOST_TAGS = 1000
MOST_ROWS = 10_000  # with a tag: of so many domains and streams that the tags alone bound nothing
UNTAGGED = ""

Key = tuple[int, int, str, str, str]  # tenant, day, domain, stream, tag


@dataclass(frozen=True, slots=True)
class Tallied:
    """Recipients that came to something, one of FATES, at a moment in milliseconds since 1970. `tag` "": none."""

    tenant_id: int
    at: int
    domain: str
    stream: str
    tag: str
    fate: str
    recipients: int = 1


def tally(db: Connection, items: Sequence[Tallied]) -> None:
    """Add them, in the transaction that makes it so. In any order and any batches the figures are the same.

    But for tags where a tenant uses too many: the first of the day are kept.
    """
    counted: dict[Key, Counter[str]] = defaultdict(Counter)
    for each in items:
        assert each.fate in FATES
        key = (each.tenant_id, day_of(each.at), each.domain, each.stream, each.tag)
        counted[key][each.fate] += each.recipients
    rows = _bounded(db, counted)
    names = tallies.primary_key.columns.keys()
    # In one order: two writers never wait for each other.
    add(
        db,
        tallies,
        [dict(zip(names, key, strict=True)) | {fate: rows[key][fate] for fate in FATES} for key in sorted(rows)],
        FATES,
    )


# -- tags ------------------------------------------------------------------------------------------------------------

_of_day = (tallies.c.tenant_id == bindparam("tenant_id"), tallies.c.day == bindparam("day"))
_among = tallies.c.tag.in_(bindparam("tags", expanding=True))
_there = select(tallies.c.domain, tallies.c.stream, tallies.c.tag).where(
    *_of_day,
    tallies.c.domain.in_(bindparam("domains", expanding=True)),
    tallies.c.stream.in_(bindparam("streams", expanding=True)),
    _among,
)
_used = select(func.count(tallies.c.tag.distinct()), func.count()).where(*_of_day, tallies.c.tag != UNTAGGED)
_known = select(tallies.c.tag).distinct().where(*_of_day, _among)


def _bounded(db: Connection, counted: Mapping[Key, Counter[str]]) -> Mapping[Key, Counter[str]]:
    """The same, without the tags that are too many."""
    tagged: dict[tuple[int, int], set[Key]] = defaultdict(set)
    for key in counted:
        if key[-1] != UNTAGGED:
            tagged[key[:2]].add(key)
    over = {key for (tenant_id, day), keys in sorted(tagged.items()) for key in _over(db, tenant_id, day, keys)}
    if not over:
        return counted
    found: dict[Key, Counter[str]] = defaultdict(Counter)
    for key, fates in counted.items():
        found[(*key[:-1], UNTAGGED) if key in over else key].update(fates)
    return found


def _over(db: Connection, tenant_id: int, day: int, keys: set[Key]) -> set[Key]:
    """Those of one tenant and day for which there is no room. What has a row already, as nearly all, costs one look."""
    which = {"tenant_id": tenant_id, "day": day}
    _, _, domains, streams, tags = (sorted(set(column)) for column in zip(*keys, strict=True))
    rows = db.execute(_there, which | {"domains": domains, "streams": streams, "tags": tags})
    new = sorted(keys - {(tenant_id, day, *row) for row in rows})
    if not new:
        return set()
    used, lines = db.execute(_used, which).one()
    known = set(db.scalars(_known, which | {"tags": sorted({key[-1] for key in new})}))
    over: set[Key] = set()
    for key in new:
        is_new = key[-1] not in known
        if lines >= MOST_ROWS or (is_new and used >= MOST_TAGS):
            over.add(key)
            continue
        known.add(key[-1])
        used += is_new
        lines += 1
    return over


# -- reading ---------------------------------------------------------------------------------------------------------

Figures = Mapping[str, int]  # of each of FATES
_sums = [func.sum(tallies.c[fate]).label(fate) for fate in FATES]


class By(Enum):
    """What figures may be told apart by, besides the day."""

    DOMAIN = "domain"
    STREAM = "stream"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class Span:
    """The days from the first to the last, counted from 1970, of one tenant. `scope`: the only domains there are."""

    tenant_id: int
    first: int
    last: int
    scope: frozenset[str] | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        found = [tallies.c.tenant_id == self.tenant_id, tallies.c.day >= self.first, tallies.c.day <= self.last]
        return found if self.scope is None else [*found, tallies.c.domain.in_(sorted(self.scope))]


def daily(db: Connection, span: Span) -> dict[int, Figures]:
    """By day; a day without any is not there."""
    which = select(tallies.c.day, *_sums).where(*span.conditions).group_by(tallies.c.day)
    return {row.day: _figures(row) for row in db.execute(which)}


def grouped(db: Connection, span: Span, by: By, most: int) -> dict[str, Figures]:
    """Of the whole span by domain, stream or tag: those with the most sent, and the first by name of those alike."""
    column = tallies.c[by.value]
    which = select(column.label("name"), *_sums).where(*span.conditions).group_by(column)
    rows = db.execute(which.order_by(func.sum(tallies.c.sent).desc(), column).limit(most))
    return {row.name: _figures(row) for row in rows}


def _figures(row: Any) -> Figures:
    return {fate: int(getattr(row, fate)) for fate in FATES}


def total(of: Iterable[Figures]) -> Figures:
    found = Counter[str](dict.fromkeys(FATES, 0))
    for each in of:
        found.update(each)
    return dict(found)


RATES = {"delivery": "delivered", "bounce": "bounced", "complaint": "complained"}


def rates(figures: Figures) -> dict[str, float | None]:
    """Of what was sent, from 0 to 1, whatever came of another day's mail; None where nothing was."""
    sent = figures["sent"]
    return {name: min(1.0, round(figures[fate] / sent, 6)) if sent else None for name, fate in RATES.items()}
