"""Asks SES, SNS and SQS of one account for what is rarely asked, and waits where they want it slower."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from relay.errors import Kind
from relay.ses.access import Access
from relay.ses.call import Call, Service
from relay.ses.clients import Accounts
from relay.ses.errors import SesProblem, classify
from relay.ses.link import Link
from relay.ses.wire import SesAccount

PACE = 1.0  # seconds from one call of SES to the next, once it throttles: it takes about one a second (SES fact 1.2)
PATIENCE = (1.0, 2.0, 4.0, 8.0)  # seconds between tries of one call that is throttled
_FORBIDDEN = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException"}


def is_forbidden(problem: SesProblem) -> bool:
    """Whether a policy lacks this one permission; the credentials themselves are good."""
    return problem.code in _FORBIDDEN


class Aws:
    """One account's services."""

    def __init__(self, ses: SesAccount, sns: Link, sqs: Link) -> None:
        self._ses = ses
        self._links = {Service.SNS: sns, Service.SQS: sqs}
        self._pace = 0.0
        self._next_at = 0.0  # when SES may be asked again, by the monotonic clock

    async def ask(self, call: Call) -> dict[str, Any]:
        """Make a call; its answer. Waits its turn, and longer where it is throttled. Raises SesProblem."""
        for pause in PATIENCE:
            try:
                return await self._once(call)
            except SesProblem as problem:
                if problem.kind is not Kind.SES_THROTTLED:
                    raise
            self._pace = PACE
            await asyncio.sleep(pause)
        return await self._once(call)

    async def _once(self, call: Call) -> dict[str, Any]:
        if call.service is Service.SES:
            await asyncio.sleep(max(0.0, self._next_at - time.monotonic()))
            try:
                return await self._ses.ask(call.operation, **call.request)
            finally:
                self._next_at = time.monotonic() + self._pace
        return await self._links[call.service].call(call.operation, partial(classify, domain=""), **call.request)


@asynccontextmanager
async def asking(accounts: Accounts, access: Access) -> AsyncIterator[Aws]:
    """The services of an account, closed in the end."""
    sns, sqs = accounts.beside("sns", access), accounts.beside("sqs", access)
    try:
        async with accounts.briefly(access) as ses:
            yield Aws(ses, sns, sqs)
    finally:
        await asyncio.gather(sns.close(), sqs.close())
