"""Shortens lines that SES would refuse: over 998 octets without CRLF. Decoded, every part stays what it was."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator

from relay.errors import Kind, Problem, printable
from relay.routing.headers import CRLF, HeaderField, split
from relay.routing.mime import delimiters, find, media_type, transfer_encoding

MAX_LINE = 998  # octets without CRLF (RFC 5321 section 4.5.3.1.6; SES fact 1.2)
MAX_ENCODED = 76  # octets of a quoted-printable or base64 line (RFC 2045 sections 6.7 and 6.8)
MAX_DEPTH = 50
MAX_PARTS = 10_000
MAX_LEDGER = 50  # sentences: a hostile message must not fill the store

_WSP = b" \t"
_NOT_BASE64 = bytes(octet for octet in range(256) if not (chr(octet).isalnum() and octet < 128) and octet not in b"+/=")


def shorten(raw: bytes) -> tuple[bytes, list[str]]:
    """The message without lines over 998 octets, and what was done to it, in sentences that hold no content.

    `raw` has CRLF line ends only (see normalise_newlines), and is returned itself where no line is too long.
    Raises Problem(BAD_REQUEST) where a long line cannot be shortened without a change of what the message says.
    """
    if not _long_line(raw, 0, len(raw)):
        return raw, []
    message = _Message(raw)
    message.entity(0, len(raw), 0, is_message=True)
    ledger = message.ledger
    if len(ledger) > MAX_LEDGER:
        ledger[MAX_LEDGER:] = [f"and {len(ledger) - MAX_LEDGER:,} more changes of this kind"]
    return b"".join(message.done), ledger


class _Message:
    """One message being shortened: what is done of it, and what was done to it.

    A part is a place in the message, not a copy of it: nesting would make a copy a level.
    """

    def __init__(self, raw: bytes) -> None:
        self.done: list[bytes] = []
        self.ledger: list[str] = []
        self._raw = raw
        self._parts = 0

    def entity(self, at: int, end: int, depth: int, default: str = "text/plain", *, is_message: bool = False) -> None:
        """A header and a body: a message or a body part (RFC 2045 section 2.4)."""
        if not (octets := _long_line(self._raw, at, end)):
            return self.done.append(self._raw[at:end])
        if depth > MAX_DEPTH:
            raise _refusal(f"a part nested more than {MAX_DEPTH} deep has a line of {octets:,} octets")
        blank = at if self._raw.startswith(CRLF, at, end) else find(self._raw, b"\r\n\r\n", at, end) + len(CRLF)
        header = self._raw[at : min(blank, end)]
        try:
            fields, _ = split(header)
        except Problem as exc:
            if depth == 0:
                raise
            raise _refusal(f"a part whose header cannot be read has a line of {octets:,} octets") from exc
        if blank > end:  # a header alone: of its last field, split() may have added the CRLF
            folded = b"".join(map(self._field, fields))
            return self.done.append(folded if header.endswith(CRLF) else folded.removesuffix(CRLF))
        place = len(self.done)
        self.done.append(b"")
        body = blank + len(CRLF)
        if octets := _long_line(self._raw, body, end):
            fields = self._body(fields, body, end, octets, depth, default)
            if is_message and all(field.name != "mime-version" for field in fields):
                fields = [*fields, HeaderField("mime-version", b"MIME-Version: 1.0\r\n")]  # RFC 2045 section 4
                self.ledger.append("added MIME-Version")
        else:
            self.done.append(self._raw[body:end])
        self.done[place] = b"".join([*map(self._field, fields), CRLF])
        return None

    def _field(self, field: HeaderField) -> bytes:
        if not (octets := _long_line(field.raw, 0, len(field.raw))):
            return field.raw
        where = f"the header field {printable(field.name)}"
        self.ledger.append(f"folded {where}: it had a line of {octets:,} octets")
        return _rewrite(field.raw, lambda line: _fold(line, where))

    def _body(
        self, fields: list[HeaderField], at: int, end: int, octets: int, depth: int, default: str
    ) -> list[HeaderField]:
        """Shortens a body as its media type and encoding allow. Returns the fields, with the encoding it has now."""
        media, boundary = media_type(fields, default)
        encoding = transfer_encoding(fields)
        if media == "multipart/signed":  # RFC 1847 section 2.1: not one octet of it may change
            raise _refusal(
                f"a signed part has a line of {octets:,} octets, and its signature would break if the line were "
                "broken; encode it as quoted-printable or base64 before it is signed"
            )
        if media.startswith("multipart/") and boundary:
            inner = "message/rfc822" if media == "multipart/digest" else "text/plain"  # RFC 2046 section 5.1.5
            if self._multipart(boundary, at, end, depth, inner):
                return fields
        if media in ("message/rfc822", "message/global") and encoding not in ("quoted-printable", "base64"):
            self.entity(at, end, depth + 1, is_message=True)
            return fields
        said, body, encoded = _leaf(self._raw[at:end], media, encoding)
        self.ledger.append(f"{said}: it had a line of {octets:,} octets")
        self.done.append(body)
        if encoded == encoding:
            return fields
        field = HeaderField("content-transfer-encoding", f"Content-Transfer-Encoding: {encoded}\r\n".encode())
        return [*(other for other in fields if other.name != field.name), field]

    def _multipart(self, boundary: bytes, at: int, end: int, depth: int, default: str) -> bool:
        """Shortens each part (RFC 2046 section 5.1). False where no part begins: then nothing was done."""
        after = -1  # the last delimiter
        for start, stop, is_closing in delimiters(self._raw, boundary, at, end):
            if after < 0:
                self._aside(at, start, "a preamble")
            else:
                self._part(after, start, start - len(CRLF), depth, default)
            self._delimiter(self._raw[start:stop])
            if is_closing:
                self._aside(stop, end, "an epilogue")
                return True
            after = stop
        if after >= 0:  # never closed
            self._part(after, end, end, depth, default)
        return after >= 0

    def _part(self, at: int, until: int, end: int, depth: int, default: str) -> None:
        """The CRLF of a delimiter, a part up to `end`, and the CRLF that belongs to the next delimiter."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _refusal(f"the message has more than {MAX_PARTS:,} parts and a line over {MAX_LINE} octets")
        start = min(at + len(CRLF), until)
        self.done.append(self._raw[at:start])
        if start < until:  # else two delimiters share a CRLF
            self.entity(start, end, depth + 1, default)
            self.done.append(self._raw[end:until])

    def _delimiter(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            self.ledger.append(f"took white space off a boundary line: it had {len(line):,} octets")
            line = line.rstrip(_WSP)
        if len(line) > MAX_LINE:
            raise _refusal(f"the message has a boundary line of {len(line):,} octets")
        self.done.append(line)

    def _aside(self, at: int, end: int, name: str) -> None:
        """A preamble or an epilogue: shown to nobody."""
        if octets := _long_line(self._raw, at, end):
            self.ledger.append(f"broke lines of {name}: it had a line of {octets:,} octets")
        self.done.append(_rewrite(self._raw[at:end], _break))


def _leaf(body: bytes, media: str, encoding: str) -> tuple[str, bytes, str]:
    """What is done to a body that has no parts, the result, and its encoding."""
    kind, name = media.partition("/")[0], printable(media, 60)
    if encoding == "quoted-printable":
        return f"put soft line breaks into a quoted-printable {name} part", _rewrite(body, _soften), encoding
    if encoding == "base64":
        wrapped = _rewrite(body, lambda line: _wrap(line.translate(None, _NOT_BASE64)))
        return f"wrapped a base64 {name} part", wrapped, encoding
    # Messages and multiparts must not be encoded (RFC 2045 section 6.4).
    if kind == "message":  # a report: made of header fields (RFC 3464 section 2.1), so it folds like them
        return f"folded a {name} part", _rewrite(body, lambda line: _fold(line, f"a {name} part")), encoding
    if kind == "multipart":
        said = f"broke lines of a {name} part whose boundary is missing or never occurs"
        return said, _rewrite(body, _break), encoding
    if kind == "text":
        return f"re-encoded a {name} part as quoted-printable", _quote(body), "quoted-printable"
    return f"re-encoded a {name} part as base64", _wrap(binascii.b2a_base64(body, newline=False)) + CRLF, "base64"


def _refusal(what: str) -> Problem:
    return Problem(Kind.BAD_REQUEST, f"{what}; Amazon SES takes {MAX_LINE}")


# -- lines -----------------------------------------------------------------------------------------------------------


def _long_lines(raw: bytes, at: int, until: int, limit: int) -> Iterator[tuple[int, int]]:
    """Where each line over the limit starts and ends. Hops a limit at a time: a regex takes 30 times as long."""
    while until - at > limit:
        end = raw.rfind(b"\n", at, min(at + limit + len(CRLF), until))
        if end < 0:
            end = find(raw, CRLF, at, until)
            yield at, end
            end += 1
        at = end + 1


def _long_line(raw: bytes, at: int, until: int) -> int:
    """The octets of the first line that is too long, or 0."""
    return next((end - start for start, end in _long_lines(raw, at, until, MAX_LINE)), 0)


def _rewrite(raw: bytes, change: Callable[[bytes], bytes], limit: int = MAX_LINE) -> bytes:
    """Each line over the limit changed, the others as they are."""
    done: list[bytes] = []
    at = 0
    for start, end in _long_lines(raw, 0, len(raw), limit):
        done += raw[at:start], change(raw[start:end])
        at = end
    return b"".join([*done, raw[at:]]) if done else raw


def _folded(line: bytes) -> bytes | None:
    """The line folded before white space (RFC 5322 section 2.2.3), no piece all white space (section 3.2.2)."""
    pieces, at, last = [], 0, len(line.rstrip(_WSP))
    if line.startswith(b"--"):
        return None  # its first piece could be taken for a boundary
    while len(line) - at > MAX_LINE:
        first = at + MAX_LINE + 1 - len(line[at : at + MAX_LINE].lstrip(_WSP))
        end = min(at + MAX_LINE + 1, last)
        cut = max(line.rfind(b" ", first, end), line.rfind(b"\t", first, end))
        if cut < 0:
            return None
        pieces.append(line[at:cut])
        at = cut
    return CRLF.join([*pieces, line[at:]])


def _fold(line: bytes, where: str) -> bytes:
    if (folded := _folded(line)) is None:
        raise _refusal(f"{where} has a line of {len(line):,} octets that cannot be folded")
    return folded


def _break(line: bytes) -> bytes:
    """The line in pieces that each start with white space, so that none can be taken for a boundary."""
    line = b" " + line
    return _folded(line) or b"\r\n ".join(line[at : at + MAX_LINE - 1] for at in range(0, len(line), MAX_LINE - 1))


# -- encodings -------------------------------------------------------------------------------------------------------


def _quote(text: bytes) -> bytes:
    """Text as quoted-printable, with its CRLFs as they are (RFC 2045 section 6.7)."""
    # b2a_qp breaks lines with a bare LF unless it sees a CRLF; and before white space at a line's end, one too late.
    encoded = binascii.b2a_qp(text + CRLF)[: -len(CRLF)]
    return _rewrite(encoded.replace(b"=\r\n--", b"=\r\n=2D-"), _soften, MAX_ENCODED)


def _soften(line: bytes) -> bytes:
    """A quoted-printable line with soft line breaks: none inside =XX, none before what could be a boundary."""
    pieces, at, room = [], 0, MAX_ENCODED - 3  # for the =, and for =2D in place of -
    while len(line) - at > room:
        escape = line.rfind(b"=", at + room - 2, at + room)
        piece = line[at : escape if escape >= 0 else at + room]
        piece = piece.rstrip(b"=") or piece  # "==" is no good syntax; decoders agree best on it when it stays whole
        pieces.append(piece)
        at += len(piece)
    pieces.append(line[at:])
    return b"=\r\n".join(b"=2D" + piece[1:] if piece.startswith(b"--") else piece for piece in pieces)


def _wrap(base64: bytes) -> bytes:
    return CRLF.join(base64[at : at + MAX_ENCODED] for at in range(0, len(base64), MAX_ENCODED))
