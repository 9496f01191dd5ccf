"""botocore sessions, and what every client is made with: one loader and one TLS context for all accounts.

A session that loads botocore's data for itself costs 140 ms and 11 MB, a TLS context with the usual authorities 20 ms
and 0.7 MB; a client that shares both costs 7 ms and 0.3 MB (measured).
"""

from __future__ import annotations

import asyncio
import ssl
from contextvars import ContextVar
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.httpsession import get_cert_path
from botocore.loaders import create_loader
from botocore.regions import EndpointResolver

from relay import __version__
from relay.errors import Kind
from relay.ses.access import Chain, Profile, StaticKeys
from relay.ses.errors import Scope, SesProblem

CONNECT_TIMEOUT = 5  # seconds
READ_TIMEOUT = 60  # seconds: SES takes its time over 40 MB
STS_READ_TIMEOUT = 10  # seconds
EVENTS_READ_TIMEOUT = 35  # seconds: a long poll takes 20 (SES fact 5.3)
IDLE_CONNECTION = 5  # seconds; a POST on a connection that the server is closing would be ambiguous


@cache
def ses_regions() -> frozenset[str]:
    """The regions in which botocore knows SES. Reads botocore's data the first time."""
    resolver = EndpointResolver(create_loader().load_data("endpoints"))
    partitions = resolver.get_available_partitions()
    return frozenset(region for each in partitions for region in resolver.get_available_endpoints("email", each))


class Sessions:
    """One session for keys and the default chain, one for each profile, and one for each lender of credentials."""

    def __init__(self) -> None:
        self._making = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._loader: Any = None
        self._shared: dict[str | None, AioSession] = {}

    async def of(self, credentials: Chain | Profile | StaticKeys) -> AioSession:
        """The session to make clients of these with. Raises SesProblem for a profile or credentials that do not exist.

        botocore would make a client without credentials, too, and leave it so for ever.
        """
        name = credentials.name if isinstance(credentials, Profile) else None
        async with self._making:
            session = self._shared.get(name) or await self._new(name)
            if name is not None and name not in session.available_profiles:
                raise _denied(
                    f"the AWS configuration has no profile {name}",
                    "add it to the files of the user that runs the relay, or name another",
                )
            self._shared[name] = session
        if not isinstance(credentials, StaticKeys):
            async with self._looking:  # the chain may ask the network
                found = await session.get_credentials()
            if found is None:
                raise _denied(
                    "there are no AWS credentials in " + (f"profile {name}" if name else "the default chain"),
                    "give a profile or keys, or an environment or instance role that has some",
                )
        return session

    def forget(self, credentials: object) -> None:
        """Look for the credentials of a profile or the chain again when they are asked for the next time."""
        self._shared.pop(credentials.name if isinstance(credentials, Profile) else None, None)

    async def lending(self, lender: Any) -> AioSession:
        """A session whose clients take their credentials from `lender.load_credentials()`."""
        async with self._making:
            session = await self._new(None)
        session.register_component("credential_provider", lender)
        return session

    async def _new(self, profile: str | None) -> AioSession:
        if self._loader is None:
            first = AioSession()
            for service in ("sesv2", "sts"):  # megabytes of JSON, off the loop
                await asyncio.to_thread(first.warm_up_loader_caches, service)
            self._loader = first.get_component("data_loader")
        session = AioSession(profile=profile)
        session.register_component("data_loader", self._loader)
        return session


def keys(credentials: object) -> dict[str, str | None]:
    """The arguments of `create_client` for these: none but for keys."""
    if not isinstance(credentials, StaticKeys):
        return {}
    return {
        "aws_access_key_id": credentials.access_key_id,
        "aws_secret_access_key": credentials.secret_access_key,
        "aws_session_token": credentials.session_token,
    }


def ses_config(connections: int, proxy: str | None) -> AioConfig:
    # botocore would send a mail again after a lost answer (SES fact 0.2). The queue is the only thing that retries.
    return _config(proxy, attempts=1, read_timeout=READ_TIMEOUT, connections=connections)


def sts_config(proxy: str | None) -> AioConfig:
    return _config(proxy, attempts=3, read_timeout=STS_READ_TIMEOUT, connections=10)


def events_config(proxy: str | None) -> AioConfig:
    return _config(proxy, attempts=3, read_timeout=EVENTS_READ_TIMEOUT, connections=10)


def _config(proxy: str | None, *, attempts: int, read_timeout: int, connections: int) -> AioConfig:
    return AioConfig(
        retries={"total_max_attempts": attempts, "mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        max_pool_connections=connections,
        connector_args={"keepalive_timeout": IDLE_CONNECTION},
        user_agent_extra=f"ses-relay/{__version__}",
        proxies={"http": proxy, "https": proxy} if proxy else None,
        http_session_cls=_HttpSession,
    )


async def check_egress(proxy: str | None, ca_bundle: str | None) -> None:
    """Raises SesProblem for what botocore would only trip over inside a call, when the outcome seems unknown."""
    if proxy is not None and (urlsplit(proxy).scheme not in {"http", "https"} or not urlsplit(proxy).hostname):
        raise _unusable("the egress proxy is not an http:// or https:// URL", "correct it")
    if ca_bundle is not None:
        try:
            await asyncio.to_thread(tls_context, ca_bundle, Path(ca_bundle).stat().st_mtime_ns)  # noqa: ASYNC240
        except OSError as exc:  # ssl.SSLError is one
            reason = exc.strerror or type(exc).__name__
            raise _unusable(
                f"the ca_bundle {ca_bundle} cannot be used ({reason})",
                "name a PEM file with certificates that the relay may read",
            ) from exc


catching: ContextVar[str] = ContextVar("catching", default="")  # the path of a request that is not to be sent


class Caught(Exception):
    """A request that botocore made and signed, and what its HTTP session would send it with."""

    def __init__(self, request: Any, verify: bool | str | None, proxies: dict[str, str] | None) -> None:
        super().__init__("a request was caught")
        self.request = request
        self.verify = verify
        self.proxies = proxies


class _HttpSession(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's, with TLS contexts shared by all accounts that trust the same authorities."""

    def __init__(self, verify: bool | str | None = True, proxies: dict[str, str] | None = None, **others: Any) -> None:
        super().__init__(verify=verify, proxies=proxies, **others)
        self._given = (verify, proxies)

    async def send(self, request: Any) -> Any:
        """Raises Caught, with nothing sent, for the request that `catching` names."""
        if (path := catching.get()) and path in request.url:
            raise Caught(request, *self._given)
        return await super().send(request)

    def _build_verify_context(self) -> ssl.SSLContext:
        authorities = get_cert_path(self._verify) if self._verify else None
        if authorities is None:
            context: ssl.SSLContext = super()._build_verify_context()
            return context
        return tls_context(authorities, Path(authorities).stat().st_mtime_ns)


def trusting(ca_bundle: str | None) -> ssl.SSLContext:
    """Trusts the authorities of a PEM file, or those that calls to AWS trust anyway. Blocks. Raises OSError."""
    authorities = get_cert_path(ca_bundle or True)
    return tls_context(authorities, Path(authorities).stat().st_mtime_ns)


@lru_cache(maxsize=64)
def tls_context(authorities: str, _changed_at: int) -> ssl.SSLContext:
    """Trusts the authorities of a PEM file. Shared: each would cost 20 ms and 0.7 MB. Raises OSError."""
    return ssl.create_default_context(cafile=authorities)


def _denied(said: str, remedy: str) -> SesProblem:
    return SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, said, remedy=remedy)


def _unusable(said: str, remedy: str) -> SesProblem:
    return SesProblem(Kind.SES_CONFIG, Scope.ACCOUNT, said, remedy=remedy)
