"""Opens one client per SES account for the life of the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError

from relay import __version__, config
from relay.errors import Unusable
from relay.ses.wire import SesAccount

CONNECT_TIMEOUT = 5  # seconds
READ_TIMEOUT = 60  # seconds: SES takes its time over 40 MB
IDLE_CONNECTION = 5  # seconds; a POST on a connection that the server is closing would be ambiguous


class AccountError(Unusable):
    """An SES account's settings cannot work. The text says why."""


@asynccontextmanager
async def open_accounts(settings: Mapping[str, config.SesAccount]) -> AsyncIterator[dict[str, SesAccount]]:
    """Clients for these accounts, by name. Raises AccountError for a region or profile that does not exist."""
    async with AsyncExitStack() as stack:
        accounts: dict[str, SesAccount] = {}
        for name, account in settings.items():
            try:
                client = await stack.enter_async_context(await _client(name, account))
            except BotoCoreError as exc:
                raise AccountError(f"ses_accounts.{name}: {type(exc).__name__}: {exc}") from exc
            accounts[name] = SesAccount(name, client)
        yield accounts


async def _client(name: str, account: config.SesAccount) -> AbstractAsyncContextManager[Any]:
    credentials = account.credentials
    session = AioSession(profile=credentials.profile)
    if account.endpoint_url is None and account.region not in await _regions(session):
        raise AccountError(f"ses_accounts.{name}.region: SES has no region {account.region}")
    secret = credentials.secret_access_key
    client: AbstractAsyncContextManager[Any] = session.create_client(
        "sesv2",
        region_name=account.region,
        endpoint_url=account.endpoint_url,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=_config(concurrency(account)),
    )
    return client


def concurrency(account: config.SesAccount) -> int:
    """Calls in flight at once. Enough for 60 a second at the latency SES usually has; more by configuration."""
    return account.concurrency or 20


def _config(connections: int) -> AioConfig:
    return AioConfig(
        # botocore would send a mail again after a lost answer (SES fact 0.2). The queue is the only thing that retries.
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        max_pool_connections=connections + 1,
        connector_args={"keepalive_timeout": IDLE_CONNECTION},
        user_agent_extra=f"ses-relay/{__version__}",
        warm_up_loader_caches=True,
    )


async def _regions(session: AioSession) -> list[str]:
    regions: list[str] = []
    for partition in session.get_available_partitions():
        regions += await session.get_available_regions("sesv2", partition_name=partition)
    return regions
