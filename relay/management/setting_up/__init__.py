"""Makes what the events of an SES account need at AWS, and mends it: what is wanted, what is there, what follows.

`look` asks AWS, `judge` compares without asking anyone, `carry_out` makes the calls; `set_up` is all of it.
"""

from relay.management.setting_up.doing import Refused, Told, carry_out
from relay.management.setting_up.judging import judge
from relay.management.setting_up.matters import Matter, State, Step, findings, plan
from relay.management.setting_up.seen import Seen, look
from relay.management.setting_up.wanted import TRACKED, USUAL, Asked, Wanted, tracked, wanted_of
from relay.management.setting_up.whole import Setup, look_at, set_up

__all__ = [
    "TRACKED",
    "USUAL",
    "Asked",
    "Matter",
    "Refused",
    "Seen",
    "Setup",
    "State",
    "Step",
    "Told",
    "Wanted",
    "carry_out",
    "findings",
    "judge",
    "look",
    "look_at",
    "plan",
    "set_up",
    "tracked",
    "wanted_of",
]
