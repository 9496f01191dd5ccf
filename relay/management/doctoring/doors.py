"""Knocks at the server's own doors, from this machine: do they answer, and with which certificate?"""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any

from relay.certificates import Shown, read_shown
from relay.config import Settings, Tls
from relay.management.doctoring.checked import Checked, fine, red, skipped, warning
from relay.settings import SmtpListener
from relay.values import Endpoint

WITHIN = 10.0  # seconds for one door
SOON = timedelta(days=14)  # until a certificate ends
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to knock at a door that is open everywhere
# What `/readyz` says of accounts and domains is looked at here by itself.
_ELSEWHERE = ("account ", "quota of ", "standing of ", "feedback ", "events of ")


class _Wrong(Exception):
    """What answers is not the server, or not as it is configured."""

    def __init__(self, said: str, remedy: str) -> None:
        super().__init__(said)
        self.remedy = remedy


async def look(settings: Settings) -> list[Checked]:
    """All doors at once, in their order in the configuration. For a server that runs."""
    knocks = [_smtp(each, settings.hostname) for each in settings.smtp.listeners]
    if settings.http is not None:
        knocks.append(_http(settings.http.address, settings.hostname, has_tls=settings.http.tls))
    return [each for found in await asyncio.gather(*knocks) for each in found]


# -- SMTP ------------------------------------------------------------------------------------------------------------


async def _smtp(listener: SmtpListener, hostname: str) -> list[Checked]:
    check = f"SMTP {listener.address}"
    if listener.address.port == 0:
        return [skipped(check, "the system chooses its port, and only the server knows it")]
    try:
        async with asyncio.timeout(WITHIN):
            certificate = await _greeted(listener)
    except _Wrong as exc:
        return [red(check, str(exc), exc.remedy)]
    except (TimeoutError, OSError, EOFError) as exc:
        return [_closed(check, exc)]
    return [fine(check, "it answers"), *_of_certificate(check, certificate, hostname)]


async def _greeted(listener: SmtpListener) -> bytes | None:
    """The certificate, None without TLS. Raises OSError, EOFError and _Wrong."""
    is_implicit = listener.tls is Tls.IMPLICIT
    reader, writer = await asyncio.open_connection(
        _reached(listener.address), listener.address.port, ssl=_unchecked() if is_implicit else None
    )
    try:
        if not (await reader.readuntil(b"\n")).startswith(b"2"):
            raise _Wrong("it takes nobody now", "see the server's log: it may be full, or stopping")
        if listener.tls is Tls.STARTTLS:
            offered = await _said(reader, writer, b"EHLO localhost\r\n")
            if b"STARTTLS" not in offered:
                raise _Wrong("it does not offer STARTTLS", "restart the server: the configuration says `tls: starttls`")
            await _said(reader, writer, b"STARTTLS\r\n")
            await writer.start_tls(_unchecked())
        shown: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        found = None if shown is None else shown.getpeercert(binary_form=True)
        with suppress(OSError, EOFError):
            await _said(reader, writer, b"QUIT\r\n")
        return found
    finally:
        writer.close()


async def _said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: bytes) -> bytes:
    """A whole reply (RFC 5321 section 4.2.1: a hyphen after the code where more follows)."""
    writer.write(command)
    await writer.drain()
    reply = b""
    while True:
        line = await reader.readuntil(b"\n")
        reply += line
        if line[3:4] != b"-":
            return reply


# -- HTTP ------------------------------------------------------------------------------------------------------------


async def _http(address: Endpoint, hostname: str, *, has_tls: bool) -> list[Checked]:
    check = f"HTTP {address}"
    if address.port == 0:
        return [skipped(check, "the system chooses its port, and only the server knows it")]
    url = f"{'https' if has_tls else 'http'}://{_authority(address)}"
    try:
        certificate = await _certificate(address) if has_tls else None
        answer = await asyncio.to_thread(_fetch, f"{url}/healthz")
        ready = await asyncio.to_thread(_fetch, f"{url}/readyz")
    except (ValueError, HTTPException):
        return [red(check, "what answers there is not Relay", f"see what else listens on {address}")]
    except (TimeoutError, OSError) as exc:
        return [_closed(check, exc)]
    if answer.get("status") != "ok":
        return [red(check, "what answers there is not Relay", f"see what else listens on {address}")]
    return [fine(check, "it answers"), *_of_certificate(check, certificate, hostname), *_told(ready)]


def _fetch(url: str) -> dict[str, Any]:
    """JSON, whatever the status. Raises OSError, ValueError and HTTPException."""
    ours = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_unchecked())
    )
    try:
        with ours.open(url, timeout=WITHIN) as answer:
            found = json.loads(answer.read(1 << 20))
    except urllib.error.HTTPError as exc:
        found = json.loads(exc.read(1 << 20))
    return found if isinstance(found, dict) else {}


def _told(ready: dict[str, Any]) -> Iterator[Checked]:
    """What the server says is wrong with itself."""
    for name, said in sorted((ready.get("faults") or {}).items()):
        if not str(name).startswith(_ELSEWHERE):
            wrong, _, remedy = str(said).partition(": ")
            yield red(f"server: {name}", wrong, remedy or "see the server's log")


async def _certificate(address: Endpoint) -> bytes | None:
    async with asyncio.timeout(WITHIN):
        _, writer = await asyncio.open_connection(_reached(address), address.port, ssl=_unchecked())
    found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found


# -- both ------------------------------------------------------------------------------------------------------------


def _closed(check: str, exc: Exception) -> Checked:
    why = "nothing answers in time" if isinstance(exc, TimeoutError) else f"it cannot be reached ({type(exc).__name__})"
    return red(check, why, "restart the server, if the configuration was changed; see its log for `Address in use`")


def _of_certificate(check: str, der: bytes | None, hostname: str) -> Sequence[Checked]:
    if der is None:
        return ()
    try:
        return (judge_certificate(f"{check}: certificate", read_shown(der), hostname, datetime.now(UTC)),)
    except ValueError:
        return (red(f"{check}: certificate", "it cannot be read", "give the server another: `certificate`"),)


def judge_certificate(check: str, shown: Shown, hostname: str, now: datetime) -> Checked:
    """Pure."""
    renew = "renew it: the server takes over the files of `certificate` as they change"
    until = f"{shown.ends_at:%Y-%m-%d}"
    if shown.ends_at <= now:
        return red(check, f"it ended on {until}: clients that check it refuse to go on", renew)
    if shown.is_self_signed:
        remedy = "give the server one of an authority: `certificate` in the configuration"
        return warning(check, "it is signed by nobody but itself: only clients that do not check it take it", remedy)
    if not shown.fits(hostname):
        names = ", ".join(shown.names) or "nobody"
        remedy = f"get one for {hostname}, or give the server its name: `hostname`"
        return warning(check, f"it is of {names}, not of {hostname}", remedy)
    if shown.ends_at - now < SOON:
        return warning(check, f"it ends on {until}", renew)
    return fine(check, f"it is of {hostname}, until {until}")


def _unchecked() -> ssl.SSLContext:
    """Whatever certificate is shown: it is what is looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _reached(address: Endpoint) -> str:
    return _ANY.get(address.host, address.host)


def _authority(address: Endpoint) -> str:
    return str(Endpoint(_reached(address), address.port))
