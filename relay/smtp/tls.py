"""Starts TLS on an SMTP connection, and says in plain words why that failed."""

from __future__ import annotations

import asyncio
import re
import ssl

from relay.declared import TlsVersion
from relay.errors import printable
from relay.smtp import clienthello
from relay.smtp.sockets import Beneath

TIMEOUT = 30.0  # seconds (SMTP fact 1.6)

FLOORS = {
    TlsVersion.V1_0: ssl.TLSVersion.TLSv1,
    TlsVersion.V1_1: ssl.TLSVersion.TLSv1_1,
    TlsVersion.V1_2: ssl.TLSVersion.TLSv1_2,
    TlsVersion.V1_3: ssl.TLSVersion.TLSv1_3,
}
_ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_(\w+)")
_DISTRUST = {
    "unknown_ca",
    "bad_certificate",
    "unsupported_certificate",
    "certificate_unknown",
    "certificate_expired",
    "certificate_revoked",
}
_OLD = "; old devices know RSA certificates alone"
_NOTHING_IN_COMMON = {
    "NO_SHARED_CIPHER": f"no cipher in common{_OLD}",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": f"no signature algorithm in common{_OLD}",
    "NO_SHARED_SIGNATURE_ALGORITHMS": f"no signature algorithm in common{_OLD}",
    "NO_SUITABLE_KEY_SHARE": "no key exchange in common",
    "NO_SHARED_GROUPS": "no key exchange in common",
}
_CUT = "hung up in the handshake"
ONLY_LOOKED = "hung up before the handshake"


class TlsFailed(Exception):
    """There is no TLS, and the connection is closed. The text says in one plain sentence what the client did."""


async def start(writer: asyncio.StreamWriter, context: ssl.SSLContext, floor: TlsVersion, timeout: float) -> str:
    """Shake hands as the server, for STARTTLS and implicit TLS alike. Returns the version as ssl has it: "TLSv1.2".

    `floor` is the least that `context` takes. With implicit TLS, reading has to be paused since the connection was
    made; with STARTTLS nothing may be awaited between the 220 and this. Raises TlsFailed.

    However this fails, the connection is closed and the protocol's connection_lost will be called, once: asyncio
    forgets that for a connection which goes in the middle of a handshake.
    """
    transport = writer.transport
    assert isinstance(transport, asyncio.Transport)
    protocol = transport.get_protocol()
    transport.pause_reading()
    seen = b""
    try:
        async with asyncio.timeout(timeout):
            with Beneath(transport, clienthello.LONGEST) as beneath:
                while not clienthello.is_whole(seen):
                    seen = await beneath.more()
            if not clienthello.is_tls(seen):
                raise TlsFailed(_no_tls(seen))
            # Ours is the deadline: asyncio's own would not say that it was one.
            await writer.start_tls(context, ssl_handshake_timeout=timeout + 1)
    except BaseException as exc:
        _end(transport, protocol)
        if writer.transport is None:  # asyncio has none to give where the connection was aborted meanwhile
            writer._transport = transport
            raise TlsFailed(_CUT) from exc
        if isinstance(exc, OSError):
            raise TlsFailed(_sentence(exc, seen, floor, timeout)) from exc
        raise
    version: str = writer.get_extra_info("ssl_object").version()
    return version


def hello_sentence(seen: bytes) -> str:
    """About a client that spoke TLS where plain text was due; `seen` is what came first."""
    hello = clienthello.parse(seen)
    offer = f", up to {hello.newest_name}," if hello else ""
    return f"spoke TLS{offer} on a port that begins in clear: let it use STARTTLS, or a port with implicit TLS"


def _end(transport: asyncio.WriteTransport, protocol: asyncio.BaseProtocol) -> None:
    """Close the connection, and see to it that the protocol hears of that."""
    transport.abort()
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, _tell, protocol)  # asyncio, if it does tell, takes these two steps, too


def _tell(protocol: asyncio.BaseProtocol) -> None:
    assert isinstance(protocol, asyncio.StreamReaderProtocol)
    if not protocol._closed.done():  # type: ignore[attr-defined]
        protocol.connection_lost(None)


def _no_tls(seen: bytes) -> str:
    if len(seen) > 2 and seen[0] & 0x80 and seen[2] == 1:
        return "began as SSL 2.0 does, which is not taken"
    word = printable(seen.split(maxsplit=1)[0][:20].decode("utf-8", "replace"), 20) if seen.strip() else ""
    return f"spoke no TLS: {word}" if word else "spoke no TLS"


def _sentence(exc: OSError, seen: bytes, floor: TlsVersion, timeout: float) -> str:
    if isinstance(exc, TimeoutError):
        if not seen:
            return f"sent nothing for {timeout:.0f} s where TLS was due"
        return f"the handshake did not finish in {timeout:.0f} s"
    hello = clienthello.parse(seen)
    if hello is not None and hello.newest < FLOORS[floor]:
        return f"offered only {hello.newest_name}; this listener takes {floor.value} and up"
    if isinstance(exc, ssl.SSLError):
        return _of_openssl(exc.reason or type(exc).__name__)
    if isinstance(exc, ConnectionError):
        return _CUT if seen else ONLY_LOOKED
    return f"the handshake could not begin: {exc.strerror}"


def _of_openssl(reason: str) -> str:
    """OpenSSL's own word for it, in plain words where it is about the client."""
    if reason in _NOTHING_IN_COMMON:
        return _NOTHING_IN_COMMON[reason]
    match = _ALERT.fullmatch(reason)
    if match is None:
        return f"the handshake failed ({printable(reason.lower(), 100)})"
    alert = printable(match[1].lower(), 100)
    if alert in _DISTRUST:
        return f"does not trust our certificate (alert {alert})"
    if alert == "protocol_version":
        return f"takes no version of TLS that we speak (alert {alert})"
    return f"broke off the handshake (alert {alert})"
