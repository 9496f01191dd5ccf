"""The parameters of MAIL and RCPT: SIZE, BODY and DSN are read, harmless ones passed over, promises refused."""

from __future__ import annotations

import re
from collections.abc import Mapping

from relay.errors import Kind, Problem
from relay.message import Dsn
from relay.smtp.conversation import Refused
from relay.smtp.replies import Reply

# RFC 3461 section 4: xtext, and the longest values.
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
MAX_ENVID = 100
MAX_ORCPT = 500
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,64}")
_CONDITIONS = ("SUCCESS", "FAILURE", "DELAY")
MAX_SIZE_DIGITS = 20  # RFC 1870 section 3

# What a client asks for with these cannot be given, and passing over them would break what it was told to expect:
# SMTPUTF8 (RFC 6531), REQUIRETLS (RFC 8689), HOLDFOR and HOLDUNTIL (RFC 4865), BY (RFC 2852).
_PROMISES = frozenset({"SMTPUTF8", "REQUIRETLS", "HOLDFOR", "HOLDUNTIL", "BY"})


def read_mail(parameters: Mapping[str, str], limit: int) -> tuple[Dsn, int]:
    """Those of MAIL: DSN, and the size that was declared, 0 for none.

    A name that nobody knows changes nothing, and old clients send many (SMTP fact 0.3). `limit`: octets of a message.
    Raises Refused, or Problem(TOO_LARGE).
    """
    ret = envid = None
    size = 0
    for name, value in parameters.items():
        match name:
            case "SIZE":  # RFC 1870
                if not value.isdecimal():
                    raise Refused(Reply.BAD_ARGUMENT, "SIZE is a number of octets")
                if len(value) > MAX_SIZE_DIGITS or int(value) > limit:
                    raise Problem(Kind.TOO_LARGE, f"the message is over {limit} octets")
                size = int(value)
            case "BODY":  # RFC 6152; Amazon SES has no way for binary
                if value.upper() not in {"7BIT", "8BITMIME"}:
                    raise Refused(Reply.BAD_ARGUMENT, "BODY is 7BIT or 8BITMIME")
            case "RET":
                ret = value.lower()
                if ret not in {"full", "hdrs"}:
                    raise Refused(Reply.BAD_ARGUMENT, "RET is FULL or HDRS")
            case "ENVID":
                envid = _xtext(name, value, MAX_ENVID)
            case _:
                _require_harmless(name)
    return Dsn(ret, envid), size


def read_rcpt(parameters: Mapping[str, str]) -> tuple[str | None, str | None]:
    """NOTIFY as its conditions in lower case, and ORCPT as it was given. Raises Refused."""
    notify = orcpt = None
    for name, value in parameters.items():
        match name:
            case "NOTIFY":
                notify = _notify(value)
            case "ORCPT":
                kind, semicolon, address = value.partition(";")
                if not (semicolon and address and _ADDRESS_TYPE.fullmatch(kind)):
                    raise Refused(Reply.BAD_ARGUMENT, "ORCPT is written rfc822;name@domain")
                _xtext(name, address, MAX_ORCPT)
                orcpt = value
            case "SIZE" | "BODY" | "RET" | "ENVID":
                raise Refused(Reply.BAD_ARGUMENT, f"{name} is a parameter of MAIL, not of RCPT")
            case _:
                _require_harmless(name)
    return notify, orcpt


def _notify(value: str) -> str:
    wanted = value.upper().split(",")
    if wanted == ["NEVER"]:
        return "never"
    if len(set(wanted)) != len(wanted) or not set(wanted) <= set(_CONDITIONS):
        raise Refused(Reply.BAD_ARGUMENT, "NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY")
    return ",".join(each.lower() for each in _CONDITIONS if each in wanted)


def _xtext(name: str, value: str, longest: int) -> str:
    if not value or len(value) > longest or not _XTEXT.fullmatch(value):
        raise Refused(Reply.BAD_ARGUMENT, f"{name} is 1 to {longest} characters of xtext (RFC 3461 section 4)")
    return value


def _require_harmless(name: str) -> None:
    if name in _PROMISES:
        raise Refused(Reply.UNKNOWN_PARAMETER, f"{name} is not offered here: send without it")
