"""All the state of a sandbox: the accounts, what each has in its regions, its queue, the captured mail, the faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from relay.sandbox.accounts import Account
from relay.sandbox.faults import Faults
from relay.sandbox.lookups import Lookups
from relay.sandbox.mailbox import Mailbox
from relay.sandbox.queues import Queue
from relay.sandbox.refusals import Refusal
from relay.sandbox.regions import Region
from relay.sandbox.wire import Caller

_MOST_REGIONS = 40  # per account; AWS has fewer with SES


class Cloud:
    """One sandbox's world, gone with its process.

    `nameserver` (`ADDR:PORT`) is where the records of identities are looked up; without one, those that are created
    stay pending. Raises ValueError for accounts that do not go together, and for a nameserver that is not one.
    """

    def __init__(self, accounts: Sequence[Account], nameserver: str | None = None) -> None:
        self.accounts = {account.name: account for account in accounts}
        if len(self.accounts) < len(accounts):
            raise ValueError("Two accounts have the same name")
        if sum(account.takes_temporary for account in accounts) > 1:
            raise ValueError("Two accounts take temporary credentials")
        self.lookups = None if nameserver is None else Lookups(nameserver)
        self.queues = {name: Queue() for name in self.accounts}
        self.mailbox = Mailbox()
        self.faults = Faults()
        self._regions: dict[tuple[str, str], Region] = {}
        self._counts = Counter[str]()

    def region(self, caller: Caller) -> Region:
        """What the caller's account has in its region. Raises Refusal when it has been in too many."""
        key = (caller.account.name, caller.region)
        if key not in self._regions:
            if self._counts[caller.account.name] >= _MOST_REGIONS:
                raise Refusal("LimitExceededException", f"The sandbox gives an account {_MOST_REGIONS} regions.")
            self._counts[caller.account.name] += 1
            self._regions[key] = Region(caller.account, caller.region)
        return self._regions[key]
