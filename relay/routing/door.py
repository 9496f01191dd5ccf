"""The one way to authenticate, for both edges: who fails too often is kept out at both together."""

from __future__ import annotations

import time

from relay import log
from relay.errors import Kind, Problem
from relay.routing.logins import Logins
from relay.routing.senders import Credential, Senders
from relay.sealing import api_key_prefix
from relay.store.blocks import Block

NO_KEY = "-"  # the prefix of what is no API key: it may be somebody's password, so nothing of it is kept


class Door:
    """One per server. What it blocks counts at once; `begun` is what other processes must be told."""

    def __init__(self, senders: Senders, logins: Logins) -> None:
        self._senders = senders
        self._logins = logins
        self._begun: list[Block] = []

    def authenticate(self, client: str, secret: str) -> Credential:
        """Whose key this is. A valid one always passes, whatever others tried from the same address.

        Raises Problem(NO_CREDENTIAL | UNAUTHORIZED | BLOCKED).
        """
        try:
            return self._senders.authenticate(secret)
        except Problem as problem:
            if problem.kind is Kind.UNAUTHORIZED:
                self._failed(client, secret)
            raise

    def _failed(self, client: str, secret: str) -> None:
        prefix, now = (api_key_prefix(secret) if "." in secret else NO_KEY), time.time()
        if (left := self._logins.blocked(client, prefix, now)) is not None:
            raise self._logins.refusal(left)
        block = self._logins.failed(client, prefix, now)
        if block is not None:
            self._begun.append(block)
            log.trouble("login.blocked", client=block.address, prefix=block.prefix, failures=block.failures)

    def begun(self) -> list[Block]:
        """The blocks that nobody else knows of yet."""
        return list(self._begun)

    def forget(self, block: Block) -> None:
        """It is written down."""
        self._begun.remove(block)
