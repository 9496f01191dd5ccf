"""The kinds of values that settings and requests are made of, each parsed once, at the border."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    Strict,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)

from relay.errors import Fault, Problem
from relay.message import Address as Mailbox
from relay.message import canonical_domain

MB = 1 << 20


class Endpoint(NamedTuple):
    """Where a listener binds."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or ip_address(self.host).is_loopback


def _endpoint(value: Any) -> Endpoint:
    host, colon, port = str(value).rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError("write it as ADDRESS:PORT, for example 127.0.0.1:8080 or [::1]:8080")
    if host != "localhost":
        try:
            ip_address(host)
        except ValueError as exc:
            raise ValueError(f"{host!r} is not an IP address; use 0.0.0.0 for every interface") from exc
    return Endpoint(host, int(port))


_SPAN = re.compile(r"(\d+)\s*(s|m|h|d)")
_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _span(value: Any) -> timedelta:
    if str(value) == "0":
        return timedelta(0)
    match = _SPAN.fullmatch(str(value))
    if not match:
        raise ValueError("write it as a number and a unit: 30s, 10m, 24h or 90d")
    try:
        return timedelta(**{_SPANS[match[2]]: int(match[1])})
    except OverflowError as exc:
        raise ValueError("is longer than any time") from exc


_SIZE = re.compile(r"(\d+)\s*(KB|MB|GB)?")
_SIZES = {None: 1, "KB": 1 << 10, "MB": MB, "GB": 1 << 30}


def _size(value: Any) -> int:
    match = _SIZE.fullmatch(str(value))
    if not match:
        raise ValueError("write it as a number of octets, or with a unit: 512KB, 40MB, 1GB")
    return int(match[1]) * _SIZES[match[2]]


def nameserver(text: str) -> Endpoint:
    """`IP`, `IP:port` or `[IPv6]:port`. Raises ValueError for anything else."""
    host, port = text, "53"
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError as exc:
        raise ValueError("write it as an IP address, or as ADDRESS:PORT") from exc
    if not (port.isascii() and port.isdecimal() and 0 < int(port) <= 65535):
        raise ValueError("the port is not one")
    return Endpoint(str(address), int(port))


_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


def _origin(value: Any) -> str:
    """RFC 6454 section 6.2."""
    if not isinstance(value, str) or not _ORIGIN.fullmatch(value):
        raise ValueError("write it as https://HOST or https://HOST:PORT, without a path")
    return value.lower()


def _public_url(value: Any) -> str:
    origin = _ORIGIN.match(value) if isinstance(value, str) else None
    if origin is None or not _PATH.fullmatch(value.removesuffix("/"), origin.end()):
        raise ValueError("write it as https://HOST, with a port and a path where there are any")
    return str(value).removesuffix("/")


# Of a URL that is posted to: no user, no fragment, and nothing that two programs could read in two ways.
_WEB_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9/._~!$&'()*+,;=:@%-]*)?(?P<query>\?[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*)?"
)


def _web_url(value: Any) -> str:
    found = _WEB_URL.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(
            "write it as https://HOST/PATH in ASCII, with a port and a query where there are any, without user or #"
        )
    if found["port"] is not None and not 0 < int(found["port"]) <= 65535:
        raise ValueError("the port is not one")
    return str(value)


def _nameserver(value: str) -> str:
    nameserver(value)
    return value


def _domain(value: Any) -> str:
    try:
        return canonical_domain(str(value))
    except Problem as problem:
        raise ValueError(problem.detail) from problem


def network(value: Any) -> IPv4Network | IPv6Network:
    """One that does not hold everybody. Raises ValueError."""
    found = ip_network(str(value))
    if found.prefixlen == 0:
        raise ValueError("this is everybody: name the networks of the machines you trust")
    return found


def read_secret(value: Any, info: ValidationInfo) -> Any:
    """`file:PATH` stands for what the file holds, in the configuration file alone."""
    if isinstance(value, str) and value.startswith("file:") and info.context is not None:
        path = _path(value.removeprefix("file:"), info)
        try:
            return path.read_text("utf-8").strip()
        except OSError as exc:
            raise ValueError(f"cannot read {path}: {exc.strerror}") from exc
    return value


def _path(value: Any, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError("must be a path")
    if info.context is None:  # not from the file: there is no folder to start from
        return Path(str(value))
    base: Path = info.context["base"]
    return base / str(value)


def _mailbox(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    try:
        return str(Mailbox.parse(value))
    except Problem as problem:
        raise ValueError(problem.detail) from problem


def _one_line(value: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must be one line, without control characters")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("has half of a surrogate pair") from exc
    return value


Yes = Annotated[bool, Strict()]  # true or false; a word such as `yes` is a fault, not a guess
_SPAN_SCHEMA = {"anyOf": [{"type": "string", "pattern": r"^(0|[0-9]{1,9}\s*[smhd])$"}, {"const": 0}]}
Span = Annotated[timedelta, BeforeValidator(_span), WithJsonSchema(_SPAN_SCHEMA)]
Size = Annotated[int, BeforeValidator(_size)]
Domain = Annotated[str, AfterValidator(_domain)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(network)]
Secret = Annotated[SecretStr, BeforeValidator(read_secret)]
LocalPath = Annotated[Path, BeforeValidator(_path)]
Address = Annotated[Endpoint, BeforeValidator(_endpoint)]
Nameserver = Annotated[str, AfterValidator(_nameserver)]
Origin = Annotated[str, BeforeValidator(_origin)]
PublicUrl = Annotated[str, BeforeValidator(_public_url)]
WebUrl = Annotated[str, BeforeValidator(_web_url), Field(max_length=2000)]
Email = Annotated[str, BeforeValidator(_mailbox), WithJsonSchema({"type": "string", "format": "email"})]
Line = Annotated[str, Field(max_length=998), AfterValidator(_one_line)]  # RFC 5322 section 2.1.1
Paragraph = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_one_line)]
Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]  # of a tenant, an SES account, a plan


class Section(BaseModel):
    """A mapping of settings: frozen, and an unknown one is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


# -- faults ----------------------------------------------------------------------------------------------------------

_WORDS = {
    "missing": "is required",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "frozen_set_type": "must be a list",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string",
}
_MOMENT = "must be a moment with its time zone, for example 2030-01-31T00:00:00Z"
_WORDS |= dict.fromkeys(
    ("timezone_aware", "datetime_type", "datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid"),
    _MOMENT,
)


def faults_of(exc: ValidationError, *, unknown: str = "is not a known field") -> list[Fault]:
    """Every fault of an input with its path, in words of ours, and never the input itself: it may be a secret."""
    found: dict[str, str] = {}
    for error in exc.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in error["loc"] if part != "[key]")
        if error["type"] == "too_short" and any(other.startswith(f"{path}.") for other in found):
            continue  # those at fault were not counted
        found.setdefault(path, _said(error, unknown))
    return [Fault(path, message) for path, message in found.items()]


def _said(error: Mapping[str, Any], unknown: str) -> str:
    bounds = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return unknown
        case "string_pattern_mismatch":
            return f"does not have the form {bounds['pattern']}"
        case "too_short":
            return f"must have at least {_counted(bounds['min_length'], bounds)}"
        case "too_long":
            return f"must have at most {_counted(bounds['max_length'], bounds)}"
        case "greater_than_equal" if isinstance(bounds["ge"], timedelta):
            return f"must be at least {bounds['ge'].total_seconds():g}s"
        case kind:
            return _WORDS.get(kind) or str(error["msg"]).removeprefix("Value error, ")


def _counted(number: int, bounds: Mapping[str, Any]) -> str:
    unit = "character" if bounds["field_type"] == "Value" else "item"  # of a secret, or of a list
    return f"{number} {unit}{'' if number == 1 else 's'}"
