"""A DNS server on loopback, UDP and TCP, that answers from a table as a recursive resolver would.

with DnsServer({"example.test": records("MX 10 mx.example.test."), "dead.test": SILENT}) as server:
    ... f"127.0.0.1:{server.port}" ...
    assert server.asked["example.test", "MX"] == 1
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Question = tuple[str, str]  # name in lower case without the last dot ("." is the root), type


class Way(Enum):
    """How an answer travels."""

    WHOLE = auto()
    SILENT = auto()  # not at all
    CUT = auto()  # truncated over UDP (RFC 1035 section 4.2.1), whole over TCP
    MALFORMED = auto()  # with its last octets missing
    REFERRAL = auto()  # "ask those servers": what a server says that does not recurse


@dataclass(frozen=True)
class Behaviour:
    """What the server says about a name. `negative_ttl` is the SOA's minimum in seconds; None leaves the SOA out."""

    lines: tuple[str, ...] = ()
    ttl: int = 300
    negative_ttl: int | None = 60
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    way: Way = Way.WHOLE


NXDOMAIN = Behaviour(rcode=dns.rcode.NXDOMAIN)
NODATA = Behaviour()
SERVFAIL = Behaviour(rcode=dns.rcode.SERVFAIL)
REFUSED = Behaviour(rcode=dns.rcode.REFUSED)
SILENT = Behaviour(way=Way.SILENT)
MALFORMED = Behaviour(("MX 10 mx.example.test.",), way=Way.MALFORMED)
REFERRAL = Behaviour(way=Way.REFERRAL)


def records(*lines: str, ttl: int = 300, negative_ttl: int | None = 60) -> Behaviour:
    """Records without owner and TTL: `records("MX 10 mx.example.test.", "A 192.0.2.1")`. A CNAME is followed."""
    return Behaviour(lines, ttl, negative_ttl)


def truncated(*lines: str) -> Behaviour:
    """Records that only come whole over TCP."""
    return Behaviour(lines, way=Way.CUT)


class DnsServer:
    """Serves `zone` in threads of its own while the context is open. `zone` may be changed meanwhile.

    A key is a name, or (name, type) for what differs by type. Names that are not in it get `otherwise`. `asked` counts
    the questions, over UDP and TCP together; `asked_over_tcp` those over TCP.
    """

    def __init__(
        self,
        zone: Mapping[Any, Behaviour] | None = None,
        *,
        otherwise: Behaviour = NXDOMAIN,
        host: str = "127.0.0.1",
    ) -> None:
        self.zone: dict[str | Question, Behaviour] = dict(zone or {})
        self.otherwise = otherwise
        self.asked: Counter[Question] = Counter()
        self.asked_over_tcp: Counter[Question] = Counter()
        self._counting = threading.Lock()
        self._servers = _bind(host, self.answer)
        self.port = self._servers[0].socket.getsockname()[1]
        self.nameserver = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self._threads = [threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True) for one in self._servers]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, wire: bytes, is_tcp: bool) -> bytes | None:
        """The reply to one query, or None for silence."""
        query = dns.message.from_wire(wire)
        name, rdtype = query.question[0].name, dns.rdatatype.to_text(query.question[0].rdtype)
        with self._counting:
            self.asked[_text(name), rdtype] += 1
            self.asked_over_tcp[_text(name), rdtype] += is_tcp
        reply = dns.message.make_response(query, recursion_available=True)
        way = self._fill(reply, name, rdtype)
        if way is Way.SILENT:
            return None
        if way is Way.CUT and not is_tcp:
            reply.flags |= dns.flags.TC
            reply.answer.clear()
        octets = reply.to_wire(max_size=65_535 if is_tcp else 0)  # 0: what the query said it takes
        return octets[:-3] if way is Way.MALFORMED else octets

    def _fill(self, reply: dns.message.Message, name: dns.name.Name, rdtype: str) -> Way:
        key = _text(name)
        behaviour = self.zone.get((key, rdtype)) or self.zone.get(key) or self.otherwise
        zone = name if name == dns.name.root else name.parent()
        held: dict[str, list[str]] = {}
        for line in behaviour.lines:
            kind, _, value = line.partition(" ")
            held.setdefault(kind, []).append(value)
        reply.set_rcode(behaviour.rcode)
        if rdtype in held:
            reply.answer.append(dns.rrset.from_text_list(name, behaviour.ttl, "IN", rdtype, held[rdtype]))
        elif "CNAME" in held:
            reply.answer.append(dns.rrset.from_text_list(name, behaviour.ttl, "IN", "CNAME", held["CNAME"]))
            return self._fill(reply, dns.name.from_text(held["CNAME"][0]), rdtype)
        elif behaviour.way is Way.REFERRAL:
            reply.authority.append(dns.rrset.from_text(zone, behaviour.ttl, "IN", "NS", "ns.example.test."))
        elif behaviour.rcode in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN} and behaviour.negative_ttl is not None:
            soa = f"ns.example.test. host.example.test. 1 7200 3600 864000 {behaviour.negative_ttl}"
            reply.authority.append(dns.rrset.from_text(zone, 86_400, "IN", "SOA", soa))
        return behaviour.way


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _bind(
    host: str, answer: Callable[[bytes, bool], bytes | None]
) -> tuple[socketserver.UDPServer, socketserver.TCPServer]:
    """A UDP and a TCP server on one port that was free for both."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    class UdpHandler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, door = self.request
            if (reply := answer(wire, False)) is not None:
                door.sendto(reply, self.client_address)

    class TcpHandler(socketserver.StreamRequestHandler):
        timeout = 5

        def handle(self) -> None:
            wire = self.rfile.read(int.from_bytes(self.rfile.read(2), "big"))
            if wire and (reply := answer(wire, True)) is not None:
                self.wfile.write(len(reply).to_bytes(2, "big") + reply)

    class Udp(socketserver.UDPServer):
        address_family = family

    class Tcp(socketserver.ThreadingTCPServer):
        address_family = family
        daemon_threads = True
        request_queue_size = 128

    for _ in range(50):
        udp = Udp((host, 0), UdpHandler)
        try:
            return udp, Tcp((host, udp.server_address[1]), TcpHandler)
        except OSError:  # another program has the TCP port of that number
            udp.server_close()
    raise OSError(f"no port of {host} is free for both UDP and TCP")
