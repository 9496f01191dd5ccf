"""Asks a recursive resolver one question. Keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.resolver

from relay.values import nameserver

NO_SOA_TTL = 30  # RFC 2308 section 5: without an SOA nobody said how long "nothing" holds
CONTROL_SHARE = 0.25  # of the time, for finding out whose a silence is


class Silence(Exception):
    """No resolver gave an answer, or all refused to."""


class Answer(NamedTuple):
    records: Sequence[object]
    is_name_unknown: bool
    ttl: float


def name_of(domain: str) -> dns.name.Name | None:
    try:
        return dns.name.from_text(domain)
    except (dns.exception.DNSException, ValueError):
        return None  # an empty or a too long label, or too many: no such name can exist (RFC 1035 section 2.3.4)


async def question(
    stub: dns.asyncresolver.Resolver, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> Answer | None:
    """One answer, CNAMEs followed, over TCP if it was cut. None: answered, but to no use. Raises Silence."""
    try:
        answer = await stub.resolve(name, rdtype, raise_on_no_answer=False)
        response, chain = answer.response, answer.chaining_result
    except dns.resolver.NXDOMAIN as exc:
        response = exc.kwargs["responses"][name]
        chain = response.resolve_chaining()
    except dns.exception.DNSException as exc:
        replies: list[dns.message.Message | None] = [error[4] for error in exc.kwargs.get("errors", ())]
        if any(reply is not None and reply.rcode() != dns.rcode.REFUSED for reply in replies):
            return None
        raise Silence from exc
    is_name_unknown = response.rcode() == dns.rcode.NXDOMAIN
    authority = {rrset.rdtype for rrset in response.authority}
    if chain.answer is not None or dns.rdatatype.SOA in authority:
        return Answer(list(chain.answer or ()), is_name_unknown, chain.minimum_ttl)
    if dns.rdatatype.NS in authority and not is_name_unknown:
        raise Silence  # a referral (RFC 2308 section 2.2): this server looks nothing up for us
    return Answer((), is_name_unknown, NO_SOA_TTL)


def recursive(nameservers: Sequence[str] | None, resolv_conf: Path, timeout: float) -> dns.asyncresolver.Resolver:
    """dnspython's resolver. It has no nameservers when none are configured."""
    stub = dns.asyncresolver.Resolver(configure=False)
    if nameservers is None:
        with suppress(dns.exception.DNSException, OSError, ValueError):
            stub.read_resolv_conf(str(resolv_conf))
    else:
        stub.nameservers = [dns.nameserver.Do53Nameserver(*nameserver(entry)) for entry in nameservers]
    stub.lifetime = timeout
    stub.timeout = timeout * (1 - CONTROL_SHARE) / max(2, len(stub.nameservers))  # each is tried, a single one twice
    stub.use_edns(0, 0, 1232)  # a larger datagram may be fragmented and lost; a larger answer comes over TCP
    return stub
