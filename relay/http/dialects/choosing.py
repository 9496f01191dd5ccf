"""Which dialect a request is in: by its path alone, but for one path that two products share.

Never by its body: bodies are alike, and a wrong guess would refuse in words the client does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from relay.http.dialects.dialect import Dialect
from relay.http.dialects.mailerlogic import MAILERLOGIC
from relay.http.dialects.native import NATIVE
from relay.http.dialects.sendfleet import SENDFLEET
from relay.http.dialects.sendmux import SENDMUX

# Below these every path is in that dialect, so that a client's base URL alone says which one it speaks. Sendex's is the
# native one.
MOUNTS: Mapping[str, Dialect] = {
    "/sendfleet": SENDFLEET,
    "/sendex": NATIVE,
    "/mailerlogic": MAILERLOGIC,
    "/sendmux": SENDMUX,
}
_OWN_PATHS = (
    (re.compile(r"/api/send/?"), SENDFLEET),
    (re.compile(r"/api/(?:v1/)?(?:send|batch|bulk-send)"), MAILERLOGIC),
    (re.compile(r"/api/v1/customer/webhooks(?:/[^/]*)?"), MAILERLOGIC),
    (re.compile(r"/api/v1/(?:me|emails/send|emails/send/batch|emails/attachment(?:s|-uploads)(?:/.*)?)"), SENDMUX),
    (re.compile(r"/api/v1/(?:events|emails/[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{27}/events)"), MAILERLOGIC),
)
_SHARED = "/api/send"  # SendFleet's without its slash, and an old one of MailerLogic's
_MAILERLOGIC_KEY = "ml_live_"


def dialect_of(path: str, key: str) -> Dialect:
    """The dialect of a request to `path` with the API key `key`, "" for none."""
    mount = "/" + path[1:].partition("/")[0]
    if mount in MOUNTS:
        return MOUNTS[mount]
    if path == _SHARED and key.startswith(_MAILERLOGIC_KEY):
        return MAILERLOGIC
    return next((dialect for pattern, dialect in _OWN_PATHS if pattern.fullmatch(path)), NATIVE)
