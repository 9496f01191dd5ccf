"""Reads a stored message back into what is shown of it. Whatever it is made of, the work and the answer are bounded."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses

from relay.errors import Problem
from relay.routing.headers import CRLF, HeaderField, split
from relay.routing.mime import delimiters, media_type, transfer_encoding
from relay.routing.slimming import NOTE

MAX_DEPTH = 20
MAX_PARTS = 500
PASSES = 4  # times that a whole message is gone through for its parts: those within parts are gone through again
MAX_TEXT = 1 << 20  # octets of a text that are shown
MAX_HEADER = 64 << 10  # octets of a part's header that are looked at
MAX_ADDRESSES = 16 << 10  # octets of one address field
MAX_WORDS = 8 << 10  # octets in which encoded words are looked for: it takes their square
# Codecs that are no charset of mail: their time grows with the square of the text, or they undo what was escaped.
NO_CHARSETS = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "utf-7"}
_DROPPED = re.compile(r"([!-.0-:<-~]{1,127}/[!-.0-:<-~]{1,127}); size=(\d{1,9})")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A part that is no text to be read at once. `size`: in octets, decoded. `dropped`: it is not kept any more."""

    filename: str | None
    content_type: str
    size: int
    content_id: str | None
    dropped: bool = False


@dataclass(slots=True)
class Stored:
    """What a message says. `is_cut`: a text, or the list of files, is longer than what is shown of it."""

    subject: str = ""
    author: str | None = None
    author_name: str = ""
    to: list[str] = field(default_factory=list)
    cc: list[str] = field(default_factory=list)
    reply_to: list[str] = field(default_factory=list)
    text: str | None = None
    html: str | None = None
    files: list[StoredFile] = field(default_factory=list)
    is_cut: bool = False


def read(raw: bytes) -> Stored:
    """`raw` has CRLF line ends. What cannot be read is left out: never raises for what a sender wrote."""
    stored = Stored()
    fields, _ = _header(raw, 0, len(raw))
    stored.subject = _words(_value(fields, "subject"))
    for author_name, author in _mailboxes(fields, "from")[:1]:
        stored.author, stored.author_name = author, author_name
    for name, found in (("to", stored.to), ("cc", stored.cc), ("reply-to", stored.reply_to)):
        found += [address for _, address in _mailboxes(fields, name)]
    for number, part in enumerate(_Tree(raw).leaves()):
        if number == MAX_PARTS:
            stored.is_cut = True
            break
        _add(stored, part)
    return stored


# -- header fields ---------------------------------------------------------------------------------------------------


def _header(raw: bytes, at: int, end: int) -> tuple[list[HeaderField], int]:
    """The fields of an entity, none where they cannot be read; and where its body starts."""
    if raw.startswith(CRLF, at, end):
        return [], at + len(CRLF)
    blank = raw.find(CRLF + CRLF, at, end)
    body = end if blank < 0 else blank + 2 * len(CRLF)
    header = raw[at : min(body, at + MAX_HEADER)]
    if len(header) == MAX_HEADER:  # whole lines only
        header = header[: header.rfind(b"\n") + 1]
    try:
        return split(header)[0], body
    except Problem:
        return [], body


def _value(fields: list[HeaderField], name: str) -> str:
    raw = next((each.value for each in fields if each.name == name), b"")
    return raw.decode("utf-8", "replace")


def _words(text: str) -> str:
    """With its encoded words read (RFC 2047); as it is where they are not to be read."""
    found = text
    if "=?" in text and len(text) <= MAX_WORDS:
        with suppress(ValueError, LookupError):  # of binascii and of codecs, too
            found = str(make_header(decode_header(text)))
    return _clean(found)


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, which are in no text that may be sent."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _mailboxes(fields: list[HeaderField], name: str) -> list[tuple[str, str]]:
    """Names and addresses."""
    text = _value(fields, name)[:MAX_ADDRESSES]
    try:
        found = getaddresses([text])
    except (ValueError, IndexError, RecursionError):  # nested comments, for one
        return []
    return [(_words(words), _clean(address)) for words, address in found if address]


# -- parts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """A leaf of the tree: where its body is."""

    fields: list[HeaderField]
    media: str
    raw: bytes = field(repr=False)
    at: int
    end: int

    @property
    def encoding(self) -> str:
        return transfer_encoding(self.fields)

    def about(self) -> Message:
        """Its fields, for the parameters in them (RFC 2231)."""
        wanted = {"content-type", "content-disposition", "content-id"}
        return message_from_bytes(b"".join(each.raw for each in self.fields if each.name in wanted))

    @property
    def size(self) -> int:
        """In octets, decoded. Counted, not decoded: exact for what was encoded by the rules."""
        length = self.end - self.at
        match self.encoding:
            case "base64":
                pads = self.raw.count(b"=", max(self.at, self.end - 4), self.end)
                return (length - 2 * self.raw.count(CRLF, self.at, self.end)) * 3 // 4 - pads
            case "quoted-printable":
                soft = self.raw.count(b"=\r\n", self.at, self.end)
                return length - 2 * self.raw.count(b"=", self.at, self.end) - soft
        return length

    def octets(self, most: int) -> bytes:
        """So many of them, decoded, at most."""
        match self.encoding:
            case "base64":
                kept = self.raw[self.at : min(self.end, self.at + most * 2)].translate(None, _NOT_BASE64)
                whole, rest = divmod(len(kept), 4)
                padded = kept + b"=" * (4 - rest) if rest > 1 else kept[: whole * 4]
                return binascii.a2b_base64(padded)[:most]
            case "quoted-printable":
                return binascii.a2b_qp(self.raw[self.at : min(self.end, self.at + most * 4)])[:most]
        return self.raw[self.at : min(self.end, self.at + most)]


class _Tree:
    """A message's parts, as they come."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._left = PASSES * len(raw)  # octets that may still be gone through

    def leaves(self) -> Iterator[_Part]:
        return self._entity(0, len(self._raw), 0, "text/plain")

    def _entity(self, at: int, end: int, depth: int, default: str) -> Iterator[_Part]:
        fields, body = _header(self._raw, at, end)
        media, boundary = media_type(fields, default)
        self._left -= end - body
        if not media.startswith("multipart/") or not boundary or depth >= MAX_DEPTH or self._left < 0:
            yield _Part(fields, media, self._raw, body, end)
            return
        inner = "message/rfc822" if media == "multipart/digest" else "text/plain"  # RFC 2046 section 5.1.5
        after = -1  # where the last delimiter line ends
        with suppress(Problem):  # a line without end that begins like a delimiter: what follows it is not read
            for found in delimiters(self._raw, boundary, body, end):
                if found is None:
                    continue
                start, stop, is_closing = found
                if after >= 0:
                    yield from self._entity(min(after, start), max(after, start - len(CRLF)), depth + 1, inner)
                after = stop + len(CRLF)
                if is_closing:
                    return
        if 0 <= after < end:  # never closed
            yield from self._entity(after, end, depth + 1, inner)


def _add(stored: Stored, part: _Part) -> None:
    filename, charset, content_id, is_file = None, "utf-8", None, True
    with suppress(ValueError, LookupError, TypeError, AttributeError):  # the library's, over what strangers write
        about = part.about()
        name = about.get_filename()
        filename = None if name is None else _words(name)
        charset = str(about.get_content_charset("utf-8"))
        content_id = _clean(str(about.get("content-id", ""))).strip().removeprefix("<").removesuffix(">") or None
        is_file = filename is not None or about.get_content_disposition() == "attachment"
    if (was := _DROPPED.fullmatch(_value(part.fields, NOTE))) is not None:
        stored.files.append(StoredFile(filename, was[1], int(was[2]), content_id, dropped=True))
    elif part.media == "text/plain" and stored.text is None and not is_file:
        stored.text = _text(stored, part, charset)
    elif part.media == "text/html" and stored.html is None and not is_file:
        stored.html = _text(stored, part, charset)
    else:
        stored.files.append(StoredFile(filename, part.media, max(0, part.size), content_id))


def _text(stored: Stored, part: _Part, charset: str) -> str:
    """A text with LF line ends."""
    octets = part.octets(MAX_TEXT + 1)
    if len(octets) > MAX_TEXT:
        stored.is_cut = True
        octets = octets[:MAX_TEXT]
    return _clean(_decoded(octets, charset)).replace("\r\n", "\n")


def _decoded(octets: bytes, charset: str) -> str:
    with suppress(LookupError, ValueError):  # no charset; one that is no text encoding; a NUL in its name
        if charset.replace("_", "-").lower() not in {each.replace("_", "-") for each in NO_CHARSETS}:
            return octets.decode(charset, "replace")
    return octets.decode("utf-8", "replace")
