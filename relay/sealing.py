"""Keys and sealed content: hashing API keys, sealing message bytes, wrapping and forgetting their keys."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.errors import Unusable

KEY_SIZE = 32
NONCE_SIZE = 12
SLICE = 1 << 20  # 1 MB: a longer call into the cipher would hold the event loop too long

API_KEY_PREFIX = "relay_"


class SealingError(Unusable):
    """A key is missing, malformed, or not the one that sealed what it should open."""

    exit_code = os.EX_UNAVAILABLE


class MasterKey:
    """The installation's 256-bit key. Wraps the other keys and nothing else; never shows in a repr."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise SealingError(f"a master key has {KEY_SIZE} octets, this one has {len(key)}")
        self._cipher = AESGCM(key)

    @classmethod
    def decode(cls, text: str) -> MasterKey:
        """From its written form: base64 of 32 octets."""
        try:
            return cls(base64.b64decode(text.strip(), validate=True))
        except binascii.Error as exc:
            raise SealingError("the master key is not base64") from exc

    @classmethod
    def read_or_create(cls, path: Path) -> MasterKey:
        """From its file, made with mode 0600 when there is none."""
        try:
            return cls.decode(path.read_text("ascii"))
        except FileNotFoundError:
            return cls.create(path)

    @classmethod
    def create(cls, path: Path) -> MasterKey:
        """A new key, on disk before anything is sealed with it. Refuses to replace a file."""
        key = secrets.token_bytes(KEY_SIZE)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as exc:
            raise SealingError(f"{path} exists already") from exc
        with os.fdopen(file, "wb") as out:
            out.write(base64.b64encode(key) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the name, too, must outlive a power cut
        finally:
            os.close(directory)
        return cls(key)

    def wrap(self, key: bytes, purpose: bytes) -> bytes:
        """A key as it may rest in the database, bound to what it is for."""
        nonce = secrets.token_bytes(NONCE_SIZE)
        return nonce + self._cipher.encrypt(nonce, key, purpose)

    def unwrap(self, wrapped: bytes, purpose: bytes) -> bytes:
        try:
            return self._cipher.decrypt(wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:], purpose)
        except InvalidTag as exc:
            raise SealingError("the master key is not the one this database was made with") from exc


class Sealer:
    """Seals content under a key per message, and names keys and addresses by keyed hashes.

    The installation key makes the hashes. It rests in the database, wrapped, so that the master key can change.
    """

    __slots__ = ("_installation", "_master", "_secrets")

    def __init__(self, master: MasterKey, wrapped_installation_key: bytes) -> None:
        self._master = master
        self._installation = master.unwrap(wrapped_installation_key, b"installation")
        self._secrets = AESGCM(self.hash("", "secrets"))

    @staticmethod
    def new_installation_key(master: MasterKey) -> bytes:
        """A fresh installation key, wrapped."""
        return master.wrap(secrets.token_bytes(KEY_SIZE), b"installation")

    def hash(self, text: str, purpose: str) -> bytes:
        """HMAC-SHA256 under the installation key. 32 octets."""
        return hmac.digest(self._installation, purpose.encode() + b"\0" + text.encode(), sha256)

    def hash_octets(self, octets: bytes, purpose: str) -> bytes:
        """The same of what is no text."""
        return hmac.digest(self._installation, purpose.encode() + b"\0" + octets, sha256)

    def hash_api_key(self, key: str) -> bytes:
        return self.hash(key, "api key")

    def hash_address(self, folded: str) -> bytes:
        return self.hash(folded, "address")

    def seal_secret(self, secret: str, purpose: str) -> bytes:
        """Another's secret as it may rest in the database, bound to what it is for."""
        nonce = secrets.token_bytes(NONCE_SIZE)
        return nonce + self._secrets.encrypt(nonce, secret.encode(), purpose.encode())

    def open_secret(self, sealed: bytes, purpose: str) -> str:
        """Raises SealingError where it was sealed elsewhere, or for something else."""
        try:
            return self._secrets.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], purpose.encode()).decode()
        except (InvalidTag, ValueError) as exc:  # the latter for what is too short to have been sealed at all
            raise SealingError(f"the secret for {purpose} was not sealed by this installation") from exc

    def seal(self, message_id: int, content: bytes) -> tuple[bytes, list[bytes]]:
        """A new wrapped key, and the content in sealed parts of 1 MB of plain text each.

        The nonce is the part's number, with the last part marked: parts cannot be reordered, repeated or cut off,
        and no nonce is used twice because no key is.
        """
        key = secrets.token_bytes(KEY_SIZE)
        return self._master.wrap(key, _purpose(message_id)), list(_sealed(AESGCM(key), [content]))

    def seal_pieces(self, message_id: int, pieces: list[bytes]) -> tuple[bytes, Iterator[bytes]]:
        """The same for content in pieces, a part at a time. Takes the pieces out of the list as it goes."""
        key = secrets.token_bytes(KEY_SIZE)
        return self._master.wrap(key, _purpose(message_id)), _sealed(AESGCM(key), pieces)

    def open(self, message_id: int, wrapped_key: bytes, parts: Sequence[bytes]) -> Iterator[bytes]:
        """The content's parts in clear. Raises SealingError if anything was changed, reordered or is missing."""
        opener = self.opener(message_id, wrapped_key, len(parts))
        return (opener.part(number, part) for number, part in enumerate(parts))

    def opener(self, message_id: int, wrapped_key: bytes, parts: int) -> Opener:
        """What opens a content of so many parts, one by one. Raises SealingError where there are none."""
        if not parts:
            raise SealingError(f"the content of message {message_id} is missing")
        return Opener(message_id, AESGCM(self._master.unwrap(wrapped_key, _purpose(message_id))), parts)


class Opener:
    """Opens the parts of one message's content."""

    __slots__ = ("_cipher", "_message_id", "parts")

    def __init__(self, message_id: int, cipher: AESGCM, parts: int) -> None:
        self._message_id = message_id
        self._cipher = cipher
        self.parts = parts

    def part(self, number: int, sealed: bytes) -> bytes:
        """One part in clear. Raises SealingError if it was changed, or is not this one of so many."""
        try:
            return self._cipher.decrypt(_nonce(number, number == self.parts - 1), sealed, None)
        except InvalidTag as exc:
            raise SealingError(f"part {number} of the content of message {self._message_id} is damaged") from exc


def _sealed(cipher: AESGCM, pieces: list[bytes]) -> Iterator[bytes]:
    """At most 1 MB each; one part, if an empty one, where there is nothing in the pieces."""
    number = 0
    while pieces or not number:
        piece = memoryview(pieces.pop(0) if pieces else b"")
        while pieces and not pieces[0]:
            del pieces[0]
        if not piece and pieces:
            continue
        for at in range(0, len(piece) or 1, SLICE):
            is_last = not pieces and at + SLICE >= len(piece)
            yield cipher.encrypt(_nonce(number, is_last), piece[at : at + SLICE], None)
            number += 1


def _purpose(message_id: int) -> bytes:
    return b"content of %d" % message_id


def _nonce(part: int, is_last: bool) -> bytes:
    return part.to_bytes(NONCE_SIZE - 1, "big") + bytes([is_last])


def new_api_key() -> str:
    """A key with 256 bits of secret: `relay_` + 8 characters that may be shown + `.` + the secret."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    head = "".join(secrets.choice(alphabet) for _ in range(8))
    return f"{API_KEY_PREFIX}{head}.{secrets.token_urlsafe(32)}"


def api_key_prefix(key: str) -> str:
    """The part of a key that listings show: what stands before the dot, and of no key more than a third.

    A key that was made elsewhere has its own form: sk_live_..., smx_mbx_..., or eight characters before a dot.
    """
    head = key.partition(".")[0]
    return head[: min(len(API_KEY_PREFIX) + 8, len(key) // 3)]
