"""One botocore client, opened at its first call and kept until closed. Every botocore exception ends here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, TypeAlias

from aiohttp import ClientConnectorError
from aiohttp import ClientError as TransportError
from botocore import exceptions

from relay.errors import Kind
from relay.ses.direct import Direct
from relay.ses.errors import Answer, Scope, SesProblem, classify_fetching
from relay.ses.mail import Mail

Client: TypeAlias = Any  # botocore makes its classes as it runs
# The client, and how mail goes past it where it can.
Opening: TypeAlias = Callable[[], Awaitable[AbstractAsyncContextManager[tuple[Client, Direct | None]]]]
NO_GRACE = timedelta(0)
LEAVING = timedelta(minutes=10)  # the longest a call takes
FRESH = 10.0  # seconds: who finds its credentials too old by then has no better ones


class _Opened:
    """A client and what closes it, with the calls in hand."""

    def __init__(self, client: Client, direct: Direct | None, leave: contextlib.AsyncExitStack) -> None:
        self.client = client
        self.direct = direct
        self.at = time.monotonic()
        self._leave = leave
        self._in_hand = 0
        self._idle = asyncio.Event()  # looked at only while it closes

    def __enter__(self) -> None:
        """One call more in hand."""
        self._in_hand += 1

    def __exit__(self, *_: object) -> None:
        self._in_hand -= 1
        if not self._in_hand:
            self._idle.set()

    async def close(self, grace: timedelta) -> None:
        """Wait for the calls in hand, at most for `grace`, and close the client."""
        try:
            self._idle.clear()
            if self._in_hand and grace:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._idle.wait(), grace.total_seconds())
        finally:
            await self._leave.aclose()


class Link:
    """`opening` raises SesProblem where there is nothing to open; the next call tries again.

    `forget` lets the next opening look for credentials again.
    """

    def __init__(self, opening: Opening, forget: Callable[[], Awaitable[None]] | None = None) -> None:
        self._opening = opening
        self._forget = forget
        self._lock = asyncio.Lock()
        self._now: _Opened | None = None
        self._leaving: dict[asyncio.Task[None], _Opened] = {}
        self._is_closed = False
        self._tries = 0  # to open it
        self._failure: SesProblem | None = None  # of the last of them

    async def call(
        self, operation: str, meaning: Callable[[Answer], SesProblem], *, is_repeatable: bool = True, **request: Any
    ) -> dict[str, Any]:
        """Make one call, `operation` being the client's method. Raises SesProblem.

        `meaning` reads error answers. Without an answer the outcome is unknown, but for a call that can be repeated.
        """
        opened = await self._open()
        with opened:
            try:
                answer: dict[str, Any] = await getattr(opened.client, operation)(**request)
            except _EXPECTED as exc:
                raise _problem(exc, opened.client, operation, meaning, is_repeatable) from exc
        return answer

    async def send(self, mail: Mail, meaning: Callable[[Answer], SesProblem]) -> dict[str, Any]:
        """Make one SendEmail call. Raises SesProblem, and what reading the message raises, with nothing sent then."""
        opened = await self._open()
        with opened:
            if opened.direct is not None:
                try:
                    answer = await opened.direct.send(mail, meaning)
                except _EXPECTED as exc:  # nothing has left yet
                    raise _problem(exc, opened.client, "send_email", meaning, is_repeatable=True) from exc
                if answer is not None:
                    return answer
        return await self.call("send_email", meaning, is_repeatable=False, **mail.request())

    async def renew(self) -> None:
        """Look for credentials again before the next call, unless that was done just now."""
        old = self._now
        if old is None or time.monotonic() - old.at < FRESH:
            return
        self._now = None
        task = asyncio.create_task(old.close(LEAVING))
        self._leaving[task] = old
        task.add_done_callback(lambda done: self._leaving.pop(done, None))
        if self._forget is not None:
            await self._forget()

    async def close(self, grace: timedelta = NO_GRACE) -> None:
        """Take no more calls, wait for those in hand, at most for `grace`, and close the client."""
        self._is_closed = True
        tasks, left = [*self._leaving], [*self._leaving.values()]
        if self._now is not None:
            left.append(self._now)
            self._now = None
        try:
            await asyncio.gather(*(each.close(grace) for each in left))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _open(self) -> _Opened:
        if self._now is not None and not self._is_closed:
            return self._now
        tries = self._tries
        async with self._lock:
            if self._failure is not None and self._tries > tries:  # somebody tried while we waited
                raise self._failure.again()
            if self._now is None and not self._is_closed:
                await self._try()
            if self._is_closed or self._now is None:
                said = "the account was changed or taken out of use meanwhile"
                raise SesProblem(Kind.SES_CONFIG, Scope.ACCOUNT, said)
            return self._now

    async def _try(self) -> None:
        """Open the client. Raises SesProblem."""
        leave = contextlib.AsyncExitStack()
        self._failure = None
        try:
            client, direct = await self._entered(leave)
        except SesProblem as problem:
            self._failure = problem.again()
            raise
        finally:
            self._tries += 1
        if self._is_closed:
            await leave.aclose()
        else:
            self._now = _Opened(client, direct, leave)

    async def _entered(self, leave: contextlib.AsyncExitStack) -> tuple[Client, Direct | None]:
        try:
            return await leave.enter_async_context(await self._opening())
        except exceptions.ClientError as exc:
            raise classify_fetching(_answer(exc), exc.operation_name) from exc
        except (exceptions.BotoCoreError, OSError, ValueError, RuntimeError) as exc:  # nothing has been sent
            raise SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, _said(exc)) from exc


_EXPECTED = (
    exceptions.BotoCoreError,
    exceptions.ClientError,
    TransportError,
    TimeoutError,
    OSError,
    ValueError,
    RuntimeError,
    AttributeError,  # botocore's, of an answer that is JSON but no object
)


def _problem(
    exc: Exception,
    client: Client,
    operation: str,
    meaning: Callable[[Answer], SesProblem],
    is_repeatable: bool,
) -> SesProblem:
    if isinstance(exc, exceptions.ClientError):
        if exc.operation_name != client.meta.method_to_api_mapping[operation]:
            return classify_fetching(_answer(exc), exc.operation_name)
        return meaning(_answer(exc))
    if isinstance(exc, exceptions.ParamValidationError):
        # Our own fault: its text quotes the parameters, and they are content.
        return meaning(Answer("ValidationException", 0, "the request is not one AWS takes"))
    return _without_answer(exc, is_repeatable)


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
    about = exc.response.get("ResponseMetadata", {})
    date = str(about.get("HTTPHeaders", {}).get("date", ""))
    return Answer(
        str(error.get("Code", "")), int(about.get("HTTPStatusCode", 0)), str(error.get("Message") or ""), date
    )


def _said(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"
