"""The page for people: the captured mail, newest first, and one message opened. Trusts no byte of the mail."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template

from starlette.responses import HTMLResponse

from relay.sandbox.letter import Attachment, Opened, decode_words, open_mail
from relay.sandbox.mailbox import Captured, Mailbox, stamp
from relay.sandbox.mime import read_headers

_PER_PAGE = 100
_REFRESH = '<meta http-equiv="refresh" content="5">'
_PAGE = Template(files("relay.sandbox").joinpath("page.html").read_text(encoding="utf-8"))

# A frame from srcdoc inherits the policy, so the mail shown in it loads nothing from anywhere either.
_SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def show_list(mailbox: Mailbox, before: str = "") -> HTMLResponse:
    """A page of the list, from the newest or from what came before a message."""
    shown = mailbox.before(before, _PER_PAGE + 1)
    rows = "".join(map(_row, shown[:_PER_PAGE]))
    table = (
        f"<table><thead><tr><th>Received<th>Account<th>From<th>To<th>Subject</tr></thead><tbody>{rows}</tbody></table>"
    )
    older = (
        f'<p><a href="/?before={escape(shown[_PER_PAGE - 1].id)}">Older mail</a></p>' if len(shown) > _PER_PAGE else ""
    )
    count = f"<p>{len(mailbox):,} captured. Nothing here has left this machine.</p>"
    body = count + (table if shown else "<p class=empty>No mail yet.</p>") + older
    return _page("Captured mail", body, refresh=not before)


def show_mail(captured: Captured | None) -> HTMLResponse:
    """One message; 404 when it is not held (any more)."""
    if captured is None:
        return _page("Not here", '<p>No such message is held. <a href="/">All mail</a></p>', status=404)
    opened = open_mail(captured.raw)
    envelope = [
        ("Message id", captured.id),
        ("Received", stamp(captured.received_at)),
        ("Account", f"{captured.account}, {captured.region}"),
        ("Recipients", ", ".join(captured.recipients)),
        ("Configuration set", captured.configuration_set or "none"),
        ("Size", f"{len(captured.raw):,} bytes"),
    ]
    tags = list(captured.tags.items())
    body = (
        '<p><a href="/">All mail</a></p>'
        + _section("Envelope", _pairs(envelope))
        + (_section("Tags", _pairs(tags)) if tags else "")
        + _section("Headers", _pairs(opened.headers))
        + _contents(opened)
    )
    return _page(_subject(opened.headers), body)


def _contents(opened: Opened) -> str:
    parts = []
    if opened.text is not None:
        parts.append(_section("Text", f"<pre>{escape(opened.text)}</pre>"))
    if opened.html is not None:
        frame = f'<iframe sandbox="" title="HTML part" srcdoc="{escape(opened.html)}"></iframe>'
        parts.append(_section("HTML", frame))
    if opened.attachments:
        parts.append(_section("Attachments", f"<ul>{''.join(map(_attachment, opened.attachments))}</ul>"))
    return "".join(parts) or "<p class=empty>No body.</p>"


def _attachment(attachment: Attachment) -> str:
    kind = f"{escape(attachment.content_type)}, {attachment.size:,} bytes"
    return f"<li>{escape(attachment.name)} <span>{kind}</span></li>"


def _row(captured: Captured) -> str:
    headers = read_headers(captured.raw)
    recipients = ", ".join(captured.recipients[:3]) + (" ..." if len(captured.recipients) > 3 else "")
    link = f'<a href="/mail/{escape(captured.id)}">{escape(_subject(headers))}</a>'
    cells = [stamp(captured.received_at), captured.account, _decoded(headers, "from"), recipients]
    return "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells) + f"<td>{link}</tr>"


def _subject(headers: list[tuple[str, str]]) -> str:
    return _decoded(headers, "subject").strip() or "(no subject)"


def _decoded(headers: list[tuple[str, str]], wanted: str) -> str:
    return next((decode_words(value)[:200] for name, value in headers if name.lower() == wanted), "")


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>"


def _pairs(pairs: list[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}<dd>{escape(value)}" for name, value in pairs) + "</dl>"


def _page(title: str, body: str, refresh: bool = False, status: int = 200) -> HTMLResponse:
    content = _PAGE.substitute(title=escape(title), refresh=_REFRESH if refresh else "", body=body)
    return HTMLResponse(content.encode("utf-8", "replace"), status, _SAFE)
