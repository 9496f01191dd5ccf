"""The PROXY protocol, versions 1 and 2: for whom an upstream speaks (haproxy.org, doc/proxy-protocol.txt)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from relay.smtp.sockets import Beneath

TIMEOUT = 5.0  # seconds for the whole header
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # of version 2
FIXED = 16  # octets before the addresses of version 2
LONGEST_V1 = 107  # octets with the line end
LONGEST_V2 = 16 << 10  # octets; what goes beyond the addresses is of no use here

_PORT = r"(?:0|[1-9]\d{0,4})"
_V1 = re.compile(rf"PROXY (TCP4|TCP6) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) ({_PORT}) ({_PORT})\r\n", re.ASCII)
_ADDRESSES: dict[int, tuple[type[IPv4Address | IPv6Address], int]] = {0x11: (IPv4Address, 4), 0x21: (IPv6Address, 16)}
_LENGTHS = {0: 0, 1: 12, 2: 36, 3: 216}  # octets of the addresses of a family


class ProxyFailed(Exception):
    """An upstream did not say for whom it speaks. The text says in one plain sentence what it did instead."""


@dataclass(frozen=True, slots=True)
class Header:
    """`length`: its octets. `client`: for whom the upstream speaks; None: for itself, or for nobody it knows."""

    length: int
    client: str | None


def parse(seen: bytes) -> Header | None:
    """The header that `seen` begins with; None if more of it has to come. Raises ProxyFailed."""
    if seen.startswith(SIGNATURE[: len(seen)]):
        return _parse_v2(seen)
    if seen.startswith(b"PROXY "[: len(seen)]):
        return _parse_v1(seen)
    raise ProxyFailed("sent no PROXY header, though it is in proxy_from of this listener")


def _parse_v1(seen: bytes) -> Header | None:
    end = seen.find(b"\r\n", 0, LONGEST_V1)
    if end < 0:
        if len(seen) >= LONGEST_V1:
            raise ProxyFailed("sent a PROXY header without an end")
        return None
    line = seen[: end + 2]
    if line.startswith((b"PROXY UNKNOWN ", b"PROXY UNKNOWN\r")):
        return Header(len(line), None)
    match = _V1.fullmatch(line.decode("ascii", "replace"))
    if match is None or max(int(match[4]), int(match[5])) > 0xFFFF:
        raise ProxyFailed("sent a PROXY header that is not well formed")
    try:
        source, destination = ip_address(match[2]), ip_address(match[3])
    except ValueError as exc:
        raise ProxyFailed("sent a PROXY header with a bad address") from exc
    if {source.version, destination.version} != {4 if match[1] == "TCP4" else 6}:
        raise ProxyFailed("sent a PROXY header with an address of another family")
    return Header(len(line), plain(source))


def _parse_v2(seen: bytes) -> Header | None:
    if len(seen) < FIXED:
        return None
    command, family = seen[12], seen[13]
    length = FIXED + int.from_bytes(seen[14:16])
    if command not in (0x20, 0x21) or family >> 4 not in _LENGTHS or family & 15 > 2:
        raise ProxyFailed("sent a PROXY header of a kind that is not known")
    if length > LONGEST_V2:
        raise ProxyFailed(f"sent a PROXY header of {length} octets; {LONGEST_V2} are taken")
    is_local = command == 0x20  # the upstream's own connection, such as a check whether we live
    if not is_local and length < FIXED + _LENGTHS[family >> 4]:
        raise ProxyFailed("sent a PROXY header too short for its addresses")
    if len(seen) < length:
        return None
    if is_local or family not in _ADDRESSES:
        return Header(length, None)
    kind, size = _ADDRESSES[family]
    return Header(length, plain(kind(seen[FIXED : FIXED + size])))


def plain(address: IPv4Address | IPv6Address) -> str:
    """An address as text; one of IPv4 that is written as IPv6 is what it stands for."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


async def client_of(
    transport: asyncio.BaseTransport, proxies: Sequence[IPv4Network | IPv6Network], timeout: float = TIMEOUT
) -> str:
    """The address of the client. Takes the PROXY header, and nothing more, off a connection from one of `proxies`.

    Reading of `transport` has to be paused since it was made, and stays so. A connection from elsewhere is the client's
    own, and is not looked at. Raises ProxyFailed, and ConnectionError where the client has gone before.
    """
    peer = (transport.get_extra_info("peername") or ("",))[0].partition("%")[0]
    if not peer:
        raise ConnectionResetError
    address = ip_address(plain(ip_address(peer)))
    if not any(address in network for network in proxies):
        return str(peer)
    try:
        async with asyncio.timeout(timeout):
            with Beneath(transport, LONGEST_V2) as beneath:
                while (header := parse(await beneath.more())) is None:
                    pass
                beneath.take(header.length)
    except TimeoutError as exc:
        raise ProxyFailed(f"sent no whole PROXY header within {timeout:.0f} s") from exc
    except ConnectionError as exc:
        raise ProxyFailed("hung up before its PROXY header was whole") from exc
    except OSError as exc:  # out of descriptors
        raise ProxyFailed(f"could not be heard: {exc.strerror}") from exc
    return header.client or str(peer)
