"""`relay send`: one message by the HTTP API of a running server, or straight into the queue."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from relay.cli.composing import (
    STANDARD_INPUT,
    Request,
    attached,
    inlined,
    json_of,
    octets_of,
    pairs,
    request_of,
    text_of,
    value_of,
)
from relay.cli.options import DEFAULT_CONFIG, ConfigFile, settings_of
from relay.cli.posting import Answer, into_the_queue, to_a_server, url_of
from relay.errors import Fault, Kind, Problem, printable
from relay.message import Stream

Several = list[str] | None
FileOption = Annotated[Path | None, typer.Option(show_default=False)]


WITH_EML = {"key", "to", "eml", "dry_run", "idempotency_key", "url", "local", "as_json", "config"}


def send(
    context: typer.Context,
    key: Annotated[str, typer.Option(envvar="RELAY_KEY", help="The API key.", show_default=False)],
    sender: Annotated[str | None, typer.Option("--from", help="The From address, of a registered domain.")] = None,
    from_name: Annotated[str | None, typer.Option(help="The name shown for it.")] = None,
    domain: Annotated[str | None, typer.Option(help="Instead of --from: send as this domain's default sender.")] = None,
    to: Annotated[Several, typer.Option(help="A recipient. This and others in this list may be repeated.")] = None,
    cc: Annotated[Several, typer.Option(help="A recipient of a copy.")] = None,
    bcc: Annotated[Several, typer.Option(help="A recipient whom the others do not see.")] = None,
    reply_to: Annotated[Several, typer.Option(help="Where answers go.")] = None,
    return_path: Annotated[str | None, typer.Option(help="The envelope sender.")] = None,
    subject: Annotated[str | None, typer.Option(help="The subject.")] = None,
    text: Annotated[
        str | None, typer.Option(help="The text. Default: standard input, if nothing else says it.")
    ] = None,
    text_file: Annotated[Path | None, typer.Option(help="A file with the text; - is standard input.")] = None,
    html: Annotated[str | None, typer.Option(help="An HTML version.")] = None,
    html_file: Annotated[Path | None, typer.Option(help="A file with it; - is standard input.")] = None,
    header: Annotated[Several, typer.Option(help="A header of your own: 'NAME: VALUE'.")] = None,
    attach: Annotated[Several, typer.Option(help="A file to attach: PATH, or PATH;TYPE.")] = None,
    inline: Annotated[Several, typer.Option(help='A file of the HTML: CID=PATH, for <img src="cid:CID">.')] = None,
    calendar: Annotated[Path | None, typer.Option(help="A file with an iCalendar event.")] = None,
    tag: Annotated[str | None, typer.Option(help="A word to find and count the message by.")] = None,
    metadata: Annotated[Several, typer.Option(help="NAME=VALUE, told in every webhook, never in the mail.")] = None,
    stream: Annotated[Stream | None, typer.Option(help="What sort of mail it is.")] = None,
    track_opens: Annotated[bool | None, typer.Option(help="Whether opening it is noticed.")] = None,
    track_clicks: Annotated[bool | None, typer.Option(help="Whether clicks on links are noticed.")] = None,
    template: Annotated[str | None, typer.Option(help="A stored template: NAME, or NAME@VERSION.")] = None,
    var: Annotated[Several, typer.Option(help="A variable of it: NAME=VALUE; JSON where it is some.")] = None,
    variables: Annotated[Path | None, typer.Option(help="A JSON file with the variables.")] = None,
    missing: Annotated[
        Literal["error", "empty"] | None,
        typer.Option(help="What one that is not given is. Default: as the template says."),
    ] = None,
    send_at: Annotated[str | None, typer.Option(help="When, at most 30 days ahead: 2030-01-31T09:00:00Z.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same message under one key is sent once.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, and send nothing.")] = False,
    eml: Annotated[
        Path | None,
        typer.Option(
            help="A whole MIME message, sent as it is; - is standard input. --to adds nothing to "
            "its own recipients, but replaces them."
        ),
    ] = None,
    body: Annotated[
        Path | None, typer.Option("--request", help="A JSON file as the API takes it; options go before it.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="The server. Default: that of the configuration.")] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Write to the queue while no server runs; the next one sends it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer instead of the id.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Send one message, and print its id."""
    if eml is not None:
        _require_whole(context)
        query = [("recipient", each) for each in to or ()] + ([("dry_run", "true")] if dry_run else [])
        request = Request("message/rfc822", octets_of(eml), tuple(query))
    else:
        members = json_of(body, "--request") if body is not None else {}
        if not (text or text_file or html or html_file or template or {"text", "html", "template"} & members.keys()):
            text_file = STANDARD_INPUT
        named, _, version = (template or "").partition("@")
        said = {
            "from": sender,
            "from_name": from_name,
            "domain": domain,
            "to": to,
            "cc": cc,
            "bcc": bcc,
            "reply_to": reply_to,
            "return_path": return_path,
            "subject": subject,
            "text": text_of(text, text_file),
            "html": text_of(html, html_file),
            "headers": pairs("--header", header or (), ":"),
            "ical_event": text_of(None, calendar),
            "tag": tag,
            "metadata": pairs("--metadata", metadata or (), "="),
            "stream_type": None if stream is None else stream.value,
            "track_opens": track_opens,
            "track_clicks": track_clicks,
            "template": {"name": named, "version": _number(version)} if version else named,
            "variables": _variables(variables, var or []),
            "missing": missing,
            "scheduled_at": send_at,
            "dry_run": dry_run,
        }
        switches = {"track_opens", "track_clicks"}  # false is said of these as well
        members |= {name: value for name, value in said.items() if value or (value is False and name in switches)}
        files = [*map(attached, attach or ()), *map(inlined, inline or ())]
        request = asyncio.run(request_of(members, files))
    headers = {"Authorization": f"Bearer {_bare('--key', key)}"}
    if idempotency_key:
        headers["Idempotency-Key"] = _bare("--idempotency-key", idempotency_key)
    if local:
        answer = asyncio.run(into_the_queue(settings_of(config), request, headers))
    else:
        server = url_of(settings_of(config)) if url is None else (url, True)
        answer = asyncio.run(to_a_server(*server, request, headers))
    accepted = _accepted(answer)
    typer.echo(json.dumps(accepted, indent=2) if as_json else accepted.get("id") or "nothing was sent: all is well")


def _require_whole(context: typer.Context) -> None:
    """Raises Problem(BAD_REQUEST) for what would be passed over in silence beside a whole message."""
    given = [
        each.opts[0]
        for each in context.command.params
        if each.name not in WITH_EML and context.params.get(each.name or "") not in (None, [], ())
    ]
    if given:
        said = f"is a whole message, to which {' and '.join(given)} cannot add"
        raise Problem(Kind.BAD_REQUEST, faults=(Fault("--eml", said),))


def _bare(option: str, text: str) -> str:
    """What can stand in a header. Raises Problem(BAD_REQUEST)."""
    if not (text.isascii() and text.isprintable()):
        raise Problem(Kind.BAD_REQUEST, faults=(Fault(option, "takes printable ASCII"),))
    return text


def _number(text: str) -> int:
    if not text.isdecimal():
        raise Problem(Kind.BAD_REQUEST, faults=(Fault("--template", "takes NAME, or NAME@VERSION"),))
    return int(text)


def _variables(file: Path | None, said: list[str]) -> dict[str, Any]:
    """Of a file; those that are given one by one go before them."""
    found = {} if file is None else json_of(file, "--variables")
    return found | {name: value_of(text) for name, text in pairs("--var", said, "=").items()}


def _accepted(answer: Answer) -> dict[str, Any]:
    """What the server said. Raises Problem with its own words where that was a refusal."""
    status, said = answer
    if status < Kind.BAD_REQUEST.http:
        return said
    reason = next((kind for kind in Kind if kind.slug == said.get("reason")), Kind.BAD_REQUEST)
    faults = said.get("errors") or []
    lines = [f"{each.get('param')}: {each.get('message')}" for each in faults] or [str(said.get("message", "refused"))]
    raise Problem(reason, "\n".join(printable(line, 1000) for line in lines))


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(send)
