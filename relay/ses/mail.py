"""One SendEmail request, and its body, octet for octet as botocore makes it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.ses.slices import SLICE, Body, InParts, Whole

_BEFORE = b'{"Content": {"Raw": {"Data": "'
_AFTER = b'"}}, '


@dataclass(frozen=True, slots=True)
class Mail:
    """`raw` is the message; `members` all others of the request, of which there is one at least."""

    raw: bytes | InParts
    members: Mapping[str, Any]

    def request(self) -> dict[str, Any]:
        """As botocore takes it."""
        return {"Content": {"Raw": {"Data": self.raw}}, **self.members}

    def body(self) -> bytes | Body:
        """The JSON text; of a large message slice by slice, so that it is neither held nor made at once."""
        after = _AFTER + json.dumps(self.members).encode("ascii")[1:]
        if not isinstance(self.raw, bytes):
            return Body(_BEFORE, self.raw, after)
        if len(self.raw) > SLICE:
            return Body(_BEFORE, Whole(self.raw), after)
        return b"".join((_BEFORE, b64encode(self.raw), after))
