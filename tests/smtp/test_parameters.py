"""Parameters of MAIL and RCPT, as tables; and that no words a stranger makes up break their reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.message import Dsn
from relay.smtp import paths
from relay.smtp.conversation import Refused
from relay.smtp.parameters import read_mail, read_rcpt

LIMIT = 1000


@pytest.mark.parametrize(
    ("given_words", "dsn"),
    [
        ({}, Dsn()),
        ({"SIZE": "1000"}, Dsn()),
        ({"SIZE": "00000000000000000999"}, Dsn()),
        ({"RET": "FULL", "ENVID": "a+2B=b".replace("=", "-")}, Dsn("full", "a+2B-b")),
        ({"RET": "hdrs"}, Dsn("hdrs")),
        ({"AUTH": "<>", "BODY": "8bitmime", "XANY": ""}, Dsn()),
    ],
)
def test_what_mail_says(given_words: dict[str, str], dsn: Dsn) -> None:
    assert read_mail(given_words, LIMIT) == (dsn, int(given_words.get("SIZE", "0")))


@pytest.mark.parametrize("name", ["SMTPUTF8", "REQUIRETLS", "HOLDFOR", "HOLDUNTIL", "BY"])
def test_a_promise_that_cannot_be_kept_is_refused(name: str) -> None:
    for read in (lambda: read_mail({name: ""}, LIMIT), lambda: read_rcpt({name: ""})):
        with pytest.raises(Refused, match="UNKNOWN_PARAMETER"):
            read()


def test_a_declared_size_over_the_limit_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        read_mail({"SIZE": "1001"}, LIMIT)
    assert caught.value.kind is Kind.TOO_LARGE
    for bad in ("", "-1", "1e3", "0x10", "²"):
        with pytest.raises(Refused):
            read_mail({"SIZE": bad}, LIMIT)


@pytest.mark.parametrize(
    ("value", "notify"),
    [("never", "never"), ("FAILURE", "failure"), ("delay,success", "success,delay"), ("SUCCESS,FAILURE,DELAY",) * 2],
)
def test_notify(value: str, notify: str) -> None:
    assert read_rcpt({"NOTIFY": value}) == (notify.lower(), None)


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@given(st.dictionaries(st.sampled_from(["SIZE", "BODY", "RET", "ENVID", "NOTIFY", "ORCPT", "AUTH", "BY", "X"]), WORDS))
def test_any_words_are_read_or_refused(words: dict[str, str]) -> None:
    for read in (lambda: read_mail(words, LIMIT), lambda: read_rcpt(words)):
        try:
            read()
        except Refused as refused:
            assert refused.text.isascii()
        except Problem as problem:
            assert problem.kind is Kind.TOO_LARGE


@given(st.binary(max_size=300))
def test_any_octets_are_a_path_or_refused(octets: bytes) -> None:
    for argument in (octets, b"FROM:" + octets, b"FROM:<" + octets + b">", b"FROM:<a@b.test> " + octets):
        try:
            address, words = paths.parse(argument, "FROM:")
        except Refused as refused:
            assert refused.text.isascii()
            continue
        except Problem as problem:
            assert problem.kind in {Kind.BAD_ADDRESS, Kind.NON_ASCII_ADDRESS}
            continue
        assert address is None or (str(address).isascii() and str(address).isprintable())
        assert all(name == name.upper() and name.isascii() for name in words)
