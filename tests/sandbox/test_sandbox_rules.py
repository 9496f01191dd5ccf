"""What SES refuses, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.sandbox.accounts import Account, Allowance
from relay.sandbox.mime import Mailboxes, has_longer_line, read_headers, read_mailboxes
from relay.sandbox.refusals import Refusal
from relay.sandbox.rules import SINGLE_HEADERS, Sending, admit, check_address, check_tag
from relay.sandbox.simulator import Outcome, is_simulator, outcome_of

ACCOUNT = Account("operator", ("shared.example", "boss@person.example"))


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("ann@one.test", None),
        ("a.b+c_d'e@sub.one.test", None),
        ('"a b"@one.test', None),
        ("ann@xn--bcher-kva.example", None),
        ("ann", "Missing final '@domain'"),
        ("ann@", "Missing final '@domain'"),
        ("@one.test", "Missing local name"),
        ("a b@one.test", "Local address contains control or whitespace"),
        ("a\x07b@one.test", "Local address contains control or whitespace"),
        (".ann@one.test", "Local address starts with dot"),
        ("ann.@one.test", "Local address ends with dot"),
        ("a..b@one.test", "Local address contains dot-dot"),
        ("jörg@one.test", "Local address contains illegal character"),
        ("a@b@one.test", "Local address contains illegal character"),
        ("ann@bücher.example", "Domain contains illegal character"),
        ("ann@one..test", "Domain contains dot-dot"),
        ("ann@one.test.", "Domain ends with dot"),
        ("ann@one test", "Domain contains control or whitespace"),
        ("a" * 320 + "@one.test", "Address length is more than 320 characters long: '329'."),
    ],
)
def test_addresses(address: str, text: str | None) -> None:
    if text is None:
        check_address(address)
    else:
        with pytest.raises(Refusal) as refused:
            check_address(address)
        assert (refused.value.code, refused.value.message) == ("BadRequestException", text)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("relay_id", "a-B_9", None),
        ("n", "v.x@y", None),
        ("ses:feedback-id-a", "news", None),
        ("", "v", "The tag name must be specified."),
        ("n", "", "The tag value must be specified."),
        ("n" * 256, "v", "Tag name cannot exceed 255 characters."),
        ("n", "v" * 256, "Tag value cannot exceed 255 characters."),
        ("a.b", "v", "Invalid tag name <a.b>: only alphanumeric ASCII characters, '_',  '-' are allowed."),
        (
            "n",
            "x:y",
            "Invalid tag value <x:y>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed.",
        ),
    ],
)
def test_tags(name: str, value: str, text: str | None) -> None:
    if text is None:
        check_tag(name, value)
    else:
        with pytest.raises(Refusal) as refused:
            check_tag(name, value)
        assert (refused.value.code, refused.value.message) == ("BadRequestException", text)


@pytest.mark.parametrize(
    ("value", "addresses", "has_group"),
    [
        ("a@b.c", ("a@b.c",), False),
        ("  A B <a@b.c> ", ("a@b.c",), False),
        ("<a@b.c>", ("a@b.c",), False),
        ('"Last, First" <a@b.c>, d@e.f', ("a@b.c", "d@e.f"), False),
        ('"q\\"uote <x@y>" <a@b.c>', ("a@b.c",), False),
        ("=?utf-8?q?B=C3=BCcher?= <a@b.c>", ("a@b.c",), False),
        ("a@b.c (a (nested) comment, with comma)", ("a@b.c",), False),
        ("a@b.c (never closed", ("a@b.c",), False),
        ('"a b"@c.d', ('"a b"@c.d',), False),
        ("undisclosed-recipients:;", (), True),
        ("team: a@b.c, d@e.f;, g@h.i", ("a@b.c", "d@e.f", "g@h.i"), True),
        ("", (), False),
        ("nobody", ("nobody",), False),
        ("a b@c.d", ("a b@c.d",), False),
        ("Broken <a@b.c", ("Broken <a@b.c",), False),
    ],
)
def test_mailboxes(value: str, addresses: tuple[str, ...], has_group: bool) -> None:
    assert read_mailboxes(value) == Mailboxes(addresses, has_group)


@given(st.text(alphabet=st.sampled_from('ab@.,;:<>()"\\ \té')))
def test_any_address_list_can_be_read(value: str) -> None:
    assert all(address.strip() for address in read_mailboxes(value).addresses)


def test_headers() -> None:
    raw = b"From: a@b.c\r\nSubject: two\r\n\tlines\r\nnonsense\r\nX-Bytes: \xff\xfe\r\n\r\nNot: this"
    assert read_headers(raw) == [("From", "a@b.c"), ("Subject", "two\tlines"), ("X-Bytes", "\ufffd\ufffd")]
    assert read_headers(b"From: a@b.c\nTo: d@e.f\n\nNot: this") == [("From", "a@b.c"), ("To", "d@e.f")]
    assert read_headers(b"\r\nNot: this") == []
    assert read_headers(b"From: a@b.c") == [("From", "a@b.c")]
    assert read_headers(b"") == []


@given(st.lists(st.sampled_from([b"\n", b"\r\n", b"x", b"yyy"])).map(b"".join), st.integers(1, 6))
def test_longer_lines_are_found(raw: bytes, limit: int) -> None:
    *lines, rest = raw.split(b"\n")
    assert has_longer_line(raw, limit) == (any(len(line) + 1 > limit for line in lines) or len(rest) >= limit)


def mail(*fields: str) -> bytes:
    return "\r\n".join([*fields, "", "Hi.", ""]).encode()


FROM = "From: hello@shared.example"
NOT_VERIFIED = "Email address is not verified. The following identities failed the check in region EU-WEST-1:"


@pytest.mark.parametrize(
    ("sending", "code", "text"),
    [
        (Sending(mail("Subject: x")), "BadRequestException", "Missing required header 'From'."),
        (Sending(mail("From:")), "BadRequestException", "Missing required header 'From'."),
        (Sending(mail(FROM, FROM)), "BadRequestException", "Duplicate header 'From'."),
        (
            Sending(mail(FROM, "dkim-signature: a", "DKIM-SIGNATURE: b")),
            "BadRequestException",
            "Duplicate header 'DKIM-Signature'.",
        ),
        (Sending(mail("From: a@shared.example, b@shared.example")), "BadRequestException", None),
        (Sending(mail("From: us: a@shared.example;")), "BadRequestException", None),
        (Sending(mail("From: jörg@shared.example")), "BadRequestException", None),
        (Sending(mail("From: nobody")), "BadRequestException", "Missing final '@domain'"),
        (Sending(mail(FROM), recipients=("a@x.test",) * 51), "BadRequestException", "Recipient count exceeds 50."),
        (Sending(mail(FROM), recipients=("a@x.test", "b")), "BadRequestException", "Missing final '@domain'"),
        (Sending(mail(FROM)), "BadRequestException", "There are no recipients."),
        (Sending(mail(FROM, "To: nobody")), "BadRequestException", "Missing final '@domain'"),
        (Sending(mail("From: a@other.test")), "MessageRejected", f"{NOT_VERIFIED} a@other.test"),
        (Sending(mail("From: a@notshared.example")), "MessageRejected", f"{NOT_VERIFIED} a@notshared.example"),
        (Sending(mail("From: ceo@person.example")), "MessageRejected", f"{NOT_VERIFIED} ceo@person.example"),
        (
            Sending(mail(FROM, "Sender: s@other.test", "Return-Path: <r@other.test>"), feedback="f@other.test"),
            "MessageRejected",
            f"{NOT_VERIFIED} s@other.test, r@other.test, f@other.test",
        ),
        (Sending(mail(FROM), sender="a@other.test"), "MessageRejected", f"{NOT_VERIFIED} a@other.test"),
        (Sending(mail(FROM) + b"x" * 999 + b"\r\n"), "BadRequestException", "A line is longer than 1000 characters."),
        (Sending(mail(FROM), tags=(("n", ""),)), "BadRequestException", "The tag value must be specified."),
        (
            Sending(bytes(41_943_041)),
            "BadRequestException",
            "Message length is more than 41943040 bytes long: '41943041'.",
        ),
    ],
)
def test_refused(sending: Sending, code: str, text: str | None) -> None:
    if sending.recipients is None and text not in {"There are no recipients.", "Missing final '@domain'"}:
        sending = Sending(sending.raw, sending.sender, sending.feedback, ("x@d.test",), sending.tags)
    with pytest.raises(Refusal) as refused:
        admit(sending, ACCOUNT, "eu-west-1")
    assert refused.value.code == code
    assert text is None or refused.value.message == text


@pytest.mark.parametrize(
    ("sending", "sender", "recipients"),
    [
        (Sending(mail(FROM), recipients=("X <x@d.test>",)), "hello@shared.example", ("x@d.test",)),
        (Sending(mail(FROM, "To: a@x.test"), recipients=("b@x.test",)), "hello@shared.example", ("b@x.test",)),
        (
            Sending(mail(FROM, "To: A <a@x.test>, t: b@x.test;", "Cc: c@x.test", "Bcc: d@x.test")),
            "hello@shared.example",
            ("a@x.test", "b@x.test", "c@x.test", "d@x.test"),
        ),
        (Sending(mail("From: a@Sub.SHARED.example", "To: a@x.test")), "a@Sub.SHARED.example", ("a@x.test",)),
        (Sending(mail("From: Boss@person.example", "To: a@x.test")), "Boss@person.example", ("a@x.test",)),
        (Sending(mail("To: a@x.test"), sender="N <n@shared.example>"), "n@shared.example", ("a@x.test",)),
        (Sending(mail(FROM, "To: a@x.test", "To: b@x.test")), "hello@shared.example", ("a@x.test", "b@x.test")),
        (Sending(mail(FROM, "To: a@x.test") + b"x" * 998 + b"\r\n"), "hello@shared.example", ("a@x.test",)),
        (Sending(mail(FROM, "Return-Path: <>", "To: a@x.test")), "hello@shared.example", ("a@x.test",)),
    ],
)
def test_admitted(sending: Sending, sender: str, recipients: tuple[str, ...]) -> None:
    letter = admit(sending, ACCOUNT, "eu-west-1")
    assert (letter.sender, letter.recipients) == (sender, recipients)


def test_an_account_without_production_access_reaches_its_own_and_the_simulator() -> None:
    account = Account("newcomer", ("shared.example",), production=False)
    own = ("me@shared.example", "bounce@simulator.amazonses.com")
    assert admit(Sending(mail(FROM), recipients=own), account, "eu-west-1").recipients == own
    with pytest.raises(Refusal, match=r"EU-WEST-1: x@d\.test"):
        admit(Sending(mail(FROM), recipients=(*own, "x@d.test")), account, "eu-west-1")


def test_the_single_headers_are_those_of_the_guide() -> None:
    assert len(SINGLE_HEADERS) == 60
    assert SINGLE_HEADERS["message-id"] == "Message-ID"
    assert not {"to", "cc", "bcc", "received"} & set(SINGLE_HEADERS)


def refusal_of(allowance: Allowance, recipients: int, counted: int, now: float) -> str | None:
    try:
        allowance.spend(recipients, counted, now)
    except Refusal as refusal:
        return refusal.code
    return None


def test_the_rate_is_a_bucket_that_one_call_may_overdraw() -> None:
    allowance = Allowance(Account("a", (), rate=10, daily_quota=-1), now=0.0)
    assert refusal_of(allowance, 9, 9, 0.0) is None
    assert refusal_of(allowance, 50, 50, 0.0) is None  # one token was left
    assert refusal_of(allowance, 1, 1, 0.0) == "TooManyRequestsException"
    assert refusal_of(allowance, 1, 1, 4.9) == "TooManyRequestsException"  # 49 tokens of debt
    assert refusal_of(allowance, 1, 1, 5.0) is None
    assert refusal_of(allowance, 10, 10, 999.0) is None  # a bucket holds one second
    assert refusal_of(allowance, 1, 1, 999.0) == "TooManyRequestsException"


def test_the_daily_quota_rolls() -> None:
    allowance = Allowance(Account("a", (), daily_quota=10), now=0.0)
    assert refusal_of(allowance, 6, 6, 0.0) is None
    assert refusal_of(allowance, 4, 4, 3600.0) is None
    assert allowance.sent(3600.0) == 10
    assert refusal_of(allowance, 1, 1, 3600.0) == "LimitExceededException"
    assert refusal_of(allowance, 50, 0, 3600.0) is None  # the simulator is free
    assert refusal_of(allowance, 7, 7, 86_400.0) == "LimitExceededException"  # 6 of the 10 have aged
    assert refusal_of(allowance, 6, 6, 86_400.0) is None
    assert allowance.sent(90_000.0) == 6


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        ("success@simulator.amazonses.com", Outcome.DELIVERED),
        ("Bounce+label@Simulator.AmazonSES.com", Outcome.BOUNCED),
        ("complaint@simulator.amazonses.com", Outcome.COMPLAINED),
        ("ooto@simulator.amazonses.com", Outcome.AWAY),
        ("suppressionlist@simulator.amazonses.com", Outcome.SUPPRESSED),
        ("bounce@example.com", Outcome.DELIVERED),
        ("other@simulator.amazonses.com", Outcome.DELIVERED),
    ],
)
def test_the_simulator(address: str, outcome: Outcome) -> None:
    assert outcome_of(address) is outcome
    assert is_simulator(address) == ("simulator" in address.lower())


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 65])
def test_account_names(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Account(name, ())


def test_a_rate_is_positive() -> None:
    with pytest.raises(ValueError, match="rate"):
        Account("a", (), rate=0)
