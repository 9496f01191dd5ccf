"""What is sent: addresses, ids, submissions and accepted messages. Frozen, and valid from birth."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field
from enum import Enum

import idna

from relay.errors import Kind, Problem, printable

# RFC 5321 section 4.5.3.1: octets.
MAX_LOCAL = 64
MAX_DOMAIN = 255
MAX_ADDRESS = 254  # RFC 3696 erratum 1690: a path of 256 less its brackets

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_DOT_ATOM = re.compile(rf"{_ATEXT}+(\.{_ATEXT}+)*")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])*"')
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def canonical_domain(text: str) -> str:
    """A domain as lower-case A-labels (RFC 5890), so that equal domains are equal strings.

    Raises Problem(BAD_ADDRESS) for anything that is no host name.
    """
    domain = text[:-1] if text.endswith(".") else text
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError as exc:
            raise Problem(Kind.BAD_ADDRESS, f"{printable(text)} is not a valid domain name") from exc
    domain = domain.lower()
    if not domain or len(domain) > MAX_DOMAIN or not all(_LABEL.fullmatch(label) for label in domain.split(".")):
        raise Problem(Kind.BAD_ADDRESS, f"{printable(text)} is not a valid domain name")
    return domain


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox (RFC 5321 section 4.1.2). `domain` is lower-case A-labels; `local` is as it was written, ASCII."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def folded(self) -> str:
        """The form under which suppressions are looked up: receivers do not tell apart the case of a local part."""
        return str(self).lower()

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `local@domain`. Never decodes anything: what is compared is what SES is given.

        Raises Problem(BAD_ADDRESS), or NON_ASCII_ADDRESS for a local part that SES cannot carry (SES fact 1.2).
        """
        local, at, domain = text.rpartition("@")
        if not at or not local or not domain:
            raise Problem(Kind.BAD_ADDRESS, f"{printable(text)} is not an address of the form name@domain")
        if not local.isascii():
            raise Problem(Kind.NON_ASCII_ADDRESS, f"{printable(text)}: {Kind.NON_ASCII_ADDRESS.title}")
        if not (_DOT_ATOM.fullmatch(local) or _QUOTED.fullmatch(local)):
            raise Problem(Kind.BAD_ADDRESS, f"{printable(text)}: the part before the @ is not valid")
        if len(local) > MAX_LOCAL:
            raise Problem(Kind.BAD_ADDRESS, f"{printable(text)}: the part before the @ is over {MAX_LOCAL} characters")
        address = cls(local, canonical_domain(domain))
        if len(str(address)) > MAX_ADDRESS:
            raise Problem(Kind.BAD_ADDRESS, f"{printable(text)} is over {MAX_ADDRESS} characters")
        return address


class Ids:
    """Makes 63-bit row ids: 42 bits of milliseconds, 21 of a counter that starts anywhere, so they sort by time.

    Two processes that write in the same millisecond differ by where they started; a clash is a primary-key error, and
    nothing is written.
    """

    def __init__(self) -> None:
        self._start = secrets.randbits(20)
        self._last = 0

    def next(self) -> int:
        fresh = (time.time_ns() // 1_000_000 << 21) | self._start
        self._last = max(fresh, self._last + 1)
        return self._last


def new_public_id() -> str:
    """96 bits, 48 of milliseconds and 48 random, as 24 hex digits: what clients call a message."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


# -- the forms of an id: clients of each product know one and the same message by what that product calls one ----------

PREFIX = "eml_"  # Sendmux's form is this and the native one
_NATIVE = re.compile(r"[0-9a-f]{24}")
# The 96 bits as a UUID. The filling is that of version 4, which is the one that every check of UUIDs takes.
_UUID = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-4([0-9a-f]{3})-8000-000([0-9a-f]{9})")


def uuid_of(public_id: str) -> str:
    """The same id as a UUID."""
    return f"{public_id[:8]}-{public_id[8:12]}-4{public_id[12:15]}-8000-000{public_id[15:]}"


def public_id_of(text: str) -> str | None:
    """The native form of an id that is given in any of its forms; None for what is none."""
    folded = text.lower()
    if found := _UUID.fullmatch(folded):
        return "".join(found.groups())
    bare = folded.removeprefix(PREFIX)
    return bare if _NATIVE.fullmatch(bare) else None


class Mode(Enum):
    """Whose SES account carries a domain's mail."""

    BYOC = "byoc"  # the customer's own
    SHARED = "shared"  # the operator's


class Stream(Enum):
    """What sort of mail it is. Within a lane they leave in this order."""

    TRANSACTIONAL = "transactional"
    SHARED = "shared"
    BROADCAST = "broadcast"


class Field(Enum):
    """Where a recipient was named. SMTP knows no difference."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


@dataclass(frozen=True, slots=True)
class Addressee:
    """A recipient as submitted. `notify` and `orcpt` are of DSN (RFC 3461 section 4.1, 4.2), as they were given."""

    address: Address
    field: Field = Field.TO
    notify: str | None = None
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """What a Received header says of how a submission came in (RFC 5321 section 4.4, RFC 3848)."""

    protocol: str
    helo: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True)
class Dsn:
    """What an envelope says of bounces (RFC 3461 section 4.3, 4.4): `ret` is "full", "hdrs" or None."""

    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How a message is to be handled, apart from what is in it. None: nothing was said.

    `metadata` is what webhooks say back, never in the mail; `send_at` milliseconds since 1970.
    """

    tag: str | None = None
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    stream: Stream | None = None
    idempotency_key: str | None = field(default=None, repr=False)
    track_opens: bool | None = None
    track_clicks: bool | None = None
    send_at: int | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """What an edge hands to the core: envelope, bytes and how they came. `raw` never shows in a repr.

    A large one is in pieces, which whoever accepts it takes out of the list: it is not in memory twice. `warnings` are
    what its sender is told with the acceptance.
    """

    sender: Address | None
    recipients: tuple[Addressee, ...]
    raw: bytes | list[bytes] = field(repr=False)
    trace: Trace
    subject: str = field(default="", repr=False)
    dsn: Dsn = Dsn()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The answer to a submission that is now durable. Moments in milliseconds since 1970.

    `message_id` is what stands in its header; `estimated_send_at` None where nobody can say: something holds the mail.
    """

    public_id: str
    message_id: str
    accepted_at: int
    mode: Mode = Mode.SHARED
    estimated_send_at: int | None = None
    warnings: tuple[str, ...] = ()
