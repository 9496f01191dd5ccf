"""What the resolver finds, keeps and gives up on, against a real DNS server on loopback."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from relay.dns import MailExchange, Resolver
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

ACCEPTS, NULL_MX, NONE, TROUBLE = MailExchange.ACCEPTS, MailExchange.NULL_MX, MailExchange.NONE, MailExchange.TROUBLE
MX = records("MX 10 mx.example.test.")


class Clock:
    """Monotonic seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(resolver: Resolver, *domains: str) -> list[MailExchange]:
    """All at once."""

    async def together() -> list[MailExchange]:
        return await asyncio.gather(*(resolver.mail_exchange(domain) for domain in domains))

    return asyncio.run(together())


# A quarter of the patience is for the control question: half a second would be too short on a busy machine.
def impatient(server: DnsServer, clock: Clock | None = None) -> Resolver:
    return Resolver([server.nameserver], timedelta(seconds=1), clock=clock or Clock())


@pytest.mark.parametrize(
    ("zone", "found"),
    [
        ({"example.test": MX}, ACCEPTS),
        ({"example.test": records("MX 10 mx1.example.test.", "MX 20 mx2.example.test.")}, ACCEPTS),
        ({"example.test": records("A 192.0.2.1")}, ACCEPTS),
        ({"example.test": records("AAAA 2001:db8::1")}, ACCEPTS),
        ({"example.test": truncated(*(f"MX {n} mx{n}.example.test." for n in range(50)))}, ACCEPTS),
        ({"example.test": records("MX 0 .")}, NULL_MX),
        ({"example.test": records("MX 10 .")}, NULL_MX),
        ({"example.test": records("MX 0 .", "MX 10 mx.example.test.")}, ACCEPTS),
        ({"example.test": records("MX 0 .", "A 192.0.2.1")}, NULL_MX),
        ({"example.test": NXDOMAIN}, NONE),
        ({"example.test": NODATA}, NONE),
        ({"example.test": Behaviour(negative_ttl=None)}, NONE),
        ({"example.test": records("TXT v=spf1")}, NONE),
        ({"example.test": SERVFAIL}, TROUBLE),
        ({"example.test": REFUSED}, TROUBLE),
        ({"example.test": REFERRAL}, TROUBLE),
        ({"example.test": NODATA, ("example.test", "A"): SERVFAIL}, TROUBLE),
        ({"example.test": NODATA, ("example.test", "AAAA"): SERVFAIL}, TROUBLE),
        ({"example.test": records("A 192.0.2.1"), ("example.test", "AAAA"): SERVFAIL}, ACCEPTS),
        ({"example.test": records("CNAME b.test."), "b.test": records("CNAME c.test."), "c.test": MX}, ACCEPTS),
        ({"example.test": records("CNAME b.test."), "b.test": records("A 192.0.2.1")}, ACCEPTS),
        ({"example.test": records("CNAME b.test."), "b.test": records("MX 0 .")}, NULL_MX),
        ({"example.test": records("CNAME b.test."), "b.test": NXDOMAIN}, NONE),
        ({"example.test": records("CNAME b.test."), "b.test": NODATA}, NONE),
        ({"example.test": records("CNAME b.test."), "b.test": SERVFAIL}, TROUBLE),
    ],
    ids=str,
)
def test_what_a_domain_says(zone: dict[str | Question, Behaviour], found: MailExchange) -> None:
    with DnsServer(zone) as server:
        assert ask(Resolver([server.nameserver]), "example.test") == [found]


def test_a_domain_that_does_not_exist_costs_one_question() -> None:
    with DnsServer() as server:
        assert ask(Resolver([server.nameserver]), "example.test") == [NONE]
        assert dict(server.asked) == {("example.test", "MX"): 1}


def test_a_cut_answer_comes_over_tcp() -> None:
    with DnsServer({"example.test": truncated("MX 10 mx.example.test.")}) as server:
        assert ask(Resolver([server.nameserver]), "example.test") == [ACCEPTS]
        assert server.asked["example.test", "MX"] == 2
        assert server.asked_over_tcp["example.test", "MX"] == 1


@pytest.mark.parametrize("domain", ["a" * 64 + ".test", "a..test", "a." * 127 + "test", ""])
def test_a_name_the_dns_cannot_hold_takes_no_mail(domain: str) -> None:
    with DnsServer() as server:
        assert ask(Resolver([server.nameserver]), domain) == [NONE]


@pytest.mark.parametrize("behaviour", [SILENT, MALFORMED], ids=["silent", "malformed"])
def test_no_answer_is_trouble_within_the_budget(behaviour: Behaviour) -> None:
    with DnsServer({"example.test": behaviour}) as server:
        before = time.monotonic()
        assert ask(impatient(server), "example.test") == [TROUBLE]
        assert time.monotonic() - before < 1.5  # a second, and a busy machine
        assert server.asked["example.test", "MX"] == 2  # a datagram may be lost


def test_the_budget_covers_all_questions_of_a_lookup() -> None:
    with DnsServer({"example.test": NODATA, ("example.test", "AAAA"): SILENT}) as server:
        before = time.monotonic()
        assert ask(impatient(server), "example.test") == [TROUBLE]
        assert time.monotonic() - before < 1.5  # a second, and a busy machine


def test_the_second_nameserver_answers_for_a_dead_first() -> None:
    with DnsServer(otherwise=SILENT) as dead, DnsServer({"example.test": MX}) as server:
        assert ask(Resolver([dead.nameserver, server.nameserver]), "example.test") == [ACCEPTS]


class TestConfiguration:
    @pytest.mark.parametrize("text", [None, "", "# nothing\n", "nameserver not-an-address\n", "\xff\xfe"])
    def test_without_a_usable_resolv_conf_all_is_trouble(self, tmp_path: Path, text: str | None) -> None:
        resolv_conf = tmp_path / "resolv.conf"
        if text is not None:
            resolv_conf.write_text(text, "latin-1")
        assert ask(Resolver(resolv_conf=resolv_conf), "example.test") == [TROUBLE]

    def test_without_nameservers_all_is_trouble(self) -> None:
        assert ask(Resolver([]), "example.test") == [TROUBLE]

    def test_resolv_conf_is_read(self, tmp_path: Path) -> None:
        resolv_conf = tmp_path / "resolv.conf"
        resolv_conf.write_text("nameserver 192.0.2.53\nsearch example.test\noptions rotate timeout:30\n")
        resolver = Resolver(resolv_conf=resolv_conf)
        assert [str(server) for server in resolver._stub.nameservers] == ["192.0.2.53"]
        assert resolver._stub.timeout < 2

    def test_an_ipv6_nameserver(self) -> None:
        try:
            server = DnsServer({"example.test": MX}, host="::1")
        except OSError:
            pytest.skip("no IPv6 here")
        with server:
            assert ask(Resolver([server.nameserver]), "example.test") == [ACCEPTS]

    @pytest.mark.parametrize("entry", ["127.0.0.1", "::1", "192.0.2.1:53", "[2001:db8::1]:5353"])
    def test_a_nameserver_is_an_address_and_perhaps_a_port(self, entry: str) -> None:
        Resolver([entry])

    @pytest.mark.parametrize("entry", ["", "dns.test", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "::1]:53"])
    def test_anything_else_is_refused(self, entry: str) -> None:
        with pytest.raises(ValueError):
            Resolver([entry])


class TestCache:
    @pytest.mark.parametrize(
        ("behaviour", "seconds"),
        [
            (records("MX 10 mx.example.test.", ttl=300), 300),
            (records("MX 10 mx.example.test.", ttl=0), 1),
            (records("MX 10 mx.example.test.", ttl=1_000_000), 86_400),
            (records("MX 0 .", ttl=300), 300),
            (records("A 192.0.2.1", ttl=300, negative_ttl=40), 40),  # as long as "no MX" holds
            (records("A 192.0.2.1", ttl=20, negative_ttl=40), 20),
            (Behaviour(rcode=NXDOMAIN.rcode, negative_ttl=60), 60),
            (Behaviour(rcode=NXDOMAIN.rcode, negative_ttl=0), 1),
            (Behaviour(rcode=NXDOMAIN.rcode, negative_ttl=86_400), 900),
            (Behaviour(rcode=NXDOMAIN.rcode, negative_ttl=None), 30),
            (Behaviour(negative_ttl=60), 60),
            (SERVFAIL, 30),
        ],
    )
    def test_an_answer_is_kept_while_it_holds(self, behaviour: Behaviour, seconds: int) -> None:
        clock = Clock()
        with DnsServer({"example.test": behaviour}) as server:
            resolver = Resolver([server.nameserver], clock=clock)
            first = ask(resolver, "example.test")
            server.zone["example.test"] = NXDOMAIN if first == [ACCEPTS] else MX
            clock.now += seconds - 0.01
            assert ask(resolver, "example.test") == first
            clock.now += 0.01
            assert ask(resolver, "example.test") != first

    def test_a_cname_shortens_the_time(self) -> None:
        clock = Clock()
        with DnsServer({"example.test": records("CNAME b.test.", ttl=10), "b.test": MX}) as server:
            resolver = Resolver([server.nameserver], clock=clock)
            for _ in range(2):
                ask(resolver, "example.test")
                clock.now += 10
            assert server.asked["example.test", "MX"] == 2

    def test_the_cache_is_bounded_and_forgets_what_was_unused_longest(self) -> None:
        with DnsServer(otherwise=MX) as server:
            resolver = Resolver([server.nameserver], cache_entries=2, clock=Clock())
            for domain in ("a.test", "b.test", "a.test", "c.test", "a.test", "b.test"):
                ask(resolver, domain)
            assert server.asked["a.test", "MX"] == 1
            assert server.asked["b.test", "MX"] == 2


class TestSharing:
    def test_a_hundred_concurrent_asks_are_one_question(self) -> None:
        with DnsServer({"example.test": MX}) as server:
            assert ask(Resolver([server.nameserver]), *["example.test"] * 100) == [ACCEPTS] * 100
            assert server.asked["example.test", "MX"] == 1

    def test_hundreds_of_domains_at_once_all_get_their_answer(self) -> None:
        with DnsServer(otherwise=MX) as server:
            resolver = Resolver([server.nameserver], timedelta(seconds=30))
            assert set(ask(resolver, *(f"d{n}.test" for n in range(500)))) == {ACCEPTS}

    def test_our_own_crowd_is_no_silence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("relay.dns.resolver.MOST_AT_ONCE", 1)
        with DnsServer(otherwise=SILENT) as server:
            assert set(ask(impatient(server), *(f"d{n}.test" for n in range(10)))) == {TROUBLE}
            assert server.asked[".", "NS"] == 0  # only the first one was heard to be silent

    def test_who_gives_up_does_not_take_the_answer_from_others(self) -> None:
        async def story(resolver: Resolver) -> MailExchange:
            first = asyncio.create_task(resolver.mail_exchange("example.test"))
            second = asyncio.create_task(resolver.mail_exchange("example.test"))
            await asyncio.sleep(0)  # both have asked
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            return await second

        with DnsServer({"example.test": MX}) as server:
            assert asyncio.run(story(Resolver([server.nameserver]))) is ACCEPTS
            assert server.asked["example.test", "MX"] == 1

    def test_the_answer_nobody_waited_for_is_kept_and_close_waits_for_it(self) -> None:
        async def story(resolver: Resolver) -> MailExchange:
            only = asyncio.create_task(resolver.mail_exchange("example.test"))
            await asyncio.sleep(0)
            only.cancel()
            await resolver.close()
            server.zone["example.test"] = NXDOMAIN
            return await resolver.mail_exchange("example.test")

        with DnsServer({"example.test": MX}) as server:
            assert asyncio.run(story(Resolver([server.nameserver]))) is ACCEPTS
            assert server.asked["example.test", "MX"] == 1


class TestDeadResolver:
    def test_three_silences_in_a_row_and_lookups_are_skipped(self) -> None:
        clock = Clock()
        with DnsServer(otherwise=SILENT) as server:
            resolver = impatient(server, clock)
            before = time.monotonic()
            assert ask(resolver, *(f"d{n}.test" for n in range(6))) == [TROUBLE] * 6
            assert time.monotonic() - before < 3  # a second, and a busy machine; one after the other it were six
            assert server.asked[".", "NS"] == 1  # one of them asked for all
            clock.now += 29.9
            assert ask(resolver, "late.test") == [TROUBLE]
            assert server.asked["late.test", "MX"] == 0

    def test_one_probe_is_let_through_and_closes_it(self) -> None:
        clock = Clock()
        with DnsServer(otherwise=SILENT) as server:
            resolver = impatient(server, clock)
            ask(resolver, "a.test", "b.test", "c.test")
            server.otherwise = MX
            clock.now += 30
            assert ask(resolver, "d.test", "e.test") == [ACCEPTS, TROUBLE]
            assert server.asked["e.test", "MX"] == 0
            assert ask(resolver, "e.test", "f.test") == [ACCEPTS, ACCEPTS]

    def test_pauses_double_up_to_five_minutes(self) -> None:
        clock = Clock()
        with DnsServer(otherwise=REFUSED) as server:  # as good as silent, and quick
            resolver = Resolver([server.nameserver], clock=clock)
            ask(resolver, "a.test", "b.test", "c.test")
            for number, pause in enumerate([30, 60, 120, 240, 300, 300]):
                clock.now += pause - 0.1
                ask(resolver, f"early{number}.test")
                clock.now += 0.1
                ask(resolver, f"probe{number}.test")
                assert server.asked[f"early{number}.test", "MX"] == 0, pause
                assert server.asked[f"probe{number}.test", "MX"] == 1, pause

    def test_after_an_answer_counting_begins_anew(self) -> None:
        with DnsServer({"well.test": MX}, otherwise=REFUSED) as server:
            resolver = Resolver([server.nameserver], clock=Clock())
            for domain in ("a.test", "b.test", "well.test", "c.test", "d.test", "e.test", "f.test"):
                ask(resolver, domain)
            assert server.asked["e.test", "MX"] == 1
            assert server.asked["f.test", "MX"] == 0

    def test_domains_whose_servers_are_dead_blind_nobody(self) -> None:
        zone: dict[str | Question, Behaviour] = {f"dead{n}.test": SILENT for n in range(5)}
        with DnsServer({**zone, "well.test": MX}) as server:
            resolver = impatient(server)
            assert ask(resolver, *(f"dead{n}.test" for n in range(5))) == [TROUBLE] * 5
            assert server.asked[".", "NS"] == 1  # any answer to it will do
            assert ask(resolver, "well.test") == [ACCEPTS]

    def test_a_resolver_cut_off_from_the_world_is_found_out(self) -> None:
        clock = Clock()
        with DnsServer({".": records("NS a.root.test."), "well.test": MX}, otherwise=SILENT) as server:
            resolver = impatient(server, clock)
            ask(resolver, "well.test")
            clock.now += 60  # since the last answer
            ask(resolver, "a.test", "b.test", "c.test")
            assert ask(resolver, "d.test") == [TROUBLE]
            assert server.asked["d.test", "MX"] == 0

    def test_a_name_that_cannot_be_asked_for_is_no_sign_of_life(self) -> None:
        with DnsServer(otherwise=REFUSED) as server:
            resolver = Resolver([server.nameserver], clock=Clock())
            for domain in ("a.test", "b..test", "b.test", "c..test", "c.test", "d.test"):
                ask(resolver, domain)
            assert server.asked["d.test", "MX"] == 0

    def test_broken_domains_blind_nobody(self) -> None:
        with DnsServer({"well.test": MX}, otherwise=SERVFAIL) as server:
            resolver = Resolver([server.nameserver], clock=Clock())
            assert ask(resolver, *(f"broken{n}.test" for n in range(10))) == [TROUBLE] * 10
            assert ask(resolver, "well.test") == [ACCEPTS]
            assert server.asked[".", "NS"] == 0

    def test_a_dead_domain_is_waited_for_once_in_half_a_minute(self) -> None:
        clock = Clock()
        with DnsServer({"dead.test": SILENT}) as server:
            resolver = impatient(server, clock)
            ask(resolver, "dead.test")
            server.zone["dead.test"] = MX
            clock.now += 29.9
            assert ask(resolver, "dead.test") == [TROUBLE]
            clock.now += 0.1
            assert ask(resolver, "dead.test") == [ACCEPTS]
