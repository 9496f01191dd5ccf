"""The domains that the file declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from relay.config import Settings
from relay.declared import DomainChange, DomainFields
from relay.errors import Fault
from relay.management.declaring.plan import (
    Change,
    Differences,
    Shown,
    Step,
    Verb,
    additions,
    differences,
    settle,
    whole,
)
from relay.message import Stream
from relay.store import Connection
from relay.store.directory import domains
from relay.store.directory.audit import FILE
from relay.store.directory.domains import SenderDomain


def steps(db: Connection, settings: Settings) -> Iterator[Step | Fault]:
    known = {row.name: row for row in domains.every(db)}
    for name, said in settings.domains.items():
        yield from _domain(name, said.model_copy(update={"account": settings.account_of(said)}), known.get(name))
    for row in known.values():
        if row.is_declared and row.name not in settings.domains:
            yield _forgotten(row)


def _domain(name: str, said: DomainFields, row: SenderDomain | None) -> Iterator[Step | Fault]:
    what, after = f"domain {name}", _said(said)
    if row is None:
        added = Change(Verb.ADD, what, additions(after))
        yield Step(added, lambda db: domains.add(db, FILE, name, said, is_vouched=True))
        return
    changed = differences(_is(row), after)
    if changed.keys() & {"tenant", "mode"}:
        yield from _stays(row, changed) if row.is_claimed else [_displacement(name, said, changed)]
        return
    fields = whole(DomainChange, said)

    def change(db: Connection) -> None:
        domains.change(db, FILE, name, fields)
        if "mail_from" in changed:
            domains.move_mail_from(db, FILE, row, said.mail_from)

    yield from settle(what, row, changed, take_over=lambda db: domains.take_over(db, FILE, row), change=change)


def _displacement(name: str, said: DomainFields, changed: Differences) -> Step:
    """A claim that nobody has proven does not stand against the operator's word."""

    def displace(db: Connection) -> None:
        domains.remove(db, FILE, name)
        domains.add(db, FILE, name, said, is_vouched=True)

    return Step(Change(Verb.CHANGE, f"domain {name}", {"declared": (False, True), **changed}), displace)


def _stays(row: SenderDomain, changed: Differences) -> Iterator[Fault]:
    path = f"domains.{row.name}"
    if "tenant" in changed:
        said = f"{row.name} belongs to the tenant {row.tenant}, and that stays: remove it there before it moves"
        yield Fault(f"{path}.tenant", said)
    if "mode" in changed:
        yield Fault(f"{path}.mode", domains.immutable_mode(row))


def _forgotten(row: SenderDomain) -> Step:
    return Step(Change(Verb.DISABLE, f"domain {row.name}", {}), lambda db: domains.let_go(db, FILE, row))


def _is(domain: SenderDomain) -> Shown:
    return {
        "tenant": domain.tenant,
        "account": domain.account,
        "mode": domain.mode.value,
        "include_subdomains": domain.include_subdomains,
        "configuration_sets": _by_stream(domain.configuration_sets),
        "streams": _streams(domain.streams),
        "default_sender": domain.default_sender,
        "ses_tenant": domain.ses_tenant,
        "recipients_per_call": domain.recipients_per_call,
        "mail_from": domain.mail_from,
    }


def _said(fields: DomainFields) -> Shown:
    return {
        "tenant": fields.tenant,
        "account": fields.account,
        "mode": fields.mode.value,
        "include_subdomains": fields.include_subdomains,
        "configuration_sets": _by_stream(fields.sets),
        "streams": _streams(fields.streams),
        "default_sender": fields.default_sender,
        "ses_tenant": fields.ses_tenant,
        "recipients_per_call": fields.recipients_per_call,
        "mail_from": fields.mail_from,
    }


def _by_stream(sets: Mapping[Stream, str]) -> dict[str, str]:
    return {stream.value: sets[stream] for stream in Stream if stream in sets}


def _streams(streams: Iterable[Stream]) -> list[str]:
    allowed = set(streams)
    return [stream.value for stream in Stream if stream in allowed]
