"""An event of SES as it was understood: about which mail it is, and what it means for whom. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from relay.delivery import RecipientState


@dataclass(frozen=True, slots=True)
class Listing:
    """That an address gets no more mail. `rank`: an entry that an event made gives way to one of a higher rank."""

    reason: str
    source: str
    rank: int
    lasts: timedelta | None = None  # None: until somebody takes it off


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient that an event names: the address as it is listed, and its keyed hash, once that is made."""

    address: str = field(repr=False)
    hash: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Heard:
    """One event. `at` in milliseconds since 1970, as SES says; None: it does not.

    `delivery_id` and `attempt` are of our tags, `probe_id` is of a probe's; mail without is found by `ses_message_id`.
    `is_of_all`: it names nobody, and is of all whom the mail went to.
    `state`: what they come to; `fate`: what they are counted for, one of schema.FATES. `is_ambiguous`: it is of one of
    them, and nobody can say which. `data` is what is told of it: no address. `raw` is kept of what is not understood.
    `key`: a digest that two copies of an event have in common, and no other event of the same mail.
    """

    type: str
    ses_message_id: str
    key: bytes
    at: int | None
    delivery_id: int | None = None
    attempt: int | None = None
    probe_id: int | None = None
    people: tuple[Person, ...] = ()
    is_of_all: bool = False
    state: RecipientState | None = None
    fate: str | None = None
    listing: Listing | None = None
    is_bounce: bool = False  # for the standing of who sent it
    is_complaint: bool = False
    is_ambiguous: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    raw: str | None = field(default=None, repr=False)
