"""What tells one dialect from another. Knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel
from starlette.responses import Response

from relay.errors import Problem
from relay.http.letter import Letter, Sent
from relay.message import Address


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer may say of its request. `public_url` is that of the configuration, "" where there is none."""

    request_id: str
    public_url: str


Told: TypeAlias = tuple[int, dict[str, Any]]  # an HTTP status and what the JSON says


def message_id_of(public_id: str, domain: str) -> str:
    """The Message-ID (RFC 5322 section 3.6.4) of a message that was composed here."""
    return f"<{public_id}@{domain}>"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One product's way of speaking. `first`: the header whose key counts where a request carries both.

    `counts`: whose requests its rate is of. `needs_type`: a body without a Content-Type is refused. `refusal` documents
    what `refuse` says.
    """

    name: str
    refuse: Callable[[Problem, Asked], Told]
    refusal: type[BaseModel]
    first: Literal["authorization", "x-api-key"]
    counts: Literal["key", "tenant"] = "key"
    needs_type: bool = False
    message_id: Callable[[str, str], str] = message_id_of


@dataclass(frozen=True, slots=True)
class Single:
    """A route that sends one message.

    `read` makes a letter of the JSON, given whom mail without an author is from; it raises Problem(BAD_REQUEST) with
    every fault. `model` documents the body and `answer` what `accepted` says, with the status `success`. `rehearsed`
    answers where nothing was to be sent.
    """

    dialect: Dialect
    path: str
    summary: str
    model: type[BaseModel]
    answer: type[BaseModel]
    success: int
    read: Callable[[dict[str, Any], Address | None], Letter]
    accepted: Callable[[Letter, Sent, Asked], Response]
    rehearsed: Callable[[Letter, Sent, Asked], Response] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A route that sends many, each judged alone.

    `read` raises Problem for what is wrong with the request as a whole; a bad message is a Problem in its place.
    `answered` may raise a Problem, too, where the contract has the whole call fail. `model`, `answer` and `success` are
    as of a single one.
    """

    dialect: Dialect
    path: str
    summary: str
    model: type[BaseModel]
    answer: type[BaseModel]
    success: int
    read: Callable[[dict[str, Any], Address | None], list[Letter | Problem]]
    answered: Callable[[Sequence[Letter | Problem], Sequence[Sent | Problem], Asked], Response]
