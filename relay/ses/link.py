"""One botocore client, opened at its first call and kept until closed. Every botocore exception ends here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, TypeAlias

from aiohttp import ClientConnectorError
from aiohttp import ClientError as TransportError
from botocore import exceptions

from relay.errors import Kind
from relay.ses.errors import Answer, Scope, SesProblem, classify_fetching

Client: TypeAlias = Any  # botocore makes its classes as it runs
Opening: TypeAlias = Callable[[], Awaitable[AbstractAsyncContextManager[Client]]]
NO_GRACE = timedelta(0)


class Link:
    """`opening` raises SesProblem where there is nothing to open; the next call tries again."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._lock = asyncio.Lock()
        self._client: Client | None = None
        self._exit: contextlib.AsyncExitStack | None = None
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._is_closed = False

    async def call(
        self, operation: str, meaning: Callable[[Answer], SesProblem], *, is_repeatable: bool = True, **request: Any
    ) -> dict[str, Any]:
        """Make one call, `operation` being the client's method. Raises SesProblem.

        `meaning` reads error answers. Without an answer the outcome is unknown, but for a call that can be repeated.
        """
        with self._held():
            client = await self._open() if self._client is None or self._is_closed else self._client
            try:
                answer: dict[str, Any] = await getattr(client, operation)(**request)
            except exceptions.ClientError as exc:
                if exc.operation_name != client.meta.method_to_api_mapping[operation]:
                    raise classify_fetching(_answer(exc), exc.operation_name) from exc
                raise meaning(_answer(exc)) from exc
            except exceptions.ParamValidationError as exc:
                # Our own fault: its text quotes the parameters, and they are content.
                raise meaning(Answer("ValidationException", 0, "the request is not one AWS takes")) from exc
            except (exceptions.BotoCoreError, TransportError, TimeoutError, OSError, ValueError, RuntimeError) as exc:
                raise _without_answer(exc, is_repeatable) from exc
        return answer

    async def close(self, grace: timedelta = NO_GRACE) -> None:
        """Take no more calls, wait for those in hand, at most for `grace`, and close the client."""
        self._is_closed = True
        try:
            if self._in_hand and grace:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._idle.wait(), grace.total_seconds())
        finally:
            exit_, self._exit, self._client = self._exit, None, None
            if exit_ is not None:
                await exit_.aclose()

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        self._in_hand += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._idle.set()

    async def _open(self) -> Client:
        async with self._lock:
            if self._client is None and not self._is_closed:
                stack = contextlib.AsyncExitStack()
                try:
                    client = await stack.enter_async_context(await self._opening())
                except exceptions.ClientError as exc:
                    raise classify_fetching(_answer(exc), exc.operation_name) from exc
                except (exceptions.BotoCoreError, OSError, ValueError, RuntimeError) as exc:  # nothing has been sent
                    raise SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, _said(exc)) from exc
                if self._is_closed:
                    await stack.aclose()
                else:
                    self._client, self._exit = client, stack
            if self._is_closed:
                said = "the account was changed or taken out of use meanwhile"
                raise SesProblem(Kind.SES_CONFIG, Scope.ACCOUNT, said)
            return self._client


def _without_answer(exc: Exception, is_repeatable: bool) -> SesProblem:
    if isinstance(exc, _NO_CREDENTIALS):
        return SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, _said(exc))
    if "refreshed credentials are still expired" in str(exc):  # a bare RuntimeError of botocore
        return SesProblem(Kind.SES_DENIED, Scope.HOST, "the credentials that were just fetched have expired already")
    if _never_left(exc):
        return SesProblem(Kind.SES_UNAVAILABLE, Scope.ACCOUNT, _said(exc))
    said = f"no answer: {type(exc).__name__}"
    if is_repeatable:
        return SesProblem(Kind.SES_UNAVAILABLE, Scope.ACCOUNT, said)
    # The body was sent, or may have been: SES may have it (SES fact 0.1).
    return SesProblem(Kind.SES_UNKNOWN_OUTCOME, Scope.MESSAGE, said)


def _never_left(exc: Exception) -> bool:
    if isinstance(exc, exceptions.EndpointConnectionError):
        # aiobotocore gives this name to a connection reset in the middle of a call, too.
        return isinstance(exc.kwargs.get("error"), ClientConnectorError | socket.gaierror)
    return isinstance(exc, exceptions.ConnectTimeoutError | exceptions.ProxyConnectionError | exceptions.SSLError)


_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.ProfileNotFound,
    exceptions.NoRegionError,
    exceptions.UnauthorizedSSOTokenError,
)


def _answer(exc: exceptions.ClientError) -> Answer:
    error = exc.response.get("Error", {})
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Answer(str(error.get("Code", "")), int(status), str(error.get("Message") or ""))


def _said(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"
