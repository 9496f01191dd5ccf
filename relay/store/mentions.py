"""Where a person is named besides as who sent or got mail: by senders, on lists, in records, in the directory."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, tuple_, update

from relay.sealing import Sealer, SealingError
from relay.store import smtp_failures
from relay.store.erasing import SLICE, last_of
from relay.store.schema import (
    deliveries,
    domains,
    idempotency,
    keys,
    messages,
    metadata,
    notices,
    recipients,
    stops,
    suppressions,
    template_versions,
    templates,
    tenants,
    webhooks,
)
from relay.store.schema import (
    smtp_failures as _sessions,
)
from relay.store.words import Words

_HEX = re.compile(r"\+([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Found:
    """Keys of rows that name the person, and where the next look begins. None: there are no more."""

    keys: tuple[tuple[Any, ...], ...]
    after: int | None


# -- what senders say of their mail ----------------------------------------------------------------------------------

_SAID = ("subject", "envid", "tag", "metadata")


def described(db: Connection, words: Words, after: int) -> Found:
    """Messages of which their sender said something with the address in it, among the next LOOK of all."""
    if (last := last_of(db, messages, after)) is None:
        return Found((), None)
    rows = db.execute(
        select(messages.c.id, *(messages.c[name] for name in _SAID)).where(
            messages.c.id > after,
            messages.c.id <= last,
            words.within(messages.c.tenant_id),
            words.maybe_in(*(messages.c[name] for name in _SAID)),
        )
    )
    return Found(tuple((row.id,) for row in rows if any(_said_of(words, row))), last)


def forget_described(db: Connection, words: Words, ids: Sequence[int]) -> None:
    for row in db.execute(select(messages).where(messages.c.id.in_(ids)).with_for_update()).all():
        gone = {name: None for name, is_named in zip(_SAID, _said_of(words, row), strict=True) if is_named}
        db.execute(update(messages).where(messages.c.id == row.id).values(gone))


def _said_of(words: Words, row: Any) -> list[bool]:
    texts = [words.are_in(getattr(row, name)) for name in _SAID[:-1]]
    return [*texts, words.are_in_json(row.metadata)]


def aliased(db: Connection, words: Words, after: int) -> Found:
    """Recipients whom their sender knows by the address (ORCPT, RFC 3461 section 4.2), among the next LOOK of all."""
    if (last := last_of(db, recipients, after)) is None:
        return Found((), None)
    rows = db.execute(
        select(recipients.c.id, recipients.c.orcpt)
        .join(deliveries, deliveries.c.id == recipients.c.delivery_id)
        .join(messages, messages.c.id == deliveries.c.message_id)
        .where(
            recipients.c.id > after,
            recipients.c.id <= last,
            words.within(messages.c.tenant_id),
            # Xtext writes some octets another way: only the domain is surely as it is.
            func.lower(recipients.c.orcpt).contains(words.person.domain, autoescape=True),
        )
    )
    return Found(tuple((row.id,) for row in rows if words.are_in(_plain(row.orcpt))), last)


def _plain(orcpt: str) -> str:
    """The address in an ORCPT, out of its xtext."""
    return _HEX.sub(lambda found: chr(int(found[1], 16)), orcpt.partition(";")[2])


def forget_aliases(db: Connection, ids: Sequence[int]) -> None:
    db.execute(update(recipients).where(recipients.c.id.in_(ids)).values(orcpt=None))


# -- lists and letters -----------------------------------------------------------------------------------------------


def suppressed(db: Connection, words: Words) -> int:
    """On how many suppression lists the person stands."""
    return db.scalar(select(func.count()).select_from(suppressions).where(_listed(words))) or 0


def unsuppress(db: Connection, words: Words) -> int:
    """Take the person off them: mail to it is accepted again."""
    return len(db.execute(delete(suppressions).where(_listed(words)).returning(suppressions.c.tenant_id)).all())


def forget_notes(db: Connection, words: Words) -> None:
    """What was noted beside the entries that stay."""
    db.execute(update(suppressions).where(_listed(words), suppressions.c.note.is_not(None)).values(note=None))


def _listed(words: Words) -> ColumnElement[bool]:
    return (suppressions.c.address == words.person.address) & words.within(suppressions.c.tenant_id)


def noticed(db: Connection, words: Words) -> list[int]:
    """Notices that wait, to the person or about it."""
    rows = db.execute(
        select(notices.c.id, notices.c.address, notices.c.subject, notices.c.text).where(
            words.within(notices.c.tenant_id), words.maybe_in(notices.c.address, notices.c.subject, notices.c.text)
        )
    )
    return [row.id for row in rows if any(map(words.are_in, row[1:]))]


# -- sessions and answers --------------------------------------------------------------------------------------------


def sessions(db: Connection, sealer: Sealer, words: Words, after: int) -> Found:
    """Failed SMTP sessions in which the address was said, among the next SLICE of all."""
    rows = db.execute(
        select(_sessions)
        .where(_sessions.c.id > after, words.within(_sessions.c.tenant_id))
        .order_by(_sessions.c.id)
        .limit(SLICE)
    ).all()
    named = [(row.id,) for row in rows if words.are_in(row.sentence) or _said(sealer, words, row.id, row.transcript)]
    return Found(tuple(named), rows[-1].id if rows else None)


def _said(sealer: Sealer, words: Words, row_id: int, sealed: bytes) -> bool:
    try:
        return words.are_in(smtp_failures.opened(sealer, row_id, sealed))
    except SealingError:  # nobody reads it any more
        return False


def answers(db: Connection, words: Words, opened: Callable[[str], str]) -> list[tuple[Any, ...]]:
    """Keys of the answers kept for idempotency that name the person. `opened` gives a sealed one in clear.

    One that is not sealed has nothing but ids and times in it.
    """
    key = (idempotency.c.tenant_id, idempotency.c.route, idempotency.c.key)
    rows = db.execute(
        select(*key, idempotency.c.answer).where(
            words.within(idempotency.c.tenant_id), idempotency.c.answer.startswith("sealed:")
        )
    )
    return [tuple(row[:3]) for row in rows if words.are_in_json(opened(row.answer))]


class Kept(Enum):
    """What is deleted whole where it names somebody: it goes by itself soon."""

    NOTICES = "notices"
    SESSIONS = "smtp_failures"
    ANSWERS = "idempotency"


def delete_rows(db: Connection, kept: Kept, found: Sequence[tuple[Any, ...]]) -> None:
    """By their primary keys, SLICE at most."""
    table = metadata.tables[kept.value]
    if found:
        db.execute(delete(table).where(tuple_(*table.primary_key.columns).in_(found)))


# -- what is written for good ----------------------------------------------------------------------------------------


class Record(Enum):
    """What stays, without the address: a table, its texts, and its columns of JSON."""

    AUDIT = ("audit", ("target", "actor"), ("changes",))
    EVENTS = ("events", (), ("data",))

    def __init__(self, table: str, texts: tuple[str, ...], jsons: tuple[str, ...]) -> None:
        self.table = metadata.tables[table]
        self.texts = texts
        self.jsons = jsons


def recorded(db: Connection, words: Words, record: Record, after: int) -> Found:
    """Rows of the audit, or of events, that may name the person, among the next LOOK of all."""
    table = record.table
    if (last := last_of(db, table, after)) is None:
        return Found((), None)
    maybe = words.maybe_in(*(table.c[name] for name in (*record.texts, *record.jsons)))
    which = select(table.c.id).where(table.c.id > after, table.c.id <= last, words.within(table.c.tenant_id), maybe)
    return Found(tuple((each,) for each in db.scalars(which)), last)


def blot_out(db: Connection, words: Words, record: Record, ids: Sequence[int]) -> int:
    """Put the mark in the place of the address. Returns in how many of the rows."""
    table, changed = record.table, 0
    for row in db.execute(select(table).where(table.c.id.in_(ids))).mappings().all():
        values = {name: words.without(row[name]) for name in record.texts}
        values |= {name: words.without_in_json(row[name]) for name in record.jsons}
        if any(values[name] != row[name] for name in values):
            db.execute(update(table).where(table.c.id == row["id"]).values(values))
            changed += 1
    return changed


# -- what others decide ----------------------------------------------------------------------------------------------


def in_directory(db: Connection, words: Words) -> list[str]:
    """Where the person is named by what an operator or a tenant set up: it is theirs to change, and is not touched."""
    found: list[str] = []
    for table, what, columns, tenant in (
        (tenants, "tenant", ("contact", "status_reason", "approval_note", "application", "appeal"), tenants.c.id),
        (domains, "domain", ("default_sender",), domains.c.tenant_id),
        (keys, "key", ("name", "sender_rule", "device"), keys.c.tenant_id),
        (webhooks, "webhook", ("name", "url"), webhooks.c.tenant_id),
    ):
        maybe = words.maybe_in(*(table.c[name] for name in columns))
        for row in db.execute(select(table).where(words.within(tenant), maybe)).mappings():
            named = [name for name in columns if words.are_in(row[name]) or _in_json(words, row[name])]
            found += [f"{what} {words.without(row['name'])}: {name}" for name in named]
    pages = (template_versions.c.subject, template_versions.c.text, template_versions.c.html)
    rows = db.execute(
        select(templates.c.name, template_versions.c.version, *pages)
        .join(template_versions, template_versions.c.template_id == templates.c.id)
        .where(words.within(templates.c.tenant_id), words.maybe_in(*pages))
    )
    found += [f"template {row.name}: version {row.version}" for row in rows if any(map(words.are_in, row[2:]))]
    rows = db.execute(select(stops).where(words.maybe_in(stops.c.said, stops.c.remedy)))
    return found + [f"stop of account {row.account}" for row in rows]


def _in_json(words: Words, text: str | None) -> bool:
    try:
        return words.are_in_json(text)
    except ValueError:
        return False
