"""An SES account's own suppression list, to be mirrored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from relay.errors import Kind
from relay.ses.errors import SesProblem
from relay.ses.wire import SesAccount

PAGE = 1000  # the most SES gives
PATIENCE = (
    1.0,
    2.0,
    4.0,
    8.0,
)  # seconds between tries of one page; SES takes about one such call a second (SES fact 1.2)


@dataclass(frozen=True, slots=True)
class Suppressed:
    """An address SES delivers nothing to. `reason` is BOUNCE or COMPLAINT, `at` when SES last changed the entry."""

    address: str = field(repr=False)
    reason: str
    at: datetime


async def suppressed(account: SesAccount, since: datetime | None = None) -> AsyncIterator[list[Suppressed]]:
    """The list, page by page; `since`: only what was changed then or later. Waits when throttled. Raises SesProblem."""
    request: dict[str, Any] = {"PageSize": PAGE}
    if since is not None:
        request["StartDate"] = since
    while True:
        answer = await _page(account, request)
        yield [
            Suppressed(each["EmailAddress"], str(each["Reason"]), each["LastUpdateTime"].astimezone(UTC))
            for each in answer.get("SuppressedDestinationSummaries", ())
        ]
        if not answer.get("NextToken"):
            return
        request["NextToken"] = answer["NextToken"]


async def put(account: SesAccount, address: str, reason: str) -> None:
    """Suppress an address; `reason` is BOUNCE or COMPLAINT. Raises SesProblem: SES's sandbox does not allow it."""
    await account.ask("put_suppressed_destination", EmailAddress=address, Reason=reason)


async def remove(account: SesAccount, address: str) -> None:
    """Take an address off the list, should it be on it. Raises SesProblem."""
    try:
        await account.ask("delete_suppressed_destination", EmailAddress=address)
    except SesProblem as problem:
        if problem.code != "NotFoundException":
            raise


async def _page(account: SesAccount, request: dict[str, Any]) -> dict[str, Any]:
    for pause in PATIENCE:
        try:
            return await account.ask("list_suppressed_destinations", **request)
        except SesProblem as problem:
            if problem.kind is not Kind.SES_THROTTLED:
                raise
        await asyncio.sleep(pause)
    return await account.ask("list_suppressed_destinations", **request)
