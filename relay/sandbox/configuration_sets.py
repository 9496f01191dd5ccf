"""The configuration sets of one account in one region."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from relay.sandbox.refusals import Refusal

Json = Mapping[str, object]

_MOST = 10_000  # per account and region (SES developer guide, Service quotas)
_MOST_CHARACTERS = 4_000  # of the options of one, which are kept as they came
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEFAULTS: Json = {
    "DeliveryOptions": {"TlsPolicy": "OPTIONAL"},
    "ReputationOptions": {"ReputationMetricsEnabled": False},
    "SendingOptions": {"SendingEnabled": True},
    "Tags": [],
}


class ConfigurationSets:
    """By name, each with its options. Until the first is created every name will do for sending.

    So mail can be tried with nothing set up. The options are shown and have no effect.
    """

    def __init__(self) -> None:
        self._held: dict[str, Json] = {}
        self._is_strict = False

    def names(self) -> list[str]:
        return list(self._held)

    def create(self, name: str, options: Json) -> None:
        """Raises Refusal."""
        _check_name(name)
        if name in self._held:
            raise Refusal("AlreadyExistsException", f"Configuration set <{name}> already exists.")
        if len(self._held) >= _MOST:
            raise Refusal("LimitExceededException", f"An account has at most {_MOST} configuration sets in a region.")
        if len(json.dumps(options)) > _MOST_CHARACTERS:
            raise Refusal("BadRequestException", "The options are too long for the sandbox.")
        self._held[name] = options
        self._is_strict = True

    def show(self, name: str) -> Json:
        """What GetConfigurationSet answers. Raises Refusal."""
        self._check(name)
        return {"ConfigurationSetName": name} | dict(_DEFAULTS) | dict(self._held[name])

    def delete(self, name: str) -> None:
        """Raises Refusal."""
        self._check(name)
        del self._held[name]

    def check_use(self, name: str | None) -> None:
        """Raise Refusal unless mail may name this one."""
        if name is not None and self._is_strict:
            self._check(name)

    def check_default(self, name: str | None) -> None:
        """Raise Refusal unless an identity may name this one as the default of its mail."""
        if name is not None:
            _check_name(name)
        self.check_use(name)

    def _check(self, name: str) -> None:
        if name not in self._held:
            raise Refusal("NotFoundException", f"Configuration set <{name}> does not exist.")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        text = f"Invalid configuration set name <{name[:64]}>: only alphanumeric ASCII characters, '_',  '-'"
        raise Refusal("BadRequestException", f"{text} are allowed, 64 at most.")
