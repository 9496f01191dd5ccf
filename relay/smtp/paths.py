"""Reads the arguments of MAIL and RCPT: a path and parameters (RFC 5321 section 4.1.2). Decodes nothing."""

from __future__ import annotations

import re

from relay.errors import Kind, Problem, printable
from relay.message import Address
from relay.smtp.conversation import Refused
from relay.smtp.replies import Reply

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")


def parse(argument: bytes, keyword: str) -> tuple[Address | None, dict[str, str]]:
    """The path after `FROM:` or `TO:`, and the parameters by upper-case name. None is the null path `<>`.

    Brackets may be missing (old devices) and a source route is passed over (RFC 5321 appendix C). Raises Refused for
    a malformed command, Problem for an address that cannot be taken.
    """
    if not argument[: len(keyword)].upper() == keyword.encode("ascii"):
        raise Refused(Reply.BAD_ARGUMENT, f"write it as {keyword}<name@domain>")
    rest = argument[len(keyword) :].strip(b" ")
    try:
        text = rest.decode("ascii")
    except UnicodeDecodeError as exc:
        raise Problem(Kind.NON_ASCII_ADDRESS, f"{printable(rest)}: {Kind.NON_ASCII_ADDRESS.title}") from exc
    path, after = _cut(text, keyword)
    return _address(path), _parameters(after)


def _cut(text: str, keyword: str) -> tuple[str, str]:
    """The path without its brackets, and what follows it. A quoted local part may hold spaces and brackets."""
    if not text.startswith("<"):
        path, _, after = text.partition(" ")
        if not path or ">" in path:
            raise Refused(Reply.BAD_ARGUMENT, f"write it as {keyword}<name@domain>")
        return path, after
    quoted = escaped = False
    for at, character in enumerate(text[1:], 1):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == ">" and not quoted:
            after = text[at + 1 :]
            if after and not after.startswith(" "):
                raise Refused(Reply.BAD_ARGUMENT, "a space must follow the address")
            return text[1:at], after
    raise Refused(Reply.BAD_ARGUMENT, "the address has no closing >")


def _address(path: str) -> Address | None:
    if not path:
        return None
    if path.startswith("@"):
        route, _, path = path.partition(":")
        if not path:
            raise Problem(Kind.BAD_ADDRESS, f"{printable(route)} is a route without an address")
    return Address.parse(path)


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise Refused(Reply.BAD_ARGUMENT, "parameters are written NAME=VALUE")
        if found.setdefault(match[1].upper(), match[2] or "") != (match[2] or ""):
            raise Refused(Reply.BAD_ARGUMENT, f"the parameter {match[1].upper()} is given twice")
    return found
