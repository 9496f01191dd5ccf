"""`relay queue`: what waits, what became of a message, and what to do about it."""

from __future__ import annotations

import json
import re
from typing import Annotated

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, OfTenant, actor, moment, settings_of, show
from relay.delivery import State
from relay.errors import Kind, Problem, printable
from relay.message import Address, canonical_domain, public_id_of
from relay.routing.options import AHEAD
from relay.routing.standing import hold_of
from relay.store import hand, importing, listing, searching
from relay.store.beside import with_database
from relay.store.clock import milliseconds, now_ms
from relay.store.directory import snapshot, tenants
from relay.store.hand import ByHand
from relay.store.searching import Wanted

MINUTES = {"m": 1, "h": 60, "d": 24 * 60}

app = typer.Typer(help="The queue: list, show, retry, reschedule and cancel messages.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The message's id, in any of its forms.")]
At = Annotated[str, typer.Option("--at", help="When: a span such as 30m or 12h, or a time: 2026-03-01T12:00:00Z.")]


@app.command("list")
def list_messages(
    state: Annotated[State | None, typer.Option(help="Only messages in this state.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only of this sender domain.")] = None,
    tenant: OfTenant = None,
    recipient: Annotated[str | None, typer.Option(help="Only to this address.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    message_id: Annotated[str | None, typer.Option(help="Only with this Message-ID, its own or that of SES.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List messages, newest first."""

    to = None if recipient is None else Address.parse(recipient).folded
    found = with_database(
        settings_of(config),
        lambda db, sealer: searching.newest(
            db,
            Wanted(
                tenant_id=None if tenant is None else tenants.find(db, tenant).id,
                status=None if state is None else state.value,
                domain=None if domain is None else canonical_domain(domain),
                recipient=None if to is None else sealer.hash_address(to),
                tag=tag,
                message_id=message_id,
            ),
            limit,
        ),
    )
    show(
        [
            {
                "id": each.public_id,
                "accepted_at": moment(each.accepted_at),
                "domain": each.domain,
                "state": each.state,
                "recipients": sum(len(part.recipients) for part in each.deliveries),
                "attempts": sum(part.attempts for part in each.deliveries),
                "reason": next((part.kind for part in each.deliveries if part.kind), None),
            }
            for each in found
        ],
        as_json=as_json,
        nothing="There are no such messages.",
    )


@app.command("show")
def show_message(public_id: Id, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Show one message: its deliveries, its recipients, and every change that was made to it."""
    settings = settings_of(config)
    native = _native(public_id)
    found, directory = with_database(settings, lambda db, _: (listing.message(db, native), snapshot.read(db)))
    if found is None:
        raise Problem(Kind.NOT_FOUND, f"there is no message {native}")
    # No row has moved: the lane skips it, for as long as the directory says so.
    held = hold_of(directory, settings.plans, found.domain) if found.state == State.QUEUED.value else None
    summary = {
        "id": found.public_id,
        "state": found.state if held is None else State.HELD.value,
        "held_because": None if held is None else held.detail,
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
    if as_json:
        typer.echo(json.dumps({**summary, "deliveries": deliveries, "recipients": people}, indent=2))
        return
    for name, value in summary.items():
        if shown := _shown(value):
            typer.echo(f"{name:>20}  {shown}")
    for each in deliveries:
        show([{"of delivery": name, "value": value} for name, value in each.items()], as_json=False, nothing="")
    show(people, as_json=False, nothing="")


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


def _native(text: str) -> str:
    """The id that a message has here. Raises Problem(NOT_FOUND) for what is no id."""
    public_id = public_id_of(text)
    if public_id is None:
        raise Problem(Kind.NOT_FOUND, f"there is no message {printable(text)}")
    return public_id


def _move(item: ByHand, config: ConfigFile) -> int:
    (moved,) = with_database(settings_of(config), lambda db, _: hand.move_by_hand(db, [item]))
    return moved


@app.command()
def retry(public_id: Id, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Try a message again now: one that is queued, held, or of unknown outcome. SES may get the last kind twice."""
    typer.echo(f"{_move(ByHand(_native(public_id), State.QUEUED, by=actor()), config)} deliveries are due now")


@app.command()
def cancel(public_id: Id, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Cancel what has not been sent of a message."""
    typer.echo(f"{_move(ByHand(_native(public_id), State.CANCELLED, by=actor()), config)} deliveries are cancelled")


@app.command()
def reschedule(public_id: Id, at: At, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Send a message at another time: one that is queued, and not later than 30 days from now."""
    due_at = _due_at(at)
    moved = _move(ByHand(_native(public_id), State.QUEUED, due_at, by=actor()), config)
    typer.echo(f"{moved} deliveries are due at {moment(max(due_at, now_ms()))}")


def _due_at(text: str) -> int:
    """In milliseconds since 1970. Raises Problem(BAD_REQUEST)."""
    span = re.fullmatch(r"(\d{1,6})([mhd])", text)
    try:
        at = now_ms() + int(span[1]) * MINUTES[span[2]] * 60_000 if span else importing.moment(text)
    except ValueError as exc:
        raise Problem(Kind.BAD_REQUEST, f"--at: {exc}, or a span such as 30m or 12h") from exc
    if at > now_ms() + milliseconds(AHEAD):
        raise Problem(Kind.BAD_REQUEST, f"--at: is more than {AHEAD.days} days ahead")
    return at
