"""What a comparison of the wanted with the seen comes to: one matter for each thing, with the steps that mend it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from relay.declared import FeedbackFields
from relay.message import Stream
from relay.ses.call import Call
from relay.ses.errors import SesProblem
from relay.ses.finding import Finding


class State(Enum):
    """How a thing is, and what follows."""

    FINE = "fine"
    AMISS = "amiss"  # its steps mend it
    BY_HAND = "by_hand"  # nobody but the operator may or can mend it
    UNSEEN = "unseen"  # a policy forbids to look
    TAKEN = "taken"  # another installation has it: nothing is done at all


@dataclass(frozen=True, slots=True)
class SetDomain:
    """Let a domain's mail name these configuration sets."""

    domain: str
    sets: Mapping[Stream, str]

    @property
    def action(self) -> str:
        return "domain.change"


@dataclass(frozen=True, slots=True)
class SetFeedback:
    """Let the account's events come another way."""

    feedback: FeedbackFields

    @property
    def action(self) -> str:
        return "account.change"


Doing: TypeAlias = Call | SetDomain | SetFeedback


@dataclass(frozen=True, slots=True)
class Step:
    """One change, at AWS or here. `said`: what it makes, or mends, with each difference."""

    doing: Doing
    said: str


@dataclass(frozen=True, slots=True)
class Matter:
    """One thing. `said`: how it is; `remedy` where it is amiss; `lines`: what belongs in the configuration file."""

    check: str
    state: State
    said: str
    remedy: str = ""
    steps: tuple[Step, ...] = ()
    lines: Mapping[str, object] = field(default_factory=dict)


def fine(check: str, said: str) -> Matter:
    return Matter(check, State.FINE, said)


def by_hand(check: str, said: str, remedy: str, lines: Mapping[str, object] | None = None) -> Matter:
    return Matter(check, State.BY_HAND, said, remedy, lines=lines or {})


def taken(check: str, owner: str, remedy: str) -> Matter:
    return Matter(check, State.TAKEN, f"it is of another installation, {owner}", remedy)


def unseen(check: str, problem: SesProblem, actions: str) -> Matter:
    return Matter(check, State.UNSEEN, f"it cannot be looked at: {problem.said}", f"allow {actions}")


def amiss(check: str, account: str, said: str, *steps: Step) -> Matter:
    return Matter(check, State.AMISS, said, f"`relay account setup {account}` mends it", steps)


def plan(matters: Iterable[Matter]) -> list[Step]:
    """The steps, in the order in which they can be made. None where another installation has what is needed."""
    found = list(matters)
    if any(each.state is State.TAKEN for each in found):
        return []
    return [step for each in found for step in each.steps]


def findings(matters: Iterable[Matter]) -> list[Finding]:
    """For whoever examines an installation. That a policy forbids to look is no fault: the server needs no look."""
    well = {State.FINE, State.UNSEEN}
    return [Finding(each.check, each.state in well, each.said, each.remedy) for each in matters]
