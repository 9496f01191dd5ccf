"""Asks SES what an account may send, now and then and after trouble; tells its lane, and what an operator must know."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from relay import log
from relay.dispatch.lane import Lane
from relay.errors import Problem
from relay.message import Stream
from relay.ses.wire import Quota

USUALLY = timedelta(minutes=5)  # SES fact 3
AFTER_FAILURE = timedelta(seconds=30)
WHILE_SHORT = timedelta(minutes=1)  # while mail waits for what GetAccount would tell
LEAST = timedelta(seconds=1)  # between two calls: GetAccount is limited to one a second (SES fact 1.2)
TROUBLED = timedelta(seconds=10)  # between two calls for trouble, so that a storm of it does not make another


class QuotaWatch:
    """One per lane. `fault`: why the live limits cannot be had; empty while they can."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._quota: Quota | None = None
        self.fault = ""

    async def run(self) -> None:
        """Ask for as long as the lane is this process's, until cancelled."""
        gap = LEAST
        while True:
            self._lane.trouble.clear()
            asked = time.monotonic()
            if self._lane.is_owned:
                await self._ask()
            is_trouble = await self._trouble(self._pause())
            await asyncio.sleep(asked + gap.total_seconds() - time.monotonic())
            gap = TROUBLED if is_trouble else LEAST

    async def _trouble(self, at_most: timedelta) -> bool:
        """Wait for some, so long at most. Whether there was any."""
        try:
            async with asyncio.timeout(at_most.total_seconds()):
                return await self._lane.trouble.wait()
        except TimeoutError:
            return False

    def _pause(self) -> timedelta:
        if self.fault:
            return AFTER_FAILURE
        return WHILE_SHORT if self._lane.outlook.is_short else USUALLY

    async def _ask(self) -> None:
        name, pace = self._lane.name, self._lane.pace
        try:
            quota = await self._lane.attempts.account.quota()
        except Problem as problem:
            if not self.fault:
                log.trouble("lane.no_quota", account=name, rate=pace.full, detail=problem.detail)
            self.fault = problem.detail
            return
        except Exception as exc:  # an answer that nobody thought of: mail must not stop for it
            log.trouble("lane.no_quota", exc, account=name, rate=pace.full)
            self.fault = "a fault of the relay"
            return
        known = () if self._quota is None else concerns(self._quota)
        self.fault, self._quota = "", quota
        await self._lane.learn(quota)
        log.event(
            "lane.quota",
            account=name,
            rate=quota.rate,
            daily=quota.daily,
            sent_today=quota.sent_today,
            others=round(self._lane.allowance.others()),
            production=quota.is_production,
            sending=quota.is_sending_enabled,
        )
        for said in concerns(quota):
            if said not in known:
                log.trouble("account.concern", account=name, detail=said)

    def faults(self) -> dict[str, str]:
        """What `/readyz` says of it."""
        name = self._lane.name
        found: dict[str, str] = {}
        if self.fault:
            found[f"quota of {name}"] = f"GetAccount fails, so the configured rate is used: {self.fault}"
        elif (said := self._lane.outlook.used_up(Stream.BROADCAST)) is not None:
            found[f"quota of {name}"] = said
        if self._quota is not None and (said := "; ".join(concerns(self._quota))):
            found[f"standing of {name}"] = said
        return found


def concerns(quota: Quota) -> tuple[str, ...]:
    """What SES says of an account that its operator has to do something about, and what."""
    found: list[str] = []
    if not quota.is_production:
        found.append("the account is in the SES sandbox: ask for production access, or mail to strangers is refused")
    if quota.enforcement == "PROBATION":
        found.append("SES has the account under review: answer what AWS wrote before sending is paused")
    if quota.enforcement == "SHUTDOWN":
        found.append("SES has shut down the account's sending: appeal in the AWS support centre")
    return tuple(found)
