"""Keys and sealed content: hashing API keys, sealing message bytes, wrapping and forgetting their keys."""

from __future__ import annotations

import base64
import binascii
import contextlib
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
INSTALLATION = b"installation"  # what the installation key is wrapped for


class SealingError(Unusable):
    """A key is missing, malformed, or not the one that sealed what it should open."""

    exit_code = os.EX_UNAVAILABLE


class MasterKey:
    """The installation's 256-bit key. Wraps the other keys and nothing else; never shows in a repr.

    While it is being changed there are older ones behind it, which only unwrap: what they wrapped is wrapped anew.
    """

    __slots__ = ("_ciphers", "_keys")

    def __init__(self, key: bytes, *older: bytes) -> None:
        self._keys = tuple(dict.fromkeys((key, *older)))
        for each in self._keys:
            if len(each) != KEY_SIZE:
                raise SealingError(f"a master key has {KEY_SIZE} octets, this one has {len(each)}")
        self._ciphers = tuple(AESGCM(each) for each in self._keys)

    @classmethod
    def decode(cls, text: str, *older: str) -> MasterKey:
        """From its written form: base64 of 32 octets. A second line, and each of `older`, is an older key."""
        lines = [line for each in (text, *older) for line in each.split() or [""]]
        try:
            return cls(*(base64.b64decode(line, validate=True) for line in lines))
        except binascii.Error as exc:
            raise SealingError("the master key is not base64") from exc

    @classmethod
    def read(cls, path: Path) -> MasterKey:
        """From its file. Raises FileNotFoundError, or SealingError for what is no key."""
        try:
            return cls.decode(path.read_text("ascii"))
        except UnicodeDecodeError as exc:
            raise SealingError("the master key is not base64") from exc

    @classmethod
    def read_or_create(cls, path: Path) -> MasterKey:
        """From its file, made with mode 0600 when there is none."""
        try:
            return cls.read(path)
        except FileNotFoundError:
            return cls.create(path)

    @classmethod
    def create(cls, path: Path) -> MasterKey:
        """A new key, on disk before anything is sealed with it. Refuses to replace a file."""
        made = cls(secrets.token_bytes(KEY_SIZE))
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as exc:
            raise SealingError(f"{path} exists already") from exc
        made._write(file)
        _keep_names(path.parent)
        return made

    @property
    def count(self) -> int:
        """With the older ones."""
        return len(self._keys)

    @property
    def has_older(self) -> bool:
        return self.count > 1

    @property
    def fingerprint(self) -> str:
        """Tells keys apart, and tells nothing else of them: 8 hex digits."""
        return hmac.digest(self._keys[0], b"fingerprint of a master key", sha256)[:4].hex()

    def successor(self) -> MasterKey:
        """A new key, with these behind it."""
        return MasterKey(secrets.token_bytes(KEY_SIZE), *self._keys)

    def with_older(self, *older: str) -> MasterKey:
        """With others behind it, in their written form."""
        return self.after(MasterKey.decode(*older)) if older else self

    def alone(self) -> MasterKey:
        """Without the older ones."""
        return MasterKey(self._keys[0])

    def older(self) -> MasterKey:
        """The older ones without this one. There has to be one."""
        return MasterKey(*self._keys[1:])

    def after(self, earlier: MasterKey) -> MasterKey:
        """This key, with all behind it that were known before: what is in hand may have been wrapped by one of them."""
        return MasterKey(*self._keys, *earlier._keys)

    def replace(self, path: Path) -> None:
        """Become what the file holds, in one step: who reads it, even after a power cut, finds the old or the new."""
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            self._write(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _keep_names(path.parent)

    def _write(self, file: int) -> None:
        with os.fdopen(file, "wb") as out:
            out.writelines(base64.b64encode(key) + b"\n" for key in self._keys)
            out.flush()
            os.fsync(out.fileno())

    def wrap(self, key: bytes, purpose: bytes) -> bytes:
        """A key as it may rest in the database, bound to what it is for."""
        nonce = secrets.token_bytes(NONCE_SIZE)
        return nonce + self._ciphers[0].encrypt(nonce, key, purpose)

    def unwrap(self, wrapped: bytes, purpose: bytes) -> bytes:
        """Raises SealingError where none of the keys wrapped it, or for another purpose."""
        return self._unwrapped(wrapped, purpose)[0]

    def is_current(self, wrapped: bytes, purpose: bytes) -> bool:
        """Whether the current key wrapped it, and not an older one. Raises as `unwrap`."""
        return self._unwrapped(wrapped, purpose)[1] == 0

    def rewrapped(self, wrapped: bytes, purpose: bytes) -> bytes:
        """The same as the current key wraps it. Raises as `unwrap`."""
        return self.wrap(self.unwrap(wrapped, purpose), purpose)

    def _unwrapped(self, wrapped: bytes, purpose: bytes) -> tuple[bytes, int]:
        """And which of the keys wrapped it: 0 is the current one."""
        for number, cipher in enumerate(self._ciphers):
            with contextlib.suppress(InvalidTag, ValueError):  # the latter for what is too short to be a key at all
                return cipher.decrypt(wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:], purpose), number
        raise SealingError("the master key is not the one this database was made with")


def _keep_names(folder: Path) -> None:
    """A name, too, must outlive a power cut."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Sealer:
    """Seals content under a key per message, and names keys and addresses by keyed hashes.

    The installation key makes the hashes. It rests in the database, wrapped, so that the master key can change.
    """

    __slots__ = ("_installation", "_master", "_secrets")

    def __init__(self, master: MasterKey, wrapped_installation_key: bytes) -> None:
        self._master = master
        self._installation = master.unwrap(wrapped_installation_key, INSTALLATION)
        self._secrets = AESGCM(self.hash("", "secrets"))

    @staticmethod
    def new_installation_key(master: MasterKey) -> bytes:
        """A fresh installation key, wrapped."""
        return master.wrap(secrets.token_bytes(KEY_SIZE), INSTALLATION)

    @property
    def master(self) -> MasterKey:
        return self._master

    def adopt(self, master: MasterKey, wrapped_installation_key: bytes) -> None:
        """Wrap by another master key from now on. What was wrapped by those before still opens, here.

        Raises SealingError for one that could not open this installation at the next start: all stays as it was.
        """
        master.unwrap(wrapped_installation_key, INSTALLATION)
        self._master = master.after(self._master)

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
        return self._master.wrap(key, content_purpose(message_id)), list(_sealed(AESGCM(key), [content]))

    def seal_pieces(self, message_id: int, pieces: list[bytes]) -> tuple[bytes, Iterator[bytes]]:
        """The same for content in pieces, a part at a time. Takes the pieces out of the list as it goes."""
        key = secrets.token_bytes(KEY_SIZE)
        return self._master.wrap(key, content_purpose(message_id)), _sealed(AESGCM(key), pieces)

    def open(self, message_id: int, wrapped_key: bytes, parts: Sequence[bytes]) -> Iterator[bytes]:
        """The content's parts in clear. Raises SealingError if anything was changed, reordered or is missing."""
        opener = self.opener(message_id, wrapped_key, len(parts))
        return (opener.part(number, part) for number, part in enumerate(parts))

    def opener(self, message_id: int, wrapped_key: bytes, parts: int) -> Opener:
        """What opens a content of so many parts, one by one. Raises SealingError where there are none."""
        if not parts:
            raise SealingError(f"the content of message {message_id} is missing")
        return Opener(message_id, AESGCM(self._master.unwrap(wrapped_key, content_purpose(message_id))), parts)


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


def content_purpose(message_id: int) -> bytes:
    """What the key of a message's content is wrapped for."""
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
