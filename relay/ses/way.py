"""Where and how SendEmail goes: learnt from one request that botocore makes, signs and does not send.

botocore resolves the endpoint, the region and the name to sign for, the proxy and the authorities; those are the same
in every call of one client. What is learnt is used only if signing that request here gives the same signature.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.credentials import AioCredentials
from botocore.auth import SigV4Auth
from botocore.credentials import ReadOnlyCredentials

from relay.ses.egress import Egress, Egresses
from relay.ses.mail import Mail
from relay.ses.sessions import Caught, catching

PATH = "/v2/email/outbound-emails"
_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNED = ("content-type", "host", "x-amz-date", "x-amz-security-token")
_CONSTANT = ("Content-Type", "User-Agent", "amz-sdk-request")
_FROZEN = ReadOnlyCredentials("AKIDEXAMPLE", "trial", "token")
_TRIAL_KEYS = AioCredentials(*_FROZEN[:3])
_TRIAL = Mail(b"", {"Destination": {"ToAddresses": []}})


@dataclass(frozen=True, slots=True)
class _Stamped:
    """All that botocore's signer reads of a request whose canonical form it is given."""

    context: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Way:
    """One client's way to SES."""

    url: str
    host: str
    path: str
    headers: Mapping[str, str]
    region: str
    service: str
    egress: Egress

    def signed(self, credentials: Any, digest: str, timestamp: str = "") -> dict[str, str]:
        """The headers of a request whose body has this SHA-256; `credentials` are frozen ones of botocore."""
        timestamp = timestamp or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        own = {"X-Amz-Date": timestamp}
        if credentials.token:
            own["X-Amz-Security-Token"] = credentials.token
        values = (self.headers["Content-Type"], self.host, *own.values())
        names = ";".join(_SIGNED[: len(values)])
        lines = "".join(f"{name}:{value}\n" for name, value in zip(_SIGNED, values, strict=False))
        canonical = f"POST\n{self.path}\n\n{lines}\n{names}\n{digest}"
        signer, stamped = SigV4Auth(credentials, self.service, self.region), _Stamped({"timestamp": timestamp})
        signature = signer.signature(signer.string_to_sign(stamped, canonical), stamped)
        own["Authorization"] = (
            f"{_ALGORITHM} Credential={signer.scope(stamped)}, SignedHeaders={names}, Signature={signature}"
        )
        return {**self.headers, **own}


async def learn(client: Any, egresses: Egresses) -> Way | None:
    """None where botocore signs otherwise, and so has to send every mail itself. Raises what botocore raises."""
    caught = await _catch(client)
    egress = await egresses.towards(caught.request.url, caught.verify, caught.proxies)
    try:
        return _way_of(caught.request, egress)
    except (LookupError, ValueError, TypeError, AttributeError):  # a request of another form
        return None


def _way_of(request: Any, egress: Egress) -> Way | None:
    target, said = urlsplit(request.url), _text(request.headers.get("Authorization"))
    scope = said.removeprefix(f"{_ALGORITHM} Credential=").partition(",")[0].split("/")
    if request.method != "POST" or not said.startswith(_ALGORITHM) or target.query:
        return None
    way = Way(
        url=request.url,
        host=target.netloc.removesuffix({"https": ":443", "http": ":80"}[target.scheme]),
        path=target.path,
        headers={
            **{name: _text(request.headers[name]) for name in _CONSTANT if name in request.headers},
            "Accept-Encoding": "identity",
        },
        region=scope[2],
        service=scope[3],
        egress=egress,
    )
    again = way.signed(_FROZEN, sha256(request.body).hexdigest(), _text(request.headers["X-Amz-Date"]))
    return way if again["Authorization"] == said else None


async def _catch(client: Any) -> Caught:
    """A request that is signed by keys of nobody: the account's own are not needed, nor looked for, for that."""
    client.meta.events.register("before-sign.sesv2.SendEmail", _lend)
    token = catching.set(PATH)
    try:
        await client.send_email(**_TRIAL.request())
    except Caught as caught:
        return caught
    finally:
        catching.reset(token)
        client.meta.events.unregister("before-sign.sesv2.SendEmail", _lend)
    raise RuntimeError("botocore made a request that was not seen")


def _lend(request: Any, **_: Any) -> None:
    request.context["signing"] = {**request.context.get("signing", {}), "request_credentials": _TRIAL_KEYS}


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value or "")
