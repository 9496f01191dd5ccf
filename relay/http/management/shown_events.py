"""What answers about events look like, for the reference. The views make them; tests hold the two to each other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from relay.http.management.shown import Id, Shown


class EntryShown(Shown):
    """Something that happened. `message` is null once it is forgotten, and so is an address; `tenant`, of what is
    about the installation's own."""

    id: str = Field(pattern=r"^evt_[0-9a-f]{24}$")
    type: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$")
    created_at: datetime
    tenant: str | None
    account: str | None
    domain: str | None
    message: Id | None
    recipients: list[str | None]
    data: dict[str, Any]
