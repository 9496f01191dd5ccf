"""Scripted faults: what POST /faults takes. How each fault answers a call is in `breakage`.

A script is a JSON object:

    {"account": "operator",      the account it is for; null or absent: any
     "operation": "SendEmail",   the operation it is for; SendEmail when absent
     "times": 3,                 how many calls it answers; null: until cleared; when absent 1, or null with `for`
     "for": 30,                  it ends after so many seconds; null or absent: it does not
     "probability": 0.05,        how many of the calls it answers, by chance; 1 when absent
     "fault": ...}               one of:

    {"error": "TooManyRequestsException", "status": 429, "message": "..."}
                             that error; the status and message of a known code may be left out, a null message is sent
    "hang"                   read the body, never answer, until the client goes
    "close"                  read the body, close without an answer; nothing is accepted
    "reset"                  the same, with a TCP reset
    "accept_then_close"      do what was asked, then close without an answer
    "accept_then_hang"       do what was asked, then never answer, until the client goes
    "half_closed"            do what was asked, send half of the answer, and say that no more will come
    {"slow": 2.5}            do what was asked at once, answer after so many seconds
    {"slow_body": 0.1}       do what was asked, send the answer's body octet by octet, so many seconds apart
    "garbage"                answer 200 with a body that is not JSON; nothing is accepted

A call meets the oldest script that fits it. What the sandbox refuses anyway is refused under `accept_then_close`,
`accept_then_hang`, `half_closed` and `slow` too, at once and with an answer.

In place of `fault` a script may have `set`: what AWS has changed for the account, from now until the script ends or is
cleared, in all its regions. Of several the newest counts, member by member. `operation`, `times` and `probability` are
not for these.

    {"set": {"rate": 14,                    recipients a second
             "daily_quota": 200,            recipients in 24 hours; -1: none
             "production": false,           false: mail goes to verified identities and the simulator only
             "paused": true,                sending is paused for the account
             "paused_sets": ["relay"],      and for these configuration sets
             "enforcement": "PROBATION",    or HEALTHY; SHUTDOWN pauses sending, too
             "sent": 49990,                 so many recipients more in the last 24 hours, by others that send there
             "unverified": ["a.example"],   these identities are not verified,
             "dkim_failed": ["a.example"],  the DKIM of these has failed, though they may send,
             "mail_from_failed": [...],     and the MAIL FROM domain of these
             "clock": -420}}                AWS's clock is so many seconds off ours: the Date of its answers, and
                                            signatures, which it then refuses when they are more than 5 minutes off

Or `events`: how the events of the account's mail travel from now on (see `travel`), as for `set`.

    {"events": {"duplicate": 1, "delay": 2.5, "shuffle": true, "drop": ["Delivery"], "withhold": true, "raw": true,
                "corrupt": true}}

`{"refuse": 2.5}` as the fault closes the listener and every connection for so many seconds, at once and for everyone: a
connection is refused, whatever it is for, POST /faults included. It takes no other member, and is not listed.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from relay.sandbox import breakage
from relay.sandbox.accounts import Account
from relay.sandbox.breakage import Fault
from relay.sandbox.changes import read_changes
from relay.sandbox.operations import OPERATIONS
from relay.sandbox.refusals import ERRORS
from relay.sandbox.travel import Travel, read_travel

LONGEST = 3600.0  # seconds
_STANDING = ("set", "events")  # these hold until the script ends; a fault is met call by call
_MEMBERS = {"account", "operation", "times", "for", "probability", "fault", *_STANDING}
_OF_CALLS = ("operation", "times", "probability")


class BadScript(ValueError):
    """A script that cannot be played, with everything wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(slots=True)
class Script:
    """Which calls meet a fault. `times` is how many are left, None until cleared; `shown` is the fault as it came.

    Instead of a fault it may have `changes` of accounts, or members of a `Travel`; `word` says which it is. `until`: a
    moment of a monotonic clock; None: without end.
    """

    account: str | None
    operation: str
    times: int | None
    shown: object
    fault: Fault | None = None
    until: float | None = None
    probability: float = 1.0
    changes: dict[str, Any] = field(default_factory=dict)
    travel: dict[str, Any] = field(default_factory=dict)
    word: str = "fault"

    def as_json(self) -> dict[str, object]:
        shown: dict[str, object] = {"account": self.account}
        if self.word == "fault":
            shown |= {"operation": self.operation, "times": self.times}
        shown[self.word] = self.shown
        if self.until is not None:
            shown["for"] = round(max(0.0, self.until - time.monotonic()), 3)
        return shown | ({"probability": self.probability} if self.probability < 1 else {})


class Faults:
    """The scripts in force, oldest first. `chance` says a number from 0 to 1."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self.scripts: list[Script] = []
        self._chance = chance

    def take(self, account: str, operation: str) -> Fault | None:
        """The fault this call meets, counted off."""
        self.forget_over()
        for script in self.scripts:
            if script.fault is None or script.operation != operation or script.account not in (None, account):
                continue
            if script.probability < 1 and self._chance() >= script.probability:
                continue
            if script.times is not None:
                script.times -= 1
                if not script.times:
                    self.scripts.remove(script)
            return script.fault
        return None

    def changed(self, account: Account) -> Account:
        """The account as the scripts have it now."""
        self.forget_over()
        for script in self.scripts:
            if script.changes and script.account in (None, account.name):
                account = replace(account, **script.changes)
        return account

    def travel(self, account: str) -> Travel | None:
        """How the account's events travel, None when nothing disturbs them."""
        self.forget_over()
        found: dict[str, Any] = {}
        for script in self.scripts:
            if script.travel and script.account in (None, account):
                found |= script.travel
        return Travel(**found) if found else None

    def withholds(self, account: str) -> bool:
        """Whether the account's events have to wait."""
        travel = self.travel(account)
        return travel is not None and travel.withhold

    def forget_over(self) -> None:
        if any(script.until is not None for script in self.scripts):
            now = time.monotonic()
            self.scripts[:] = [each for each in self.scripts if each.until is None or each.until > now]


def read_refusal(body: bytes) -> float | None:
    """For how many seconds the sandbox is not to be reached, where that is what a body asks for. Raises BadScript."""
    wanted = _object(body)
    fault = wanted.get("fault")
    if not isinstance(fault, dict) or "refuse" not in fault:
        return None
    wrong = [f"{name}: does not go with refuse" for name in wanted if name != "fault"]
    if set(fault) != {"refuse"} or not _is_span(fault["refuse"]):
        wrong.append(f"fault.refuse: must be 0 to {LONGEST:g} seconds")
    if wrong:
        raise BadScript(wrong)
    return float(fault["refuse"])


def read_script(body: bytes, accounts: set[str]) -> Script:
    """The script in a request's body. Raises BadScript."""
    wanted = _object(body)
    account, operation = wanted.get("account"), wanted.get("operation", "SendEmail")
    lasts, probability = wanted.get("for"), wanted.get("probability", 1)
    times = wanted.get("times", 1 if lasts is None else None)
    wrong = [f"{name}: unknown" for name in wanted if name not in _MEMBERS]
    if account is not None and account not in sorted(accounts):
        wrong.append(f"account: must be null or one of {', '.join(sorted(accounts))}")
    if operation not in sorted(OPERATIONS):
        wrong.append(f"operation: must be one of {', '.join(sorted(OPERATIONS))}")
    if times is not None and (type(times) is not int or times < 1):
        wrong.append("times: must be a positive whole number, or null")
    if lasts is not None and not (_is_span(lasts) and lasts > 0):
        wrong.append(f"for: must be more than 0, and {LONGEST:g} seconds at most, or null")
    if type(probability) not in (int, float) or not 0 < probability <= 1:
        wrong.append("probability: must be more than 0, and 1 at most")
    word = next((each for each in _STANDING if each in wanted), "fault")
    changes: dict[str, Any] = {}
    travel: dict[str, Any] = {}
    fault = None
    if word == "fault":
        fault = _read_fault(wanted.get("fault"), wrong)
    else:
        others = (*_OF_CALLS, "fault", *_STANDING)
        wrong += [f"{name}: does not go with {word}" for name in others if name in wanted and name != word]
    if word == "set":
        changes = read_changes(wanted["set"], wrong)
    elif word == "events":
        travel = read_travel(wanted["events"], wrong)
    if wrong:
        raise BadScript(wrong)
    until = None if lasts is None else time.monotonic() + lasts
    script = Script(account, operation, times, wanted[word], fault, until, float(probability))
    return replace(script, changes=changes, travel=travel, word=word)


def _object(body: bytes) -> dict[str, Any]:
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError):
        wanted = None
    if not isinstance(wanted, dict):
        raise BadScript(["The body must be a JSON object"])
    return wanted


def _is_span(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= LONGEST  # type: ignore[operator]


def _read_fault(value: object, wrong: list[str]) -> Fault | None:
    if isinstance(value, str) and value in breakage.WORDS:
        return breakage.WORDS[value]
    if isinstance(value, dict) and "error" in value:
        return _read_error(value, wrong)
    for name, made in breakage.SPANS.items():
        if isinstance(value, dict) and set(value) == {name}:
            if _is_span(value[name]):
                return made(value[name])
            wrong.append(f"fault.{name}: must be 0 to {LONGEST:g} seconds")
            return None
    spans = ", ".join(f'{{"{name}": seconds}}' for name in breakage.SPANS)
    wrong.append(f'fault: must be {", ".join(breakage.WORDS)}, {spans} or {{"error": code}}')
    return None


def _read_error(value: dict[str, object], wrong: list[str]) -> Fault | None:
    code = value["error"]
    if not isinstance(code, str) or not code.isascii() or not code.isalnum():
        wrong.append("fault.error: must be an error code, such as TooManyRequestsException")
        return None
    known_status, known_message = ERRORS.get(code, (None, None))
    status, message = value.get("status", known_status), value.get("message", known_message)
    found = [f"fault.{name}: unknown" for name in value if name not in {"error", "status", "message"}]
    if not isinstance(status, int) or not 400 <= status <= 599:
        found.append("fault.status: must be 400 to 599, and given for a code the sandbox does not know")
        status = 0
    if message is not None and not isinstance(message, str):
        found.append("fault.message: must be a string or null")
        message = None
    wrong += found
    return None if found else breakage.error(code, message, status)
