"""The header of a raw message: its fields octet for octet, and a From that nobody reads in two ways."""

from __future__ import annotations

import email
import email.policy
import re
from contextlib import suppress
from email.utils import getaddresses

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.routing.headers import MAX_HEADER, normalise_newlines, only_mailbox, split

# -- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "fields", "body"),
    [
        (b"", [], b""),
        (b"\r\n", [], b""),
        (b"\r\nbody", [], b"body"),
        (b"A: 1\r\n\r\nbody", [("a", b"1")], b"body"),
        (b"A: 1\r\n", [("a", b"1")], b""),
        (b"A: 1", [("a", b"1")], b""),
        (b"A: 1\r\nb-C \t:2\r\n\r\n\r\n", [("a", b"1"), ("b-c", b"2")], b"\r\n"),
        (b"A: 1\r\n 2\r\n\t3 \r\n\r\n", [("a", b"1 2\t3")], b""),
        (b"A:\r\n \r\n\r\n", [("a", b"")], b""),
        (b"A: \xff\0\r\n\r\n", [("a", b"\xff\0")], b""),
    ],
)
def test_fields(raw: bytes, fields: list[tuple[str, bytes]], body: bytes) -> None:
    found, rest = split(raw)
    assert [(each.name, each.value) for each in found] == fields
    assert rest == body


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"no colon\r\n\r\n", "line 1 of the message is no header field: the header must"),
        (b" A: 1\r\n\r\n", "line 1"),
        (b"A: 1\r\n: 2\r\n\r\n", "line 2"),
        (b"A: 1\r\nB C: 2\r\n\r\n", "line 2"),
        (b"From someone Thu Jan  1 00:00:00 1970\r\nA: 1\r\n\r\n", "line 1"),
        (b"A: 1\r\n\xc3\xbc: 2\r\n\r\n", "line 2 of the message is no header field: the header must"),
        (b"A: " + b"x" * MAX_HEADER, "header is over"),
    ],
)
def test_what_is_no_header(raw: bytes, words: str) -> None:
    with pytest.raises(Problem) as refused:
        split(raw)
    assert refused.value.kind is Kind.BAD_REQUEST
    assert words in refused.value.detail


@given(st.lists(st.sampled_from([b"A: 1", b" 2", b"\t", b"B:", b"", b"x", b"\r\n", b"\r\n"])).map(b"".join))
def test_fields_and_body_are_the_message(raw: bytes) -> None:
    raw = normalise_newlines(raw)
    try:
        fields, body = split(raw)
    except Problem:
        return
    header = b"".join(each.raw for each in fields)
    assert raw in (header + b"\r\n" + body, header, header.removesuffix(b"\r\n"))


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a"])).map(b"".join))
def test_every_line_ends_in_cr_lf(raw: bytes) -> None:
    found = normalise_newlines(raw)
    assert found.count(b"\r") == found.count(b"\n") == found.count(b"\r\n")
    assert found.replace(b"\r\n", b"") == re.sub(rb"[\r\n]", b"", raw)
    assert normalise_newlines(found) is found


# -- From ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b"ann@one.test", "ann@one.test"),
        (b"<ann@one.test>", "ann@one.test"),
        (b"Ann <ann@one.test>", "ann@one.test"),
        (b"Ann Q. Public<ann@ONE.test>", "ann@one.test"),
        (b'"Public, Ann: <x@y.test>;" <ann@one.test>', "ann@one.test"),
        (b'"a \\" b" <ann@one.test>', "ann@one.test"),
        (b"=?utf-8?q?J=C3=BCrgen=2C?= <ann@one.test>", "ann@one.test"),
        ("Jürgen <ann@one.test>".encode(), "ann@one.test"),
        ("Jürgen <ann@one.test>".encode("latin-1"), "ann@one.test"),
        (b"root@one.test (Cron Daemon)", "root@one.test"),
        (b"(a (nested \\) \"comment) <x@y.test>) Ann <ann@one.test> (again)", "ann@one.test"),
        (b'<"a, b"@one.test>', '"a, b"@one.test'),
        (b'"a>b"@one.test', '"a>b"@one.test'),
        (b"ann@one.test <ann@one.test>", "ann@one.test"),
        (b"Ann@one.test <ann@ONE.test>", "ann@one.test"),
        (b'"ann@two.test" <ann@one.test>', "ann@one.test"),
    ],
)  # fmt: skip
def test_one_mailbox(value: bytes, address: str) -> None:
    assert str(only_mailbox(value)) == address


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "no address"),
        (b"<>", "no address"),
        (b"Ann <>", "no address"),
        (b"(only a comment)", "no address"),
        (b"a@one.test, b@two.test", "several mailboxes"),
        (b"<a@one.test> <b@two.test>", "several mailboxes"),
        (b"a@one.test,", "several mailboxes"),
        (b"staff: a@one.test;", "a group"),
        (b"undisclosed-recipients:;", "a group"),
        (b"<@route.test:a@one.test>", "a group"),
        (b'"Ann <ann@one.test>', "never closed"),
        (b"(Ann <ann@one.test>", "never closed"),
        (b"Ann) <ann@one.test>", "out of place"),
        (b"Ann \\<x@y.test\\> <ann@one.test>", "out of place"),
        (b"Ann <ann@one.test", "Name <name@domain>"),
        (b"ann@one.test>", "Name <name@domain>"),
        (b">a<ann@one.test>", "Name <name@domain>"),
        (b"<ann@one.test> x", "Name <name@domain>"),
        (b'<ann@one.test> "x"', "Name <name@domain>"),
        (b"evil@two.test <ann@one.test>", "one address as the name of another"),
        (b"=?utf-8?q?x?=@two.test <ann@one.test>", "one address as the name of another"),
        (b"<ann@one.test>\1", "control character"),
        (b"Ann\0 <ann@one.test>", "control character"),
        (b"=?utf-8?q?ann?=@one.test", "encoded word"),
        (b"=?utf-8?q?ann=40one.test?=", "encoded word"),
    ],
)
def test_not_one_mailbox(value: bytes, words: str) -> None:
    with pytest.raises(Problem) as refused:
        only_mailbox(value)
    assert refused.value.kind is Kind.BAD_REQUEST
    assert words in refused.value.detail


@pytest.mark.parametrize(
    "value", [b"ann", b"ann bob@one.test", b"<ann@one..test>", b"<a(c)n@one.test>", b"<\xff@a.test>"]
)
def test_no_address(value: bytes) -> None:
    with pytest.raises(Problem) as refused:
        only_mailbox(value)
    assert refused.value.kind is Kind.BAD_ADDRESS


PIECES = [
    "a",
    "@",
    "<",
    ">",
    "(",
    ")",
    '"',
    "\\",
    ",",
    ";",
    ":",
    " ",
    ".",
    "a@b.test",
    "evil@e.test",
    "<c@d.test>",
    '"x"',
    "(y)",
    "=?utf-8?q?",
    "?=",
    "[",
    "]",
    "\x01",
    "\t",
]
FROMS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)


@hypothesis_settings(max_examples=600)
@given(FROMS)
@example("evil@e.test <c@d.test>")
@example('<c@d.test> "evil@e.test"')
@example('(x "y (z" w) evil@e.test <c@d.test>')
def test_nobody_reads_another_address(value: str) -> None:
    """Python's two parsers stand for all that may come after us. What they cannot read is nobody's address."""
    try:
        address = only_mailbox(value.encode())
    except Problem:
        return
    readings = [found for _, found in getaddresses([value])]
    with suppress(IndexError, AttributeError):  # the newer parser's own faults
        header = email.message_from_string(f"From: {value}\n\n", policy=email.policy.default)["From"]
        readings += [each.addr_spec for each in header.addresses]
    same = {str(address), str(address).replace('"', "")}
    assert {found.rstrip(".").replace('"', "") for found in readings if "@" in found} <= same
