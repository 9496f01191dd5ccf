"""What every HTTP route shares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request

from relay.errors import Kind
from relay.http.requests import api_key
from relay.management.desk import Desk
from relay.metrics import Metrics
from relay.routing.devices import require_no_device
from relay.routing.door import Door
from relay.routing.intake import Intake
from relay.routing.limits import MemoryBudget
from relay.routing.logins import origin
from relay.routing.rates import Allowed, Rates, rate_of, refusal
from relay.routing.senders import Credential
from relay.store.store import Store

SENDING = "/api/v1/emails"  # the routes that count towards a key's own rate; all others are management


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
    desk: Desk
    door: Door
    rates: Rates
    memory: MemoryBudget
    metrics: Metrics
    readiness: Callable[[], Readiness]
    measure: Callable[[], Awaitable[None]]
    held: Callable[[str], tuple[Kind, str] | None]
    metrics_for: Literal["loopback", "key", "none"]
    requests_per_minute: int
    management_requests_per_minute: int

    def authenticate(self, request: Request) -> Credential:
        """Whose request this is. The first time it is asked, the request counts towards the key's rate.

        Raises Problem(NO_CREDENTIAL | UNAUTHORIZED | BLOCKED | FORBIDDEN | RATE_LIMITED).
        """
        known: Credential | None = getattr(request.state, "credential", None)
        if known is not None:
            return known
        credential = self.door.authenticate(_client(request), api_key(request))
        require_no_device(credential)
        is_sending, published = self._published(request)
        # An API key is a key of one door: what it sends and what it manages are counted apart.
        key = credential.key
        assert key is not None  # `authenticate` knows no other credential
        plan = self.intake.senders.plan(credential.tenant).rate_per_minute if is_sending else None
        per_minute = rate_of(key.rate_per_minute if is_sending else None, plan, published)
        allowed = self.rates.hit("send" if is_sending else "manage", str(key.id), per_minute)
        request.state.allowed = allowed
        request.state.credential = credential
        if allowed.retry_after is not None:
            raise refusal(allowed)
        return credential

    def stranger(self, request: Request) -> Allowed:
        """Counts a request that nobody authenticated, so that its answer can say what is left; it refuses none."""
        _, published = self._published(request)
        return self.rates.hit("anonymous", origin(_client(request)), published)

    def _published(self, request: Request) -> tuple[bool, int]:
        """Whether a request is about sending, and how many of its sort a minute has where nobody says otherwise."""
        is_sending = request.url.path.startswith(SENDING)
        return is_sending, self.requests_per_minute if is_sending else self.management_requests_per_minute


def _client(request: Request) -> str:
    return request.client.host if request.client else ""
