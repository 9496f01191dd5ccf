"""Makes the changes of a plan, one after the other, at AWS and in the directory. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from relay.declared import AccountChange, DomainChange
from relay.errors import Kind
from relay.management.setting_up.matters import SetDomain, SetFeedback, Step
from relay.ses.aws import Aws, is_forbidden
from relay.ses.call import Call
from relay.ses.errors import SesProblem
from relay.ses.remedies import Place, remedy_of
from relay.store.beside import Changes
from relay.store.directory import accounts, domains
from relay.store.directory.audit import Actor

Told: TypeAlias = Callable[[Step], None]  # of each step that is done
SETTLING = (1.0, 2.0, 4.0)  # seconds between tries: what was just made is not known everywhere at AWS at once
NOTICED = 3.0  # seconds: by then running servers go by what changed in the directory, which they look at each second

_TOO_SOON_MAYBE = {Kind.SES_REJECTED, Kind.SES_CONFIG, Kind.SES_UNFORESEEN}


class Refused(Exception):
    """AWS did not take a step; those before it are done."""

    def __init__(self, step: Step, action: str, problem: SesProblem, remedy: str) -> None:
        super().__init__(f"{action}: {problem.said}")
        self.step = step
        self.action = action
        self.said = problem.said
        self.remedy = remedy


async def carry_out(
    aws: Aws, store: Changes, actor: Actor, place: Place, steps: Sequence[Step], told: Told
) -> list[Step]:
    """Make the steps; those that were made. Raises Refused, and Problem for what the directory does not take."""
    for step in steps:
        match step.doing:
            case Call() as call:
                await _call(aws, place, step, call)
            case SetDomain() as change:
                await _set_domain(store, actor, change)
            case SetFeedback() as change:
                await _set_feedback(store, actor, place.account, change)
                await asyncio.sleep(NOTICED)  # SNS asks at once to confirm, and whoever knows no such topic refuses
        told(step)
    return list(steps)


async def _call(aws: Aws, place: Place, step: Step, call: Call) -> None:
    try:
        await _settled(aws, call)
    except SesProblem as problem:
        remedy = remedy_of(problem, place)
        if is_forbidden(problem) and call.action not in remedy:
            remedy = f"allow {call.action} to the credentials of account {place.account}"
        raise Refused(step, call.action, problem, remedy) from problem


async def _settled(aws: Aws, call: Call) -> None:
    """Raises SesProblem. A queue that names another, or SES that tries a topic, may come too soon after it."""
    for pause in SETTLING:
        try:
            await aws.ask(call)
        except SesProblem as problem:
            if problem.kind not in _TOO_SOON_MAYBE:
                raise
        else:
            return
        await asyncio.sleep(pause)
    await aws.ask(call)


async def _set_domain(store: Changes, actor: Actor, change: SetDomain) -> None:
    fields = DomainChange(configuration_sets=dict(change.sets))
    await store.change(lambda db: domains.change(db, actor, change.domain, fields))


async def _set_feedback(store: Changes, actor: Actor, account: str, change: SetFeedback) -> None:
    fields = AccountChange(feedback=change.feedback)
    await store.change(lambda db: accounts.change(db, store.sealer, actor, account, fields))
