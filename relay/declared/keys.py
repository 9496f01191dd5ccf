"""What may be said of an API key."""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from relay.values import Domain, Email, Label, Name, Network, Secret, Section


class Permission(Enum):
    """What a key may do. Each includes the one before."""

    SEND_ONLY = "send_only"
    FULL = "full"
    ADMIN = "admin"

    def includes(self, other: Permission) -> bool:
        order = list(Permission)
        return order.index(self) >= order.index(other)


_PATTERN = re.compile(r"[!-;=?A-~]{1,64}@[A-Za-z0-9*.-]{1,255}")
_FORM = "write it as an address, in which * stands for any characters: *@example.com"


def _address_pattern(text: str) -> str:
    if not _PATTERN.fullmatch(text):
        raise ValueError(_FORM)
    return text


def _sender_pattern(text: str) -> str:
    if text not in {"missing", "<>"} and not _PATTERN.fullmatch(text):
        raise ValueError(f"{_FORM}; or as missing, or <>")
    return text


AddressPattern = Annotated[str, AfterValidator(_address_pattern)]
SenderPattern = Annotated[str, AfterValidator(_sender_pattern)]
LOCAL_SENDERS = ("*@localhost", "*@localhost.*", "*@*.local", "*@*.localdomain", "root@*", "missing")


class SenderRule(Section):
    """Whose address mail goes out under where its own cannot. The original From stays in Reply-To.

    `replaces`: addresses, in which `*` stands for any run of characters on its side of the @; `missing`, a message
    without From; `<>`, the null envelope sender.
    """

    sender: Email
    replaces: Annotated[tuple[SenderPattern, ...], Field(min_length=1, max_length=100)] = LOCAL_SENDERS


class TlsVersion(Enum):
    """The least a client must speak."""

    V1_0 = "1.0"
    V1_1 = "1.1"
    V1_2 = "1.2"
    V1_3 = "1.3"

    @classmethod
    def _missing_(cls, value: object) -> TlsVersion | None:
        """1.2 without quotes is a number in YAML and JSON."""
        return {float(each.value): each for each in cls}.get(value) if isinstance(value, float) else None


class Device(Section):
    """What a key for a device, such as a printer, is kept to. It is for SMTP alone.

    `sender` replaces every author and every envelope sender. `recipients`: addresses with `*` as above; None: anyone.
    `daily`: recipients in a UTC day. `min_tls` None: as the listener has it.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1, max_length=100)]
    sender: Email
    recipients: Annotated[tuple[AddressPattern, ...], Field(min_length=1, max_length=1000)] | None = None
    daily: Annotated[int, Field(ge=1)] | None = None
    min_tls: TlsVersion | None = None


RequestRate = Annotated[int, Field(ge=1, le=1_000_000)]
ImportedSecret = Annotated[Secret, Field(min_length=16, max_length=512)]


class KeyOptions(Section):
    """What may be chosen, and changed, of a key. `domains` None: every domain of its tenant.

    `sender_rule`: of its mail over SMTP. A device needs none, for its sender replaces all others.
    """

    domains: Annotated[tuple[Domain, ...], Field(min_length=1, max_length=1000)] | None = None
    rate_per_minute: RequestRate | None = None
    expires_at: AwareDatetime | None = None
    sender_rule: SenderRule | None = None
    device: Device | None = None


class KeyFields(KeyOptions):
    """An API key. `secret`: one that exists already, so that an application that moves here keeps it."""

    name: Label
    tenant: Name | None = None
    permission: Permission = Permission.SEND_ONLY
    secret: ImportedSecret | None = None


class KeyChange(KeyOptions):
    """What may change of a key."""

    name: Label = ""
