"""What SES keeps apart by region for one account."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from relay.sandbox.accounts import Account, Allowance
from relay.sandbox.configuration_sets import ConfigurationSets
from relay.sandbox.identities import Identities
from relay.sandbox.suppression import SuppressionList


class Region:
    """One account in one region: its rate and quota, its identities, its configuration sets, its suppression list."""

    def __init__(self, account: Account, name: str) -> None:
        self.allowance = Allowance(account, time.monotonic())
        self.identities = Identities(account, name, datetime.now(UTC))
        self.configuration_sets = ConfigurationSets()
        self.suppression_list = SuppressionList()
