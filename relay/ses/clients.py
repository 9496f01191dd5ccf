"""Opens one client per SES account, at its first call, for the life of the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Literal, Protocol, Self, TypeAlias

from aiobotocore.credentials import AioCredentials

from relay.errors import Kind
from relay.ses.access import CONCURRENCY, Access, Base, Chain, Credentials, Profile, Role, StaticKeys
from relay.ses.direct import Direct
from relay.ses.egress import Egresses
from relay.ses.errors import Scope, SesProblem
from relay.ses.link import Client, Link
from relay.ses.sessions import Sessions, check_egress, events_config, keys, ses_config, ses_regions, sts_config
from relay.ses.slices import send_in_slices
from relay.ses.sts import Caller, Lender, caller_of
from relay.ses.wire import SesAccount

__all__ = [
    "Access",
    "Accounts",
    "Base",
    "Chain",
    "Credentials",
    "Profile",
    "Role",
    "StaticKeys",
    "check_region",
    "concurrency",
]

Opening: TypeAlias = AbstractAsyncContextManager[tuple[Client, Direct | None]]
GRACE = timedelta(seconds=30)  # for the calls in hand of an account that was changed or removed


class Accounts:
    """The SES accounts that are open, and the relay's own identity, by which it assumes roles.

    An account that cannot be opened does not fail here: each of its calls raises SesProblem with what to mend, and
    tries again to open it. Belongs to the event loop it is entered in.
    """

    def __init__(self, base: Base = Base()) -> None:  # noqa: B008 - frozen
        self._base = base
        self._sessions = Sessions()
        self._egresses = Egresses()
        self._sts = Link(self._sts_of_base)
        self._open: dict[str, tuple[Access, SesAccount]] = {}
        self._closing: dict[asyncio.Task[None], SesAccount] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes every client at once: who has calls in hand waits for them before."""
        left = [*self._closing.values(), *(account for _, account in self._open.values())]
        tasks = [*self._closing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._open.clear()
        await asyncio.gather(*(account.close() for account in left))
        await self._sts.close()
        await self._egresses.close()

    def open(self, access: Access) -> SesAccount:
        """The account of this name. One that is open with another access is closed after its calls in hand."""
        known = self._open.get(access.name)
        if known is not None:
            if known[0] == access:
                return known[1]
            self._retire(access.name)
        account = self._account(access)
        self._open[access.name] = (access, account)
        return account

    async def replace(self, wanted: Mapping[str, Access]) -> dict[str, SesAccount]:
        """Have exactly these open, by their `Access.name`; those whose access is the same stay as they are."""
        for name in self._open.keys() - {access.name for access in wanted.values()}:
            self._retire(name)
        return {name: self.open(access) for name, access in wanted.items()}

    @asynccontextmanager
    async def using(self, access: Access) -> AsyncIterator[SesAccount]:
        """The open account of this access, or one beside it: who only asks must close nobody else's."""
        known = self._open.get(access.name)
        if known is not None and known[0] == access:
            yield known[1]
            return
        async with self.briefly(access) as account:
            yield account

    @asynccontextmanager
    async def briefly(self, access: Access) -> AsyncIterator[SesAccount]:
        """An account beside those that are open, to try an access out."""
        account = self._account(access)
        try:
            yield account
        finally:
            await account.close()

    async def caller(self, access: Access) -> Caller:
        """Whom AWS takes the account's own credentials for. Raises SesProblem."""
        link = Link(partial(self._sts_of, access))
        try:
            return await caller_of(link)
        finally:
            await link.close()

    async def base_caller(self) -> Caller:
        """Whom AWS takes the relay itself for: its `principal` belongs into trust policies. Raises SesProblem."""
        return await caller_of(self._sts)

    def beside(self, service: Literal["sqs", "sns"], access: Access) -> Link:
        """Another service of AWS, in the account's region and with its credentials. Whoever asks for it closes it."""
        return Link(partial(self._beside_of, service, access), partial(self._forget, access))

    async def _beside_of(self, service: str, access: Access) -> Opening:
        client, _ = await self._client(service, access.region, access.events_url, access, events_config(access.proxy))
        return _asking(client)

    def _account(self, access: Access) -> SesAccount:
        return SesAccount(
            access.name, access.region, Link(partial(self._ses_of, access), partial(self._forget, access))
        )

    async def _forget(self, access: Access) -> None:
        """Let the account's credentials be looked for again, and those a role is assumed with."""
        if isinstance(access.credentials, Role):
            self._sessions.forget(self._base.credentials)
            await self._sts.renew()
        else:
            self._sessions.forget(access.credentials)

    def _retire(self, name: str) -> None:
        _, account = self._open.pop(name)
        task = asyncio.create_task(account.close(GRACE), name=f"close-{name}")
        self._closing[task] = account
        task.add_done_callback(lambda done: self._closing.pop(done, None))

    async def _ses_of(self, access: Access) -> Opening:
        if access.endpoint_url is None and (fault := await asyncio.to_thread(check_region, access.region)):
            remedy = "correct it, or give the account an endpoint_url"
            raise SesProblem(Kind.SES_CONFIG, Scope.ACCOUNT, fault, remedy=remedy)
        options = ses_config(concurrency(access) + 1, access.proxy)
        client, credentials = await self._client("sesv2", access.region, access.endpoint_url, access, options)
        return _mailing(access.name, client, credentials, self._egresses)

    async def _sts_of(self, access: Access) -> Opening:
        # Where one stand-in is SES, SQS and SNS, it is STS as well, and AWS would not know its keys; roles are not its.
        is_all = access.events_url is not None and access.events_url == access.endpoint_url
        if is_all and not isinstance(access.credentials, Role):
            endpoint, region = access.events_url, access.region
        else:
            endpoint = self._base.sts_endpoint_url
            region = self._base.region if endpoint else access.region
        client, _ = await self._client("sts", region, endpoint, access, sts_config(access.proxy))
        return _asking(client)

    async def _sts_of_base(self) -> Opening:
        base = self._base
        try:
            client, _ = await self._client("sts", base.region, base.sts_endpoint_url, base, sts_config(base.proxy))
        except SesProblem as problem:
            said = f"the relay has no identity of its own to call AWS STS with: {problem.said}"
            raise SesProblem(problem.kind, problem.scope, said, remedy=problem.remedy, code=problem.code) from problem
        return _asking(client)

    async def _client(
        self, service: str, region: str, endpoint_url: str | None, access: Access | Base, options: Any
    ) -> tuple[AbstractAsyncContextManager[Client], Any]:
        """The client to be entered, and the credentials it signs with."""
        await check_egress(access.proxy, access.ca_bundle)
        credentials = access.credentials
        if isinstance(credentials, Role):
            session = await self._sessions.lending(Lender(self._sts, credentials))
        else:
            session = await self._sessions.of(credentials)
        own = keys(credentials)
        client: AbstractAsyncContextManager[Client] = session.create_client(
            service,
            region_name=region,
            endpoint_url=endpoint_url,
            verify=access.ca_bundle,
            config=options,
            **own,
        )
        return client, AioCredentials(*own.values()) if own else await session.get_credentials()


@asynccontextmanager
async def _mailing(
    account: str, opening: AbstractAsyncContextManager[Client], credentials: Any, egresses: Egresses
) -> AsyncIterator[tuple[Client, Direct]]:
    async with opening as client:
        send_in_slices(client)
        direct = Direct(account, client, credentials, egresses)
        try:
            yield client, direct
        finally:
            await direct.close()


@asynccontextmanager
async def _asking(opening: AbstractAsyncContextManager[Client]) -> AsyncIterator[tuple[Client, None]]:
    async with opening as client:
        yield client, None


class _Limited(Protocol):
    @property
    def concurrency(self) -> int | None: ...


def concurrency(access: _Limited) -> int:
    """Calls in flight at once: what is configured, or the usual."""
    return access.concurrency or CONCURRENCY


def check_region(region: str) -> str | None:
    """What is wrong with a region that is called without an endpoint_url; None where SES has it."""
    return None if region in ses_regions() else f"SES has no region {region}"
