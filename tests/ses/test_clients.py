"""Opening clients as for the real AWS: no network is needed until something is sent."""

from __future__ import annotations

import asyncio

import pytest

from relay import config
from relay.errors import Kind
from relay.ses.clients import AccountError, open_accounts
from relay.ses.errors import SesProblem


def account(**settings: object) -> config.SesAccount:
    return config.SesAccount.model_validate({"region": "eu-west-1", **settings})


def test_accounts_open_without_an_endpoint_of_our_own() -> None:
    async def story() -> set[str]:
        secret = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "s"}
        settings = {"a": account(credentials=secret), "b": account(region="us-gov-west-1"), "c": account()}
        async with open_accounts(settings) as accounts:
            return set(accounts)

    assert asyncio.run(story()) == {"a", "b", "c"}


def test_a_region_that_does_not_exist_is_named() -> None:
    async def story() -> None:
        async with open_accounts({"acme": account(region="eu-nowhere-9")}):
            pass

    with pytest.raises(AccountError, match=r"ses_accounts\.acme\.region: SES has no region eu-nowhere-9"):
        asyncio.run(story())


def test_a_profile_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")

    async def story() -> None:
        async with open_accounts({"acme": account(credentials={"profile": "nobody"})}):
            pass

    with pytest.raises(AccountError, match=r"ses_accounts\.acme: .*nobody"):
        asyncio.run(story())


def test_an_account_without_credentials_says_so_when_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")

    async def story() -> None:
        async with open_accounts({"acme": account(endpoint_url="http://127.0.0.1:9")}) as accounts:
            await accounts["acme"].quota()

    with pytest.raises(SesProblem) as caught:
        asyncio.run(story())
    assert caught.value.kind is Kind.SES_DENIED


def test_nobody_listening_is_no_unknown_outcome() -> None:
    async def story() -> None:
        secret = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "s"}
        async with open_accounts({"acme": account(endpoint_url="http://127.0.0.1:9", credentials=secret)}) as accounts:
            await accounts["acme"].send(b"x", ["a@b.example"], domain="c.example", tags={}, configuration_set=None)

    with pytest.raises(SesProblem) as caught:
        asyncio.run(story())
    assert caught.value.kind is Kind.SES_UNAVAILABLE
