"""For whom a proxy speaks: the client's own address, by X-Forwarded-For, where the proxy is one that we trust."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

Networks = Sequence[IPv4Network | IPv6Network]
FORWARDED = ("x-forwarded-for", "forwarded", "via", "x-real-ip")  # whatever has one of them came through a proxy
LONGEST = 64  # characters of an address with its port


class Proxies:
    """The proxies of one listener."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._holds = lru_cache(maxsize=4096)(self._looked_up)

    def trusts(self, peer: str) -> bool:
        """Whether this address may say for whom it speaks."""
        return bool(self._networks) and self._holds(peer)

    def settle(self, scope: Scope) -> None:
        """Make a request that comes through a trusted proxy one of its client's.

        The proxy that we talk to has written the last address; of those before it each is taken for true as long as the
        one who wrote it is trusted, too. Who writes something else than an address speaks for itself.
        """
        peer = peer_of(scope)
        if not self.trusts(peer):
            return
        headers = Headers(scope=scope)
        client = peer
        for said in reversed(",".join(headers.getlist("x-forwarded-for")).split(",")):
            found = _address(said.strip())
            if found is None:
                break
            client = found
            if not self.trusts(found):
                break
        if client != peer:
            scope["client"] = (client, 0)
        scheme = headers.get("x-forwarded-proto", "").strip().lower()
        if scheme in {"http", "https"}:
            scope["scheme"] = scheme

    def is_local(self, scope: Scope) -> bool:
        """Whether this machine itself asks, and no proxy on it, whose clients are anywhere. Before `settle`."""
        address = _parsed(peer_of(scope))
        if address is None or not address.is_loopback or self.trusts(str(address)):
            return False
        headers = Headers(scope=scope)
        return not any(name in headers for name in FORWARDED)

    def _looked_up(self, peer: str) -> bool:
        address = _parsed(peer)
        return address is not None and any(address in network for network in self._networks)


def peer_of(scope: Scope) -> str:
    """Who is at the other end of the connection; "" where that is nobody with an address."""
    return scope["client"][0] if scope["client"] else ""


def _address(said: str) -> str | None:
    """One of X-Forwarded-For, which may have a port: `192.0.2.1:443`, `[2001:db8::1]:443`, `2001:db8::1`."""
    if len(said) > LONGEST:
        return None
    if said.startswith("["):
        said = said[1:].partition("]")[0]
    elif said.count(":") == 1:
        said = said.partition(":")[0]
    address = _parsed(said)
    return None if address is None else str(address)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An address of IPv4 that is written as IPv6 is what it stands for."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
