"""`relay queue`: what waits, what became of a message, and what to do about it."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from relay.cli.lots import move_lot, require_one
from relay.cli.message import show_whole
from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, OfTenant, actor, moment, settings_of, show
from relay.cli.privacy import show_privacy
from relay.delivery import State
from relay.errors import Kind, Problem, printable
from relay.message import Address, canonical_domain, public_id_of
from relay.routing.options import AHEAD
from relay.store import duplicates, hand, importing, lots, searching
from relay.store.beside import with_database
from relay.store.clock import milliseconds, now_ms
from relay.store.directory import tenants
from relay.store.hand import ByHand, Verb
from relay.store.searching import Wanted
from relay.store.usage import date_of, day_of

MINUTES = {"m": 1, "h": 60, "d": 24 * 60}

HELP = "The queue: list and show messages; retry, reschedule, hold, release and cancel them."

app = typer.Typer(help=HELP, no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The message's id, in any of its forms.")]
MaybeId = Annotated[str | None, typer.Argument(help="The message's id, in any of its forms.")]
OfDomain = Annotated[str | None, typer.Option("--domain", help="Only of this sender domain.")]
Why = Annotated[str, typer.Option("--reason", help="Why, for whoever looks at it later.")]
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
def show_message(
    public_id: Id,
    privacy: Annotated[bool, typer.Option("--privacy", help="What of it is gone, what is left, and how long.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Show one message: its deliveries, its recipients, what happened to them, and every change that was made to it."""
    settings = settings_of(config)
    native = _native(public_id)
    if privacy:
        show_privacy(settings, native, as_json=as_json)
        return
    show_whole(settings, native, as_json=as_json)


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
    typer.echo(f"{_move(ByHand(_native(public_id), Verb.RETRY, by=actor()), config)} deliveries are due now")


@app.command()
def cancel(public_id: Id, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Cancel what has not been sent of a message."""
    typer.echo(f"{_move(ByHand(_native(public_id), Verb.CANCEL, by=actor()), config)} deliveries are cancelled")


@app.command()
def hold(
    public_id: MaybeId = None,
    domain: OfDomain = None,
    tenant: OfTenant = None,
    every: Annotated[bool, typer.Option("--all", help="All that is queued.")] = False,
    reason: Why = "",
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Hold what is queued, for 5 days at most: a message, or all of a domain, of a tenant, or of everyone."""
    require_one(public_id, domain, tenant, every)
    if public_id is not None:
        moved = _move(ByHand(_native(public_id), Verb.HOLD, by=actor(), reason=reason), config)
    else:
        moved = move_lot(settings_of(config), Verb.HOLD, domain=domain, tenant=tenant, kinds=(), reason=reason)
    typer.echo(f"{moved} deliveries are held")


@app.command()
def release(
    public_id: MaybeId = None,
    domain: OfDomain = None,
    tenant: OfTenant = None,
    every: Annotated[bool, typer.Option("--all", help="All that is held by hand.")] = False,
    restored: Annotated[bool, typer.Option(help="What a restore holds, which may have been sent before it.")] = False,
    reason: Why = "",
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Let what is held go on: a message, or what is held by hand of a domain, of a tenant, or of everyone."""
    require_one(public_id, domain, tenant, every or (restored and not (domain or tenant)))
    if public_id is not None:
        moved = _move(ByHand(_native(public_id), Verb.RELEASE, by=actor(), reason=reason), config)
    else:
        kinds = lots.RESTORED if restored else lots.BY_HAND
        moved = move_lot(settings_of(config), Verb.RELEASE, domain=domain, tenant=tenant, kinds=kinds, reason=reason)
    typer.echo(f"{moved} deliveries are queued")


@app.command("duplicates")
def list_duplicates(
    days: Annotated[int, typer.Option(help="Of so many UTC days, today among them.", min=1, max=3650)] = 30,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """How many deliveries Amazon SES may have got twice, by day and SES account."""
    first = day_of(now_ms()) - days + 1
    found = with_database(settings_of(config), lambda db, _: duplicates.since(db, first))
    show(
        [
            {"day": str(date_of(each.day)), "account": each.account, "possible_duplicates": each.deliveries}
            for each in found
        ],
        as_json=as_json,
        nothing="Nothing was sent of which SES may have had a copy already.",
    )


@app.command()
def reschedule(public_id: Id, at: At, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Send a message at another time: one that is queued, and not later than 30 days from now."""
    due_at = _due_at(at)
    moved = _move(ByHand(_native(public_id), Verb.RESCHEDULE, due_at, by=actor()), config)
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
