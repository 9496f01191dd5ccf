"""What the List operations share: sizes and tokens of pages. A token is the last name of the page before it."""

from __future__ import annotations

import binascii
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterable

from relay.sandbox.refusals import Refusal

_MOST = 1_000


def read_size(value: object) -> int:
    """PageSize, a number in a body and text in a query; 1,000 when left out or 0. Raises Refusal."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        value = int(value)
    if value is None:
        return _MOST
    if type(value) is not int or not 0 <= value <= _MOST:
        raise Refusal("BadRequestException", f"PageSize must be 0 to {_MOST}.")
    return value or _MOST


def read_token(value: str | None, code: str = "BadRequestException") -> str:
    """The name in a NextToken, empty without one. Raises Refusal with the code."""
    try:
        return b64decode(value or "", altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise Refusal(code, "The specified token is invalid.") from None


def token_after(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode("ascii")


def page(names: Iterable[str], size: int, after: str) -> tuple[list[str], dict[str, str]]:
    """The names on a page, and the NextToken member that follows them, if any."""
    rest = sorted(name for name in names if name > after)
    more = {"NextToken": token_after(rest[size - 1])} if len(rest) > size else {}
    return rest[:size], more
