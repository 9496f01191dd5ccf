"""One message, as `relay queue show` shows it: its deliveries, its recipients, and what happened to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from relay.cli.forecast import forecast
from relay.cli.options import moment, show
from relay.delivery import State
from relay.errors import Kind, Problem
from relay.routing.standing import hold_of
from relay.settings import Settings
from relay.store import listing, stops, timeline
from relay.store.beside import with_database
from relay.store.directory import snapshot
from relay.store.directory.snapshot import Snapshot
from relay.store.listing import MessageView

NAMED = 3  # recipients of an event that are named in the table


def show_whole(settings: Settings, public_id: str, *, as_json: bool) -> None:
    """Raises Problem(NOT_FOUND)."""
    found, directory = with_database(settings, lambda db, _: (listing.message(db, public_id), snapshot.read(db)))
    if found is None:
        raise Problem(Kind.NOT_FOUND, f"there is no message {public_id}")
    # No row has moved: the lane skips it, for as long as the directory says so.
    held = _held(settings, directory, found) if found.state == State.QUEUED.value else None
    ahead, expected = forecast(settings, directory, found) if held is None else (None, None)
    summary = {
        "id": found.public_id,
        "state": found.state if held is None else State.HELD.value,
        "held_because": _why(found, held),
        "deliveries_ahead": ahead,
        "estimated_send_at": moment(expected),
        "domain": found.domain,
        "mode": found.mode,
        "stream": found.stream,
        "protocol": found.protocol,
        "message_id": found.rfc_message_id,
        "size": found.size,
        "accepted_at": moment(found.accepted_at),
        "scheduled_at": moment(found.scheduled_at),
        "tag": found.tag,
        "metadata": found.metadata,
        "track_opens": found.track_opens,
        "track_clicks": found.track_clicks,
        "dsn_ret": found.ret,
        "dsn_envid": found.envid,
        "content_destroyed_at": moment(found.destroyed_at),
        "changes": list(found.ledger),
    }
    deliveries = [
        {
            "delivery": each.id,
            "state": each.state,
            "attempts": each.attempts,
            "failures": each.failures,
            "possible_duplicates": each.possible_duplicates,
            "account": each.account,
            "due_at": moment(each.due_at),
            "finished_at": moment(each.finished_at),
            "reason": each.kind,
            "detail": each.detail,
            "ses_message_id": each.ses_message_id,
        }
        for each in found.deliveries
    ]
    people = [
        {
            "recipient": person.address or "(forgotten)",
            "state": person.state,
            "updated_at": moment(person.updated_at),
            "dsn_notify": person.notify,
            "dsn_orcpt": person.orcpt,
        }
        for each in found.deliveries
        for person in each.recipients
    ]
    events = with_database(settings, lambda db, _: timeline.timeline(db, found))
    if as_json:
        told = [_event(each) | {"data": dict(each.details)} for each in events]
        typer.echo(json.dumps({**summary, "deliveries": deliveries, "recipients": people, "events": told}, indent=2))
        return
    for name, value in summary.items():
        if shown := _shown(value):
            typer.echo(f"{name:>20}  {shown}")
    for each in deliveries:
        show([{"of delivery": name, "value": value} for name, value in each.items()], as_json=False, nothing="")
    show(people, as_json=False, nothing="")
    show(
        [_event(each) | {"recipients": _names(each), "data": brief(each.details)} for each in events],
        as_json=False,
        nothing="",
    )


def _event(event: timeline.Event) -> dict[str, Any]:
    return {
        "at": moment(event.at),
        "event": event.name,
        "recipients": [person.address for person in event.recipients],
    }


def _names(event: timeline.Event) -> str:
    """Whom it is about; of very many, how many more."""
    names = [person.address or "(forgotten)" for person in event.recipients]
    return "\n".join([*names[:NAMED], *([f"and {len(names) - NAMED} more"] if len(names) > NAMED else [])])


def brief(details: Mapping[str, Any]) -> str:
    """What an event tells, in a line for each thing; others' words, so that what is not ASCII reaches no terminal."""
    said = {name: value for name, value in details.items() if value not in (None, "", [], {})}
    return "\n".join(
        f"{name}: {json.dumps(value)[1:-1] if isinstance(value, str) else json.dumps(value)}"
        for name, value in said.items()
    )


def _held(settings: Settings, directory: Snapshot, found: MessageView) -> str | None:
    """What the directory keeps the mail of its domain for, or SES does."""
    problem = hold_of(directory, settings.plans, found.domain)
    if problem is not None:
        return problem.detail
    account = directory.domains[found.domain].account
    stop = with_database(settings, lambda db, _: stops.of_domain(db, account, found.domain))
    return None if stop is None else stop.detail


def _why(found: MessageView, of_domain: str | None) -> str | None:
    """What holds a message: someone's hand, or what its domain's mail is held for."""
    return of_domain if found.held_because is None else found.held_because["detail"]


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return "; ".join(value)
        case dict():
            return json.dumps(value) if value else ""  # a sender's words: what is not ASCII must not reach a terminal
    return str(value)
