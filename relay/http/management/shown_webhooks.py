"""What answers about webhooks look like, for the reference. The views make them; tests hold the two to each other."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from relay.declared import Dialect
from relay.http.management.shown import Id, Shown
from relay.store.webhooks.log import PostState


class WebhookShown(Shown):
    """A webhook, without its secret. `domains` null: every sender domain, and what is of none.

    `failing_since`: every post since then failed. `old_secret_until`: two secrets sign until then.
    """

    id: Id
    name: str
    tenant: str
    url: str
    dialect: Dialect
    events: list[str]
    domains: list[str] | None
    retries: int
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    old_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime


class WebhookMade(WebhookShown):
    """A webhook with a new secret, shown this once."""

    secret: str = Field(pattern="^whsec_")


class AttemptShown(Shown):
    """One attempt. `status` null: there was no answer; `problem` null: it was taken.

    `answer`: how the body of the answer begins; in a list it is left out.
    """

    number: int
    at: datetime
    took_ms: int
    status: int | None
    problem: str | None
    answer: str | None


class WebhookDelivery(Shown):
    """An event for a webhook. `event_id` is what the receiver knows it by; `message`: the id of what it is about."""

    id: Id
    event_id: str = Field(pattern="^evt_[0-9a-f]{24}$")
    type: str
    message: Id | None
    state: PostState
    occurred_at: datetime
    created_at: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    dead_at: datetime | None
    attempts: list[AttemptShown]


class Replayed(Shown):
    """How many deliveries go out again."""

    replayed: int
