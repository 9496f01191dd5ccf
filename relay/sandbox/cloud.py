"""All the state of a sandbox: the accounts, what each may still send, its queue, the captured mail, the faults."""

from __future__ import annotations

import time
from collections.abc import Sequence

from relay.sandbox.accounts import Account, Allowance
from relay.sandbox.faults import Faults
from relay.sandbox.mailbox import Mailbox
from relay.sandbox.queues import Queue
from relay.sandbox.wire import Caller


class Cloud:
    """One sandbox's world, gone with its process."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self.accounts = {account.name: account for account in accounts}
        if len(self.accounts) < len(accounts):
            raise ValueError("Two accounts have the same name")
        self.queues = {name: Queue() for name in self.accounts}
        self.mailbox = Mailbox()
        self.faults = Faults()
        self._allowances: dict[tuple[str, str], Allowance] = {}

    def allowance(self, caller: Caller) -> Allowance:
        """SES counts rate and quota per account and region."""
        key = (caller.account.name, caller.region)
        if key not in self._allowances:
            self._allowances[key] = Allowance(caller.account, time.monotonic())
        return self._allowances[key]
