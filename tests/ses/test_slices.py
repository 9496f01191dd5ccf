"""A body in slices is the JSON that botocore would have made, octet for octet; and it arrives."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.sandbox.server import running
from relay.ses.clients import Access, Accounts, StaticKeys
from relay.ses.errors import SesProblem
from relay.ses.slices import SLICE, Body
from tests.support import ACCOUNTS


@dataclass(frozen=True)
class Parts:
    octets: bytes
    part: int
    trouble: Callable[[int], None] = lambda at: None

    @property
    def size(self) -> int:
        return len(self.octets)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.octets), self.part):
            self.trouble(at)
            yield self.octets[at : at + self.part]


async def gathered(body: Body) -> bytes:
    return b"".join([piece async for piece in body])


@given(st.binary(max_size=200), st.integers(1, 7), st.integers(1, 7))
def test_however_it_is_cut_it_is_the_same_json(octets: bytes, part: int, slice_: int) -> None:
    body = Body(b'{"Data": "', Parts(octets, part), b'", "b": 1}', slice_)
    found = asyncio.run(gathered(body))
    assert found == b'{"Data": "' + base64.b64encode(octets) + b'", "b": 1}'
    assert len(found) == body.size
    assert asyncio.run(gathered(body)) == found  # read as often as it is asked for


MESSAGE = b"From: a@shared.example\r\nSubject: x\r\n\r\n"


def sent(message: bytes | Parts) -> bytes:
    """What the sandbox got; it checks no signature, but botocore's hash of it is checked here."""

    async def send() -> bytes:
        async with running(ACCOUNTS) as sandbox, Accounts() as accounts:
            access = Access("operator", "eu-west-1", StaticKeys("operator", "any"), endpoint_url=sandbox.url)
            account = accounts.open(access)
            await account.send(message, ["b@c.example"], domain="shared.example", tags={}, configuration_set=None)
            return await asyncio.to_thread(first_of, sandbox.url)

    return asyncio.run(send())


def first_of(url: str) -> bytes:
    with urllib.request.urlopen(f"{url}/messages") as answer:
        return base64.b64decode(json.load(answer)[0]["raw"])


@pytest.mark.parametrize("octets", [SLICE - 1, SLICE, SLICE + 1, SLICE + 2, 5_000_000])
def test_it_arrives(octets: int) -> None:
    message = (MESSAGE + (b"y" * 78 + b"\r\n") * (octets // 80 + 1))[:octets]
    assert sent(message) == message
    assert sent(Parts(message, 1 << 20)) == message


def test_what_cannot_be_read_is_not_sent() -> None:
    def trouble(at: int) -> None:
        raise Problem(Kind.INTERNAL)

    with pytest.raises(Problem) as raised:
        sent(Parts(MESSAGE * 10_000, 1000, trouble))
    assert not isinstance(raised.value, SesProblem)


def test_what_breaks_off_while_it_is_sent_has_an_unknown_outcome() -> None:
    reads: list[int] = []

    def trouble(at: int) -> None:
        reads.append(at)
        if at and reads.count(at) == 2:
            raise Problem(Kind.INTERNAL)

    with pytest.raises(SesProblem) as raised:
        sent(Parts(MESSAGE * 10_000, 300_000, trouble))
    assert raised.value.kind is Kind.SES_UNKNOWN_OUTCOME
