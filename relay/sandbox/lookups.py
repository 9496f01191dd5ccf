"""Reads single records from one nameserver, uncached: the sandbox's door to the DNS. Decides nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

_TIMEOUT = 2.0  # seconds for one question, however often it is repeated
_MOST_AT_ONCE = 50  # each question is a socket


@dataclass(frozen=True, slots=True)
class Found:
    """The records of one name and type, as text; `error` is SES's word for why there are none."""

    records: tuple[str, ...] = ()
    error: str | None = None


class Lookups:
    """Asks the nameserver at `ADDR:PORT`. Raises ValueError when it is not written so."""

    def __init__(self, nameserver: str) -> None:
        self._stub = dns.asyncresolver.Resolver(configure=False)
        self._stub.nameservers = [dns.nameserver.Do53Nameserver(*read_nameserver(nameserver))]
        self._stub.lifetime = _TIMEOUT
        self._stub.timeout = _TIMEOUT / 2  # a lost datagram is sent again
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)

    async def find(self, name: str, rdtype: str) -> Found:
        """What a public resolver would see: names in lower case without the last dot, the strings of a TXT joined."""
        try:
            async with self._slots:
                answer = await self._stub.resolve(dns.name.from_text(name), rdtype)
        except (dns.resolver.NXDOMAIN, dns.name.LabelTooLong, dns.name.NameTooLong):
            return Found(error="HOST_NOT_FOUND")
        except dns.resolver.NoAnswer:
            return Found(error="TYPE_NOT_FOUND")
        except dns.exception.DNSException:
            return Found(error="DNS_SERVER_ERROR")
        return Found(tuple(_text(record, rdtype) for record in answer))


def read_nameserver(text: str) -> tuple[str, int]:
    """`IP:port` or `[IPv6]:port`. Raises ValueError for anything else."""
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError as exc:
        raise ValueError("write the nameserver as ADDR:PORT") from exc
    if not (port.isascii() and port.isdecimal() and 0 < int(port) <= 65535):
        raise ValueError("the nameserver's port is not one")
    return str(address), int(port)


def _text(record: object, rdtype: str) -> str:
    if rdtype == "TXT":
        return b"".join(getattr(record, "strings", ())).decode("utf-8", "replace")
    return str(record).lower().removesuffix(".")
