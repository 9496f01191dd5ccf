"""What one SMTP conversation knows: the message being built, and its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.message import Address, Addressee


class Closed(Exception):
    """The conversation is over."""


@dataclass(slots=True)
class Transaction:
    """What MAIL and RCPT have said so far."""

    sender: Address
    recipients: list[Addressee] = field(default_factory=list)
