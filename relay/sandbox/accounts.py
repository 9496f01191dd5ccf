"""The AWS accounts the sandbox plays, each with the identities it has verified and what it may send."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

from relay.sandbox.refusals import Refusal

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DAY = 86_400.0
ENFORCEMENTS = ("HEALTHY", "PROBATION", "SHUTDOWN")  # how SES looks at an account (GetAccount: EnforcementStatus)


@dataclass(frozen=True, slots=True)
class Account:
    """An AWS account. `name` is its access key id; `rate` is in recipients per second, `daily_quota` in recipients.

    Identities are domains and addresses, lower-case. `production=False` is what AWS calls the sandbox: mail goes to
    verified identities and to the mailbox simulator only. A negative `daily_quota` is none (GetAccount: -1). The
    identities hold in every region. `takes_temporary` gives the account all callers with temporary credentials.
    `paused_sets` are configuration sets. `sent_by_others`: recipients of the last 24 hours that nobody sent here.
    `unverified`, `dkim_failed` and `mail_from_failed` are identities that have lost that. `clock`: by how many seconds
    AWS's clock differs from ours; None: it does not, and nobody looks at the time of a signature.
    """

    name: str
    identities: tuple[str, ...]
    rate: float = 1000.0
    daily_quota: float = 50_000.0
    production: bool = True
    takes_temporary: bool = False
    is_paused: bool = False
    paused_sets: tuple[str, ...] = ()
    enforcement: str = "HEALTHY"
    sent_by_others: float = 0
    unverified: tuple[str, ...] = ()
    dkim_failed: tuple[str, ...] = ()
    mail_from_failed: tuple[str, ...] = ()
    clock: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"An account's name takes letters, digits, _ and - only: {self.name!r}")
        if self.rate <= 0:
            raise ValueError(f"The rate of {self.name} must be positive")
        object.__setattr__(self, "identities", tuple(identity.lower() for identity in self.identities))

    @property
    def may_send(self) -> bool:
        return not self.is_paused and self.enforcement != "SHUTDOWN"

    @property
    def number(self) -> str:
        """Twelve digits, as in ARNs; the same name gives the same number."""
        return f"{crc32(self.name.encode()):012d}"

    def has_verified(self, address: str) -> bool:
        """Whether the address, its domain or a parent domain is an identity (SES: subdomains inherit)."""
        return any(name in self.identities for name in covering(address))


def covering(address: str) -> Iterator[str]:
    """The identities that let an address send, closest first: itself, its domain, the domain's parents."""
    address = address.lower()
    yield address
    domain = address.rpartition("@")[2]
    while domain:
        yield domain
        domain = domain.partition(".")[2]


class Allowance:
    """What one account may still send in one region. Moments are seconds of a monotonic clock."""

    def __init__(self, account: Account, now: float) -> None:
        self._account = account
        self._tokens = max(account.rate, 1.0)
        self._filled_at = now
        self._minutes: deque[tuple[int, int]] = deque()  # (minute, recipients): a day is at most 1,441 pairs
        self._sent = 0

    def follow(self, account: Account) -> None:
        """The account has this rate and quota from now on."""
        self._account = account

    def spend(self, recipients: int, counted: int, now: float) -> None:
        """Take one call's recipients, `counted` of them against the daily quota; Refusal when either is used up.

        Any token left lets a whole call through, and the debt is paid off in refusals: so the SES team described it.
        """
        rate = self._account.rate
        tokens = min(max(rate, 1.0), self._tokens + (now - self._filled_at) * rate)
        self._tokens, self._filled_at = tokens, now
        if tokens <= 0:
            raise Refusal("TooManyRequestsException", "Maximum sending rate exceeded.")
        if 0 <= self._account.daily_quota < self.sent(now) + counted:
            raise Refusal("LimitExceededException", "Daily message quota exceeded")
        self._tokens -= recipients
        self._note(counted, now)

    def sent(self, now: float) -> float:
        """Recipients sent to in the rolling 24 hours, to the minute."""
        while self._minutes and self._minutes[0][0] * 60 <= now - _DAY:
            self._sent -= self._minutes.popleft()[1]
        return self._sent + self._account.sent_by_others

    def _note(self, counted: int, now: float) -> None:
        minute = int(now // 60)
        if self._minutes and self._minutes[-1][0] == minute:
            counted_before = self._minutes.pop()[1]
            self._minutes.append((minute, counted_before + counted))
        else:
            self._minutes.append((minute, counted))
        self._sent += counted
