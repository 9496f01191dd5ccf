"""Addresses and ids: what is read, what is refused, and that nothing odd ever gets through."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.message import PREFIX, Address, Ids, canonical_domain, new_public_id, public_id_of, uuid_of


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("ann@one.test", "ann@one.test"),
        ("Ann@ONE.Test", "Ann@one.test"),
        ("ann@one.test.", "ann@one.test"),
        ("ann+tag=x!#$%&'*/?^_`{|}~-@one.test", "ann+tag=x!#$%&'*/?^_`{|}~-@one.test"),
        ('"ann b"@one.test', '"ann b"@one.test'),
        ('"a@b\\"c"@one.test', '"a@b\\"c"@one.test'),
        ("=?utf-8?q?x?=@one.test", "=?utf-8?q?x?=@one.test"),
        ("ann@localhost", "ann@localhost"),
        ("ann@bücher.test", "ann@xn--bcher-kva.test"),
        ("ann@BÜCHER.test", "ann@xn--bcher-kva.test"),
        ("ann@xn--bcher-kva.test", "ann@xn--bcher-kva.test"),
        ("a" * 64 + "@one.test", "a" * 64 + "@one.test"),
        ("a@" + ".".join(["b" * 61] * 4) + ".c", "a@" + ".".join(["b" * 61] * 4) + ".c"),
    ],
)
def test_what_is_an_address(text: str, read: str) -> None:
    assert str(Address.parse(text)) == read


@pytest.mark.parametrize(
    "text",
    [
        *["", "@", "ann", "ann@", "@one.test", "ann@@one.test", "ann@bob@one.test", "ann one@one.test"],
        *[".ann@one.test", "ann.@one.test", "a..n@one.test", "ann@.test", "ann@one..test", "ann@one.test.."],
        *["ann@-one.test", "ann@one-.test", "ann@one_two.test", "ann@one test", "ann@[192.0.2.1]", "ann@one.test\n"],
        *["ann@one.test\0", "a\r\nb@one.test", '"a\r\nb"@one.test', '"a\0b"@one.test', '"ann@one.test', 'a"b@one.test'],
        *["<ann@one.test>", "Ann <ann@one.test>", "ann(x)@one.test", "a,b@one.test", "a;b@one.test", "a:b@one.test"],
        *[
            "ann@=?utf-8?q?one?=.test",
            "ann@one\u3002\u3002test",
            "ann@\u00ad",
            "ann@a\u2024b\u2100c",
            "ann@\ud800.test",
        ],
        *["a" * 65 + "@one.test", "a@" + "b" * 64 + ".test", "a@" + ".".join(["b" * 63] * 4), "a@" + "b." * 127 + "cc"],
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(Problem) as refused:
        Address.parse(text)
    assert refused.value.kind is Kind.BAD_ADDRESS
    assert re.fullmatch(r"[ -~]+", refused.value.detail)


@pytest.mark.parametrize("text", ["jürgen@one.test", "日本@one.test", "a\u202eb@one.test", '"ü"@one.test'])
def test_ses_carries_no_other_letters_before_the_at(text: str) -> None:
    with pytest.raises(Problem) as refused:
        Address.parse(text)
    assert refused.value.kind is Kind.NON_ASCII_ADDRESS


LETTERS = st.text(st.sampled_from('ab@."\\ -_<>()\r\n\0=?ü日\u3002\uff0e\uff20\u00ad\u200d'), max_size=20)


@given(LETTERS | st.text(max_size=40) | st.builds("{}@{}".format, LETTERS, LETTERS))
def test_whatever_is_read_is_harmless_and_reads_as_itself(text: str) -> None:
    try:
        address = Address.parse(text)
    except Problem:
        return
    whole = str(address)
    assert re.fullmatch(r"[ -~]+", whole)
    assert len(whole) <= 254
    assert Address.parse(whole) == address
    assert address.folded == whole.lower()
    assert canonical_domain(address.domain) == address.domain
    assert text.startswith(f"{address.local}@")


def test_ids_only_grow_and_fit_in_63_bits() -> None:
    ids = Ids()
    made = [ids.next() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert 0 < made[0] < made[-1] < 1 << 63


def test_public_ids_differ() -> None:
    made = {new_public_id() for _ in range(10_000)}
    assert len(made) == 10_000
    assert all(re.fullmatch(r"[0-9a-f]{24}", each) for each in made)


@given(st.binary(min_size=12, max_size=12).map(bytes.hex))
def test_an_id_is_the_same_in_each_of_its_forms(public_id: str) -> None:
    as_uuid = uuid_of(public_id)
    assert (uuid.UUID(as_uuid).version, uuid.UUID(as_uuid).variant) == (4, uuid.RFC_4122)
    for form in (public_id, PREFIX + public_id, as_uuid):
        assert public_id_of(form) == public_id_of(form.upper()) == public_id


@given(st.text(max_size=40) | st.text("0123456789abcdef-eml_", max_size=40) | st.uuids(version=4).map(str))
def test_what_is_no_id_is_none(text: str) -> None:
    public_id = public_id_of(text)
    assert public_id is None or text.lower() in {public_id, PREFIX + public_id, uuid_of(public_id)}
