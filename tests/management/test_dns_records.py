"""Which records are asked for, and how they are written down."""

from __future__ import annotations

import io
import json

import dns.rdatatype
import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dns import RecordType
from relay.management.dns_records import (
    DnsRecord,
    Purpose,
    as_json,
    expected_records,
    relative,
    table,
    zone_file,
)

RECORDS = expected_records(
    "example.org",
    "eu-west-1",
    challenge="relay-tenant=acme token=0123456789abcdef0123456789abcdef",
    tokens=("Tok1", "tok2", "tok3"),
    signing_zone="dkim.eu-west-1.amazonses.com",
    mail_from="send.example.org",
)


def test_what_is_to_be_published() -> None:
    assert [(each.name, each.type, each.value, each.purpose, each.is_required) for each in RECORDS] == [
        (
            "_relay-challenge.example.org",
            "TXT",
            "relay-tenant=acme token=0123456789abcdef0123456789abcdef",
            "claim",
            True,
        ),
        ("tok1._domainkey.example.org", "CNAME", "tok1.dkim.eu-west-1.amazonses.com", "dkim", True),
        ("tok2._domainkey.example.org", "CNAME", "tok2.dkim.eu-west-1.amazonses.com", "dkim", True),
        ("tok3._domainkey.example.org", "CNAME", "tok3.dkim.eu-west-1.amazonses.com", "dkim", True),
        ("send.example.org", "MX", "10 feedback-smtp.eu-west-1.amazonses.com", "mail_from", False),
        ("send.example.org", "TXT", "v=spf1 include:amazonses.com ~all", "mail_from", False),
        ("example.org", "TXT", "v=spf1 include:amazonses.com ~all", "spf", False),
        ("_dmarc.example.org", "TXT", "v=DMARC1; p=none;", "dmarc", False),
    ]


def test_before_ses_knows_the_domain_there_is_only_what_we_know() -> None:
    records = expected_records("a.test", "eu-west-1", challenge="prove", tokens=(), signing_zone="", mail_from=None)
    assert [each.purpose for each in records] == ["claim", "spf", "dmarc"]


@pytest.mark.parametrize(
    ("name", "zone", "said"),
    [
        ("example.org", "example.org", "@"),
        ("_dmarc.example.org", "example.org", "_dmarc"),
        ("_dmarc.mail.example.org", "example.org", "_dmarc.mail"),
        ("notexample.org", "example.org", "notexample.org."),
        ("example.org", "mail.example.org", "example.org."),
    ],
)
def test_a_name_inside_a_zone(name: str, zone: str, said: str) -> None:
    assert relative(name, zone) == said


def test_the_table_cuts_nothing_and_warns_of_providers_that_append_the_zone() -> None:
    text = table(RECORDS, "example.org")
    assert text.splitlines()[0].split() == ["TYPE", "NAME", "VALUE", "FOR"]
    for each in RECORDS:
        assert any(each.name in line and each.value in line for line in text.splitlines())
    assert "append the zone to a name: there, enter `_relay-challenge` for _relay-challenge.example.org." in text
    assert "one v=spf1 record at most" in text
    assert "dmarc (recommended)" in text


def test_the_zone_file() -> None:
    assert zone_file(RECORDS[3:], "example.org") == (
        "$ORIGIN example.org.\n"
        "tok3._domainkey  3600  IN  CNAME  tok3.dkim.eu-west-1.amazonses.com.\n"
        "send             3600  IN  MX     10 feedback-smtp.eu-west-1.amazonses.com.\n"
        'send             3600  IN  TXT    "v=spf1 include:amazonses.com ~all"\n'
        '@                3600  IN  TXT    "v=spf1 include:amazonses.com ~all"\n'
        '_dmarc           3600  IN  TXT    "v=DMARC1; p=none;"\n'
    )


def published(text: str) -> dns.zone.Zone:
    """As a name server would load it."""
    return dns.zone.from_text(io.StringIO(text), origin="example.org.", relativize=False, check_origin=False)


def test_a_name_server_reads_it_back() -> None:
    zone = published(zone_file(RECORDS, "example.org"))
    for each in RECORDS:
        found = zone.find_rdataset(f"{each.name}.", each.type)
        assert len(found) == 1


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=700))
def test_any_text_survives_the_zone_file(value: str) -> None:
    record = DnsRecord("a.example.org", RecordType.TXT, value, Purpose.CLAIM, True)
    (found,) = published(zone_file([record], "example.org")).find_rdataset("a.example.org.", dns.rdatatype.TXT)
    assert b"".join(found.strings) == value.encode()


def test_json() -> None:
    rows = json.loads(json.dumps(as_json(RECORDS)))
    assert rows[1] == {
        "type": "CNAME",
        "name": "tok1._domainkey.example.org",
        "value": "tok1.dkim.eu-west-1.amazonses.com",
        "purpose": "dkim",
        "required": True,
    }
    assert len(rows) == len(RECORDS)
