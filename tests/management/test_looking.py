"""A domain from nothing published to all found, against a real DNS server on loopback."""

from __future__ import annotations

import asyncio

from relay.dns import Resolver
from relay.management.checks import Status, missing_words, warnings
from relay.management.dns_records import DnsRecord, expected_records
from relay.management.looking import look
from tests.dns_server import NXDOMAIN, REFUSED, SERVFAIL, Behaviour, DnsServer, records

DOMAIN = "mail.example.org"
RECORDS = expected_records(
    DOMAIN,
    "eu-west-1",
    challenge="relay-tenant=acme token=0123",
    tokens=("tok1", "tok2", "tok3"),
    signing_zone="dkim.amazonses.com",
    mail_from="send.mail.example.org",
)


def statuses(server: DnsServer, resolver: Resolver | None = None) -> list[Status]:
    checks = asyncio.run(look(resolver or Resolver([server.nameserver]), RECORDS, DOMAIN))
    assert [check.expected for check in checks] == list(RECORDS)
    return [check.status for check in checks]


def behaviour(record: DnsRecord) -> Behaviour:
    value = f'"{record.value}"' if record.type == "TXT" else f"{record.value}."
    return records(f"{record.type} {value}")


def test_from_nothing_to_all_found() -> None:
    with DnsServer() as server:
        resolver = Resolver([server.nameserver])
        assert statuses(server, resolver) == [Status.MISSING] * len(RECORDS)
        for number, record in enumerate(RECORDS, start=1):
            server.zone[record.name, record.type] = behaviour(record)
            assert statuses(server, resolver).count(Status.FOUND) == number
        server.asked.clear()
        assert set(statuses(server, resolver)) == {Status.FOUND}
        assert sum(server.asked.values()) == len(RECORDS)  # nothing is asked for beyond them


def test_a_provider_that_appends_the_zone_is_found_out() -> None:
    """The domain is no zone of its own here: the provider appended `example.org`."""
    with DnsServer({f"{record.name}.example.org": behaviour(record) for record in RECORDS[:2]}) as server:
        checks = asyncio.run(look(Resolver([server.nameserver]), RECORDS, DOMAIN))
        assert checks[0].remedy.endswith("appended the zone: enter only `_relay-challenge.mail`)")
        assert checks[1].remedy.endswith("appended the zone: enter only `tok1._domainkey.mail`)")
        assert "appended" not in checks[2].remedy
        assert missing_words(checks).startswith("claim missing: publish relay-tenant=acme token=0123 at")


def test_dmarc_of_the_organization_counts() -> None:
    with DnsServer({"_dmarc.example.org": records('TXT "v=DMARC1; p=reject"')}) as server:
        assert statuses(server)[-1] is Status.FOUND


def test_only_a_missing_record_is_looked_for_elsewhere() -> None:
    with DnsServer({"tok1._domainkey.mail.example.org": records("CNAME elsewhere.test.")}) as server:
        assert statuses(server)[1] is Status.WRONG
        assert not server.asked["tok1._domainkey.mail.example.org.mail.example.org", "CNAME"]


def test_trouble_is_not_taken_for_an_answer() -> None:
    for trouble in (SERVFAIL, REFUSED):
        with DnsServer(otherwise=trouble) as server:
            checks = asyncio.run(look(Resolver([server.nameserver]), RECORDS, DOMAIN))
            assert {check.status for check in checks} == {Status.UNKNOWN}
            assert warnings(checks) == ()
            assert missing_words(checks) == ""


def test_trouble_with_one_name_leaves_the_others_known() -> None:
    with DnsServer({"_dmarc.example.org": SERVFAIL, DOMAIN: NXDOMAIN}) as server:
        found = statuses(server)
        assert found[-1] is Status.UNKNOWN  # its parent may hold one
        assert set(found[:-1]) == {Status.MISSING}
