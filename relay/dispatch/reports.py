"""What a report to a sender says (RFC 3464): in words, for programs, and with what was sent. Pure."""

from __future__ import annotations

import binascii
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from relay import log
from relay.errors import Kind, printable
from relay.metrics import Metrics
from relay.routing.breaks import MAX_LINE
from relay.routing.headers import CRLF, MAX_HEADER, normalise_newlines
from relay.store.clock import now_ms
from relay.store.fates import Action, Fate, Notice
from relay.store.queue import Queue
from relay.store.reports import Outcome, Told

WIDTH = 76
HEADER_AT_MOST = 64 << 10  # octets of a header that are returned
MAX_DETAIL = 400  # characters
MAX_REFERENCE = 300

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")
_PLAIN = re.compile(rb"[\t\r\n -~]*")  # a CR or LF is of a CRLF here
_TELLING = re.compile(
    rb"^(auto-submitted|precedence|list-id|list-unsubscribe|content-type)[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.I | re.M
)

SUBJECTS = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is late",
    Action.RELAYED: "Your message was handed on",
}
SAID = {
    Action.FAILED: "Your message could not be delivered to:",
    Action.DELAYED: "Your message has not yet been delivered to:",
    Action.RELAYED: "Your message was handed to Amazon SES for delivery to:",
}
ADVICE = {
    Action.FAILED: "It will not be tried again.",
    Action.DELAYED: "There is nothing for you to do: delivery is tried until {until}. Do not send it again.",
    Action.RELAYED: "Amazon SES does not report by mail whether it arrives there.",
}
# What a reader can do about it, where that is more than to send it again.
REMEDIES = {
    Kind.SUPPRESSED: "Mail to it came back before, or was complained of. If the address is in use, ask the "
    "administrator to take it off that list.",
    Kind.EXPIRED: "If it still matters, send it again.",
    Kind.SES_REJECTED: "Sent again as it is, it would be refused again: change what is named here first.",
    Kind.SES_UNKNOWN_OUTCOME: "It may have arrived all the same: ask before you send it again.",
}
CLASSES = {Action.FAILED: 5, Action.DELAYED: 4, Action.RELAYED: 2}  # RFC 3463 section 3.1
RELAYED = "1.9"  # its section 3.2: relayed to where nothing is reported by DSN
UNTOLD = "0.0"  # no trouble was met


def compose(notice: Notice, *, hostname: str) -> bytes | None:
    """The whole report, of lines that any server takes; None where the message itself says that nobody wants one."""
    original = None if notice.original is None else normalise_newlines(notice.original)
    if original is not None and not _wants_answers(_header(original)):
        return None
    boundary = f"=_{notice.public_id}"
    parts = [
        (b"text/plain; charset=us-ascii", b"", _words(notice, hostname)),
        (b"message/delivery-status", b"", _fields(notice, hostname)),
    ]
    if original is not None:
        parts.append(_returned(original, notice.is_whole, boundary.encode()))
    head = _lines(_head(notice, boundary, is_ascii=all(octets.isascii() for _, _, octets in parts)))
    between = f"--{boundary}\r\n".encode()
    return b"".join([head, CRLF, *(between + _part(*part) for part in parts), f"--{boundary}--\r\n".encode()])


def announce(told: Iterable[Told], metrics: Metrics, note: Callable[[Queue, int], None]) -> None:
    """Say what came of reports, and wake the queues that have one now."""
    for each in told:
        metrics.reports.labels(each.action.value, each.outcome.value).inc()
        log.event(f"report.{each.outcome.value}", about=each.about, domain=each.queue[0], action=each.action.value)
        if each.outcome is Outcome.QUEUED:
            note(each.queue, now_ms())


# -- whether anyone wants to know ------------------------------------------------------------------------------------


def _wants_answers(header: bytes) -> bool:
    """False for a report, an automatic answer and bulk mail (RFC 3834 section 2, RFC 3464 section 2)."""
    for name, value in _TELLING.findall(header):
        word = re.split(rb"[;(\s]", value.strip().lower(), maxsplit=1)[0]
        match name.lower():
            case b"auto-submitted" if word != b"no":
                return False
            case b"precedence" if word in {b"bulk", b"list", b"junk"}:
                return False
            case b"content-type" if word == b"multipart/report":
                return False
            case b"list-id" | b"list-unsubscribe":
                return False
    return True


# -- the header and the words ----------------------------------------------------------------------------------------


def _head(notice: Notice, boundary: str, *, is_ascii: bool) -> Iterator[str]:
    yield f"Message-ID: <{notice.public_id}@{notice.domain}>"
    yield f"Date: {_date(notice.at)}"
    yield f"From: Mail Delivery System <postmaster@{notice.domain}>"
    yield f"To: <{notice.sender}>"
    yield f"Subject: {_subject(notice)}"
    yield "Auto-Submitted: auto-replied"
    if len(notice.rfc_message_id) <= MAX_REFERENCE and _MESSAGE_ID.fullmatch(notice.rfc_message_id):
        yield f"In-Reply-To: {notice.rfc_message_id}"
        yield f"References: {notice.rfc_message_id}"
    yield "MIME-Version: 1.0"
    yield f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"'
    if not is_ascii:  # RFC 2045 section 6.4: what holds an 8 bit part says so itself
        yield "Content-Transfer-Encoding: 8bit"


def _subject(notice: Notice) -> str:
    actions = {fate.action for fate in notice.fates}
    return SUBJECTS[actions.pop()] if len(actions) == 1 else "What became of your message"


def _words(notice: Notice, hostname: str) -> bytes:
    lines = [f"This is the mail relay {hostname}.", ""]
    for action in Action:
        fates = [fate for fate in notice.fates if fate.action is action]
        if fates:
            lines += [SAID[action], "", *(line for fate in fates for line in _named(fate)), *_advice(action, fates), ""]
    received = f"It came in at {_date(notice.arrived_at)}"
    if notice.rfc_message_id:
        received += f" with the Message-ID {printable(notice.rfc_message_id, MAX_REFERENCE)}"
    lines += _wrapped(f"{received}, and is known here as {notice.about}: say so if you ask the administrator for help.")
    if notice.original is None:
        lines += ["", "It cannot be returned: it could not be read any more."]
    return _lines(lines)


def _named(fate: Fate) -> Iterator[str]:
    yield f"  {fate.address}"
    if fate.kind is not None and fate.action is not Action.RELAYED:
        yield from _wrapped(f"{_why(fate)} ({_status(fate)}).", "    ")
    if fate.kind in REMEDIES and fate.action is Action.FAILED:
        yield from _wrapped(REMEDIES[fate.kind], "    ")
    yield ""


def _advice(action: Action, fates: Sequence[Fate]) -> list[str]:
    until = max((fate.retry_until or 0 for fate in fates), default=0)
    return _wrapped(ADVICE[action].format(until=_date(until)))


def _why(fate: Fate) -> str:
    """In our own words, and SES's where they are about the message: others are for who runs this relay."""
    assert fate.kind is not None
    detail = printable(fate.detail, MAX_DETAIL) if fate.kind is Kind.SES_REJECTED else ""
    return f"{fate.kind.title}: {detail}" if detail else fate.kind.title


def _wrapped(paragraph: str, indent: str = "") -> list[str]:
    """Lines of a width that people read; a long word stays whole."""
    return textwrap.wrap(
        paragraph,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


# -- for programs ----------------------------------------------------------------------------------------------------


def _fields(notice: Notice, hostname: str) -> bytes:
    """RFC 3464 section 2: about the message, then about each recipient."""
    lines = [] if notice.envid is None else [f"Original-Envelope-Id: {_decoded(notice.envid)}"]
    lines += [f"Reporting-MTA: dns; {hostname}", f"Arrival-Date: {_date(notice.arrived_at)}"]
    for fate in notice.fates:
        lines += ["", *_of_recipient(fate)]
    return _lines(lines)


def _of_recipient(fate: Fate) -> Iterator[str]:
    if fate.orcpt is not None:
        kind, _, address = fate.orcpt.partition(";")
        yield f"Original-Recipient: {kind}; {_decoded(address)}"
    yield f"Final-Recipient: rfc822; {fate.address}"
    yield f"Action: {fate.action.value}"
    yield f"Status: {_status(fate)}"
    if fate.kind is not None and fate.action is not Action.RELAYED:
        yield f"Diagnostic-Code: x-relay; {fate.kind.slug} ({_why(fate)})"
    if fate.tried_at is not None:
        yield f"Last-Attempt-Date: {_date(fate.tried_at)}"
    if fate.ses_message_id is not None and fate.action is Action.RELAYED:
        yield f"Final-Log-ID: {printable(fate.ses_message_id)}"
    if fate.retry_until is not None:
        yield f"Will-Retry-Until: {_date(fate.retry_until)}"


def _status(fate: Fate) -> str:
    """The trouble's enhanced status (RFC 3463), of the class that is true now: it is final, or it is not."""
    of = UNTOLD if fate.kind is None else fate.kind.enhanced.partition(".")[2]
    return f"{CLASSES[fate.action]}.{RELAYED if fate.action is Action.RELAYED else of}"


def _decoded(xtext: str) -> str:
    """What was encoded for the envelope (RFC 3461 section 4); as it came where that is not printable."""
    decoded = _XTEXT.sub(lambda found: chr(int(found[1], 16)), xtext)
    return decoded if decoded.isascii() and decoded.isprintable() else printable(xtext, 600)


def _date(at: int) -> str:
    return format_datetime((_EPOCH + timedelta(milliseconds=at)).replace(microsecond=0))


# -- what was sent ---------------------------------------------------------------------------------------------------


def _header(original: bytes) -> bytes:
    """The header with its last CRLF, as much of it as anyone would take for one."""
    end = original.find(b"\r\n\r\n", 0, MAX_HEADER)
    return original[: end + 2] if end >= 0 else original[:MAX_HEADER]


def _returned(original: bytes, is_whole: bool, boundary: bytes) -> tuple[bytes, bytes, bytes]:
    """The part with the message: its type, its encoding, its octets. Whole only where it can go as it is."""
    if is_whole and boundary not in original and b"\0" not in original and not _has_long_line(original):
        is_ascii = original.isascii()
        return b"message/rfc822", b"" if is_ascii else b"8bit", original
    header = _shortened(_header(original))
    if _PLAIN.fullmatch(header) and not _has_long_line(header) and boundary not in header:
        return b"text/rfc822-headers; charset=us-ascii", b"", header
    # RFC 6522 section 4: a header that is not what it should be may be encoded.
    encoded = binascii.b2a_qp(header.replace(CRLF, b"\n"), istext=True).replace(b"\n", CRLF)
    return b"text/rfc822-headers; charset=utf-8", b"quoted-printable", encoded


def _shortened(header: bytes) -> bytes:
    """A huge one ends after a whole line."""
    if len(header) <= HEADER_AT_MOST:
        return header
    end = header.rfind(CRLF, 0, HEADER_AT_MOST)
    return header[: end + 2] if end >= 0 else header[:HEADER_AT_MOST]


def _has_long_line(octets: bytes) -> bool:
    return any(len(line) > MAX_LINE for line in octets.split(CRLF))


def _part(media: bytes, encoding: bytes, octets: bytes) -> bytes:
    encoded = b"Content-Transfer-Encoding: " + encoding + CRLF if encoding else b""
    # The last CRLF is the boundary's (RFC 2046 section 5.1.1): a message that is returned keeps its own.
    end = b"" if octets.endswith(CRLF) and media != b"message/rfc822" else CRLF
    return b"Content-Type: " + media + CRLF + encoded + CRLF + octets + end


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")
