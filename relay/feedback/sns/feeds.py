"""How the feedback of the accounts that SNS posts for goes: in the log, in what is not as it should be, and as rows."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta

from relay import log
from relay.store.feeds import Look, note
from relay.store.store import Store
from relay.store.writer import Rank


class Feeds:
    """By account. What other processes hear of the same account, they write down themselves."""

    def __init__(self) -> None:
        self._faults: dict[str, str] = {}
        self._believed_at: dict[str, float] = {}  # of the monotonic clock, as are those below
        self._heard_at: dict[str, float] = {}
        self._changed: set[str] = set()  # since the rows were written

    def keep(self, accounts: Collection[str]) -> None:
        """Forget all others."""
        for kept in (self._faults, self._believed_at, self._heard_at):
            for account in kept.keys() - accounts:
                del kept[account]
        self._changed &= set(accounts)

    def faults(self) -> dict[str, str]:
        return {f"feedback of {account}": fault for account, fault in self._faults.items()}

    def believed(self, account: str, *, is_event: bool = False) -> None:
        """A post about it was believed, so nothing is wrong. `is_event`: it was of mail of ours."""
        self._believed_at[account] = time.monotonic()
        if is_event:
            self._heard_at[account] = self._believed_at[account]
        self._changed.add(account)
        if self._faults.pop(account, None) is not None:
            log.event("push.mended", account=account)

    def fault(self, account: str, why: str) -> None:
        """Something is wrong that an operator has to mend; it is told once."""
        if self._faults.get(account) != why:
            self._faults[account] = why
            self._changed.add(account)
            log.trouble("push.fault", account=account, reason=why)

    async def write(self, store: Store) -> None:
        """Raises Problem; what was not written is written the next time."""
        for account in sorted(self._changed):
            self._changed.discard(account)
            look = Look(
                account,
                _since(self._believed_at, account),
                _since(self._heard_at, account),
                fault=self._faults.get(account, ""),
            )
            try:
                await store.write(note, look, Rank.SWEEP)
            except BaseException:
                self._changed.add(account)
                raise


def _since(moments: dict[str, float], account: str) -> timedelta | None:
    at = moments.get(account)
    return None if at is None else timedelta(seconds=time.monotonic() - at)
