"""What clients send in AUTH PLAIN and LOGIN (RFC 4616; draft-murchison-sasl-login). The password is the API key."""

from __future__ import annotations

import base64
import binascii

from relay.smtp.conversation import Refused
from relay.smtp.replies import Reply

MAX_LINE = 12_288  # octets of a response line (RFC 4954 section 4)
USERNAME = "VXNlcm5hbWU6"  # "Username:", the exact challenge that clients compare (SMTP fact 0.5)
PASSWORD = "UGFzc3dvcmQ6"  # noqa: S105 - "Password:"


def decode(line: bytes) -> bytes:
    """A response. Raises Refused for `*`, which cancels, and for what is not base64."""
    if line == b"*":
        raise Refused(Reply.AUTH_CANCELLED)
    if line == b"=":  # an empty initial response (RFC 4954 section 4)
        return b""
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error as exc:
        raise Refused(Reply.BAD_BASE64) from exc


def password_of_plain(response: bytes) -> str:
    """The password of `authzid NUL authcid NUL password`; any user name will do. Raises Refused."""
    parts = response.split(b"\0")
    if len(parts) != 3:
        raise Refused(Reply.BAD_ARGUMENT, "AUTH PLAIN takes NUL user NUL password")
    return text(parts[2])


def text(password: bytes) -> str:
    """Keys are ASCII; anything else is a wrong key, not an error."""
    return password.decode("utf-8", "replace")
