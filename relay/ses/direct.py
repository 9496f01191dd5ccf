"""Sends mail past botocore's client: signed by its signer, over our own connections, at a fifth of the work."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from http import HTTPStatus
from http.client import responses
from typing import Any
from uuid import uuid4

from aiohttp import ClientConnectorCertificateError, ClientConnectorSSLError, ClientHttpProxyError
from botocore.parsers import create_parser

from relay import log
from relay.errors import Kind
from relay.ses.egress import Egresses, Outgoing, Reply
from relay.ses.errors import Answer, Scope, SesProblem
from relay.ses.mail import Mail
from relay.ses.sessions import READ_TIMEOUT
from relay.ses.slices import digest_of
from relay.ses.way import Way, learn

LEAST_SPEED = 128 << 10  # octets a second that a body leaves at, or the call is given up
_PARSER = create_parser("rest-json")


class Direct:
    """One account's calls. Belongs to one client of botocore, which it takes its way and its credentials from."""

    def __init__(self, account: str, client: Any, credentials: Any, egresses: Egresses) -> None:
        self._account = account
        self._client = client
        self._credentials = credentials
        self._egresses = egresses
        self._learning = asyncio.Lock()
        self._way: Way | None = None
        self._is_possible = True
        self._in_hand: set[asyncio.Timeout] = set()

    async def send(self, mail: Mail, meaning: Callable[[Answer], SesProblem]) -> dict[str, Any] | None:
        """Its answer; None, with nothing sent, where only botocore can send this account's mail.

        Raises SesProblem for what SES answered and for what became of the call; and what botocore raises for
        credentials that cannot be had, and what reading the message raises, with nothing sent.
        """
        way = self._way or await self._learn()
        if way is None:
            return None
        body = mail.body()
        digest = await digest_of(body)
        headers = way.signed(await self._credentials.get_frozen_credentials(), digest)
        headers["amz-sdk-invocation-id"] = str(uuid4())
        reply = await self._post(way, headers, Outgoing(body))
        if reply.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise meaning(answer_of(reply))
        return _read(reply)

    async def close(self) -> None:
        """End the calls in hand: what has left has an unknown outcome."""
        for limit in self._in_hand:
            if not limit.expired():
                limit.reschedule(0)
        await asyncio.sleep(0)

    async def _learn(self) -> Way | None:
        async with self._learning:
            if self._way is None and self._is_possible:
                self._way = await learn(self._client, self._egresses)
                self._is_possible = self._way is not None
                if not self._is_possible:
                    log.event("ses.by_botocore", account=self._account)  # right, but five times the work
            return self._way

    async def _post(self, way: Way, headers: dict[str, str], body: Outgoing) -> Reply:
        limit = asyncio.timeout(READ_TIMEOUT + (body.size or 0) / LEAST_SPEED)
        self._in_hand.add(limit)
        try:
            async with limit:
                return await way.egress.post(way.url, headers, body)
        except Exception as exc:  # whatever it is, nobody above knows whether anything has left
            if not body.has_left:
                raise SesProblem(Kind.SES_UNAVAILABLE, Scope.ACCOUNT, _said(exc)) from exc
            # SES may have it (SES fact 0.1).
            raise SesProblem(Kind.SES_UNKNOWN_OUTCOME, Scope.MESSAGE, f"no answer: {type(exc).__name__}") from exc
        finally:
            self._in_hand.discard(limit)


def answer_of(reply: Reply) -> Answer:
    """An error answer, read by botocore's own parser; what that cannot read still has its header or its status."""
    headers = {name.lower(): value for name, value in reply.headers.items()}
    date = headers.get("date", "")
    response = {"headers": headers, "status_code": reply.status, "body": reply.body, "context": {}}
    try:
        error = _PARSER.parse(response, None)["Error"]
        return Answer(str(error["Code"]), reply.status, str(error.get("Message") or ""), date)
    except (ValueError, TypeError, AttributeError, LookupError):
        code = headers.get("x-amzn-errortype", "").partition(":")[0] or str(reply.status)
        return Answer(code, reply.status, responses.get(reply.status, ""), date)


def _read(reply: Reply) -> dict[str, Any]:
    """What is no JSON object has no members: that SES took the mail, and as what, it does not say."""
    try:
        found = json.loads(reply.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _said(exc: Exception) -> str:
    """Never with a proxy's URL, which may hold a password."""
    if isinstance(exc, ClientHttpProxyError):
        return f"ProxyConnectionError: the egress proxy answers {exc.status} {exc.message}"
    if isinstance(exc, ClientConnectorSSLError | ClientConnectorCertificateError | ssl.SSLError):
        return f"SSLError: {exc}"
    return f"{type(exc).__name__}: {exc}"
