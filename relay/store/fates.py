"""What a report to the sender of a message is made of: what became of whom, and who wants to know. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from relay.delivery import Report
from relay.errors import Kind
from relay.message import Address


class Action(Enum):
    """What became of a recipient, in the words of RFC 3464 section 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"


_FLAGS = {"failure": Report.FAILURE, "success": Report.SUCCESS, "delay": Report.DELAY, "never": Report.NONE}
WANTED = {Action.FAILED: Report.FAILURE, Action.DELAYED: Report.DELAY, Action.RELAYED: Report.SUCCESS}


def asked_for(notify: str | None) -> Report:
    """What a recipient's NOTIFY asks for. Without one: to be told of failure (RFC 3461 section 4.1)."""
    if notify is None:
        return Report.FAILURE
    wanted = Report.NONE
    for word in notify.split(","):
        wanted |= _FLAGS.get(word, Report.NONE)
    return wanted


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recipient. Moments in milliseconds since 1970; `orcpt` as the envelope gave it (xtext)."""

    address: str = field(repr=False)
    orcpt: str | None = field(repr=False)
    action: Action
    kind: Kind | None = None
    detail: str = field(default="", repr=False)
    tried_at: int | None = None
    retry_until: int | None = None
    ses_message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What a report is made of. `original`: the message as it was sent on, or how it begins; None: it cannot be read.

    `is_whole`: it may be returned whole. `envid` as the envelope gave it (xtext).
    """

    public_id: str  # of the report
    about: str  # of the message
    sender: Address = field(repr=False)
    domain: str
    at: int
    arrived_at: int
    rfc_message_id: str
    envid: str | None
    original: bytes | None = field(repr=False)
    is_whole: bool
    fates: tuple[Fate, ...]
