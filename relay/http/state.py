"""What every HTTP route shares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from starlette.requests import Request
from starlette.types import Scope

from relay.errors import Kind, Problem
from relay.feedback.push import Push
from relay.feedback.webhooks.targets import Targets
from relay.following import Webhooks
from relay.http.dialects.dialect import Dialect
from relay.http.filling import Filling
from relay.http.requests import api_key
from relay.management.desk import Desk
from relay.message import Stream
from relay.metrics import Metrics
from relay.routing.devices import require_no_device
from relay.routing.door import Door
from relay.routing.intake import Intake
from relay.routing.limits import MemoryBudget
from relay.routing.logins import origin
from relay.routing.rates import Allowed, Rates, rate_of, refusal
from relay.routing.senders import Credential
from relay.store.queue import Queue
from relay.store.store import Store
from relay.values import Network

SENDING = ("/api/v1/emails", "/sendex/api/v1/emails")  # native routes that count as sending; the others are management


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server can do its job, and what is not as it should be, by name."""

    is_ready: bool
    faults: dict[str, str]


@dataclass(frozen=True, slots=True)
class Published:
    """What a request counts as, and how many of its sort a minute has where nobody says otherwise."""

    scope: str
    per_minute: int
    counts: Literal["key", "tenant"]

    @property
    def is_sending(self) -> bool:
        return self.scope != MANAGING


MANAGING = "manage"
SENDING_AT_ALL = "send"


@dataclass(frozen=True, slots=True)
class State:
    """Built by the application; frozen. `public_url`: how clients reach it, "" where nobody said.

    `note` tells a lane that something of a queue is due at a moment; `estimate` says when a delivery of it that is due
    then, and behind so many others, will be tried.
    """

    intake: Intake
    store: Store
    desk: Desk
    door: Door
    rates: Rates
    memory: MemoryBudget
    metrics: Metrics
    readiness: Callable[[], Readiness]
    measure: Callable[[], Awaitable[None]]
    held: Callable[[str, Stream], tuple[Kind, str] | None]
    note: Callable[[Queue, int], None]
    estimate: Callable[[Queue, int, int], int | None]
    metrics_for: Literal["loopback", "key", "none"]
    requests_per_minute: Mapping[str, int]  # by the name of a dialect
    management_requests_per_minute: int
    targets: Targets = field(default_factory=lambda: Targets(Webhooks()))  # which URLs webhooks may have
    push: Push | None = None  # what SNS posts; None where nothing listens
    public_url: str = ""
    trusted_proxies: Sequence[Network] = ()
    cors_origins: Sequence[str] = ()
    filling: Filling = field(default_factory=Filling)

    def authenticate(self, request: Request) -> Credential:
        """Whose request this is. The first time it is asked, the request counts towards the key's rate.

        Raises Problem(NO_CREDENTIAL | UNAUTHORIZED | BLOCKED | FORBIDDEN | RATE_LIMITED).
        """
        known: Credential | None = getattr(request.state, "credential", None)
        if known is not None:
            return known
        published = self._published(request.scope)
        first = dialect_of_request(request.scope).first
        credential = self.door.authenticate(client_of(request.scope), api_key(request.headers, first))
        require_no_device(credential)
        # What a key sends and what it manages are counted apart; what it sends under a published rate, by dialect.
        key = credential.key
        assert key is not None  # `authenticate` knows no other credential
        is_sending = published.is_sending
        own = key.rate_per_minute if is_sending else None
        plan = self.intake.senders.plan(credential.tenant).rate_per_minute if is_sending else None
        per_minute = rate_of(own, plan, published.per_minute)
        is_agreed = own is not None or plan is not None  # then it holds for all dialects together
        whose = f"tenant {credential.tenant_id}" if published.counts == "tenant" and not is_agreed else str(key.id)
        allowed = self.rates.hit(SENDING_AT_ALL if is_agreed else published.scope, whose, per_minute)
        request.state.allowed = allowed
        request.state.credential = credential
        if allowed.retry_after is not None:
            raise refusal(allowed)
        return credential

    def allowed(self, scope: Scope) -> Allowed:
        """What is left of a request's rate: its key's, or, where nobody authenticated it, its address's.

        That one is counted to be told, and refuses none.
        """
        known: Allowed | None = scope["state"].get("allowed")
        return known or self.rates.hit("anonymous", origin(client_of(scope)), self._published(scope).per_minute)

    def _published(self, scope: Scope) -> Published:
        dialect = dialect_of_request(scope)
        if dialect.name == "native" and not scope["path"].startswith(SENDING):
            return Published(MANAGING, self.management_requests_per_minute, "key")
        return Published(f"send {dialect.name}", self.requests_per_minute[dialect.name], dialect.counts)


def client_of(scope: Scope) -> str:
    """The address a request comes from; "" where there is none."""
    return scope["client"][0] if scope["client"] else ""


def dialect_of_request(scope: Scope) -> Dialect:
    found: Dialect = scope["state"]["dialect"]
    return found


def ask_once(request: Request) -> str | None:
    """The key under which a request is to be carried out once, however often it is made (design: the core's checks, 7).

    Raises Problem(BAD_REQUEST) for one that nobody could keep.
    """
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    [first, *others] = given
    if others or not (0 < len(first) <= LONGEST_KEY and first.isascii() and first.isprintable()):
        raise Problem(
            Kind.BAD_REQUEST,
            f"the header Idempotency-Key takes 1 to {LONGEST_KEY} printable ASCII characters, and stands once",
        )
    return first


LONGEST_KEY = 255  # Sendmux's
