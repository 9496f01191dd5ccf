"""The configuration file: YAML to validated, frozen settings. Every fault is reported at once, each with its path."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from relay import container
from relay.declared import MxPolicy
from relay.errors import Fault, Problem, Unusable
from relay.message import canonical_domain
from relay.settings import (
    SES_MESSAGE_LIMIT,
    Bounces,
    Delivery,
    Dns,
    Http,
    Limits,
    Log,
    Logins,
    Mx,
    Notices,
    OnTrouble,
    Plan,
    Retention,
    Settings,
    Smtp,
    SmtpListener,
    Tls,
)
from relay.values import faults_of

__all__ = [
    "SES_MESSAGE_LIMIT",
    "Bounces",
    "ConfigError",
    "Delivery",
    "Dns",
    "Http",
    "Limits",
    "Log",
    "Logins",
    "Mx",
    "MxPolicy",
    "Notices",
    "OnTrouble",
    "Plan",
    "Retention",
    "Settings",
    "Smtp",
    "SmtpListener",
    "Tls",
    "check",
    "load",
]

NO_SETTINGS = ("folder", "master_key_file")  # where things are; not said in the file


class ConfigError(Unusable):
    """The file cannot be used. One fault per line, each with its path."""

    def __init__(self, file: Path, faults: tuple[Fault, ...]) -> None:
        super().__init__(file, faults)
        self.file = file
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join([f"{self.file} cannot be used:", *(str(fault) for fault in self.faults)])


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
    faults += [Fault(name, "unknown setting") for name in NO_SETTINGS if name in expanded]
    faults += _same_domains(expanded.get("domains"))
    unset = {fault.path for fault in faults}
    try:
        where = {"folder": folder, "master_key_file": _file_of(expanded.get("master_key"), folder)}
        settings = Settings.model_validate({**expanded, **where}, context={"base": folder})
    except ValidationError as exc:
        found = faults_of(exc, unknown="unknown setting")
        faults += [fault for fault in found if fault.path not in unset]  # they follow from it
    else:
        faults += settings.cross_faults(container.gateways())
    if faults:
        raise ConfigError(file, tuple(faults))
    return settings


def _file_of(secret: Any, folder: Path) -> Path | None:
    """Where a secret is read from, if that is a file."""
    is_file = isinstance(secret, str) and secret.startswith("file:")
    return folder / secret.removeprefix("file:") if is_file else None


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
