"""Drops the attachments of a message that is kept: its structure and its texts stay, a note stands in for each file.

Reads the message a piece at a time, by its octets; nothing of a file is decoded or held.
"""

from __future__ import annotations

import re
from contextlib import suppress
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message

from relay.errors import Problem
from relay.routing.headers import CRLF, MAX_HEADER, HeaderField, split
from relay.routing.mime import media_type, transfer_encoding

NOTE = "x-relay-dropped"  # the field of a note that says what was there: TYPE/SUBTYPE; size=OCTETS
MAX_DEPTH = 20
MAX_PARTS = 10_000  # what comes after so many is dropped as one
MAX_DELIMITER = 1000  # octets of a delimiter line: a longer one is none
MAX_NAME = 200  # characters of a file's name that a note has; a third of it where they are not ASCII
_MAYBE = b"\r\n--"
_OF_NAMES = {"content-type", "content-disposition"}
_REPLACED = {*_OF_NAMES, "content-transfer-encoding", "content-md5", "content-length"}
_KEPT_OF_PARTS = {"content-id", "content-description"}
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
_TYPE_FIELD = re.compile(rb"\r\ncontent-type[ \t]*:\s*+((?:[^\r]|\r\n[ \t])*+)")


def may_have_attachments(head: bytes) -> bool:
    """Whether a message that begins so may have any; False for one that is plainly a single text."""
    end = head.find(CRLF + CRLF, 0, MAX_HEADER)
    header = CRLF + head[: end if end >= 0 else MAX_HEADER].lower()
    if b"\r\ncontent-disposition" in header:
        return True
    found = _TYPE_FIELD.search(header)
    return found is not None and (not found[1].startswith(b"text/") or b"name" in found[1])


class Slimming:
    """One message with CRLF line ends: feed it in pieces, in order, and end it. What comes back is what is kept.

    `is_changed`: something was dropped. What cannot be read as MIME is text, and stays.
    """

    __slots__ = ("_at", "_buffer", "_defaults", "_file", "_header", "_marks", "_out", "_parts", "_size", "is_changed")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0  # what stands before it in the buffer is done with
        self._out: list[bytes] = []
        self._header: list[bytes] | None = []  # the lines so far; None: in a body
        self._size = 0  # octets of them
        self._marks: list[bytes] = []  # of the multiparts around this place, the outermost first
        self._defaults = ["text/plain"]  # what a part without a Content-Type is, in each of them
        self._file: _File | None = None  # what is being dropped
        self._parts = 0
        self.is_changed = False

    def feed(self, piece: bytes) -> bytes:
        """What is known to be kept by now."""
        self._buffer += piece
        return self._go(is_last=False)

    def end(self) -> bytes:
        """The rest."""
        rest = self._go(is_last=True)
        if self._header:
            rest += b"".join(self._header)
        elif self._file is not None:
            rest += self._file.note()
        return rest

    def _go(self, *, is_last: bool) -> bytes:
        self._at, self._out = 0, []
        while self._read_header(is_last) if self._header is not None else self._read_body(is_last):
            pass
        self._buffer = self._buffer[self._at :]
        return b"".join(self._out)

    # -- headers -----------------------------------------------------------------------------------------------------

    def _read_header(self, is_last: bool) -> bool:
        """One line. False where the rest has to come first."""
        assert self._header is not None
        end = self._buffer.find(CRLF, self._at)
        if end < 0:
            left = len(self._buffer) - self._at
            if self._size + left > MAX_HEADER:
                self._begin([])
                return True
            if not is_last or not left:
                return False
            end = len(self._buffer)
        line = self._buffer[self._at : end]
        if not line:
            self._begin(_fields(b"".join(self._header)))
        elif (found := self._delimiter(line)) is not None:
            self._out += self._header
            self._cross(line, end, *found)
        else:
            self._header.append(self._buffer[self._at : end + len(CRLF)])
            self._at = min(end + len(CRLF), len(self._buffer))
            self._size += len(self._header[-1])
            if self._size > MAX_HEADER:
                self._begin([])
        return True

    def _begin(self, fields: list[HeaderField]) -> None:
        """The body after these fields, which the empty line's CRLF still stands before."""
        media, boundary = media_type(fields, self._defaults[-1])
        self._parts += 1
        is_open = 0 < len(boundary) < MAX_DELIMITER // 2 and len(self._marks) < MAX_DEPTH
        if self._parts > MAX_PARTS:
            self._marks.clear()
            self._file = _File(fields, "application/octet-stream", None, is_part=True)
        elif media.startswith("multipart/") and is_open:
            self._marks.append(b"--" + boundary)
            self._defaults.append("message/rfc822" if media == "multipart/digest" else "text/plain")
        else:
            name, is_file = _named(fields)
            if is_file or not media.startswith("text/"):
                self._file = _File(fields, media, name, is_part=bool(self._marks))
        self.is_changed |= self._file is not None
        if self._file is None:
            self._out += self._header or ()
        self._header = None

    # -- bodies ------------------------------------------------------------------------------------------------------

    def _read_body(self, is_last: bool) -> bool:
        """Up to the next delimiter, or as far as there is none. False where the rest has to come first."""
        buffer, start = self._buffer, self._at
        while self._marks and (found := buffer.find(_MAYBE, start)) >= 0:
            line_at = found + len(CRLF)
            end = buffer.find(CRLF, line_at, line_at + MAX_DELIMITER)
            if end < 0 and len(buffer) - line_at < MAX_DELIMITER:
                if not is_last:
                    self._pass(found)
                    return False
                end = len(buffer)
            line = buffer[line_at:end] if end >= 0 else b""
            if (crossed := self._delimiter(line)) is not None:
                self._pass(found)
                if self._file is not None:
                    self._out.append(self._file.note())
                    self._file = None
                self._out.append(CRLF)
                self._cross(line, end, *crossed)
                return True
            start = line_at
        self._pass(len(buffer) if is_last else max(self._at, len(buffer) - len(_MAYBE) + 1))
        return False

    def _pass(self, until: int) -> None:
        octets = self._buffer[self._at : until]
        self._at = until
        if self._file is None:
            self._out.append(octets)
        else:
            self._file.count(octets)

    def _delimiter(self, line: bytes) -> tuple[int, bool] | None:
        """Which multipart it is of, and whether it closes it (RFC 2046 section 5.1.1). An outer one ends inner ones."""
        if line.startswith(b"--"):
            for level, mark in enumerate(self._marks):
                if line.startswith(mark) and (rest := line[len(mark) :].rstrip(b" \t")) in (b"", b"--"):
                    return level, bool(rest)
        return None

    def _cross(self, line: bytes, end: int, level: int, is_closing: bool) -> None:
        self._out.append(line)
        del self._marks[level + 1 :], self._defaults[level + 2 :]
        if is_closing:
            del self._marks[level:], self._defaults[level + 1 :]
            self._header, self._at = None, end
            return
        self._out.append(self._buffer[end : end + len(CRLF)])
        self._header, self._size = [], 0
        self._at = min(end + len(CRLF), len(self._buffer))


class _File:
    """What is dropped: its header, and how much it was."""

    __slots__ = ("_equals", "_fields", "_is_part", "_letters", "_media", "_name", "_octets", "_soft", "_tail")

    def __init__(self, fields: list[HeaderField], media: str, name: str | None, *, is_part: bool) -> None:
        self._fields = fields
        self._media = media
        self._name = name
        self._is_part = is_part
        self._octets = -len(CRLF)  # the empty line's comes along with the body
        self._letters = self._equals = self._soft = 0
        self._tail = b""

    def count(self, octets: bytes) -> None:
        self._octets += len(octets)
        match transfer_encoding(self._fields):
            case "base64":
                self._letters += len(octets.translate(None, _NOT_BASE64))
            case "quoted-printable":
                self._equals += octets.count(b"=")
                self._soft += (self._tail + octets).count(b"=\r\n")
                self._tail = (self._tail + octets)[-2:]

    def _size(self) -> int:
        """In octets, decoded."""
        match transfer_encoding(self._fields):
            case "base64":
                return self._letters * 3 // 4
            case "quoted-printable":
                return max(0, self._octets - 2 * self._equals - self._soft)
        return max(0, self._octets)

    def note(self) -> bytes:
        """A text part in the place of the file. Of a part's own fields it has only those that others refer to."""
        size = self._size()
        about = Message()
        about["Content-Type"] = "text/plain; charset=utf-8"
        about["Content-Transfer-Encoding"] = "8bit"
        if self._name is None:
            about["Content-Disposition"] = "attachment"
        elif self._name.isascii():
            about.add_header("Content-Disposition", "attachment", filename=self._name)
        else:
            about.add_header("Content-Disposition", "attachment", filename=("utf-8", "", self._name))
        about[NOTE.title()] = f"{self._media}; size={size}"
        kept = [
            each.raw
            for each in self._fields
            if (each.name in _KEPT_OF_PARTS if self._is_part else each.name not in _REPLACED | {NOTE})
        ]
        written = [f"{name}: {value}\r\n".encode("ascii", "replace") for name, value in about.items()]
        what = f'"{self._name}" ({self._media}, {size:,} octets)' if self._name else f"{self._media}, {size:,} octets"
        return b"".join([*kept, *written, CRLF, f"[An attachment was dropped here: {what}]".encode()])


def _fields(header: bytes) -> list[HeaderField]:
    """None where they cannot be read."""
    with suppress(Problem):
        return split(header + CRLF)[0]
    return []


def _named(fields: list[HeaderField]) -> tuple[str | None, bool]:
    """The name of a file, if it has one, and whether it is one rather than a text to be read at once."""
    raw = b"".join(each.raw for each in fields if each.name in _OF_NAMES)
    with suppress(ValueError, LookupError, TypeError, AttributeError):  # the library's, over what strangers write
        about = message_from_bytes(raw)
        name = about.get_filename()
        return (
            None if name is None else _clean(name)
        ), name is not None or about.get_content_disposition() == "attachment"
    return None, b"attachment" in raw.lower()


def _clean(name: str) -> str:
    """A name in one line that fits into a header."""
    if "=?" in name and len(name) <= MAX_NAME * 4:
        with suppress(ValueError, LookupError):
            name = str(make_header(decode_header(name)))
    shown = "".join(each if each.isprintable() and each not in '"\\' else "_" for each in name)
    return shown[: MAX_NAME if shown.isascii() else MAX_NAME // 3]
