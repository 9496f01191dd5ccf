"""What follows from the DNS's answers, record by record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dns import RecordType
from relay.management.checks import Answer, Check, Status, judge, missing_words, warnings, zones
from relay.management.dns_records import DnsRecord, Purpose, expected_records

RECORDS = expected_records(
    "example.org",
    "eu-west-1",
    challenge="relay-tenant=acme token=0123",
    tokens=("tok1", "tok2"),
    signing_zone="dkim.amazonses.com",
    mail_from="send.example.org",
)
CLAIM, DKIM, _, MAIL_FROM_MX, MAIL_FROM_SPF, SPF, DMARC = RECORDS
FOUND, MISSING, WRONG, UNKNOWN = Status
FEEDBACK = "feedback-smtp.eu-west-1.amazonses.com"


@pytest.mark.parametrize(
    ("record", "answer", "status", "remedy"),
    [
        (CLAIM, ("relay-tenant=acme token=0123",), FOUND, ""),
        (CLAIM, ("relay-tenant=other token=9", "relay-tenant=acme token=0123"), FOUND, ""),
        (CLAIM, (" relay-tenant=acme token=0123 ",), FOUND, ""),
        (CLAIM, ("relay-tenant=acme token=01234",), WRONG, "holds another text"),
        (CLAIM, ("relay-tenant=other token=0123",), WRONG, "holds another text"),
        (CLAIM, (), MISSING, "publish relay-tenant=acme token=0123 at _relay-challenge.example.org"),
        (DKIM, ("tok1.dkim.amazonses.com",), FOUND, ""),
        (DKIM, ("tok2.dkim.amazonses.com",), WRONG, "points elsewhere"),
        (DKIM, ("tok1.dkim.amazonses.com.example.org",), WRONG, "end it with a dot"),
        (DKIM, (), MISSING, "publish CNAME tok1.dkim.amazonses.com at tok1._domainkey.example.org"),
        (MAIL_FROM_MX, (f"10 {FEEDBACK}",), FOUND, ""),
        (MAIL_FROM_MX, (f"20 {FEEDBACK}",), FOUND, ""),
        (MAIL_FROM_MX, (f"10 {FEEDBACK}", "20 mx.example.org"), WRONG, "one only"),
        (MAIL_FROM_MX, ("10 feedback-smtp.us-east-1.amazonses.com",), WRONG, f"make it MX 10 {FEEDBACK}"),
        (MAIL_FROM_MX, (f"10 {FEEDBACK}.send.example.org",), WRONG, "end it with a dot"),
        (MAIL_FROM_MX, ("0 .",), WRONG, "names another host"),
        (MAIL_FROM_MX, (), MISSING, f"publish MX 10 {FEEDBACK} at send.example.org"),
        (MAIL_FROM_SPF, ("v=spf1 include:amazonses.com ~all",), FOUND, ""),
        (MAIL_FROM_SPF, (), MISSING, "publish v=spf1 include:amazonses.com ~all at send.example.org"),
        (SPF, ("google-site-verification=1", "v=spf1 mx include:amazonses.com -all"), FOUND, ""),
        (SPF, ("V=SPF1 +Include:AmazonSES.com ?all",), FOUND, ""),
        (SPF, ("v=spf1 include:amazonses.com.",), FOUND, ""),
        (SPF, ("v=spf1 mx -all",), WRONG, "add include:amazonses.com to the v=spf1 record at example.org"),
        (SPF, ("v=spf1",), WRONG, "add include:amazonses.com"),
        (SPF, ("v=spf1 -all include:amazonses.com",), WRONG, "before its all"),
        (SPF, ("v=spf1 ?include:amazonses.com -all",), WRONG, "add include:amazonses.com"),
        (SPF, ("v=spf1 include:amazonses.com.evil.test -all",), WRONG, "add include:amazonses.com"),
        (SPF, ("v=spf1 include:amazonses.com -all", "v=spf1 mx -all"), WRONG, "2 v=spf1 records"),
        (SPF, ("v=spf10 include:amazonses.com -all",), MISSING, "publish v=spf1"),
        (SPF, ("spf2.0/pra include:amazonses.com",), MISSING, "publish v=spf1"),
        (SPF, (), MISSING, "publish v=spf1 include:amazonses.com ~all at example.org"),
        (DMARC, ("v=DMARC1; p=none;",), FOUND, ""),
        (DMARC, ("v=DMARC1;p=reject; rua=mailto:a@example.org",), FOUND, ""),
        (DMARC, ("v = DMARC1 ; p = Quarantine",), FOUND, ""),
        (DMARC, ("unrelated", "v=DMARC1; p=none"), FOUND, ""),
        (DMARC, ("v=DMARC1",), WRONG, "no valid p="),
        (DMARC, ("v=DMARC1; p=maybe",), WRONG, "no valid p="),
        (DMARC, ("v=DMARC1; sp=none",), WRONG, "no valid p="),
        (DMARC, ("p=none; v=DMARC1",), WRONG, "no DMARC record"),
        (DMARC, ("v=dmarc1; p=none",), WRONG, "no DMARC record"),
        (DMARC, ("v=DMARC1; p=none", "v=DMARC1; p=reject"), WRONG, "2 v=DMARC1 records"),
        (DMARC, ("",), WRONG, "no DMARC record"),
        (DMARC, (), MISSING, "publish v=DMARC1; p=none; at _dmarc.example.org"),
        *((record, None, UNKNOWN, "") for record in RECORDS),
    ],
)
def test_judging(record: DnsRecord, answer: Answer, status: Status, remedy: str) -> None:
    check = judge(record, answer)
    assert (check.expected, check.status, check.found) == (record, status, answer or ())
    assert remedy in check.remedy
    assert bool(check.remedy) == bool(remedy)


@pytest.mark.parametrize(
    ("answer", "inherited", "status"),
    [
        ((), [("v=DMARC1; p=reject",)], FOUND),
        ((), [(), ("v=DMARC1; p=reject",)], FOUND),
        ((), [None, ("v=DMARC1; p=reject",)], FOUND),
        ((), [None, ()], UNKNOWN),  # it may be there
        ((), [("unrelated",)], MISSING),
        (("unrelated",), [("v=DMARC1; p=reject",)], FOUND),
        (("unrelated",), [()], WRONG),
        (("v=DMARC1",), [("v=DMARC1; p=reject",)], WRONG),  # RFC 7489 section 6.6.3: its own counts, good or bad
        (None, [("v=DMARC1; p=reject",)], UNKNOWN),
    ],
)
def test_dmarc_of_a_parent_counts(answer: Answer, inherited: list[Answer], status: Status) -> None:
    assert judge(DMARC, answer, inherited=inherited).status is status


def test_nothing_but_dmarc_is_inherited() -> None:
    assert judge(SPF, (), inherited=[("v=spf1 include:amazonses.com -all",)]).status is MISSING


@pytest.mark.parametrize(
    ("record", "doubled", "enter"),
    [
        (DKIM, {"example.org": ("tok1.dkim.amazonses.com",)}, "tok1._domainkey"),
        (CLAIM, {"example.org": ("relay-tenant=acme token=0123",)}, "_relay-challenge"),
        (MAIL_FROM_MX, {"example.org": (f"10 {FEEDBACK}",)}, "send"),
        (SPF, {"example.org": ("v=spf1 include:amazonses.com ~all",)}, "@"),
        (DMARC, {"example.org": ("v=DMARC1; p=none;",)}, "_dmarc"),
        (DKIM, {"example.org": (), "org": ("tok1.dkim.amazonses.com",)}, "tok1._domainkey.example"),
        (DKIM, {"example.org": ("elsewhere.test",)}, None),
        (DKIM, {"example.org": ()}, None),
        (DKIM, {"example.org": None}, None),
    ],
)
def test_a_zone_appended_twice_is_named(record: DnsRecord, doubled: dict[str, Answer], enter: str | None) -> None:
    check = judge(record, (), doubled=doubled)
    assert check.status is MISSING
    assert record.value in check.remedy
    said = f"your DNS provider appended the zone: enter only `{enter}`"
    assert (said in check.remedy) == (enter is not None)


texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
words = st.sampled_from(["v=spf1", "v=DMARC1", ";", " ", "=", "p=none", "include:amazonses.com", "-all", "."])
answers = st.none() | st.lists(texts | st.lists(words, max_size=6).map("".join), max_size=4).map(tuple)


@given(st.sampled_from(RECORDS), answers, st.lists(answers, max_size=3), st.dictionaries(texts, answers, max_size=3))
def test_whatever_strangers_publish_is_judged(
    record: DnsRecord, answer: Answer, inherited: list[Answer], doubled: dict[str, Answer]
) -> None:
    check = judge(record, answer, inherited=inherited, doubled=doubled)
    assert bool(check.remedy) == (check.status in {MISSING, WRONG})
    assert check.status is not MISSING or record.value in check.remedy
    assert (answer is None) <= (check.status is UNKNOWN)


mechanisms = st.sampled_from(["mx", "a", "ip4:192.0.2.0/24", "include:_spf.example.net", "exists:%{i}.example.net"])


@given(st.lists(mechanisms), st.lists(mechanisms), st.sampled_from(["-all", "~all", "?all", "redirect=a.test", ""]))
def test_other_mechanisms_do_not_matter(before: list[str], after: list[str], last: str) -> None:
    terms = ["v=spf1", *before, "include:amazonses.com", *after, last]
    assert judge(SPF, (" ".join(terms),)).status is FOUND
    assert judge(SPF, (" ".join(["v=spf1", *before, *after, last]),)).status is WRONG


@pytest.mark.parametrize(
    ("domain", "names"),
    [
        ("example.org", ("example.org",)),
        ("a.b.example.org", ("a.b.example.org", "b.example.org", "example.org")),
        ("test", ("test",)),
    ],
)
def test_zones(domain: str, names: tuple[str, ...]) -> None:
    assert zones(domain) == names


@given(st.integers(2, 120))
def test_zones_are_few(labels: int) -> None:
    found = zones(".".join(["a"] * (labels - 2) + ["example", "org"]))
    assert len(found) <= 8
    assert found[-1] == "example.org"


class TestWords:
    def test_what_a_shared_message_is_told(self) -> None:
        checks = [judge(record, ()) for record in RECORDS]
        assert warnings(checks) == (
            "SPF missing: publish v=spf1 include:amazonses.com ~all at example.org",
            f"MAIL FROM missing: publish MX 10 {FEEDBACK} at send.example.org; "
            "publish v=spf1 include:amazonses.com ~all at send.example.org",
            "DMARC missing: publish v=DMARC1; p=none; at _dmarc.example.org",
        )

    def test_what_is_wrong_is_said_as_well(self) -> None:
        checks = [judge(SPF, ("v=spf1 mx -all",)), judge(MAIL_FROM_MX, (f"10 {FEEDBACK}",)), judge(MAIL_FROM_SPF, ())]
        assert warnings(checks) == (
            "SPF wrong: add include:amazonses.com to the v=spf1 record at example.org, before its all",
            "MAIL FROM missing: publish v=spf1 include:amazonses.com ~all at send.example.org",
        )

    def test_trouble_with_the_dns_warns_nobody(self) -> None:
        checks = [judge(record, None) for record in RECORDS]
        assert warnings(checks) == ()
        assert missing_words(checks) == ""

    def test_the_first_required_record_is_named(self) -> None:
        assert missing_words([judge(record, ()) for record in RECORDS]) == (
            "claim missing: publish relay-tenant=acme token=0123 at _relay-challenge.example.org"
        )
        dkim = judge(DKIM, (), doubled={"example.org": ("tok1.dkim.amazonses.com",)})
        assert missing_words([judge(CLAIM, (CLAIM.value,)), dkim]) == (
            "DKIM missing: publish CNAME tok1.dkim.amazonses.com at tok1._domainkey.example.org "
            "(your DNS provider appended the zone: enter only `tok1._domainkey`)"
        )

    def test_what_is_only_recommended_refuses_nobody(self) -> None:
        checks = [Check(record, Status.FOUND if record.is_required else MISSING, (), "x") for record in RECORDS]
        needed = [check for check in checks if check.status is not FOUND]
        assert {check.purpose for check in needed} == {Purpose.SPF, Purpose.MAIL_FROM, Purpose.DMARC}
        assert missing_words(needed) == ""

    def test_the_texts_fit_into_a_reply(self) -> None:
        for record in RECORDS:
            said = judge(record, (), doubled={"example.org": (record.value,)}).remedy
            assert len(said) < 400  # RFC 5321 section 4.5.3.1.5: 512 with the code and what we put before it
            assert said.isascii()
            assert record.type in RecordType
