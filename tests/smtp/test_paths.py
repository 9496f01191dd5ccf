"""The arguments of MAIL and RCPT: what is read, what is refused, and that no line end ever gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.smtp.paths import Refused, parse
from relay.smtp.replies import Reply


@pytest.mark.parametrize(
    ("argument", "address", "parameters"),
    [
        (b"FROM:<ann@one.test>", "ann@one.test", {}),
        (b"from: <ann@one.test> ", "ann@one.test", {}),
        (b"FROM:<>", None, {}),
        (b"FROM:<> SIZE=1", None, {"SIZE": "1"}),
        (b"FROM:ann@one.test", "ann@one.test", {}),
        (b"FROM:ann@one.test SIZE=1 body=8bitmime", "ann@one.test", {"SIZE": "1", "BODY": "8bitmime"}),
        (b"FROM:<@a.test,@b.test:ann@one.test>", "ann@one.test", {}),
        (b'FROM:<"a>b c"@one.test> X', '"a>b c"@one.test', {"X": ""}),
        (b'FROM:<"a\\">"@one.test>', '"a\\">"@one.test', {}),
        (b"FROM:<ann@one.test> AUTH=<> ENVID=Ab+3Dc", "ann@one.test", {"AUTH": "<>", "ENVID": "Ab+3Dc"}),
    ],
)
def test_what_is_read(argument: bytes, address: str | None, parameters: dict[str, str]) -> None:
    found, said = parse(argument, "FROM:")
    assert (str(found) if found else None, said) == (address, parameters)


@pytest.mark.parametrize(
    "argument",
    [
        *[b"", b"FROM", b"FROM:", b"FROM <ann@one.test>", b"TO:<ann@one.test>", b"FROM:<ann@one.test", b"FROM:<"],
        *[b"FROM:ann@one.test>", b"FROM:<ann@one.test>SIZE=1", b'FROM:<"ann@one.test>', b"FROM:<ann@one.test> A==B"],
        *[b"FROM:<ann@one.test> =", b"FROM:<ann@one.test> SIZE=1=2", b"FROM:<ann@one.test> S\0=1", b'FROM:<"a\\'],
    ],
)
def test_what_is_no_argument(argument: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse(argument, "FROM:")
    assert refused.value.reply is Reply.BAD_ARGUMENT


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        (b"<ann>", Kind.BAD_ADDRESS, "ann is not an address"),
        (b"<@a.test>", Kind.BAD_ADDRESS, "@a.test is a route without an address"),
        (b"<@a.test:>", Kind.BAD_ADDRESS, "@a.test is a route without an address"),
        (b"<<ann@one.test>", Kind.BAD_ADDRESS, "before the @"),
        (b"<a\0b@one.test>", Kind.BAD_ADDRESS, "a\\x00b@one.test: the part before the @ is not valid"),
        (b"<a\rb@one.test>", Kind.BAD_ADDRESS, "a\\rb@one.test"),
        (b"<ann@one.test\t>", Kind.BAD_ADDRESS, "one.test\\t is not a valid domain"),
        (b"<=?utf-8?q?x=0d=0aBcc:_evil?=@b.example>", Kind.BAD_ADDRESS, "before the @"),
        (b"<a@=?utf-8?q?evil?=.example>", Kind.BAD_ADDRESS, "not a valid domain name"),
        ("<jürgen@one.test>".encode(), Kind.NON_ASCII_ADDRESS, "j\\xfcrgen@one.test"),
        (b"<\xff@one.test>", Kind.NON_ASCII_ADDRESS, "<\\xff@one.test>"),
    ],
)
def test_what_is_no_address(path: bytes, kind: Kind, words: str) -> None:
    with pytest.raises(Problem) as refused:
        parse(b"TO:" + path, "TO:")
    assert refused.value.kind is kind
    assert words in refused.value.detail


PIECES = [
    b"<",
    b">",
    b"@",
    b'"',
    b"\\",
    b" ",
    b"\r",
    b"\n",
    b"\0",
    b":",
    b",",
    b"a",
    b"one.test",
    b"=",
    b"SIZE",
    b"\xfc",
]
ARGUMENTS = st.lists(st.sampled_from(PIECES), max_size=16).map(b"".join) | st.binary(max_size=40)


@given(ARGUMENTS)
def test_no_line_end_gets_through(argument: bytes) -> None:
    try:
        address, parameters = parse(b"TO:" + argument, "TO:")
    except (Problem, Refused):
        return
    for text in (str(address), *parameters, *parameters.values()):
        assert all(" " <= character <= "~" for character in text)
    assert address is None or str(address).encode() in argument or address.domain.encode() in argument.lower()
