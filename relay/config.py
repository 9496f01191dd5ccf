"""The configuration file: YAML to validated, frozen settings. Every fault is reported at once, each with its path."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Hashable, Mapping
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
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
    model_validator,
)

from relay.delivery import OnUnknown
from relay.errors import Fault, Problem, Unusable
from relay.message import Mode, canonical_domain

MB = 1 << 20
SES_MESSAGE_LIMIT = 40 * MB  # SES fact 1.2: counted on the MIME message


class ConfigError(Unusable):
    """The file cannot be used. One fault per line, each with its path."""

    def __init__(self, file: Path, faults: tuple[Fault, ...]) -> None:
        super().__init__(file, faults)
        self.file = file
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join([f"{self.file} cannot be used:", *(str(fault) for fault in self.faults)])


# -- values ----------------------------------------------------------------------------------------------------------


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
    if value == 0:
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


def _nameserver(value: str) -> str:
    nameserver(value)
    return value


def _domain(value: Any) -> str:
    try:
        return canonical_domain(str(value))
    except Problem as problem:
        raise ValueError(problem.detail) from problem


def _network(value: Any) -> IPv4Network | IPv6Network:
    network = ip_network(str(value))
    if network.prefixlen == 0:
        raise ValueError("this would let anyone send: name the networks of the machines you trust")
    return network


def _secret(value: Any, info: ValidationInfo) -> Any:
    """`file:PATH` stands for what the file holds."""
    if isinstance(value, str) and value.startswith("file:"):
        path = _path(value.removeprefix("file:"), info)
        try:
            return path.read_text("utf-8").strip()
        except OSError as exc:
            raise ValueError(f"cannot read {path}: {exc.strerror}") from exc
    return value


def _path(value: Any, info: ValidationInfo) -> Path:
    assert info.context is not None
    base: Path = info.context["base"]
    return base / str(value)


Yes = Annotated[bool, Strict()]  # true or false; a word such as `yes` is a fault, not a guess
Span = Annotated[timedelta, BeforeValidator(_span)]
Size = Annotated[int, BeforeValidator(_size)]
Domain = Annotated[str, AfterValidator(_domain)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
LocalPath = Annotated[Path, BeforeValidator(_path)]
Address = Annotated[Endpoint, BeforeValidator(_endpoint)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


# -- sections --------------------------------------------------------------------------------------------------------


class Tls(Enum):
    """How a listener speaks TLS."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Certificate(_Section):
    certificate: LocalPath
    key: LocalPath


class SmtpListener(_Section):
    address: Address
    tls: Tls = Tls.STARTTLS
    auth_without_tls: Yes = False
    trusted_networks: tuple[Network, ...] = ()


class Smtp(_Section):
    listeners: tuple[SmtpListener, ...] = ()
    max_recipients: Annotated[int, Field(ge=100, le=50_000)] = 1000  # RFC 5321 section 4.5.3.1.8: at least 100
    idle_timeout: Annotated[Span, Field(ge=timedelta(seconds=10))] = timedelta(minutes=5)  # RFC 5321 section 4.5.3.2.7
    max_connections: Annotated[int, Field(ge=1)] = 500


class Http(_Section):
    address: Address
    tls: Yes = False
    allow_plain: Yes = False
    metrics: Literal["loopback", "key", "none"] = "loopback"

    @model_validator(mode="after")
    def _is_private(self) -> Http:
        if not (self.tls or self.allow_plain or self.address.is_loopback):
            raise ValueError(
                "API keys would cross the network in clear: set `tls: true`, or `allow_plain: true` behind a proxy "
                "that speaks TLS"
            )
        return self


class Credentials(_Section):
    """Static keys, or a profile. Neither: the AWS default chain (environment, files, instance role)."""

    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    profile: str | None = None

    @model_validator(mode="after")
    def _is_one_sort(self) -> Credentials:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        if self.profile and self.access_key_id:
            raise ValueError("give either a profile or an access key, not both")
        return self


class SesAccount(_Section):
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")]
    credentials: Credentials = Credentials()
    endpoint_url: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")] | None = None
    # Recipients per second where GetAccount cannot be had.
    rate: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None


class SenderDomain(_Section):
    mode: Mode
    account: str
    include_subdomains: Yes = False
    configuration_set: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None


class Dns(_Section):
    nameservers: tuple[Annotated[str, AfterValidator(_nameserver)], ...] | None = None
    timeout: Annotated[Span, Field(ge=timedelta(seconds=1))] = timedelta(seconds=2)


class MxPolicy(Enum):
    """What a tenant wants to happen with a recipient whose domain takes no mail."""

    ENFORCE = "enforce"  # refuse it
    WARN = "warn"  # take it, and say so
    OFF = "off"  # never look


class OnTrouble(Enum):
    """What happens under `enforce` while nothing can be looked up. It is never the sender's fault."""

    ACCEPT = "accept"
    DEFER = "defer"  # answer "try again later"


class Mx(_Section):
    policy: MxPolicy = MxPolicy.ENFORCE
    on_trouble: OnTrouble = OnTrouble.ACCEPT


class Delivery(_Section):
    max_age: Span = timedelta(hours=24)
    on_unknown: OnUnknown = OnUnknown.RETRY


class Retention(_Section):
    content: Span = timedelta(days=90)


class Limits(_Section):
    max_message_size: Annotated[Size, Field(ge=64 << 10, le=SES_MESSAGE_LIMIT)] = SES_MESSAGE_LIMIT
    message_memory: Annotated[Size, Field(ge=64 * MB)] = 256 * MB


class Log(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Settings(_Section):
    """The whole file."""

    database: Annotated[str, BeforeValidator(_secret)] = Field("relay.db", repr=False)
    master_key: Secret | None = None
    hostname: Domain = Field(default_factory=lambda: _own_name())
    certificate: Certificate | None = None
    smtp: Smtp = Smtp()
    http: Http | None = None
    ses_accounts: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")], SesAccount]
    domains: dict[Domain, SenderDomain]
    dns: Dns = Dns()
    mx: Mx = Mx()
    delivery: Delivery = Delivery()
    retention: Retention = Retention()
    limits: Limits = Limits()
    log: Log = Log()
    folder: Path

    def cross_faults(self) -> list[Fault]:
        """What only shows when sections are seen together."""
        faults = [
            Fault(
                f"domains.{name}.account",
                f"there is no SES account {domain.account!r}; there is {', '.join(self.ses_accounts) or 'none'}",
            )
            for name, domain in self.domains.items()
            if domain.account not in self.ses_accounts
        ]
        if not self.smtp.listeners and self.http is None:
            faults.append(Fault("", "nothing listens: name at least one of smtp.listeners and http"))
        return faults


def _own_name() -> str:
    try:
        return canonical_domain(socket.gethostname())
    except Problem:
        return "localhost"


# -- reading ---------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML without the surprises: a key stands once, `off` is a word, not False, and a date is one, too."""


_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|false"), list("tf"))


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="the name of a setting must be a word", problem_mark=key.start_mark)
        if key.value in seen:
            raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands twice", problem_mark=key.start_mark)
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _expand(value: Any, path: str, environment: Mapping[str, str], faults: list[Fault]) -> Any:
    """Replace `${NAME}` in every string by the environment's value."""
    if isinstance(value, dict):
        return {k: _expand(v, f"{path}.{k}" if path else str(k), environment, faults) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v, f"{path}.{i}", environment, faults) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in environment:
            faults.append(Fault(path, f"the environment variable {name} is not set"))
    return _VARIABLE.sub(lambda match: environment.get(match[1], ""), value)


def load(file: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and check a configuration file. Raises ConfigError with every fault."""
    try:
        raw = yaml.load(file.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as exc:
        raise ConfigError(file, (Fault(str(file), f"cannot be read: {exc.strerror}"),)) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(file, (Fault(str(file), "is not UTF-8"),)) from exc
    except yaml.MarkedYAMLError as exc:
        line = f"line {exc.problem_mark.line + 1}" if exc.problem_mark else ""
        raise ConfigError(file, (Fault(line, f"cannot be read: {exc.problem}"),)) from exc
    except yaml.YAMLError as exc:
        raise ConfigError(file, (Fault("", "cannot be read: it has a character that YAML forbids"),)) from exc
    if not isinstance(raw, dict):
        raise ConfigError(file, (Fault("", "must be a mapping of settings"),))
    return check(raw, file, environment)


def check(raw: dict[str, Any], file: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Validate what a file holds."""
    faults: list[Fault] = []
    folder = file.resolve().parent
    expanded = _expand(raw, "", environment, faults)
    if "folder" in expanded:
        faults.append(Fault("folder", "unknown setting"))
    faults += _same_domains(expanded.get("domains"))
    unset = {fault.path for fault in faults}
    try:
        settings = Settings.model_validate({**expanded, "folder": folder}, context={"base": folder})
    except ValidationError as exc:
        found = [_fault(error) for error in exc.errors(include_url=False, include_input=False)]
        faults += [fault for fault in found if fault.path not in unset]  # they follow from it
    else:
        faults += settings.cross_faults()
    if faults:
        raise ConfigError(file, tuple(faults))
    return settings


def _same_domains(domains: Any) -> list[Fault]:
    """Two spellings of one domain would silently be one entry."""
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    for name in domains if isinstance(domains, dict) else ():
        with contextlib.suppress(Problem):
            first = seen.setdefault(canonical_domain(str(name)), str(name))
            if first != str(name):
                faults.append(Fault(f"domains.{name}", f"is the same domain as {first}"))
    return faults


def _fault(error: Any) -> Fault:
    path = ".".join(str(part) for part in error["loc"] if part != "[key]")
    words = {
        "extra_forbidden": "unknown setting",
        "missing": "is required",
        "model_type": "must be a mapping of settings",
        "dict_type": "must be a mapping",
        "tuple_type": "must be a list",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
    }
    message = words.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        message = f"does not have the form {error['ctx']['pattern']}"
    return Fault(path, message)
