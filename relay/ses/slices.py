"""Sends a large message in slices, through botocore's own call.

botocore would make one JSON text of it: five times its size in memory, and an event loop that stands still while that
is made, hashed and sent. So it is given a short text to send, and the body that it makes of that is put around the
message.
"""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

SLICE = 192 << 10  # octets that are encoded at once; base64 makes 4 of 3
_PLACE = b"here the message goes, in slices"
_MARK = b64encode(_PLACE)
_KEY = "relay_message"  # in the context that botocore hands from one step of a call to the next


class InParts(Protocol):
    """A message that is read part by part, as often as it is asked for. `size` is in octets."""

    @property
    def size(self) -> int: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


def send_in_slices(client: Any) -> None:
    """Let this client's send_email take a message in parts; large octets are sent that way, too."""
    client.meta.events.register("provide-client-params.sesv2.SendEmail", _take_message)
    client.meta.events.register("before-call.sesv2.SendEmail", _give_body)


def _take_message(params: dict[str, Any], context: dict[str, Any], **_: Any) -> dict[str, Any] | None:
    message = params["Content"]["Raw"]["Data"]
    if isinstance(message, bytes):
        if len(message) <= SLICE:
            return None
        message = Whole(message)
    context[_KEY] = message
    return {**params, "Content": {"Raw": {"Data": _PLACE}}}


async def _give_body(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    message: InParts | None = context.get(_KEY)
    if message is None:
        return
    before, _mark, after = params["body"].partition(_MARK)
    body = Body(before, message, after)
    # Signed like any other header, and then SigV4 does not hash the body itself.
    params["headers"]["X-Amz-Content-SHA256"] = await digest_of(body)
    params["headers"]["Content-Length"] = str(body.size)
    params["body"] = body


@dataclass(frozen=True, slots=True)
class Whole:
    """A message that is in memory."""

    octets: bytes

    @property
    def size(self) -> int:
        return len(self.octets)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.octets


@dataclass(frozen=True, slots=True)
class Body:
    """What aiohttp sends: the message as base64, in a JSON text."""

    before: bytes
    message: InParts
    after: bytes
    slice: int = SLICE

    @property
    def size(self) -> int:
        return len(self.before) + (self.message.size + 2) // 3 * 4 + len(self.after)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The loop goes round after each piece."""
        yield self.before
        left = b""  # less than three octets: they would be padded
        async for part in self.message:
            for at in range(0, len(part), self.slice):
                piece = left + part[at : at + self.slice]
                whole = len(piece) - len(piece) % 3
                left = piece[whole:]
                yield binascii.b2a_base64(piece[:whole], newline=False)
                await asyncio.sleep(0)
        yield b64encode(left) + self.after


async def digest_of(body: bytes | Body) -> str:
    """The SHA-256 that is signed, in hex. Raises what reading a message in parts raises."""
    if isinstance(body, bytes):
        return sha256(body).hexdigest()
    digest = sha256()
    async for piece in body:
        digest.update(piece)
    return digest.hexdigest()
