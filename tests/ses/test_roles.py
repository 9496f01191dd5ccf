"""Accounts that are reached by assuming a role: against a small STS of our own, and against moto's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from relay.errors import Kind
from relay.sandbox.accounts import Account
from relay.sandbox.server import Running
from relay.sandbox.server import running as running_sandbox
from relay.ses.access import Access, Base, Chain, Role, StaticKeys
from relay.ses.clients import Accounts
from relay.ses.errors import Answer, Scope, SesProblem, classify_assuming, classify_fetching
from relay.ses.identity import create_identity
from relay.ses.sts import Caller
from tests.ses.sts_server import ACCOUNT, Sts
from tests.ses.sts_server import running as running_sts

ROLE = "arn:aws:iam::444455556666:role/relay"
EXTERNAL_ID = "5e" * 24
RAW = b"From: me@byoc.example\r\nTo: ana@dest.example\r\nSubject: s\r\n\r\nHi\r\n"


@pytest.fixture
def sts() -> Iterator[Sts]:
    with running_sts() as server:
        server.roles[ROLE] = EXTERNAL_ID
        yield server


def base(url: str) -> Base:
    return Base(StaticKeys("relay", "base-secret"), sts_endpoint_url=url)


def role(**changes: str) -> Role:
    return Role(**{"role_arn": ROLE, "external_id": EXTERNAL_ID, "session_name": "relay-1", **changes})


async def send(account: Any) -> str:
    return await account.send(RAW, ["ana@dest.example"], domain="byoc.example", tags={}, configuration_set=None)


def with_sandbox(sts: Sts, story: Callable[[Accounts, Running, Access], Awaitable[None]], role: Role) -> None:
    async def run() -> None:
        both = [Account(name, ("byoc.example",)) for name in ("customer", "another")]
        async with running_sandbox(both) as sandbox, Accounts(base(sts.url)) as accounts:
            await story(accounts, sandbox, Access("acme", "eu-west-1", role, sandbox.url))

    asyncio.run(run())


def test_a_role_is_assumed_once_for_many_calls(sts: Sts) -> None:
    async def story(accounts: Accounts, sandbox: Running, access: Access) -> None:
        account = accounts.open(access)
        await asyncio.gather(*(send(account) for _ in range(20)))
        assert (await account.quota()).rate == 1000.0
        assert {each.account for each in sandbox.state.mailbox.after("")} == {"customer"}

    with_sandbox(sts, story, role())
    [call] = sts.calls
    assert call["RoleArn"] == ROLE
    assert call["ExternalId"] == EXTERNAL_ID
    assert call["RoleSessionName"] == "relay-1"
    assert call["DurationSeconds"] == "3600"


def test_credentials_renew_themselves(sts: Sts) -> None:
    sts.lasts = timedelta(minutes=5)  # so near their end that each call needs new ones
    sts.lends = ["customer", "another"]

    async def story(accounts: Accounts, sandbox: Running, access: Access) -> None:
        account = accounts.open(access)
        await send(account)
        await send(account)
        assert [each.account for each in sandbox.state.mailbox.after("")] == ["customer", "another"]

    with_sandbox(sts, story, role())


def test_a_role_that_may_not_be_assumed_says_so_at_every_call_and_nothing_else_fails(
    sts: Sts, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(accounts: Accounts, sandbox: Running, access: Access) -> None:
        account = accounts.open(access)
        for _ in range(2):
            with pytest.raises(SesProblem) as caught:
                await send(account)
            assert (caught.value.kind, caught.value.scope) == (Kind.SES_DENIED, Scope.ACCOUNT)
            assert caught.value.detail == (
                f"AWS does not let arn:aws:iam::{ACCOUNT}:user/relay assume {ROLE}: check its trust policy and ExternalId"
            )
        other = accounts.open(Access("own", "eu-west-1", StaticKeys("customer", "s"), access.endpoint_url))
        await send(other)
        sts.roles[ROLE] = "wrong-id"  # the customer mends it: the account works without being opened anew
        await send(account)

    caplog.set_level(logging.DEBUG)
    with_sandbox(sts, story, role(external_id="wrong-id"))
    ours = " ".join(record.getMessage() for record in caplog.records if record.levelno >= logging.INFO)
    assert "wrong-id" not in ours
    assert "base-secret" not in ours


def test_an_sts_that_cannot_be_reached_is_not_an_unknown_outcome(sts: Sts) -> None:
    sts.url = "http://127.0.0.1:9"

    async def story(accounts: Accounts, sandbox: Running, access: Access) -> None:
        with pytest.raises(SesProblem) as caught:
            await send(accounts.open(access))
        assert (caught.value.kind, caught.value.scope) == (Kind.SES_UNAVAILABLE, Scope.ACCOUNT)

    with_sandbox(sts, story, role())


def test_credentials_that_have_expired_already_point_to_the_clock(sts: Sts) -> None:
    sts.lasts = timedelta(seconds=-5)

    async def story(accounts: Accounts, sandbox: Running, access: Access) -> None:
        with pytest.raises(SesProblem, match="expired already: set this machine's clock") as caught:
            await send(accounts.open(access))
        assert (caught.value.kind, caught.value.scope) == (Kind.SES_DENIED, Scope.HOST)

    with_sandbox(sts, story, role())


def test_a_relay_without_an_identity_of_its_own_says_so(sts: Sts, no_aws: None) -> None:
    async def story() -> None:
        async with Accounts(Base(Chain(), sts_endpoint_url=sts.url)) as accounts:
            with pytest.raises(SesProblem, match="the relay has no identity of its own") as caught:
                await accounts.open(Access("acme", "eu-west-1", role(), "http://127.0.0.1:9")).quota()
            assert (caught.value.kind, caught.value.scope) == (Kind.SES_DENIED, Scope.ACCOUNT)

    asyncio.run(story())


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")


def test_callers(sts: Sts) -> None:
    async def story() -> tuple[Caller, Caller]:
        async with Accounts(base(sts.url)) as accounts:
            access = Access("acme", "eu-west-1", StaticKeys("customer", "s"))
            return await accounts.base_caller(), await accounts.caller(access)

    ours, theirs = asyncio.run(story())
    assert ours == Caller(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/relay")
    assert theirs.arn.endswith(":user/customer")


@pytest.mark.parametrize(
    ("arn", "principal"),
    [
        ("arn:aws:sts::111122223333:assumed-role/relay/i-0abc", "arn:aws:iam::111122223333:role/relay"),
        ("arn:aws-us-gov:sts::111122223333:assumed-role/r/s", "arn:aws-us-gov:iam::111122223333:role/r"),
        ("arn:aws:iam::111122223333:user/team/relay", "arn:aws:iam::111122223333:user/team/relay"),
        ("arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:root"),
    ],
)
def test_the_principal_of_a_caller(arn: str, principal: str) -> None:
    assert Caller("111122223333", arn).principal == principal


@pytest.fixture
def moto() -> Iterator[str]:
    """moto as a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                read(f"{url}/moto-api/data.json")
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def read(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def test_the_whole_way_by_a_role_at_moto(moto: str) -> None:
    async def story() -> None:
        async with Accounts(base(moto)) as accounts:
            access = Access("acme", "us-east-1", role(role_arn="arn:aws:iam::123456789012:role/relay"), moto)
            account = accounts.open(access)
            assert (await create_identity(account, "byoc.example")).domain == "byoc.example"
            await send(account)
            caller = await accounts.caller(access)
            assert caller.principal == "arn:aws:iam::123456789012:role/relay"
            assert caller.arn.endswith(":assumed-role/relay/relay-1")

    asyncio.run(story())
    [mail] = read(f"{moto}/moto-api/data.json")["ses"]["RawMessage"]
    assert "Subject: s" in mail["raw_data"]


# fmt: off
ASSUMING = [
    # code                       text                                                kind                  scope          in the detail
    ("AccessDenied",             "User: arn:aws:iam::1:user/r is not authorized to", Kind.SES_DENIED,      Scope.ACCOUNT, "does not let arn:aws:iam::1:user/r assume ROLE"),
    ("AccessDenied",             "",                                                 Kind.SES_DENIED,      Scope.ACCOUNT, "does not let the relay assume ROLE"),
    ("InvalidClientTokenId",     "The security token is invalid.",                   Kind.SES_DENIED,      Scope.ACCOUNT, "the relay's own credentials"),
    ("SignatureDoesNotMatch",    "The request signature we calculated",              Kind.SES_DENIED,      Scope.ACCOUNT, "the relay's own credentials"),
    ("SignatureDoesNotMatch",    "Signature expired: 1 is now earlier than 2",       Kind.SES_DENIED,      Scope.HOST,    "Signature expired"),
    ("ExpiredToken",             "expired",                                          Kind.SES_DENIED,      Scope.ACCOUNT, "the relay's own credentials"),
    ("RegionDisabledException",  "STS is not activated",                             Kind.SES_DENIED,      Scope.ACCOUNT, "switched off in the region"),
    ("ValidationError",          "ExternalId failed to satisfy constraint",          Kind.SES_DENIED,      Scope.ACCOUNT, "check the role's ARN"),
    ("ServiceUnavailable",       "",                                                 Kind.SES_UNAVAILABLE, Scope.ACCOUNT, "no credentials for ROLE now"),
    ("Throttling",               "Rate exceeded",                                    Kind.SES_UNAVAILABLE, Scope.ACCOUNT, "no credentials for ROLE now"),
]
FETCHING = [
    ("AccessDenied",             "not authorized",                                   Kind.SES_DENIED,      Scope.ACCOUNT, "AssumeRole"),
    ("SignatureDoesNotMatch",    "Signature not yet current",                        Kind.SES_DENIED,      Scope.HOST,    "not yet current"),
    ("Throttling",               "",                                                 Kind.SES_UNAVAILABLE, Scope.ACCOUNT, "Throttling"),
    ("InternalFailure",          "",                                                 Kind.SES_UNAVAILABLE, Scope.ACCOUNT, "InternalFailure"),
]
# fmt: on


@pytest.mark.parametrize(("code", "text", "kind", "scope", "words"), ASSUMING)
def test_what_a_refused_role_means(code: str, text: str, kind: Kind, scope: Scope, words: str) -> None:
    problem = classify_assuming(Answer(code, 400, text), ROLE)
    assert (problem.kind, problem.scope) == (kind, scope)
    assert words.replace("ROLE", ROLE) in problem.detail


@pytest.mark.parametrize(("code", "text", "kind", "scope", "words"), FETCHING)
def test_what_it_means_when_botocore_gets_no_credentials(
    code: str, text: str, kind: Kind, scope: Scope, words: str
) -> None:
    problem = classify_fetching(Answer(code, 400, text), "AssumeRole")
    assert (problem.kind, problem.scope) == (kind, scope)
    assert words in problem.detail


def test_no_secret_is_shown() -> None:
    access = Access("a", "eu-west-1", StaticKeys("AKIA", "top-secret", "token"), proxy="http://user:word@proxy:1")
    shown = repr([access, role(), Base(StaticKeys("AKIA", "top-secret"), proxy="http://user:word@proxy:1")])
    assert not [word for word in ("top-secret", "token", "word@", EXTERNAL_ID) if word in shown]
