"""Scripted faults: what POST /faults takes, and how each fault answers a call.

A script is a JSON object:

    {"account": "operator",      the account it is for; null or absent: any
     "operation": "SendEmail",   the operation it is for; SendEmail when absent
     "times": 3,                 how many calls it answers; null: until cleared; 1 when absent
     "fault": ...}               one of:

    {"error": "TooManyRequestsException", "status": 429, "message": "..."}
                             that error; the status and message of a known code may be left out, a null message is sent
    "hang"                   read the body, never answer, until the client goes
    "close"                  read the body, close without an answer; nothing is accepted
    "accept_then_close"      do what was asked, then close without an answer
    {"slow": 2.5}            do what was asked at once, answer after so many seconds
    "garbage"                answer 200 with a body that is not JSON; nothing is accepted

A call meets the oldest script that fits it. What the sandbox refuses anyway is refused under `accept_then_close` and
`slow` too, at once and with an answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox.refusals import ERRORS, Refusal
from relay.sandbox.wire import until_gone, while_connected

OPERATIONS = {
    "SendEmail",
    "GetAccount",
    "CreateEmailIdentity",
    "GetEmailIdentity",
    "DeleteEmailIdentity",
    "ListEmailIdentities",
    "PutEmailIdentityMailFromAttributes",
    "PutEmailIdentityConfigurationSetAttributes",
    "CreateConfigurationSet",
    "GetConfigurationSet",
    "DeleteConfigurationSet",
    "ListConfigurationSets",
    "PutSuppressedDestination",
    "GetSuppressedDestination",
    "DeleteSuppressedDestination",
    "ListSuppressedDestinations",
    "GetQueueUrl",
    "GetQueueAttributes",
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
}
_LONGEST = 3600.0  # seconds

Perform = Callable[[], Awaitable[Response]]
Fault = Callable[[Request, Perform], Awaitable[Response]]


class BadScript(ValueError):
    """A script that cannot be played, with everything wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(slots=True)
class Script:
    """Which calls meet a fault. `times` is how many are left, None until cleared; `shown` is the fault as it came."""

    account: str | None
    operation: str
    times: int | None
    shown: object
    fault: Fault

    def as_json(self) -> dict[str, object]:
        return {"account": self.account, "operation": self.operation, "times": self.times, "fault": self.shown}


class Faults:
    """The scripts waiting for calls, oldest first."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []

    def take(self, account: str, operation: str) -> Fault | None:
        """The fault this call meets, counted off."""
        for script in self.scripts:
            if script.operation == operation and script.account in (None, account):
                if script.times is not None:
                    script.times -= 1
                    if not script.times:
                        self.scripts.remove(script)
                return script.fault
        return None


def read_script(body: bytes, accounts: set[str]) -> Script:
    """The script in a request's body. Raises BadScript."""
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError):
        wanted = None
    if not isinstance(wanted, dict):
        raise BadScript(["The body must be a JSON object"])
    account, operation, times = wanted.get("account"), wanted.get("operation", "SendEmail"), wanted.get("times", 1)
    wrong = [f"{name}: unknown" for name in wanted if name not in {"account", "operation", "times", "fault"}]
    if account is not None and account not in sorted(accounts):
        wrong.append(f"account: must be null or one of {', '.join(sorted(accounts))}")
    if operation not in sorted(OPERATIONS):
        wrong.append(f"operation: must be one of {', '.join(sorted(OPERATIONS))}")
    if times is not None and (type(times) is not int or times < 1):
        wrong.append("times: must be a positive whole number, or null")
    fault = _read_fault(wanted.get("fault"), wrong)
    if wrong or fault is None:
        raise BadScript(wrong)
    return Script(account, operation, times, wanted["fault"], fault)


def _read_fault(value: object, wrong: list[str]) -> Fault | None:
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    if isinstance(value, dict) and "error" in value:
        return _read_error(value, wrong)
    if isinstance(value, dict) and set(value) == {"slow"}:
        seconds = value["slow"]
        if type(seconds) in (int, float) and 0 <= seconds <= _LONGEST:
            return slow(seconds)
        wrong.append(f"fault.slow: must be 0 to {_LONGEST:g} seconds")
        return None
    wrong.append(f'fault: must be {", ".join(_WORDS)}, {{"slow": seconds}} or {{"error": code}}')
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
    return None if found else error(code, message, status)


def error(code: str, message: str | None, status: int) -> Fault:
    async def play(request: Request, perform: Perform) -> Response:
        raise Refusal(code, message, status)

    return play


def slow(seconds: float) -> Fault:
    async def play(request: Request, perform: Perform) -> Response:
        response = await perform()
        await while_connected(request, asyncio.sleep(seconds))
        return response

    return play


async def hang(request: Request, perform: Perform) -> Response:
    await until_gone(request)
    return Response()


async def close(request: Request, perform: Perform) -> Response:
    request.scope["state"]["hang_up"]()  # put there by the sandbox's own server: ASGI has no way to say it
    await until_gone(request)
    return Response()  # to nobody


async def accept_then_close(request: Request, perform: Perform) -> Response:
    await perform()
    return await close(request, perform)


async def garbage(request: Request, perform: Perform) -> Response:
    return Response("<html>It works!", media_type="text/html")


_WORDS: dict[str, Fault] = {
    "hang": hang,
    "close": close,
    "accept_then_close": accept_then_close,
    "garbage": garbage,
}
