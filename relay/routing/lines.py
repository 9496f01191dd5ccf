"""Shortens lines that SES would refuse: over 998 octets without CRLF. Decoded, every part stays what it was."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from functools import partial

from relay.config import SES_MESSAGE_LIMIT
from relay.errors import Kind, Problem, printable
from relay.routing import breaks
from relay.routing.breaks import MAX_LINE, STEP, CannotFoldError, long_lines, rewrite
from relay.routing.headers import CRLF, MAX_HEADER, HeaderField, split
from relay.routing.mime import SLICE, delimiters, media_type, search, transfer_encoding

MAX_DEPTH = 50
MAX_PARTS = 10_000
MAX_LEDGER = 50  # sentences: a hostile message must not fill the store

_WSP = b" \t"
Steps = Generator[None, None, None]


def shorten(raw: bytes) -> tuple[bytes, list[str]]:
    """The message without lines over 998 octets, and what was done to it, in sentences that hold no content.

    `raw` has CRLF line ends only (see normalise_newlines), and is returned itself where no line is too long.
    Raises Problem(BAD_REQUEST) where a long line cannot be shortened without a change of what the message says.
    """
    if not has_long_line(raw, 0, len(raw)):
        return raw, []
    work = Shortening(raw)
    for _ in work.steps():
        pass
    return b"".join(work.done), work.ledger


def has_long_line(raw: bytes, at: int, until: int) -> bool:
    """Whether a line is too long. `raw` has CRLF line ends only; what ends at `until` ends a line."""
    return any(long_lines(raw, at, until))


class Shortening:
    """One message being shortened, in steps that are short: what is done of it, and what was done to it.

    A part is a place in the message, not a copy of it: nesting would make a copy a level.
    """

    def __init__(self, raw: bytes, size: int = STEP) -> None:
        self.done: list[bytes] = []
        self.ledger: list[str] = []
        self._raw = raw
        self._size = size
        self._octets = 0
        self._parts = 0

    def steps(self) -> Steps:
        """Everything there is to do. Raises as `shorten` does, and Problem(TOO_LARGE)."""
        yield from self._entity(0, len(self._raw), 0, is_message=True)
        if len(self.ledger) > MAX_LEDGER:
            self.ledger[MAX_LEDGER:] = [f"and {len(self.ledger) - MAX_LEDGER:,} more changes of this kind"]

    def _entity(self, at: int, end: int, depth: int, default: str = "text/plain", *, is_message: bool = False) -> Steps:
        """A header and a body: a message or a body part (RFC 2045 section 2.4)."""
        if not (octets := (yield from self._long_line(at, end))):
            return self.done.append(self._raw[at:end])
        if depth > MAX_DEPTH:
            raise _refusal(f"a part nested more than {MAX_DEPTH} deep has a line of {octets:,} octets")
        blank = at
        if not self._raw.startswith(CRLF, at, end):
            blank = (yield from search(self._raw, CRLF + CRLF, at, end)) + len(CRLF)
        header = self._raw[at : min(blank, end, at + MAX_HEADER + 1)]  # one octet too many is refused as any more are
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
        if octets := (yield from self._long_line(body, end)):
            fields = yield from self._body(fields, body, end, octets, depth, default)
            if is_message and all(field.name != "mime-version" for field in fields):
                fields = [*fields, HeaderField("mime-version", b"MIME-Version: 1.0\r\n")]  # RFC 2045 section 4
                self.ledger.append("added MIME-Version")
        else:
            self.done.append(self._raw[body:end])
        self.done[place] = b"".join([*map(self._field, fields), CRLF])
        return None

    def _long_line(self, at: int, end: int) -> Generator[None, None, int]:
        """The octets of the first line that is too long, or 0."""
        for found in long_lines(self._raw, at, end):
            if found is not None:
                return found[1] - found[0]
            yield
        return 0

    def _field(self, field: HeaderField) -> bytes:
        raw = field.raw
        found = next(long_lines(raw, 0, len(raw), size=len(raw)), None)
        if found is None:
            return raw
        where = f"the header field {printable(field.name)}"
        self.ledger.append(f"folded {where}: it had a line of {found[1] - found[0]:,} octets")
        return b"".join(rewrite(raw, 0, len(raw), partial(_fold, where=where)))

    def _body(
        self, fields: list[HeaderField], at: int, end: int, octets: int, depth: int, default: str
    ) -> Generator[None, None, list[HeaderField]]:
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
            if (yield from self._multipart(boundary, at, end, depth, inner)):
                return fields
        if media in ("message/rfc822", "message/global") and encoding not in ("quoted-printable", "base64"):
            yield from self._entity(at, end, depth + 1, is_message=True)
            return fields
        said, pieces, encoded = _leaf(self._raw, at, end, media, encoding, self._size)
        self.ledger.append(f"{said}: it had a line of {octets:,} octets")
        yield from self._put(pieces)
        if encoded == encoding:
            return fields
        field = HeaderField("content-transfer-encoding", f"Content-Transfer-Encoding: {encoded}\r\n".encode())
        return [*(other for other in fields if other.name != field.name), field]

    def _multipart(self, boundary: bytes, at: int, end: int, depth: int, default: str) -> Generator[None, None, bool]:
        """Shortens each part (RFC 2046 section 5.1). False where no part begins: then nothing was done."""
        after = -1  # the last delimiter
        for found in delimiters(self._raw, boundary, at, end):
            if found is None:
                yield
                continue
            start, stop, is_closing = found
            if after < 0:
                yield from self._aside(at, start, "a preamble")
            else:
                yield from self._part(after, start, start - len(CRLF), depth, default)
            self._delimiter(self._raw[start:stop])
            if is_closing:
                yield from self._aside(stop, end, "an epilogue")
                return True
            after = stop
        if after >= 0:  # never closed
            yield from self._part(after, end, end, depth, default)
        return after >= 0

    def _part(self, at: int, until: int, end: int, depth: int, default: str) -> Steps:
        """The CRLF of a delimiter, a part up to `end`, and the CRLF that belongs to the next delimiter."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _refusal(f"the message has more than {MAX_PARTS:,} parts and a line over {MAX_LINE} octets")
        start = min(at + len(CRLF), until)
        self.done.append(self._raw[at:start])
        if start < until:  # else two delimiters share a CRLF
            yield from self._entity(start, end, depth + 1, default)
            self.done.append(self._raw[end:until])

    def _delimiter(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            self.ledger.append(f"took white space off a boundary line: it had {len(line):,} octets")
            line = line.rstrip(_WSP)
        if len(line) > MAX_LINE:
            raise _refusal(f"the message has a boundary line of {len(line):,} octets")
        self.done.append(line)

    def _aside(self, at: int, end: int, name: str) -> Steps:
        """A preamble or an epilogue: shown to nobody."""
        if octets := (yield from self._long_line(at, end)):
            self.ledger.append(f"broke lines of {name}: it had a line of {octets:,} octets")
        yield from self._put(rewrite(self._raw, at, end, partial(breaks.split_up, size=self._size)))

    def _put(self, pieces: Iterable[bytes]) -> Steps:
        """Adds what may be hundreds of thousands of pieces, each of which would cost memory of its own.

        Quoted-printable can be three times as long as what it says: what SES would not take is not made.
        """
        waiting: list[bytes] = []
        held = done = 0
        for piece in pieces:
            waiting.append(piece)
            held += len(piece)
            done += len(piece)
            if held >= SLICE:
                self.done.append(b"".join(waiting))
                waiting.clear()
                held = 0
            if not piece or done >= self._size:
                self._count(done)
                done = 0
                yield
        self._count(done)
        self.done.append(b"".join(waiting))

    def _count(self, octets: int) -> None:
        self._octets += octets
        if self._octets > SES_MESSAGE_LIMIT:
            raise Problem(
                Kind.TOO_LARGE,
                f"with its long lines re-encoded, the message is over {SES_MESSAGE_LIMIT} octets; Amazon SES takes no "
                "more: encode its parts as base64 before you send it",
            )


def _leaf(raw: bytes, at: int, end: int, media: str, encoding: str, size: int) -> tuple[str, Iterator[bytes], str]:
    """What is done to a body that has no parts, the result, and its encoding."""
    kind, name = media.partition("/")[0], printable(media, 60)
    if encoding == "quoted-printable":
        said = f"put soft line breaks into a quoted-printable {name} part"
        return said, rewrite(raw, at, end, breaks.soften), encoding
    if encoding == "base64":
        return f"wrapped a base64 {name} part", rewrite(raw, at, end, partial(breaks.rewrap, size=size)), encoding
    # Messages and multiparts must not be encoded (RFC 2045 section 6.4).
    if kind == "message":  # a report: made of header fields (RFC 3464 section 2.1), so it folds like them
        return f"folded a {name} part", rewrite(raw, at, end, partial(_fold, where=f"a {name} part")), encoding
    if kind == "multipart":
        said = f"broke lines of a {name} part whose boundary is missing or never occurs"
        return said, rewrite(raw, at, end, partial(breaks.split_up, size=size)), encoding
    if kind == "text":
        said = f"re-encoded a {name} part as quoted-printable"
        return said, breaks.quote(raw, at, end, size), "quoted-printable"
    return f"re-encoded a {name} part as base64", breaks.base64(raw, at, end, size), "base64"


def _fold(line: bytes, where: str) -> Iterator[bytes]:
    try:
        if len(line) > MAX_HEADER:
            raise CannotFoldError
        yield breaks.fold(line)
    except CannotFoldError as exc:
        raise _refusal(f"{where} has a line of {len(line):,} octets that cannot be folded") from exc


def _refusal(what: str) -> Problem:
    return Problem(Kind.BAD_REQUEST, f"{what}; Amazon SES takes {MAX_LINE}")
