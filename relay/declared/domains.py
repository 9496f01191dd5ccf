"""What may be said of a sender domain."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import AfterValidator, Field

from relay.declared.tenants import DEFAULT_TENANT
from relay.message import Mode, Stream
from relay.values import Email, Name, Section, Yes


class DomainStatus(Enum):
    """Whether a domain may send: only a verified one may."""

    PENDING = "pending"
    VERIFIED = "verified"
    FAILED = "failed"  # it was verified and is no longer, or was not in time


ConfigurationSet = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
RECIPIENTS_PER_CALL = 50  # the most SES takes (SES fact 1.2)
PerCall = Annotated[int, Field(ge=1, le=RECIPIENTS_PER_CALL)]
ALL_STREAMS = tuple(Stream)


def _each_once(streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
    if not streams:
        raise ValueError("must name at least one stream")
    return tuple(stream for stream in Stream if stream in streams)


class DomainOptions(Section):
    """What may be chosen, and changed, of a sender domain."""

    include_subdomains: Yes = False
    # The SES configuration set of every stream, and of single streams where they differ.
    configuration_set: ConfigurationSet | None = None
    configuration_sets: dict[Stream, ConfigurationSet] = {}
    streams: Annotated[tuple[Stream, ...], AfterValidator(_each_once)] = ALL_STREAMS
    default_sender: Email | None = None
    ses_tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    # How many recipients of one message go out in one SES call. None: as many as SES takes.
    recipients_per_call: PerCall | None = None

    @property
    def sets(self) -> dict[Stream, str]:
        """The configuration set of each stream that has one."""
        every = dict.fromkeys(Stream, self.configuration_set) if self.configuration_set else {}
        return {stream: name for stream, name in (every | self.configuration_sets).items() if name}


class DomainFields(DomainOptions):
    """A sender domain. `account` None: the one the mode and the tenant leave no choice about."""

    mode: Mode
    tenant: Name = DEFAULT_TENANT
    account: Name | None = None
    # The label of its MAIL FROM domain: send.example.com for example.com. None: SES's own.
    mail_from: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] | None = "send"


class DomainChange(DomainOptions):
    """What may change of a domain. What is not named stays; `mode` is here to be refused with the reason."""

    mode: Mode | None = None
    account: Name | None = None
