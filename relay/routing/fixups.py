"""The few things changed in what a client sent, each written down; and what SES is known to refuse, refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from relay.errors import Fault, Kind, Problem, printable
from relay.message import Address, Options, Trace
from relay.routing import options, sender_rules
from relay.routing.headers import CRLF, HeaderField, normalise_newlines, only_mailbox, split
from relay.routing.lines import MAX_LEDGER, shorten
from relay.routing.sender_rules import Rule

MAX_NAME = 76  # characters of a field's name that are written down
MAX_HOPS = 50  # Received fields (design: loop; Postfix's default, too)

# SES refuses a message that repeats one of these (SES fact 1.2; Amazon SES developer guide, "header fields").
SINGLE = frozenset(
    """
    accept-language acceptlanguage archived-at auto-submitted bounces-to comments content-alternative content-base
    content-class content-description content-disposition content-duration content-id content-language
    content-length content-location content-md5 content-transfer-encoding content-type date delivered-to
    disposition-notification-options disposition-notification-to dkim-signature domainkey-signature errors-to from
    importance in-reply-to keywords list-archive list-help list-id list-owner list-post list-subscribe
    list-unsubscribe list-unsubscribe-post message-context message-id mime-version organization original-from
    original-message-id original-recipient original-subject precedence priority references reply-to
    return-receipt-to sender solicitation subject thread-index thread-topic user-agent vbr-info
    """.split()  # noqa: SIM905 - to be read as words
)
DROPPED = frozenset({"bcc", "resent-bcc", "return-path"})
DROPPED_PREFIXES = ("x-ses-", "x-relay-")
NO_OPTIONS = Options()
NORMALISED = "made every line end in CR LF"


@dataclass(frozen=True, slots=True)
class Fixed:
    """A message ready for SES, and what is known of it. `raw` is empty where the octets are elsewhere, in pieces."""

    raw: bytes = field(repr=False)
    author: Address
    message_id: str
    is_bulk: bool
    options: Options
    ledger: tuple[str, ...]


def author_of(fields: list[HeaderField]) -> Address:
    """The one mailbox of the one From field. Raises Problem(BAD_REQUEST | BAD_ADDRESS)."""
    found = [each for each in fields if each.name == "from"]
    if not found:
        raise Problem(Kind.BAD_REQUEST, "the message has no From header; add one with an address of your domain")
    if len(found) > 1:
        raise Problem(Kind.BAD_REQUEST, "the message has several From headers; Amazon SES takes exactly one")
    return only_mailbox(found[0].value)


def fix_up(
    raw: bytes,
    trace: Trace,
    *,
    hostname: str,
    public_id: str,
    now: datetime,
    is_ours: Callable[[str], bool],
    rule: Rule | None = None,
) -> Fixed:
    """Make a submitted message one that SES takes, changing nothing else (design: privacy and retention, fix-ups).

    `is_ours` says of a domain whether this sender may use it; `rule`, whose address replaces the author's.
    Raises Problem(BAD_REQUEST | BAD_ADDRESS | NON_ASCII_ADDRESS | LOOP).
    """
    ledger: list[str] = []
    normal = normalise_newlines(raw)
    if normal is not raw:
        ledger.append(NORMALISED)
    fields, body = split(normal)
    if not body and not normal.endswith(b"\r\n\r\n") and normal != CRLF:
        ledger.append("added the empty line that ends the header")
    author, fields = _authored(fields, rule, ledger)
    refuse_known(fields)
    said = options.read(fields, now) if any(each.name in options.NAMES for each in fields) else NO_OPTIONS
    kept = [each for each in fields if not _is_dropped(each, is_ours, ledger)]
    if len(ledger) > MAX_LEDGER:
        ledger[MAX_LEDGER:] = [f"and {len(ledger) - MAX_LEDGER:,} more changes of this kind"]
    names = {each.name for each in kept}
    date = _written(now.replace(microsecond=0))
    added: list[bytes] = [_received(trace, hostname, public_id, date)]
    ledger.append("added Received")
    message_id = next((printable(each.value, 995) for each in kept if each.name == "message-id"), "")
    if not message_id:
        message_id = f"<{public_id}@{author.domain}>"
        if "message-id" in names:
            kept = [each for each in kept if each.name != "message-id"]
            ledger.append("dropped an empty message-id")
        added.append(b"Message-ID: " + message_id.encode("ascii") + CRLF)
        ledger.append("added Message-ID")
    if "date" not in names:
        added.append(b"Date: " + date.encode("ascii") + CRLF)
        ledger.append("added Date")
    whole = b"".join([*added, *(each.raw for each in kept), CRLF, body])
    short, shortened = shorten(whole)
    return Fixed(short, author, message_id, is_bulk(fields), said, (*ledger, *shortened))


def stamp(trace: Trace, hostname: str, public_id: str, now: datetime, message_id: str) -> bytes:
    """The fields of ours on top of a message that we write ourselves."""
    date = _written(now.replace(microsecond=0))
    return _received(trace, hostname, public_id, date) + f"Message-ID: {message_id}\r\nDate: {date}\r\n".encode("ascii")


def _authored(fields: list[HeaderField], rule: Rule | None, ledger: list[str]) -> tuple[Address, list[HeaderField]]:
    """Whom the message is from, and its fields with that. Raises what `author_of` does where no rule helps."""
    if rule is None:
        return author_of(fields), fields
    there = [each for each in fields if each.name == "from"]
    found: Address | None = None
    try:
        found = author_of(fields)
        new = sender_rules.author(rule, found)
    except Problem:
        # A From without any address, such as `From: root`, is as good as none; one that SES or we cannot make out may
        # be someone's, and only who is bound to one address loses it.
        if len(there) > 1 or not (rule.is_forced or all(b"@" not in each.raw for each in there)):
            raise
        new = sender_rules.author(rule, None)
        if new is None:
            raise
    if new is None or new == found:
        assert found is not None  # or there is a new one, or it was refused
        return found, fields
    fresh = [HeaderField("from", b"From: " + str(new).encode("ascii") + CRLF)]
    ledger.append("replaced From by the sender rule" if there else "added From by the sender rule")
    if found is not None and all(each.name != "reply-to" for each in fields):
        fresh.append(HeaderField("reply-to", b"Reply-To:" + there[0].raw.partition(b":")[2]))
        ledger.append("added Reply-To with the original From")
    place = fields.index(there[0]) if there else 0
    return new, [*fields[:place], *fresh, *fields[place + len(there) :]]


def refuse_known(fields: list[HeaderField]) -> None:
    """What SES would refuse, named. Raises Problem(BAD_REQUEST | LOOP)."""
    counts = Counter(each.name for each in fields)
    repeated = [name for name, count in counts.items() if count > 1 and name in SINGLE]
    if repeated:
        raise Problem(
            Kind.BAD_REQUEST,
            faults=tuple(
                Fault(name, "stands more than once in the header; Amazon SES takes it once") for name in repeated
            ),
        )
    if counts["received"] > MAX_HOPS:
        raise Problem(Kind.LOOP, f"the message has {counts['received']} Received headers: it is going round in a loop")


def _is_dropped(each: HeaderField, is_ours: Callable[[str], bool], ledger: list[str]) -> bool:
    if each.name in options.NAMES:
        ledger.append(f"took {each.name} as an option")
        return True
    if each.name in DROPPED or each.name.startswith(DROPPED_PREFIXES):
        ledger.append(f"dropped {printable(each.name, MAX_NAME)}")
        return True
    if each.name == "sender":
        # SES checks Sender like From: an address that is not verified there kills the message (SES fact 1.2).
        try:
            is_dropped = not is_ours(only_mailbox(each.value).domain)
        except Problem:
            is_dropped = True
        if is_dropped:
            ledger.append("dropped sender")
        return is_dropped
    return False


def _received(trace: Trace, hostname: str, public_id: str, date: str) -> bytes:
    """RFC 5321 section 4.4. No `for`: it would show a Bcc."""
    came = f"from {_token(trace.helo)}" + (f" ([{trace.client}])" if trace.client else "") + " " if trace.helo else ""
    text = f"Received: {came}by {hostname} with {trace.protocol} id {public_id};\r\n\t{date}\r\n"
    return text.encode("ascii")


@lru_cache(maxsize=2)
def _written(second: datetime) -> str:
    """A moment as headers have it (RFC 5322 section 3.3)."""
    return format_datetime(second)


def _token(helo: str) -> str:
    """What a client called itself, as one harmless word."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-._:[]") else "?" for c in helo[:255]) or "unknown"


def is_bulk(fields: Iterable[HeaderField]) -> bool:
    """Whether the message says of itself that it is bulk mail (design: dispatch)."""
    return any(
        each.name in {"list-unsubscribe", "list-id"}
        or (each.name == "precedence" and each.value.lower() in {b"bulk", b"list", b"junk"})
        for each in fields
    )
