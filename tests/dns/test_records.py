"""What the resolver tells of TXT, CNAME and MX records, against a real DNS server on loopback."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import dns.rdataclass
import dns.rdatatype
import pytest
from dns.rdtypes.ANY.TXT import TXT
from hypothesis import given
from hypothesis import strategies as st

from relay.dns import MailExchange, RecordType, Resolver
from relay.dns.records import LONGEST_TEXT, MOST_RECORDS, as_text
from tests.dns_server import (
    MALFORMED,
    NODATA,
    NXDOMAIN,
    REFERRAL,
    REFUSED,
    SERVFAIL,
    SILENT,
    Behaviour,
    DnsServer,
    Question,
    records,
    truncated,
)


class Clock:
    """Monotonic seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(resolver: Resolver, kind: RecordType, *domains: str) -> list[tuple[str, ...] | None]:
    """All at once."""

    async def together() -> list[tuple[str, ...] | None]:
        return await asyncio.gather(*(resolver.records(domain, kind) for domain in domains))

    return asyncio.run(together())


@pytest.mark.parametrize(
    ("kind", "zone", "found"),
    [
        ("TXT", {"a.test": records('TXT "v=spf1 -all"')}, ("v=spf1 -all",)),
        ("TXT", {"a.test": records('TXT "v=spf1 " "include:B.test" " -all"')}, ("v=spf1 include:B.test -all",)),
        ("TXT", {"a.test": records('TXT "one"', 'TXT "two"')}, ("one", "two")),
        ("TXT", {"a.test": records('TXT ""')}, ("",)),
        ("TXT", {"a.test": records(r'TXT "\"a\\ \027[31m\255"')}, (r'"a\ \027[31m\255',)),
        ("TXT", {"a.test": truncated(*(f'TXT "{n} {"x" * 200}"' for n in range(20)))}, 20),
        ("TXT", {"a.test": records("CNAME b.test."), "b.test": records('TXT "there"')}, ("there",)),
        ("TXT", {"a.test": records("CNAME b.test."), "b.test": NXDOMAIN}, ()),
        ("TXT", {"a.test": records("MX 10 mx.test.")}, ()),
        ("CNAME", {"a.test": records("CNAME B.Test."), "b.test": records('TXT "there"')}, ("b.test",)),
        ("CNAME", {"a.test": records("CNAME b.test."), "b.test": NXDOMAIN}, ("b.test",)),
        ("CNAME", {"a.test": records("CNAME b.test."), "b.test": SILENT}, ("b.test",)),
        ("CNAME", {"a.test": records('TXT "no alias"')}, ()),
        ("MX", {"a.test": records("MX 10 MX1.test.", "MX 20 mx2.test.")}, ("10 mx1.test", "20 mx2.test")),
        ("MX", {"a.test": records("MX 0 .")}, ("0 .",)),
        ("MX", {"a.test": records("A 192.0.2.1")}, ()),
        *((kind, {"a.test": nothing}, ()) for kind in RecordType for nothing in (NXDOMAIN, NODATA)),
        *((kind, {"a.test": bad}, None) for kind in RecordType for bad in (SERVFAIL, REFUSED, REFERRAL)),
    ],
)
def test_what_a_name_holds(
    kind: str, zone: dict[str | Question, Behaviour], found: tuple[str, ...] | int | None
) -> None:
    with DnsServer(zone) as server:
        (told,) = ask(Resolver([server.nameserver]), RecordType(kind), "a.test")
        assert (len(told) if isinstance(found, int) and told is not None else told) == found


@given(st.lists(st.lists(st.binary(max_size=255), min_size=1, max_size=30), max_size=300))
def test_whatever_a_stranger_publishes_is_short_and_printable(published: list[list[bytes]]) -> None:
    told = as_text([TXT(dns.rdataclass.IN, dns.rdatatype.TXT, strings) for strings in published])
    assert len(told) == min(len(published), MOST_RECORDS)
    assert all(len(text) <= LONGEST_TEXT and text.isascii() and (text.isprintable() or not text) for text in told)


@given(st.lists(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=255), min_size=1, max_size=9))
def test_strings_are_joined_without_spaces(strings: list[str]) -> None:
    record = TXT(dns.rdataclass.IN, dns.rdatatype.TXT, [each.encode() for each in strings])
    assert as_text([record]) == ("".join(strings),)


@pytest.mark.parametrize("domain", ["a" * 64 + ".test", "a..test", "a." * 127 + "test"])
def test_a_name_the_dns_cannot_hold_holds_nothing(domain: str) -> None:
    with DnsServer() as server:
        assert ask(Resolver([server.nameserver]), RecordType.TXT, domain) == [()]
        assert not server.asked


def test_without_nameservers_nothing_is_known() -> None:
    assert ask(Resolver([]), RecordType.TXT, "a.test") == [None]


def test_what_was_published_a_moment_ago_is_seen() -> None:
    with DnsServer({"a.test": records("MX 10 old.test.")}) as server:
        resolver = Resolver([server.nameserver])
        assert asyncio.run(resolver.mail_exchange("a.test")) is MailExchange.ACCEPTS
        server.zone["a.test"] = records("MX 10 new.test.")
        assert ask(resolver, RecordType.MX, "a.test") == [("10 new.test",)]
        server.zone["a.test"] = NXDOMAIN
        assert ask(resolver, RecordType.MX, "a.test") == [()]


@pytest.mark.parametrize("behaviour", [SILENT, MALFORMED], ids=["silent", "malformed"])
def test_a_silent_resolver_is_left_alone(behaviour: Behaviour) -> None:
    clock = Clock()
    with DnsServer(otherwise=behaviour) as server:
        resolver = Resolver([server.nameserver], timedelta(seconds=1), clock=clock)
        assert ask(resolver, RecordType.TXT, "a.test", "b.test", "c.test") == [None] * 3
        assert ask(resolver, RecordType.TXT, "late.test") == [None]
        assert asyncio.run(resolver.mail_exchange("late.test")) is MailExchange.TROUBLE
        assert not {name for name, _ in server.asked} & {"late.test"}
        clock.now += 30
        server.otherwise = records('TXT "back"')
        assert ask(resolver, RecordType.TXT, "probe.test") == [("back",)]
        assert ask(resolver, RecordType.TXT, "a.test") == [("back",)]


def test_a_silence_that_mail_met_counts_for_checks_too() -> None:
    with DnsServer(otherwise=REFUSED) as server:
        resolver = Resolver([server.nameserver], clock=Clock())
        for domain in ("a.test", "b.test", "c.test"):
            asyncio.run(resolver.mail_exchange(domain))
        assert ask(resolver, RecordType.TXT, "late.test") == [None]
        assert server.asked["late.test", "TXT"] == 0


def test_mail_does_not_wait_for_a_crowd_of_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.dns.resolver.MOST_AT_ONCE", 3)
    monkeypatch.setattr("relay.dns.resolver.MOST_RECORDS_AT_ONCE", 2)

    async def story(resolver: Resolver) -> MailExchange:
        checks = [asyncio.create_task(resolver.records(f"dead{n}.test", RecordType.TXT)) for n in range(9)]
        await asyncio.sleep(0)  # all have asked
        found = await resolver.mail_exchange("well.test")
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        return found

    with DnsServer({"well.test": records("MX 10 mx.test.")}, otherwise=SILENT) as server:
        assert asyncio.run(story(Resolver([server.nameserver], clock=Clock()))) is MailExchange.ACCEPTS
