"""Sealed content opens only whole, in order, under its own message and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.sealing import SLICE, MasterKey, Sealer, SealingError, api_key_prefix, new_api_key

MASTER = MasterKey(b"k" * 32)
SEALER = Sealer(MASTER, Sealer.new_installation_key(MASTER))


def opened(message_id: int, wrapped: bytes, parts: list[bytes]) -> bytes:
    return b"".join(SEALER.open(message_id, wrapped, parts))


@given(st.binary(max_size=2000))
def test_what_is_sealed_opens(content: bytes) -> None:
    wrapped, parts = SEALER.seal(7, content)
    assert opened(7, wrapped, parts) == content
    assert content not in b"".join(parts) or len(content) < 8


@pytest.mark.parametrize("size", [0, 1, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE])
def test_slices(size: int) -> None:
    wrapped, parts = SEALER.seal(7, bytes(size))
    assert len(parts) == max(1, -(-size // SLICE))
    assert opened(7, wrapped, parts) == bytes(size)


def test_no_other_order_length_message_or_bit_opens() -> None:
    wrapped, parts = SEALER.seal(7, bytes(3 * SLICE))
    flipped = bytes([parts[0][0] ^ 1]) + parts[0][1:]
    for message_id, key, tried in [
        (7, wrapped, parts[:2]),
        (7, wrapped, parts[1:]),
        (7, wrapped, [parts[1], parts[0], parts[2]]),
        (7, wrapped, [*parts, parts[2]]),
        (7, wrapped, []),
        (7, wrapped, [flipped, *parts[1:]]),
        (8, wrapped, parts),
        (7, wrapped[:-1] + bytes([wrapped[-1] ^ 1]), parts),
        (7, wrapped[:5], parts),
        (7, b"", parts),
    ]:
        with pytest.raises(SealingError):
            opened(message_id, key, tried)


def test_keys_are_long_unlike_and_shown_by_their_head_only() -> None:
    keys = {new_api_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        head, _, secret = key.partition(".")
        assert len(secret) >= 43  # 256 bits in base64
        assert api_key_prefix(key) == head


def test_the_master_key_is_made_once_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    MasterKey.read_or_create(path)
    text = path.read_text()
    MasterKey.read_or_create(path)
    assert path.read_text() == text
    with pytest.raises(SealingError, match="exists already"):
        MasterKey.create(path)


@pytest.mark.parametrize("text", ["", "not base64!", "c2hvcnQ="])
def test_a_malformed_master_key_is_refused(text: str) -> None:
    with pytest.raises(SealingError):
        MasterKey.decode(text)


def test_hashes_depend_on_purpose_and_installation() -> None:
    other = Sealer(MASTER, Sealer.new_installation_key(MASTER))
    assert SEALER.hash_api_key("x") == SEALER.hash_api_key("x")
    assert len({SEALER.hash_api_key("x"), SEALER.hash_address("x"), other.hash_api_key("x")}) == 3


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("relay_abcdefgh." + "s" * 43, "relay_abcdefgh"),
        ("a1b2c3d4." + "s" * 32, "a1b2c3d4"),
        ("sk_live_" + "s" * 48, "sk_live_ssssss"),
        ("abcdefghijklmn.op", "abcde"),  # the dot near the end: most of it would be told
        ("abcdefghijklmnop", "abcde"),
    ],
)
def test_what_is_shown_of_a_key_is_no_more_than_a_third(key: str, prefix: str) -> None:
    assert api_key_prefix(key) == prefix
