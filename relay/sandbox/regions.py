"""What AWS keeps apart by region for one account."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from relay.sandbox.accounts import Account, Allowance
from relay.sandbox.configuration_sets import ConfigurationSets
from relay.sandbox.identities import Identities
from relay.sandbox.queue_list import Queues
from relay.sandbox.suppression import SuppressionList
from relay.sandbox.topics import Topics


class Region:
    """One account in one region: its rate and quota, and what it has made of each kind. `number` is the account's."""

    def __init__(self, account: Account, name: str) -> None:
        self.account = account.name
        self.number = account.number
        self.name = name
        self.allowance = Allowance(account, time.monotonic())
        self.identities = Identities(account, name, datetime.now(UTC))
        self.configuration_sets = ConfigurationSets()
        self.suppression_list = SuppressionList()
        self.queues = Queues(name, account.number)
        self.topics = Topics(name, account.number)
