"""One set of accounts for many tests, and the two ways that mail goes by them: our own, and botocore's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias, TypeVar

import pytest

from relay.errors import Kind
from relay.ses.access import Access, StaticKeys
from relay.ses.clients import Accounts
from relay.ses.errors import Scope, SesProblem, classify
from relay.ses.mail import Mail
from relay.ses.wire import SesAccount
from tests.ses.ses_server import Reaction, Stage, staged

KEYS = StaticKeys("AKIDEXAMPLE", "a-secret")
RAW = b"From: me@byoc.example\r\nTo: ana@dest.example\r\nSubject: s\r\n\r\nHi\r\n"
UNKNOWN = (Kind.SES_UNKNOWN_OUTCOME, Scope.MESSAGE)
UNAVAILABLE = (Kind.SES_UNAVAILABLE, Scope.ACCOUNT)
Found = TypeVar("Found")
Way: TypeAlias = Callable[..., Awaitable[str]]


def access(url: str, keys: StaticKeys = KEYS) -> Access:
    return Access("acme", "eu-west-1", keys, url)


async def send(account: SesAccount, raw: Any = RAW) -> str:
    return await account.send(
        raw, ["ana@dest.example"], domain="byoc.example", tags={"relay_id": "1"}, configuration_set="main"
    )


async def send_plainly(account: SesAccount, raw: Any = RAW) -> str:
    """The fallback: through botocore's client."""
    members = {
        "Destination": {"ToAddresses": ["ana@dest.example"]},
        "EmailTags": [{"Name": "relay_id", "Value": "1"}],
        "ConfigurationSetName": "main",
    }
    answer = await account._link.call(
        "send_email", partial(classify, domain="byoc.example"), is_repeatable=False, **Mail(raw, members).request()
    )
    if "MessageId" not in answer:
        raise SesProblem(Kind.SES_UNKNOWN_OUTCOME, Scope.MESSAGE, "SES answered 200 without a message id")
    return str(answer["MessageId"])


class Stand:
    """Accounts for many tests: what botocore reads of its data for each new ones takes a while."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.accounts = Accounts()

    def run(self, story: Coroutine[Any, Any, Found]) -> Found:
        return self._runner.run(story)

    def close(self) -> None:
        self.run(self.accounts.__aexit__(None, None, None))

    def problem_with(self, way: Way, react: Reaction | None, by: Callable[[Stage], Access] | None = None) -> SesProblem:
        return self.run(self.problem(way, react, by))

    async def problem(
        self, way: Way, react: Reaction | None, by: Callable[[Stage], Access] | None = None
    ) -> SesProblem:
        """What a mail that is sent this way, by an account with this access, comes to."""
        async with staged(react) as stage:
            with pytest.raises(SesProblem) as caught:
                await way(self.accounts.open(by(stage) if by else access(stage.url)))
            assert len(stage.requests) <= 1  # nothing is ever sent twice
            return caught.value


BOTH = pytest.mark.parametrize("way", [send, send_plainly], ids=["direct", "plain"])
