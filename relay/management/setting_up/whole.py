"""Sets an SES account up for its events, or only looks: everything from the first question to the last change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from relay.declared import Via
from relay.management.reaching import session_name
from relay.management.setting_up.doing import Refused, Told, carry_out
from relay.management.setting_up.judging import judge
from relay.management.setting_up.matters import Matter, State, Step, plan
from relay.management.setting_up.seen import Seen, account_number, look
from relay.management.setting_up.wanted import Asked, Wanted, wanted_of
from relay.ses.access import Access
from relay.ses.aws import Aws, asking
from relay.ses.clients import Accounts
from relay.ses.remedies import Place
from relay.ses.topics import create_topic
from relay.store.beside import Changes
from relay.store.directory import domains
from relay.store.directory.accounts import SesAccount
from relay.store.directory.audit import Actor

_OPEN = {State.BY_HAND, State.UNSEEN, State.TAKEN}


@dataclass(frozen=True, slots=True)
class Setup:
    """How an account's set-up is, and what was done. `done`: the first so many of `steps`. `number`: AWS's, if known.

    `refused`: what AWS did not take, and ended it.
    """

    account: str
    region: str
    number: str | None
    is_dry: bool
    matters: Sequence[Matter]
    steps: Sequence[Step]
    done: int = 0
    refused: Refused | None = None

    @property
    def left(self) -> list[Matter]:
        """What no step mends."""
        return [each for each in self.matters if each.state in _OPEN]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is amiss any more."""
        return self.done == len(self.steps) and not self.left

    @property
    def lines(self) -> dict[str, Any]:
        """What belongs in the configuration file, which owns these rows."""
        found: dict[str, Any] = {}
        for each in self.matters:
            _merge(found, each.lines)
        return found

    def as_json(self) -> dict[str, Any]:
        refused = self.refused
        return {
            "name": self.account,
            "region": self.region,
            "account_number": self.number,
            "dry_run": self.is_dry,
            "ok": self.is_whole,
            "steps": [
                {"action": step.doing.action, "said": step.said, "done": at < self.done}
                for at, step in enumerate(self.steps)
            ],
            "findings": [
                {"check": each.check, "state": each.state.value, "said": each.said, "remedy": each.remedy or None}
                for each in self.matters
            ],
            "lines": self.lines or None,
            "refused": {"action": refused.action, "said": refused.said, "remedy": refused.remedy or None}
            if refused
            else None,
        }


def _merge(into: dict[str, Any], lines: Mapping[str, Any]) -> None:
    for name, value in lines.items():
        if isinstance(value, Mapping):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


async def look_at(
    store: Changes, accounts: Accounts, access: Access, account: SesAccount, asked: Asked
) -> tuple[Seen, Wanted]:
    """What the account has, and what it needs: for `judge`. Raises SesProblem; Problem(BAD_REQUEST) for what is asked.

    Takes two seconds for each configuration set where SES wants to be asked once a second.
    """
    wanted = await _wanted(store, account, asked)
    async with asking(accounts, access) as aws:
        return await look(aws, wanted, partial(account_number, accounts, access)), wanted


async def set_up(
    store: Changes,
    accounts: Accounts,
    access: Access,
    actor: Actor,
    account: SesAccount,
    asked: Asked,
    *,
    is_dry: bool,
    told: Told,
) -> Setup:
    """Look, compare, and unless `is_dry` change what is amiss; `told` is told of each step that is done.

    Nothing is done where something may not be looked at. Raises as `look_at`; what was done until then stays.
    """
    wanted = await _wanted(store, account, asked)
    place = Place(account.name, account.region)
    async with asking(accounts, access) as aws:
        seen = await look(aws, wanted, partial(account_number, accounts, access))
        if seen.number is None and not is_dry and not seen.unseen and wanted.via is not Via.NONE:
            number = await _learnt(aws, wanted)
            seen = await look(aws, wanted, partial(_known, number))
        matters = judge(seen, wanted)
        steps = plan(matters)
        made = partial(Setup, account.name, account.region, seen.number, is_dry, matters, steps)
        if is_dry or seen.unseen:
            return made()
        done = 0

        def count(step: Step) -> None:
            nonlocal done
            done += 1
            told(step)

        try:
            await carry_out(aws, store, actor, place, steps, count)
        except Refused as refused:
            return made(done=done, refused=refused)
        return made(done=done)


async def _wanted(store: Changes, account: SesAccount, asked: Asked) -> Wanted:
    every = await store.read(domains.every)
    own = [each for each in every if each.account_id == account.id]
    return wanted_of(account, own, session_name(store.sealer), asked)


async def _learnt(aws: Aws, wanted: Wanted) -> str:
    """The account's number, by the ARN of the topic: where STS is out of reach, making that is the only way."""
    answer = await aws.ask(create_topic(wanted.queue, {}, {}))
    return str(answer["TopicArn"]).split(":")[4]


async def _known(number: str) -> str | None:
    return number
