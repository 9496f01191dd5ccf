"""`relay send`: one message through a running server's HTTP API."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer

from relay.cli.options import DEFAULT_CONFIG, ConfigFile, settings_of
from relay.errors import Kind, Problem, printable


def send(
    sender: Annotated[str, typer.Option("--from", help="The From address, of a registered domain.")],
    to: Annotated[list[str], typer.Option(help="A recipient; may be given several times.")],
    key: Annotated[str, typer.Option(envvar="RELAY_KEY", help="The API key.", show_default=False)],
    subject: Annotated[str, typer.Option(help="The subject.")] = "Test by Relay",
    text: Annotated[str | None, typer.Option(help="The text. Default: what is read from standard input.")] = None,
    html: Annotated[str | None, typer.Option(help="An HTML version.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Send one message through the running server, and print its id."""
    http = settings_of(config).http
    if http is None:
        raise Problem(Kind.NOT_FOUND, "the server has no HTTP listener: set `http` in the configuration")
    if text is None and html is None:
        text = sys.stdin.read()
    body = {"from": sender, "to": to, "subject": subject, "text": text, "html": html}
    host = "127.0.0.1" if http.address.host == "0.0.0.0" else str(http.address).rpartition(":")[0]  # noqa: S104
    url = f"{'https' if http.tls else 'http'}://{host}:{http.address.port}/api/v1/emails"
    answer = asyncio.run(_post(url, key, {name: value for name, value in body.items() if value is not None}))
    typer.echo(answer["id"])


async def _post(url: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    """Raises Problem with the server's own words, or OVERLOADED where it does not answer."""
    import aiohttp

    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
            # The server is this machine's; its certificate may be self-signed.
            session.post(url, json=body, headers={"Authorization": f"Bearer {key}"}, ssl=False) as response,
        ):
            answer: dict[str, Any] = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        raise Problem(Kind.OVERLOADED, f"no answer from {url}: is the server running? ({type(exc).__name__})") from exc
    if "id" not in answer:
        reason = next((kind for kind in Kind if kind.slug == answer.get("reason")), Kind.BAD_REQUEST)
        raise Problem(reason, printable(str(answer.get("message", "refused")), 1000))
    return answer


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(send)
