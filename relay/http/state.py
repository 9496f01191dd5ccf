"""What every HTTP route shares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request

from relay.http.requests import api_key
from relay.metrics import Metrics
from relay.routing.intake import Intake
from relay.routing.limits import MemoryBudget
from relay.routing.senders import Credential
from relay.store.store import Store


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server can do its job, and what is not as it should be, by name."""

    is_ready: bool
    faults: dict[str, str]


@dataclass(frozen=True, slots=True)
class State:
    """Built by the application; frozen."""

    intake: Intake
    store: Store
    memory: MemoryBudget
    metrics: Metrics
    readiness: Callable[[], Readiness]
    measure: Callable[[], Awaitable[None]]
    metrics_for: Literal["loopback", "key", "none"]

    def authenticate(self, request: Request) -> Credential:
        """Whose request this is. Raises Problem(NO_CREDENTIAL | UNAUTHORIZED)."""
        return self.intake.senders.authenticate(api_key(request))
