"""What a report says, to the letter, read back by parsers that are not ours; and originals that mean harm."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage, Message
from pathlib import Path

import pytest
from flufl.bounce import all_failures, scan_message
from hypothesis import given
from hypothesis import strategies as st

from relay.dispatch.reports import HEADER_AT_MOST, compose
from relay.errors import Kind
from relay.message import Address
from relay.routing.fixups import refuse_known
from relay.routing.headers import split
from relay.sandbox.accounts import Account
from relay.sandbox.rules import Sending, admit
from relay.store.clock import moment_ms
from relay.store.fates import Action, Fate, Notice

GOLDEN = Path(__file__).parent / "reports"
AT = moment_ms(datetime(2026, 11, 21, 14, 30, 5, tzinfo=UTC))
ARRIVED = moment_ms(datetime(2026, 11, 20, 9, 0, 0, tzinfo=UTC))
ORIGINAL = (
    b"Received: from box by relay.test with ESMTP id 0;\r\n\tFri, 20 Nov 2026 09:00:00 +0000\r\n"
    b"From: Shop <shop@byoc.example>\r\nTo: bob@dest.example\r\nSubject: Your order\r\n"
    b"Message-ID: <4711@byoc.example>\r\n\r\nThank you.\r\n"
)
REFUSED = Fate(
    "bob@dest.example",
    "rfc822;Bob+2BOld@dest.example",
    Action.FAILED,
    Kind.SES_REJECTED,
    "MessageRejected: Illegal attachment",
    tried_at=AT,
)
LATE = Fate(
    "kim@dest.example", None, Action.DELAYED, Kind.SES_UNAVAILABLE, "connection refused", retry_until=AT + 10**7
)
HANDED_ON = Fate("lee@dest.example", None, Action.RELAYED, tried_at=AT, ses_message_id="0100-abc")
EXPIRED = Fate("mo@dest.example", None, Action.FAILED, Kind.EXPIRED, "AccessDenied: arn:aws:iam::123456789012:user/x")
LISTED = Fate("nan@dest.example", None, Action.FAILED, Kind.SUPPRESSED)
LOST = Fate("ola@dest.example", None, Action.FAILED, Kind.SES_UNKNOWN_OUTCOME)

NOTICE = Notice(
    public_id="0123456789abcdef01234567",
    about="fedcba9876543210fedcba98",
    sender=Address.parse("shop@byoc.example"),
    domain="byoc.example",
    at=AT,
    arrived_at=ARRIVED,
    rfc_message_id="<4711@byoc.example>",
    envid="QQ+2B314",
    original=ORIGINAL,
    is_whole=False,
    fates=(REFUSED,),
)
CASES = {
    "refused": NOTICE,
    "refused_returned_whole": replace(NOTICE, is_whole=True, envid=None),
    "late": replace(NOTICE, fates=(LATE,)),
    "handed_on": replace(NOTICE, fates=(HANDED_ON,)),
    "of_all_sorts": replace(NOTICE, fates=(REFUSED, HANDED_ON, EXPIRED, LISTED, LOST)),
    "unreadable": replace(NOTICE, original=None, fates=(EXPIRED,)),
}


def made(notice: Notice) -> bytes:
    report = compose(notice, hostname="relay.test")
    assert report is not None
    return report


def read(report: bytes) -> EmailMessage:
    parsed = email.message_from_bytes(report, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert [defect for part in parsed.walk() for defect in part.defects] == []
    return parsed


@pytest.mark.parametrize("name", sorted(CASES))
def test_to_the_letter(name: str) -> None:
    """The files are what people and programs are sent: look at them when they change."""
    assert made(CASES[name]).decode("ascii").replace("\r\n", "\n") == (GOLDEN / f"{name}.eml").read_text("ascii")


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_line_ends_in_crlf_and_is_short(name: str) -> None:
    report = made(CASES[name])
    assert report.count(b"\n") == report.count(b"\r") == report.count(b"\r\n")
    assert max(map(len, report.split(b"\r\n"))) < 200


@pytest.mark.parametrize("name", sorted(CASES))
def test_another_program_sees_who_failed(name: str) -> None:
    """flufl.bounce is what Mailman reads bounces with. It takes RFC 3464's `failed` for permanent."""
    notice = CASES[name]
    temporary, permanent = all_failures(email.message_from_bytes(made(notice)))
    assert permanent == {
        # It prefers the address that the sender knows.
        b"Bob+Old@dest.example" if fate is REFUSED else fate.address.encode()
        for fate in notice.fates
        if fate.action is Action.FAILED
    }
    assert temporary == {fate.address.encode() for fate in notice.fates if fate.action is Action.DELAYED}
    assert scan_message(email.message_from_bytes(made(notice))) == permanent


def test_an_operators_affairs_are_not_told() -> None:
    report = made(replace(NOTICE, fates=(EXPIRED,)))
    assert b"The message was too old to be tried again (5.4.7)" in report
    assert b"arn:" not in report


@pytest.mark.parametrize(
    ("envid", "said"),
    [("QQ314", "QQ314"), ("a+2Bb", "a+b"), ("a+20b", "a b"), ("a+0D+0ABcc:+20x", "a+0D+0ABcc:+20x"), ("+FC", "+FC")],
)
def test_what_the_envelope_says_is_decoded_where_that_is_printable(envid: str, said: str) -> None:
    fate = replace(REFUSED, orcpt=f"rfc822;{envid}@x")
    blocks = read(made(replace(NOTICE, envid=envid, fates=(fate,))))
    about, bob = status_of(blocks)
    assert about["Original-Envelope-Id"] == said
    assert bob["Original-Recipient"] == f"rfc822; {said}@x"
    assert about.keys() == ["Original-Envelope-Id", "Reporting-MTA", "Arrival-Date"]


def status_of(report: EmailMessage) -> list[Message]:
    parts = list(report.iter_parts())
    blocks = parts[1].get_payload()
    assert isinstance(blocks, list)
    return [block for block in blocks if isinstance(block, Message)]


@pytest.mark.parametrize(
    "message_id", ["", "<a b@c>", "no brackets@x", "<a@b>\r\nBcc: x", f"<{'a' * 900}@b>", "<\xfc@b>"]
)
def test_a_message_id_that_is_none_is_not_referred_to(message_id: str) -> None:
    report = read(made(replace(NOTICE, rfc_message_id=message_id)))
    assert report["In-Reply-To"] is None
    assert report["References"] is None


def test_the_longest_addresses_stay_whole() -> None:
    long = f"{'l' * 64}@{'.'.join(['d' * 60] * 3)}.ex"
    sender = Address.parse(long)
    report = made(replace(NOTICE, sender=sender, fates=(replace(REFUSED, address=long),)))
    assert f"  {long}\r\n".encode() in report
    assert f"Final-Recipient: rfc822; {long}\r\n".encode() in report
    assert read(report)["To"].addresses[0].addr_spec == long


# -- originals that mean harm ----------------------------------------------------------------------------------------

BOUNDARY = b"--=_" + NOTICE.public_id.encode()
HOSTILE = {
    "bare CR": b"Subject: a\rBcc: victim@x\r\n\r\nb",
    "bare LF": b"Subject: a\nTo: b\n\nc",
    "8 bit": "Subject: Grüße\r\nFrom: Jörg <j@x>\r\n\r\nä\r\n".encode("latin-1"),
    "UTF-8": "Subject: Grüße\r\n\r\nä\r\n".encode(),
    "NUL": b"Subject: a\0b\r\n\r\nc\0\r\n",
    "escape": b"Subject: \x1b[2J\x07\r\n\r\nx",
    "long line": b"Subject: " + b"x" * 5000 + b"\r\n\r\n" + b"y" * 5000,
    "huge header": b"".join(b"X-%d: %s\r\n" % (number, b"v" * 900) for number in range(250)) + b"\r\nbody",
    "one endless field": b"X: " + b"v" * 300_000,
    "no header": b"\r\nonly a body",
    "no end": b"Subject: x",
    "nothing": b"",
    "no header field": b"this is no header field\r\nNor: is it\r\n\r\nbody",
    "the boundary": b"Subject: x\r\n"
    + BOUNDARY
    + b"\r\nContent-Type: text/html\r\n\r\n"
    + BOUNDARY
    + b"--\r\n\r\nbody",
    "the boundary in its body": b"Subject: x\r\n\r\n" + BOUNDARY + b"--\r\nbody",
    "dots": b"Subject: x\r\n\r\n.\r\n..\r\nQUIT\r\n",
    "folded": b"Auto-Submitted:\r\n no\r\nSubject: a\r\n\tb\r\n\r\nx",
    "trailing spaces": b"Subject: a   \r\nX: \xff \t\r\n\r\nx",
}


def taken_by_ses(report: bytes) -> None:
    """By the sandbox, which refuses what SES refuses, and by our own door."""
    assert admit(
        Sending(report, recipients=("shop@byoc.example",)), Account("customer", ("byoc.example",)), "eu-west-1"
    )
    fields, _ = split(report)
    refuse_known(fields)


@pytest.mark.parametrize("is_whole", [False, True], ids=["headers", "whole"])
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_whatever_the_original_is_the_report_is_one(name: str, is_whole: bool) -> None:
    report = made(replace(NOTICE, original=HOSTILE[name], is_whole=is_whole))
    taken_by_ses(report)
    head, _, _ = report.partition(b"\r\n\r\n")
    assert head.count(b"\r\n") == 10 + (not report.isascii())
    assert report.isascii() or is_whole
    assert is_whole or len(report) < HEADER_AT_MOST * 3.2
    assert b"\0" not in report
    parsed = email.message_from_bytes(report, policy=email.policy.default)
    parts = list(parsed.iter_parts())  # type: ignore[union-attr]
    assert len(parts) == 3
    assert [part.get_content_type() for part in parts[:2]] == ["text/plain", "message/delivery-status"]
    _, permanent = all_failures(email.message_from_bytes(report))
    assert permanent == {b"Bob+Old@dest.example"}


@pytest.mark.parametrize("name", ["8 bit", "UTF-8", "trailing spaces", "folded", "long line"])
def test_a_header_comes_back_octet_for_octet(name: str) -> None:
    """Encoded where it has to be; no octet of it is lost."""
    [_, _, returned] = email.message_from_bytes(made(replace(NOTICE, original=HOSTILE[name]))).get_payload()
    assert isinstance(returned, Message)
    assert returned.get_content_type() == "text/rfc822-headers"
    payload = returned.get_payload(decode=True)
    header = HOSTILE[name].partition(b"\r\n\r\n")[0]
    assert isinstance(payload, bytes)
    assert payload.rstrip(b"\r\n") == header


@given(st.binary(max_size=400), st.booleans())
def test_no_original_breaks_out(original: bytes, is_whole: bool) -> None:
    report = compose(replace(NOTICE, original=original, is_whole=is_whole), hostname="relay.test")
    if report is not None:  # one that says it is automatic
        taken_by_ses(report)
        assert len(list(email.message_from_bytes(report).get_payload())) == 3


# -- whether anyone wants to know ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "is_told"),
    [
        (b"", True),
        (b"Auto-Submitted: no\r\n", True),
        (b"auto-submitted: No (a person)\r\n", True),
        (b"Auto-Submitted:\r\n auto-replied\r\n", False),
        (b"AUTO-SUBMITTED : auto-generated; owner=x\r\n", False),
        (b"Precedence: first-class\r\n", True),
        (b"Precedence: BULK\r\n", False),
        (b"Precedence: junk\r\n", False),
        (b"List-Id: x\r\n", False),
        (b"List-Unsubscribe: <mailto:x@y>\r\n", False),
        (b"X-List-Id: x\r\n", True),
        (b"Content-Type: multipart/mixed; boundary=x\r\n", True),
        (b"Content-Type: multipart/report; boundary=x\r\n", False),
        (b"Content-Type:\r\n\tMULTIPART/REPORT;boundary=x\r\n", False),
        (b"Subject: x\r\n\r\nAuto-Submitted: auto-replied\r\n", True),
    ],
)
def test_whom_nobody_answers(header: bytes, is_told: bool) -> None:
    original = b"From: shop@byoc.example\r\n" + header + b"\r\nbody\r\n"
    assert (compose(replace(NOTICE, original=original), hostname="relay.test") is not None) is is_told


def test_a_report_is_not_reported_on() -> None:
    assert compose(replace(NOTICE, original=made(NOTICE)), hostname="relay.test") is None
