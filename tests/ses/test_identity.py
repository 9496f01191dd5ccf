"""Identities and the suppression list of an account, against the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.errors import Kind
from relay.sandbox.accounts import Account
from relay.sandbox.faults import read_script
from relay.sandbox.server import Running
from relay.sandbox.server import running as running_sandbox
from relay.ses import suppression
from relay.ses.access import Access, StaticKeys
from relay.ses.clients import Accounts
from relay.ses.errors import Scope, SesProblem
from relay.ses.identity import (
    Identity,
    create_identity,
    find_identity,
    read_identity,
    set_mail_from,
)
from relay.ses.suppression import Suppressed
from relay.ses.wire import SesAccount

DOMAIN = "new.example"


def with_account(story: Callable[[SesAccount, Running], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running_sandbox([Account("customer", ("byoc.example",))]) as sandbox, Accounts() as accounts:
            await story(accounts.open(Access("acme", "eu-west-1", StaticKeys("customer", "s"), sandbox.url)), sandbox)

    asyncio.run(run())


def fail(sandbox: Running, operation: str, code: str, text: str = "", times: int = 1) -> None:
    script = f'{{"operation": "{operation}", "times": {times}, "fault": {{"error": "{code}", "message": "{text}"}}}}'.encode()
    sandbox.state.faults.scripts.append(read_script(script, {"customer"}))


def test_a_domain_is_registered_once() -> None:
    async def story(account: SesAccount, sandbox: Running) -> None:
        assert await find_identity(account, DOMAIN) is None
        made = await create_identity(account, DOMAIN)
        assert made.domain == DOMAIN
        assert len(made.dkim_tokens) == 3
        assert made.signing_hosted_zone == "dkim.amazonses.com"
        assert made.mail_from_domain is None
        assert await create_identity(account, DOMAIN) == made
        assert await find_identity(account, DOMAIN) == made
        await set_mail_from(account, DOMAIN, f"send.{DOMAIN}")
        found = await find_identity(account, DOMAIN)
        assert found is not None
        assert found.mail_from_domain == f"send.{DOMAIN}"
        assert found.mail_from_status == "PENDING"

    with_account(story)


def test_a_domain_that_is_there_keeps_its_identity() -> None:
    async def story(account: SesAccount, sandbox: Running) -> None:
        found = await create_identity(account, "byoc.example")
        assert found.is_verified_for_sending
        assert found.verification_status == "SUCCESS"
        assert found.dkim_status == "SUCCESS"

    with_account(story)


def test_a_configuration_set_that_is_not_there_is_named() -> None:
    async def story(account: SesAccount, sandbox: Running) -> None:
        await account.ask("create_configuration_set", ConfigurationSetName="main")
        with pytest.raises(SesProblem) as caught:
            await create_identity(account, DOMAIN, "missing")
        assert (caught.value.kind, caught.value.scope) == (Kind.SES_CONFIG, Scope.DOMAIN)

    with_account(story)


def test_a_missing_permission_is_named() -> None:
    text = "User: arn:aws:iam::1:user/r is not authorized to perform: ses:CreateEmailIdentity on resource: x"

    async def story(account: SesAccount, sandbox: Running) -> None:
        fail(sandbox, "CreateEmailIdentity", "AccessDeniedException", text)
        with pytest.raises(SesProblem, match="ses:CreateEmailIdentity") as caught:
            await create_identity(account, DOMAIN)
        assert caught.value.kind is Kind.SES_DENIED

    with_account(story)


# fmt: off
NEW = Identity(DOMAIN, False, "PENDING", "NOT_STARTED", (), "dkim.amazonses.com", "AWS_SES", None, None, None)
ANSWERS = [
    ({}, NEW),
    ({"VerifiedForSendingStatus": True},
     Identity(DOMAIN, True, "SUCCESS", "NOT_STARTED", (), "dkim.amazonses.com", "AWS_SES", None, None, None)),
    ({"VerificationStatus": "FAILED", "VerificationInfo": {"ErrorType": "HOST_NOT_FOUND"}},
     Identity(DOMAIN, False, "FAILED", "NOT_STARTED", (), "dkim.amazonses.com", "AWS_SES", None, None, "HOST_NOT_FOUND")),
    ({"DkimAttributes": {"Status": "PENDING", "Tokens": ["a", "b", "c"], "SigningHostedZone": "dkim.x.amazonses.com",
                         "SigningAttributesOrigin": "EXTERNAL"},
      "MailFromAttributes": {"MailFromDomain": "send.new.example", "MailFromDomainStatus": "SUCCESS"}},
     Identity(DOMAIN, False, "PENDING", "PENDING", ("a", "b", "c"), "dkim.x.amazonses.com", "EXTERNAL",
              "send.new.example", "SUCCESS", None)),
]
# fmt: on


@pytest.mark.parametrize(("answer", "identity"), ANSWERS)
def test_what_ses_says_of_an_identity(answer: dict[str, Any], identity: Identity) -> None:
    assert read_identity(DOMAIN, answer) == identity


async def listed(account: SesAccount, since: datetime | None = None) -> list[list[Suppressed]]:
    return [page async for page in suppression.suppressed(account, since)]


def test_the_suppression_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "PAGE", 2)

    async def story(account: SesAccount, sandbox: Running) -> None:
        assert [each for page in await listed(account) for each in page] == []
        before = datetime.now(UTC) - timedelta(seconds=5)
        for number, reason in enumerate(("BOUNCE", "COMPLAINT", "BOUNCE")):
            await suppression.put(account, f"u{number}@dest.example", reason)
        pages = await listed(account, before)
        assert [len(page) for page in pages] == [2, 1]
        found = [each for page in pages for each in page]
        assert {each.address: each.reason for each in found} == {
            "u0@dest.example": "BOUNCE",
            "u1@dest.example": "COMPLAINT",
            "u2@dest.example": "BOUNCE",
        }
        assert all(each.at.tzinfo is UTC and each.at > before for each in found)
        assert "dest.example" not in repr(found)
        assert await listed(account, datetime.now(UTC) + timedelta(hours=1)) == [[]]
        await suppression.remove(account, "u0@dest.example")
        await suppression.remove(account, "u0@dest.example")
        assert sum(map(len, await listed(account))) == 2

    with_account(story)


def test_paging_waits_when_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "PATIENCE", (0.01, 0.01))

    async def story(account: SesAccount, sandbox: Running) -> None:
        fail(sandbox, "ListSuppressedDestinations", "TooManyRequestsException", "Rate exceeded", 2)
        assert await listed(account) == [[]]
        fail(sandbox, "ListSuppressedDestinations", "TooManyRequestsException", "Rate exceeded", 3)
        with pytest.raises(SesProblem) as caught:
            await listed(account)
        assert caught.value.kind is Kind.SES_THROTTLED

    with_account(story)
