"""What is changed in a message on its way, all of it written down; and what SES would refuse."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.declared import Device, SenderRule
from relay.errors import Kind, Problem
from relay.message import Options, Trace
from relay.routing.fixups import SINGLE, Fixed, fix_up
from relay.routing.sender_rules import Rule, of_device, of_rule

NOW = datetime(2026, 3, 5, 12, 0, 0, tzinfo=UTC)
FROM = b"From: ann@ours.test\r\n"
WHOLE = FROM + b"Date: x\r\nMessage-ID: <a@b>\r\n"
RECEIVED = (
    b"Received: from client.test ([192.0.2.1]) by relay.test with ESMTPS id 0123;\r\n"
    b"\tThu, 05 Mar 2026 12:00:00 +0000\r\n"
)


TRACE = Trace("ESMTPS", "client.test", "192.0.2.1")


def fixed(raw: bytes, trace: Trace = TRACE, rule: Rule | None = None) -> Fixed:
    is_ours = {"ours.test", "also.test"}.__contains__
    return fix_up(raw, trace, hostname="relay.test", public_id="0123", now=NOW, is_ours=is_ours, rule=rule)


def test_a_whole_message_gets_a_received_and_nothing_else() -> None:
    found = fixed(WHOLE + b"\r\nbody\r\n")
    assert found.raw == RECEIVED + WHOLE + b"\r\nbody\r\n"
    assert found.ledger == ("added Received",)
    assert (str(found.author), found.message_id, found.is_bulk) == ("ann@ours.test", "<a@b>", False)
    assert found.options == Options()


@pytest.mark.parametrize(
    ("field", "ledger"),
    [
        (b"Bcc: x@one.test\r\n", "dropped bcc"),
        (b"BCC : x@one.test,\r\n y@one.test\r\n", "dropped bcc"),
        (b"Resent-Bcc: x@one.test\r\n", "dropped resent-bcc"),
        (b"Return-Path: <x@one.test>\r\n", "dropped return-path"),
        (b"X-SES-CONFIGURATION-SET: x\r\n", "dropped x-ses-configuration-set"),
        (b"X-Relay-Unheard-Of: x\r\n", "dropped x-relay-unheard-of"),
        (b"X-Relay-Tag: x\r\n", "took x-relay-tag as an option"),
        (b"X-Relay-Metadata: {\r\n }\r\n", "took x-relay-metadata as an option"),
        (b"X-Relay-Stream: broadcast\r\n", "took x-relay-stream as an option"),
        (b"X-Relay-Idempotency-Key: x\r\n", "took x-relay-idempotency-key as an option"),
        (b"Idempotency-Key: x\r\n", "took idempotency-key as an option"),
        (b"Resend-Idempotency-Key: x\r\n", "took resend-idempotency-key as an option"),
        (b"X-Relay-Track-Opens: yes\r\n", "took x-relay-track-opens as an option"),
        (b"X-Relay-Track-Clicks : no\r\n", "took x-relay-track-clicks as an option"),
        (b"X-Relay-Send-At: 1\r\n", "took x-relay-send-at as an option"),
        (b"Sender: x@theirs.test\r\n", "dropped sender"),
        (b"Sender: not an address\r\n", "dropped sender"),
        (b"Sender: x@ours.test, y@theirs.test\r\n", "dropped sender"),
    ],
)
def test_dropped(field: bytes, ledger: str) -> None:
    for raw in (field + WHOLE, WHOLE + field):
        found = fixed(raw + b"\r\n" + field)
        assert found.raw == RECEIVED + WHOLE + b"\r\n" + field  # a body may say what it likes
        assert found.ledger == (ledger, "added Received")


@pytest.mark.parametrize(
    "field",
    [
        b"Sender: x@ours.test\r\n",
        b"Sender: The Team <x@also.test>\r\n",
        b"Bcc-Note: x\r\n",
        b"Resent-To: x@one.test\r\n",
        b"X-Session: 1\r\n",
        b"X-Anything: \xff\0\x01\r\n",
        b"Received: from a by b; x\r\n" * 50,
        b"X-A:1\r\n\t folded \r\n  twice\r\n",
        b"To: undisclosed-recipients:;\r\n",
    ],
)
def test_kept_octet_for_octet(field: bytes) -> None:
    found = fixed(WHOLE + field + b"\r\n\0\xff\r\n.\r\n")
    assert found.raw == RECEIVED + WHOLE + field + b"\r\n\0\xff\r\n.\r\n"
    assert found.ledger == ("added Received",)


@pytest.mark.parametrize(
    ("raw", "added", "ledger", "message_id"),
    [
        (FROM, b"Message-ID: <0123@ours.test>\r\nDate: Thu, 05 Mar 2026 12:00:00 +0000\r\n",
         ("added Received", "added Message-ID", "added Date"), "<0123@ours.test>"),
        (FROM + b"Date: x\r\n", b"Message-ID: <0123@ours.test>\r\n", ("added Received", "added Message-ID"),
         "<0123@ours.test>"),
        (FROM + b"Message-ID: <a@b>\r\n", b"Date: Thu, 05 Mar 2026 12:00:00 +0000\r\n",
         ("added Received", "added Date"), "<a@b>"),
        (FROM + b"Date: \r\nMessage-ID: <a@b>\r\n", b"", ("added Received",), "<a@b>"),
    ],
)  # fmt: skip
def test_added(raw: bytes, added: bytes, ledger: tuple[str, ...], message_id: str) -> None:
    found = fixed(raw + b"\r\nbody")
    assert found.raw == RECEIVED + added + raw + b"\r\nbody"
    assert (found.ledger, found.message_id) == (ledger, message_id)


def test_an_empty_message_id_is_replaced() -> None:
    found = fixed(FROM + b"Message-ID:\r\n \r\nDate: x\r\n\r\nbody")
    assert found.raw == RECEIVED + b"Message-ID: <0123@ours.test>\r\n" + FROM + b"Date: x\r\n\r\nbody"
    assert found.ledger == ("added Received", "dropped an empty message-id", "added Message-ID")


@pytest.mark.parametrize("cut", [0, 2])  # octets off the end of the header
def test_a_header_without_an_end_gets_one(cut: int) -> None:
    found = fixed(WHOLE[: len(WHOLE) - cut])
    assert found.raw == RECEIVED + WHOLE + b"\r\n"
    assert found.ledger == ("added the empty line that ends the header", "added Received")


def test_a_hostile_header_does_not_fill_the_ledger() -> None:
    found = fixed(WHOLE + b"Bcc: x\r\n" * 10_000 + b"X-SES-" + b"x" * 900 + b": 1\r\n\r\n")
    assert found.raw == RECEIVED + WHOLE + b"\r\n"
    assert found.ledger == (*["dropped bcc"] * 50, "and 9,951 more changes of this kind", "added Received")
    assert max(map(len, fixed(WHOLE + b"X-SES-" + b"x" * 900 + b": 1\r\n\r\n").ledger)) == len("dropped ") + 76


def test_options_are_read_and_go_no_further() -> None:
    found = fixed(b"X-Relay-Tag: welcome\r\n" + WHOLE + b"Idempotency-Key: k\r\n\r\nX-Relay-Tag: body\r\n")
    assert found.raw == RECEIVED + WHOLE + b"\r\nX-Relay-Tag: body\r\n"
    assert found.options == Options(tag="welcome", idempotency_key="k")


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (b"Subject: x\r\n", Kind.BAD_REQUEST, "no From header"),
        (b"", Kind.BAD_REQUEST, "no From header"),
        (FROM + FROM, Kind.BAD_REQUEST, "several From headers"),
        (FROM + b"From : evil@theirs.test\r\n", Kind.BAD_REQUEST, "several From headers"),
        (FROM + b"X: y\rFrom: evil@theirs.test\r\n", Kind.BAD_REQUEST, "several From headers"),
        (b"From: a@ours.test, b@theirs.test\r\n", Kind.BAD_REQUEST, "several mailboxes"),
        (b"From: a@ours.test,\r\n b@theirs.test\r\n", Kind.BAD_REQUEST, "several mailboxes"),
        (FROM + b"Subject: a\r\nsubject: b\r\nDATE: 1\r\nDate: 2\r\n", Kind.BAD_REQUEST,
         "subject: stands more than once in the header; Amazon SES takes it once; date: stands"),
        (FROM + b"Received: x\r\n" * 51, Kind.LOOP, "51 Received headers"),
        (FROM + b"X-Relay-Tag: a b\r\nX-Relay-Stream: x\r\n", Kind.BAD_REQUEST,
         "x-relay-tag: takes 1 to 64 letters (a-z), digits, dots, hyphens and underscores; x-relay-stream: takes one"),
    ],
)  # fmt: skip
def test_refused(raw: bytes, kind: Kind, words: str) -> None:
    with pytest.raises(Problem) as refused:
        fixed(raw + b"\r\nbody")
    assert refused.value.kind is kind
    assert words in refused.value.detail


@pytest.mark.parametrize("name", sorted(SINGLE - {"from"}))
def test_what_ses_takes_once_is_taken_once(name: str) -> None:
    field = name.encode() + b": x@ours.test\r\n"
    fixed(FROM + field)
    with pytest.raises(Problem, match=f"{name}: stands more than once"):
        fixed(FROM + field + field.title())


@pytest.mark.parametrize(
    ("field", "is_bulk"),
    [
        (b"List-Unsubscribe: <https://x>\r\n", True),
        (b"List-Id: x\r\n", True),
        (b"Precedence: Bulk\r\n", True),
        (b"Precedence: list\r\n", True),
        (b"Precedence: first-class\r\n", False),
        (b"X-List-Id: x\r\n", False),
    ],
)
def test_bulk_says_so_itself(field: bytes, is_bulk: bool) -> None:
    assert fixed(FROM + field).is_bulk is is_bulk


@pytest.mark.parametrize(
    ("trace", "line"),
    [
        (Trace("HTTP"), b"Received: by relay.test with HTTP id 0123;"),
        (Trace("SMTP", "vm"), b"Received: from vm by relay.test with SMTP id 0123;"),
        (Trace("SMTP", "a\r\nX-Evil: 1"), b"Received: from a??X-Evil:?1 by relay.test with SMTP id 0123;"),
        (Trace("SMTP", "[2001:db8::1]"), b"Received: from [2001:db8::1] by relay.test with SMTP id 0123;"),
        (Trace("SMTP", "ü" * 3000), b"Received: from " + b"?" * 255 + b" by relay.test with SMTP id 0123;"),
    ],
)
def test_received_says_nothing_harmful(trace: Trace, line: bytes) -> None:
    assert fixed(WHOLE, trace).raw.partition(b"\r\n")[0] == line


# -- sender rules ----------------------------------------------------------------------------------------------------

RULE = of_rule(SenderRule(sender="noreply@ours.test"))  # *@localhost, root@*, missing and so on
NARROW = of_rule(SenderRule(sender="noreply@ours.test", replaces=("*@localhost",)))
DEVICE = of_device(Device(networks=("192.0.2.0/24",), sender="scanner@ours.test"))
NOREPLY, SCANNER = b"From: noreply@ours.test\r\n", b"From: scanner@ours.test\r\n"
REST = b"Date: x\r\nMessage-ID: <a@b>\r\n"
REPLACED, ADDED = "replaced From by the sender rule", "added From by the sender rule"
KEPT = "added Reply-To with the original From"


@pytest.mark.parametrize(
    ("rule", "header", "becomes", "ledger"),
    [
        (RULE, FROM, FROM, ()),
        (RULE, b"From: root@vm.localdomain\r\n", NOREPLY + b"Reply-To: root@vm.localdomain\r\n", (REPLACED, KEPT)),
        (RULE, b"To: x@y.test\r\nFROM :\tCron\r\n <root@vm>\r\nCc: x@y.test\r\n",
         b"To: x@y.test\r\n" + NOREPLY + b"Reply-To:\tCron\r\n <root@vm>\r\nCc: x@y.test\r\n", (REPLACED, KEPT)),
        (RULE, b"From: root@vm\r\nReply-To: admin@y.test\r\n", NOREPLY + b"Reply-To: admin@y.test\r\n", (REPLACED,)),
        (RULE, b"To: x@y.test\r\n", NOREPLY + b"To: x@y.test\r\n", (ADDED,)),
        (RULE, b"From:\r\n", NOREPLY, (REPLACED,)),
        (RULE, b"From: root (Cron Daemon)\r\n", NOREPLY, (REPLACED,)),
        (NARROW, b"From: me@LOCALHOST\r\n", NOREPLY + b"Reply-To: me@LOCALHOST\r\n", (REPLACED, KEPT)),
        (NARROW, b"From: root@vm\r\n", b"From: root@vm\r\n", ()),
        (DEVICE, FROM, SCANNER + b"Reply-To: ann@ours.test\r\n", (REPLACED, KEPT)),
        (DEVICE, b"From: The Scanner <scanner@ours.test>\r\n", b"From: The Scanner <scanner@ours.test>\r\n", ()),
        (DEVICE, b"From: a@x.test, b@y.test\r\n", SCANNER, (REPLACED,)),
        (DEVICE, b"Sender: x@theirs.test\r\n", SCANNER, (ADDED, "dropped sender")),
    ],
)  # fmt: skip
def test_a_rule_says_who_the_author_is(rule: Rule, header: bytes, becomes: bytes, ledger: tuple[str, ...]) -> None:
    found = fixed(header + REST + b"\r\nbody", rule=rule)
    assert found.raw == RECEIVED + becomes + REST + b"\r\nbody"
    assert found.ledger == (*ledger, "added Received")
    [author] = re.findall(rb"(?mi)^From:.*?([^ <]+@[^ >\r]+)", becomes)
    assert str(found.author) == author.decode()


def test_the_message_id_is_of_the_new_author() -> None:
    assert fixed(b"From: root@vm\r\n\r\n", rule=RULE).message_id == "<0123@ours.test>"


@pytest.mark.parametrize(
    ("rule", "header", "words"),
    [
        (NARROW, b"To: x@y.test\r\n", "no From header"),
        (NARROW, b"From: root\r\n", "root is not an address"),
        (RULE, b"From: a@x.test, b@y.test\r\n", "several mailboxes"),
        (RULE, b"From: team: a@x.test;\r\n", "names a group"),
        (RULE, b"From: root@vm\r\nFrom: root@vm\r\n", "several From headers"),
        (DEVICE, FROM + FROM, "several From headers"),
    ],
)
def test_what_no_rule_helps(rule: Rule, header: bytes, words: str) -> None:
    with pytest.raises(Problem, match=words):
        fixed(header + b"\r\nbody", rule=rule)


# -- nothing beyond the ledger ---------------------------------------------------------------------------------------

NAMES = ["X-A", "x-b", "To", "Resent-To", "Received", "Bcc", "X-SES-x", "X-Relay-y", "Return-Path", "Comments-Of"]
FIELDS = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from([":", ": ", " :"]),
    st.lists(st.binary(max_size=30).map(lambda octets: re.sub(rb"[\r\n]", b"", octets)), min_size=1, max_size=3),
).map(lambda each: each[0].encode() + each[1].encode() + b"\r\n ".join(each[2]) + b"\r\n")
BODIES = st.lists(st.sampled_from([b"\r\n", b"a", b"\xff\0", b"From: x\r\n", b".", b"--b"]), max_size=12).map(b"".join)


@given(
    st.lists(FIELDS, max_size=8),
    st.integers(0, 8),
    st.sampled_from([b"", b"Date: x\r\n", b"Message-ID: <a@b>\r\n"]),
    BODIES,
)
def test_nothing_is_changed_beyond_the_ledger(fields: list[bytes], place: int, more: bytes, body: bytes) -> None:
    whole = [*fields[:place], FROM, *([more] if more else []), *fields[place:]]
    found = fixed(b"".join(whole) + b"\r\n" + body)
    dropped = re.compile(rb"(bcc|return-path|x-ses-.*?|x-relay-.*?) ?:", re.IGNORECASE)
    kept = [field for field in whole if not dropped.match(field)]
    rest = b"".join(kept) + b"\r\n" + body
    assert found.raw.endswith(rest)
    added = found.raw.removesuffix(rest)
    names = [line.partition(b":")[0].decode() for line in added.split(b"\r\n") if line[:1] not in (b"", b"\t")]
    assert sorted(found.ledger) == sorted(
        [f"added {name}" for name in names]
        + [f"dropped {field.partition(b':')[0].decode().strip().lower()}" for field in whole if field not in kept]
    )


@given(BODIES.map(lambda body: body.replace(b"\r\n", b"\n")))
def test_bare_line_ends_are_made_whole(body: bytes) -> None:
    found = fixed(WHOLE.replace(b"\r\n", b"\n") + b"\n" + body)
    assert found.raw == RECEIVED + WHOLE + b"\r\n" + body.replace(b"\n", b"\r\n")
    assert found.ledger == ("made every line end in CR LF", "added Received")


def test_long_lines_are_shortened_and_written_down() -> None:
    found = fixed(WHOLE + b"X-A: " + b"word " * 300 + b"\r\n\r\n" + b"x" * 2000 + b"\r\n")
    assert max(map(len, found.raw.split(b"\r\n"))) <= 998
    assert {entry.split(":")[0] for entry in found.ledger} == {
        "added Received",
        "folded the header field x-a",
        "re-encoded a text/plain part as quoted-printable",
        "added MIME-Version",
    }
