"""What one SMTP conversation knows: the message being built, how a command is refused, and its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.message import Address, Addressee, Dsn
from relay.smtp.replies import Reply


class Closed(Exception):
    """The conversation is over."""


class Refused(Exception):
    """The command is not well formed, or comes at the wrong time. `is_final`: the conversation ends with it."""

    def __init__(self, reply: Reply, text: str = "", *, is_final: bool = False) -> None:
        super().__init__(reply)
        self.reply = reply
        self.text = text or reply.text
        self.is_final = is_final


@dataclass(slots=True)
class Transaction:
    """What MAIL and RCPT have said so far. `size`: octets, as declared. A recipient named twice is sent to once."""

    sender: Address
    dsn: Dsn
    size: int
    recipients: dict[Address, Addressee] = field(default_factory=dict)
