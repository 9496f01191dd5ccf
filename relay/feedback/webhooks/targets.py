"""Which URLs webhooks may have, so that nobody reaches a network from here that he does not reach himself (SSRF).

A name says nothing: what counts is each address that it stands for at the moment of a connection. So the host is looked
up here, every address is checked, and the connection goes to one of those that were: a name that is given a new address
in between (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from relay.errors import Fault, Kind, Problem
from relay.following import Webhooks
from relay.values import Network

IpAddress: TypeAlias = IPv4Address | IPv6Address
LOOKUPS = 8  # at once: a name server that does not answer keeps no other part of the server waiting
LOOKUP_WITHIN = 5.0  # seconds, when a URL is asked about

# IANA IPv4 and IPv6 Special-Purpose Address Registries: what is not globally reachable, or only by way of a relay.
# fmt: off
NOT_PUBLIC_4 = tuple(map(IPv4Network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)))
# fmt: on
PUBLIC_6 = IPv6Network("2000::/3")
# Teredo and others; documentation; 6to4, which carries any IPv4 address; documentation.
NOT_PUBLIC_6 = tuple(IPv6Network(each) for each in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: how an IPv4 address is reached from a network that has only IPv6

NOT_ALLOWED = "stands for an address that is not public; the operator can allow it by webhooks.allow_networks"
PLAIN = "must begin with https://; the operator can allow http:// by webhooks.allow_plain"
ODD = "has a number for a host that is no IPv4 address of four decimal numbers"
NOT_FOUND = "has a host whose address cannot be found now"


class Forbidden(OSError):
    """Nothing may be posted there. The text says why, and names no address."""


class Targets:
    """What an installation may post to. `close` when it is not needed any more."""

    def __init__(self, settings: Webhooks) -> None:
        self._networks = settings.allow_networks
        self._allows_plain = settings.allow_plain
        self._threads = ThreadPoolExecutor(LOOKUPS, "webhook-lookup")
        self.resolver = Resolver(self._threads, self._require)

    def check(self, url: str) -> None:
        """Without a lookup: scheme, and an address where one stands for the host. `url` is a `WebUrl`.

        Raises Forbidden.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" and not self._allows_plain:
            raise Forbidden(PLAIN)
        if address := literal(parts.hostname or ""):
            self._require(address)

    async def require(self, url: str) -> None:
        """Before a webhook is made or changed. Raises Problem(BAD_REQUEST)."""
        parts = urlsplit(url)
        try:
            self.check(url)
            async with asyncio.timeout(LOOKUP_WITHIN):
                await self.resolver.resolve(parts.hostname or "", parts.port or 443)
        except Forbidden as exc:
            raise _fault(str(exc)) from exc
        except (OSError, TimeoutError) as exc:
            raise _fault(NOT_FOUND) from exc

    def socket(self, found: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """A socket for one address: the last look, right before the connection. Raises Forbidden."""
        family, type, protocol, _, place = found
        self._require(ip_address(place[0]))
        return socket.socket(family, type, protocol)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _require(self, address: IpAddress) -> None:
        if not is_allowed(address, self._networks):
            raise Forbidden(NOT_ALLOWED)


def _fault(said: str) -> Problem:
    return Problem(Kind.BAD_REQUEST, faults=(Fault("url", said),))


def literal(host: str) -> IpAddress | None:
    """The address that is written for a host; None for a name.

    What a resolver would read as an IPv4 address though nobody writes one so - 2130706433, 0x7f.1, 0177.0.0.1, 127.1 -
    is refused as the WHATWG URL Standard tells it from names: by its last part. Raises Forbidden.
    """
    try:
        return ip_address(host)
    except ValueError:
        last = host.removesuffix(".").rpartition(".")[2].lower()
        if last.isdecimal() or last.startswith("0x"):
            raise Forbidden(ODD) from None
        return None


def is_allowed(address: IpAddress, networks: Sequence[Network]) -> bool:
    """Whether it is public, or the operator allows it: itself, or the IPv4 address that it only writes otherwise."""
    meant = _meant(address)
    if any(each in network for each in (address, meant) for network in networks):
        return True
    if isinstance(meant, IPv4Address):
        return not any(meant in network for network in NOT_PUBLIC_4)
    return meant in PUBLIC_6 and meant.scope_id is None and not any(meant in network for network in NOT_PUBLIC_6)


def _meant(address: IpAddress) -> IpAddress:
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


class Resolver(AbstractResolver):
    """Looks hosts up as the machine does, and lets nothing through unless `require` lets every address through."""

    def __init__(self, threads: ThreadPoolExecutor, require: Callable[[IpAddress], None]) -> None:
        self._threads = threads
        self._require = require

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises Forbidden, or OSError where there is no answer."""

        def look() -> list[tuple[Any, Any, int, str, tuple[Any, ...]]]:
            return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)

        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        except UnicodeError as exc:  # a label of over 63 characters, or none
            raise OSError("no name of a host") from exc
        for *_, place in rows:
            self._require(ip_address(place[0]))
        return [
            ResolveResult(
                hostname=host,
                host=place[0],
                port=port,
                family=each,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for each, _, protocol, _, place in rows
        ]

    async def close(self) -> None:
        """Its threads are not its own."""
