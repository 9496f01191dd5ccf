"""The whole examination of what is beside this machine: doors, DNS, accounts, domains, webhooks, and the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from relay.errors import Kind, Problem
from relay.management.doctoring import accounts, domains, doors, names, probing, receivers
from relay.management.doctoring.accounts import Examined
from relay.management.doctoring.checked import Checked, Level, red, skipped
from relay.management.doctoring.tools import Tools
from relay.store import silences
from relay.store.directory.accounts import SesAccount
from relay.store.directory.accounts import every as every_account
from relay.store.directory.domains import SenderDomain
from relay.store.directory.domains import every as every_domain
from relay.store.webhooks import rows as webhooks

AT_ONCE = 8  # accounts

Told: TypeAlias = Callable[[Sequence[Checked]], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """`account`: only of this one. `wait`: how long for the events of probes; None: none are sent."""

    account: str | None = None
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class _Directory:
    accounts: Sequence[SesAccount]
    domains: Sequence[SenderDomain]

    def of(self, account: SesAccount) -> list[SenderDomain]:
        return [each for each in self.domains if each.account_id == account.id]


async def examine(tools: Tools, asked: Asked, told: Told, waiting: Callable[[int], None]) -> None:
    """`told` of what was found, a group at a time; `waiting` for the events of so many probes.

    Raises Problem(NOT_FOUND) where there is no such account, and Problem for the database's troubles.
    """
    directory = await _directory(tools, asked.account)
    await _look_around(tools, told)
    looks = await _accounts(tools, directory)
    examined = [each for each, _ in looks]
    told([accounts.judge_clock(_worst([each.clock for each in examined if each.clock is not None]))])
    for each, theirs in looks:
        told([*each.checks, *theirs])
    if asked.account is None and (hooks := await tools.store.read(webhooks.every)):
        told(list(receivers.judge(hooks)))
    await _probe(tools, asked.wait, directory, examined, told, waiting)


async def _directory(tools: Tools, only: str | None) -> _Directory:
    known = await tools.store.read(every_account)
    if only is not None and only not in {each.name for each in known}:
        raise Problem(Kind.NOT_FOUND, f"there is no SES account {only!r}; `relay account list` has them")
    chosen = [each for each in known if only in (None, each.name)]
    return _Directory(chosen, await tools.store.read(every_domain))


async def _look_around(tools: Tools, told: Told) -> None:
    """The server's doors, and the DNS."""
    if tools.is_running is False:
        told([red("server", "it does not run: no mail is taken, and none is sent", "start it: `relay serve`")])
        found: Sequence[Checked] = ()
    else:
        found = await doors.look(tools.settings)
    told([*found, await names.look(tools.settings, tools.resolver)])


async def _accounts(tools: Tools, directory: _Directory) -> list[tuple[Examined, Sequence[Checked]]]:
    """Each with what its domains came to. Several at once: one that answers slowly does not keep the others."""
    slots = asyncio.Semaphore(AT_ONCE)
    now, seen = await tools.store.read(lambda db: silences.look(db, [each.name for each in directory.accounts], None))
    feeds = {each.account: each for each in seen}

    async def one(account: SesAccount) -> tuple[Examined, Sequence[Checked]]:
        async with slots:
            examined = await accounts.examine(tools, account, feeds[account.name], now)
            if examined.access is None:
                return examined, ()
            return examined, await domains.examine(tools, examined.access, directory.of(account))

    return list(await asyncio.gather(*map(one, directory.accounts)))


def _worst(offsets: Sequence[timedelta]) -> timedelta | None:
    return max(offsets, key=abs, default=None)


# -- the loop --------------------------------------------------------------------------------------------------------


async def _probe(
    tools: Tools,
    within: timedelta | None,
    directory: _Directory,
    examined: Sequence[Examined],
    told: Told,
    waiting: Callable[[int], None],
) -> None:
    able: list[tuple[Examined, SenderDomain]] = []
    for each in examined:
        if each.access is None:
            continue
        domain = probing.sender(directory.of(each.account))
        if (why := _why_not(tools, within, each, domain)) or domain is None:
            told([skipped(f"account {each.account.name}: probes", why)])
        else:
            able.append((each, domain))
    if not able or within is None:
        return
    sent = await asyncio.gather(*(probing.send(tools, each, domain) for each, domain in able))
    waiting(sum(each.problem is None for theirs in sent for each in theirs))
    came = await probing.wait(tools, [each for theirs in sent for each in theirs], within)
    for (each, _), theirs in zip(able, sent, strict=True):
        told([probing.judge(one, came.get(one.probe.id), each, within) for one in theirs])


def _why_not(tools: Tools, within: timedelta | None, examined: Examined, domain: SenderDomain | None) -> str:
    """Why none are sent through an account; "" where they are."""
    account = examined.account
    if within is None:
        return "none were sent, as was asked: whether events come back is not proved"
    if tools.is_running is False:
        return "no server runs that would hear of them"
    if any(each.check.endswith(": events") and each.level is Level.SKIPPED for each in examined.links):
        return "nobody is to hear of them"
    if account.paused_at is not None:
        return "the account is paused"
    return "" if domain is not None else "no domain of its may send"
