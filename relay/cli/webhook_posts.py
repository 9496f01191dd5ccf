"""`relay webhook test`, `deliveries` and `replay`: what was posted to a webhook, how that went, and posting it anew."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from relay.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, actor, moment, settings_of, show, show_one
from relay.errors import Kind, Problem
from relay.sealing import Sealer
from relay.store import Connection, importing
from relay.store.beside import with_database
from relay.store.directory.installation import shown
from relay.store.directory.paging import Asked
from relay.store.webhooks import log, replay, rows
from relay.store.webhooks.log import Attempt, Post, PostState
from relay.store.webhooks.rows import Webhook

Hook = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, or its name where only one has it.")]
Delivery = Annotated[str | None, typer.Argument(metavar="[DELIVERY]", help="Only this one, with what was answered.")]


def register(app: typer.Typer) -> None:
    app.command("test")(try_out)
    app.command()(deliveries)
    app.command("replay")(post_again)


def try_out(webhook: Hook, as_json: AsJson = False, config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Let the running server post an event that says nothing, to see how that goes."""

    def try_it(db: Connection, sealer: Sealer) -> tuple[Webhook, Post]:
        found = rows.find(db, webhook)
        made = replay.try_out(db, sealer, actor(), shown(found.id))
        return found, log.post(db, sealer, found.id, shown(made))

    found, post = with_database(settings_of(config), try_it)
    if as_json:
        show_one(_whole(post), as_json=True)
    else:
        how = f"relay webhook deliveries {shown(found.id)} {shown(post.id)}"
        typer.echo(f"it is posted as soon as a server runs; `{how}` shows how that went")


def deliveries(
    webhook: Hook,
    delivery: Delivery = None,
    state: Annotated[PostState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.", min=1, max=10_000)] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the last page ended, as it said.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """List what was posted to a webhook, or is yet to be; or show one delivery with all its attempts."""
    settings = settings_of(config)
    if delivery is not None:
        post = with_database(settings, lambda db, sealer: log.post(db, sealer, rows.find(db, webhook).id, delivery))
        show_one(_whole(post), as_json=as_json)
        return
    page = with_database(settings, lambda db, _: log.posts(db, Asked(limit, cursor), rows.find(db, webhook).id, state))
    lines = [_whole(each) if as_json else _line(each) for each in page.items]
    show(lines, as_json=as_json, nothing="Nothing was posted to it.")
    if page.next_cursor is not None:
        typer.echo(f"There are more: --cursor {page.next_cursor}", err=True)


def _whole(post: Post) -> dict[str, Any]:
    return {
        "id": shown(post.id),
        "type": post.type,
        "state": post.state.value,
        "message": post.message,
        "occurred_at": moment(post.at),
        "next_attempt_at": moment(post.due_at),
        "delivered_at": moment(post.delivered_at),
        "dead_at": moment(post.dead_at),
        "attempts": [_attempt(each) for each in post.attempts],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "at": moment(attempt.at),
        "took_ms": attempt.took,
        "status": attempt.status,
        "problem": attempt.said or None,
        "answer": attempt.answer,
    }


def _line(post: Post) -> dict[str, Any]:
    last = post.attempts[-1] if post.attempts else None
    return {
        "id": shown(post.id),
        "occurred_at": moment(post.at),
        "type": post.type,
        "state": post.state.value,
        "attempts": len(post.attempts),
        "last": None if last is None else last.said or str(last.status),
        "next_attempt_at": moment(post.due_at),
    }


def post_again(
    webhook: Hook,
    delivery: Annotated[str | None, typer.Argument(metavar="[DELIVERY]", help="Only this one.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="Of events since then: 2026-03-01T12:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Of events before then.")] = None,
    delivered: Annotated[bool, typer.Option("--delivered", help="What was delivered, too: else what is dead.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Post a delivery anew, or all that were given up. Receivers know what they have by its `webhook-id`."""
    if delivery is not None and (since or until or delivered):
        raise Problem(Kind.BAD_REQUEST, "give a delivery, or a span of time, not both")
    begin, end = _moment(since, "--from"), _moment(until, "--to")
    count = with_database(
        settings_of(config),
        lambda db, _: replay.replay(
            db, actor(), webhook, post=delivery, since=begin, until=end, only_dead=not delivered
        ),
    )
    if as_json:
        show_one({"replayed": count}, as_json=True)
    else:
        typer.echo(f"{count} deliver{'y goes' if count == 1 else 'ies go'} out again")


def _moment(text: str | None, option: str) -> int | None:
    """In milliseconds since 1970. Raises Problem(BAD_REQUEST)."""
    try:
        return None if text is None else importing.moment(text)
    except ValueError as exc:
        raise Problem(Kind.BAD_REQUEST, f"{option}: {exc}") from exc
