"""The configuration sets of one account in one region."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.sandbox.destinations import MOST as MOST_DESTINATIONS
from relay.sandbox.destinations import Destination
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


@dataclass(slots=True)
class _Held:
    options: Json
    destinations: dict[str, Destination] = field(default_factory=dict)  # by name


class ConfigurationSets:
    """By name, each with its options and event destinations. Until the first is created every name will do for sending.

    So mail can be tried with nothing set up. But for SendingOptions the options are shown and have no effect.
    `has_destinations`: one had a destination once. Until then events take the way that needs none.
    """

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._is_strict = False
        self.has_destinations = False

    def names(self) -> list[str]:
        return list(self._held)

    def create(self, name: str, options: Json) -> None:
        """Raises Refusal."""
        _check_name(name)
        if name in self._held:
            raise Refusal("AlreadyExistsException", f"Configuration set <{name}> already exists.")
        if len(self._held) >= _MOST:
            raise Refusal("LimitExceededException", f"An account has at most {_MOST} configuration sets in a region.")
        _check_options(options)
        self._held[name] = _Held(options)
        self._is_strict = True

    def show(self, name: str) -> Json:
        """What GetConfigurationSet answers. Raises Refusal."""
        return {"ConfigurationSetName": name} | dict(_DEFAULTS) | dict(self._find(name).options)

    def change(self, name: str, option: str, value: Json) -> None:
        """Set one of the options. Raises Refusal."""
        held = self._find(name)
        options = {**held.options, option: value}
        _check_options(options)
        held.options = options

    def delete(self, name: str) -> None:
        """Raises Refusal."""
        self._find(name)
        del self._held[name]

    def check_use(self, name: str | None) -> None:
        """Raise Refusal unless mail may name this one."""
        if name is not None and self._is_strict:
            self._find(name)

    def check_default(self, name: str | None) -> None:
        """Raise Refusal unless an identity may name this one as the default of its mail."""
        if name is not None:
            _check_name(name)
        self.check_use(name)

    def is_paused(self, name: str | None) -> bool:
        """Whether its SendingOptions stop its mail."""
        held = None if name is None else self._held.get(name)
        return held is not None and held.options.get("SendingOptions") == {"SendingEnabled": False}

    def destinations(self, name: str) -> list[Destination]:
        """Raises Refusal."""
        return list(self._find(name).destinations.values())

    def wanting(self, name: str, kind: str) -> list[Destination]:
        """Where an event of that `eventType` goes; nowhere when the configuration set is gone."""
        held = self._held.get(name)
        return [] if held is None else [each for each in held.destinations.values() if each.wants(kind)]

    def find_destination(self, name: str, destination: str) -> Destination:
        """Raises Refusal."""
        found = self._find(name).destinations.get(destination)
        if found is None:
            text = f"Event destination <{destination}> of configuration set <{name}> does not exist."
            raise Refusal("NotFoundException", text)
        return found

    def check_new_destination(self, name: str, destination: str) -> None:
        """Raise Refusal unless one of that name can be made."""
        held = self._find(name)
        if destination in held.destinations:
            text = f"Event destination <{destination}> of configuration set <{name}> already exists."
            raise Refusal("AlreadyExistsException", text)
        if len(held.destinations) >= MOST_DESTINATIONS:
            text = f"A configuration set has at most {MOST_DESTINATIONS} event destinations."
            raise Refusal("LimitExceededException", text)

    def put_destination(self, name: str, destination: Destination) -> None:
        """Add it, or put it in the place of the one of its name. Raises Refusal."""
        self._find(name).destinations[destination.name] = destination
        self.has_destinations = True

    def delete_destination(self, name: str, destination: str) -> None:
        """Raises Refusal."""
        self.find_destination(name, destination)
        del self._find(name).destinations[destination]

    def _find(self, name: str) -> _Held:
        held = self._held.get(name)
        if held is None:
            raise Refusal("NotFoundException", f"Configuration set <{name}> does not exist.")
        return held


def _check_options(options: Json) -> None:
    if len(json.dumps(options)) > _MOST_CHARACTERS:
        raise Refusal("BadRequestException", "The options are too long for the sandbox.")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        text = f"Invalid configuration set name <{name[:64]}>: only alphanumeric ASCII characters, '_',  '-'"
        raise Refusal("BadRequestException", f"{text} are allowed, 64 at most.")
