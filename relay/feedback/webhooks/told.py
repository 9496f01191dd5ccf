"""What a webhook is to say, whatever its dialect: what happened, read once out of what was sealed for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from relay.message import uuid_of
from relay.store.clock import rfc3339

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """`type` is our name of it, `name` the dialect's. `at`: milliseconds since 1970. `team`, `webhook`: ids as shown.

    `details`: what is said of this sort of event alone, moments as text. `message`: {} where it is about none.
    `recipients`: the addresses it is about, [] where they are not known any more.
    """

    id: str
    type: str
    name: str
    at: int
    account: str | None
    domain: str | None
    tenant: str
    team: str
    webhook: str
    details: Json
    message: Json
    recipients: list[str]

    @property
    def became(self) -> str:
        """What became of it, without its noun: `bounced`."""
        return self.type.partition(".")[2]

    @property
    def is_mail(self) -> bool:
        return self.type.startswith("email.")

    @property
    def uuid(self) -> str | None:
        """The message's id as a UUID."""
        return uuid_of(self.message["id"]) if self.message else None

    @property
    def ses_message_id(self) -> str | None:
        found: str | None = self.message.get("ses_message_id") or self.details.get("ses_message_id")
        return found

    @property
    def recipient(self) -> str | None:
        """For forms that name one: the first. All of them stand beside it."""
        named = self.recipients or self.message.get("to") or [None]
        first: str | None = named[0]
        return first

    def when(self, timespec: str = "milliseconds") -> str:
        return rfc3339(self.at, timespec)

    @property
    def created_at(self) -> str | None:
        """When the message was taken."""
        return rfc3339(self.message["created_at"]) if self.message else None
