"""What an examination asks with: the database beside the server, AWS, the DNS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from relay.config import Settings
from relay.dns import Resolver
from relay.errors import Kind
from relay.ses.clients import Accounts
from relay.ses.errors import SesProblem
from relay.store.beside import Changes

Found = TypeVar("Found")
PAUSES = (1.0, 2.0, 4.0)  # seconds: SES takes about one call a second (SES fact 1.2), and other accounts do not wait


@dataclass(frozen=True, slots=True)
class Tools:
    """`is_running`: whether a server runs on the database; None: nobody can say."""

    settings: Settings
    store: Changes
    accounts: Accounts
    resolver: Resolver
    is_running: bool | None


async def patiently(ask: Callable[[], Awaitable[Found]]) -> Found:
    """Ask again where AWS wants it slower. Raises as `ask`."""
    for pause in PAUSES:
        try:
            return await ask()
        except SesProblem as problem:
            if problem.kind is not Kind.SES_THROTTLED:
                raise
        await asyncio.sleep(pause)
    return await ask()
