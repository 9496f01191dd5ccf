"""All the state of a sandbox: the accounts, what each has in its regions, the captured mail, the faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from relay.sandbox.accounts import Account
from relay.sandbox.arns import Arn, read_arn
from relay.sandbox.faults import Faults
from relay.sandbox.lookups import Lookups
from relay.sandbox.mailbox import Mailbox
from relay.sandbox.office import Office
from relay.sandbox.queue_list import Held
from relay.sandbox.refusals import Refusal
from relay.sandbox.regions import Region
from relay.sandbox.topics import Topic
from relay.sandbox.travel import Transit
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
        self.mailbox = Mailbox()
        self.faults = Faults()
        self.office = Office(self.queue)
        self.transit = Transit(self.faults.withholds)
        self._regions: dict[tuple[str, str], Region] = {}
        self._counts = Counter[str]()

    def region(self, caller: Caller) -> Region:
        """What the caller's account has in its region. Raises Refusal when it has been in too many."""
        return self.region_of(caller.account.name, caller.region)

    def region_of(self, account: str, name: str) -> Region:
        """What the account of that name has in a region. Raises Refusal when it has been in too many."""
        key = (account, name)
        if key not in self._regions:
            if self._counts[account] >= _MOST_REGIONS:
                raise Refusal("LimitExceededException", f"The sandbox gives an account {_MOST_REGIONS} regions.")
            self._counts[account] += 1
            self._regions[key] = Region(self.accounts[account], name)
        return self._regions[key]

    async def close(self) -> None:
        """End what is still under way."""
        self.transit.close()
        await self.office.pusher.close()

    def queue(self, arn: Arn) -> Held | None:
        """Of whichever account; None when it has none of that name."""
        region = self._by_number(arn)
        return None if region is None else region.queues.get(arn.name)

    def topic(self, arn: str) -> Topic | None:
        """Of whichever account; None when it has none of that name. Raises Refusal for what is no ARN."""
        read = read_arn(arn, "sns")
        region = self._by_number(read)
        return None if region is None else region.topics.get(read.name)

    def _by_number(self, arn: Arn) -> Region | None:
        names = (name for name, account in self.accounts.items() if account.number == arn.account)
        return next((self._regions[name, arn.region] for name in names if (name, arn.region) in self._regions), None)
