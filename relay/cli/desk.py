"""What a command needs that asks SES or the DNS: opened for it, and closed after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from relay.settings import Settings
from relay.store.beside import open_beside

if TYPE_CHECKING:
    from relay.management.desk import Desk

Answer = TypeVar("Answer")


@asynccontextmanager
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """The desk of one command. Raises StoreError or SealingError."""
    # Here, because they load the AWS libraries: most commands ask nobody.
    from relay.dns import Resolver
    from relay.management.desk import Desk
    from relay.management.reaching import base_of
    from relay.ses.clients import Accounts

    # What the server logs, a command answers: without this, the libraries' warnings and tracebacks end up in between.
    logging.getLogger().addHandler(logging.NullHandler())
    async with open_beside(settings) as store, Accounts(base_of(settings.aws)) as accounts:
        resolver = Resolver(settings.dns.nameservers, settings.dns.timeout)
        try:
            yield Desk(store, accounts, resolver)
        finally:
            await resolver.close()


def at_desk(settings: Settings, work: Callable[[Desk], Awaitable[Answer]]) -> Answer:
    """Do one thing that asks SES or the DNS. Raises what it raises, and as `desk`."""

    async def run() -> Answer:
        async with desk(settings) as opened:
            return await work(opened)

    return asyncio.run(run())
