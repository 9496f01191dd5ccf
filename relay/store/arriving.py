"""An accepted submission as it is going to be written: what the core hands to the store."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from relay.delivery import Report, State
from relay.message import Addressee, Dsn, Mode, Options, Stream


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """Recipients of one SES call, each with the id of its row and its address's keyed hash; what its sender is told."""

    id: int
    recipients: tuple[tuple[int, Addressee, bytes], ...]
    reports: Report = Report.NONE
    delay_at: int | None = None  # when its sender is told that it is late


@dataclass(frozen=True, slots=True)
class NewMessage:
    """An accepted submission as it is written. `state` is SENDING only where a lane reserved the attempt; `account` is
    then that of the lane.

    `is_capped`: it counts towards the daily cap of the device that sent it. `forgets`: addresses and what the sender
    said go when it is final. `slim_at`: when the attachments of kept content go. `about`: the message a bounce is on.
    """

    id: int
    public_id: str
    tenant_id: int
    key_id: int | None
    protocol: str
    domain: str
    mode: Mode
    stream: Stream
    mail_from: str | None
    header_from: str
    subject: str | None = field(repr=False)
    rfc_message_id: str
    ledger: str
    size: int
    accepted_at: int
    wrapped_key: bytes = field(repr=False)
    parts: tuple[bytes, ...] = field(repr=False)
    keep_until: int | None
    due_at: int
    state: State
    deliveries: tuple[NewDelivery, ...]
    dsn: Dsn
    options: Options
    is_capped: bool = False
    forgets: bool = False
    slim_at: int | None = None
    about: int | None = None
    account: str | None = None
    echo: bytes | None = field(default=None, repr=False)  # sealed; see announcing.echo_of

    def started(self, account: str) -> NewMessage:
        """The same, committed as an attempt that has begun."""
        return replace(self, state=State.SENDING, account=account)
