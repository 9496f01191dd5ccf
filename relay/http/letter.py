"""A message as an HTTP client describes it in parts: the one form that every dialect is read into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from relay.message import Acceptance, Address, Addressee, Options
from relay.message import Field as AddressField

NO_OPTIONS = Options()
PART = 1 << 10  # octets whose encoding takes as long as the header of a file


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name that is shown for it."""

    address: Address
    name: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to go with the message; one with a `content_id` is part of the HTML, shown by `cid:` (RFC 2392)."""

    filename: str
    content: bytes = field(repr=False)
    content_type: str = "application/octet-stream"
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """A stored template to be filled in. `version` None: the newest; `missing` None: as the template has it."""

    name: str
    version: int | None
    variables: dict[str, object] = field(repr=False)
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """Everything that can be said of a message in any dialect, checked by itself.

    `author` None: the default sender, or one at `domain` where that is named. `headers` are the client's own.
    `calendar` is iCalendar text (RFC 5545). `is_rehearsal`: checked like any other, and not sent. `max_size`: octets it
    may be once it is composed; None is as much as Amazon SES takes.
    """

    to: tuple[Mailbox, ...]
    subject: str = field(repr=False)
    text: str | None = field(default=None, repr=False)
    html: str | None = field(default=None, repr=False)
    author: Address | None = None
    author_name: str = ""
    domain: str | None = None
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    attachments: tuple[Attachment, ...] = ()
    calendar: str | None = field(default=None, repr=False)
    options: Options = NO_OPTIONS
    return_path: Address | None = None
    template: TemplateUse | None = None
    is_rehearsal: bool = False
    max_size: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def weight(self) -> int:
        """About how many octets it is made of: what composing it costs."""
        bodies = sum(len(body) for body in (self.text, self.html, self.calendar) if body)
        return bodies + sum(len(file.content) + PART for file in self.attachments)

    @property
    def addressees(self) -> tuple[Addressee, ...]:
        """Every recipient once, in the field that names it first."""
        named: dict[Address, AddressField] = {}
        for where, mailbox in self._everyone():
            named.setdefault(mailbox.address, where)
        return tuple(Addressee(address, where) for address, where in named.items())

    def _everyone(self) -> Iterator[tuple[AddressField, Mailbox]]:
        for where, mailboxes in ((AddressField.TO, self.to), (AddressField.CC, self.cc), (AddressField.BCC, self.bcc)):
            for mailbox in mailboxes:
                yield where, mailbox


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a letter that was accepted."""

    acceptance: Acceptance
    author: Address
    warnings: tuple[str, ...] = ()
