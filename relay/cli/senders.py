"""What the options of `relay key` say of a key's sender rule and of its device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from relay.cli.options import said
from relay.declared import Device, SenderRule
from relay.errors import Kind, Problem
from relay.store.directory.keys import ApiKey

DeviceName = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="Instead of NAME: a key for a device, with --network and --from."),
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", help="Where the device is, as 10.1.7.0/24; may be given several times."),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Whose address all mail of a device goes out under; without --device, that of mail with a sender such as "
        "root@HOST, *@localhost or none.",
    ),
]
Replaced = Annotated[
    list[str] | None,
    typer.Option(
        "--replace",
        help="A sender that --from replaces, without --device: '*' stands for any characters, 'missing' for no From, "
        "'<>' for the null envelope sender. May be given several times. Default: local addresses and 'missing'.",
    ),
]
To = Annotated[
    list[str] | None,
    typer.Option("--to", help="Whom the device may write to, as '*@acme.example'; several times. Default: anyone."),
]
Daily = Annotated[int | None, typer.Option("--daily", help="Recipients of the device in a UTC day. Default: no cap.")]
MinTls = Annotated[
    str | None,
    typer.Option("--min-tls", help="The least the device must speak: 1.0, 1.1, 1.2 or 1.3. Default: the listener's."),
]

FIELDS = {
    "device.networks": "--network",
    "device.networks.*": "--network",
    "device.sender": "--from",
    "device.recipients": "--to",
    "device.recipients.*": "--to",
    "device.daily": "--daily",
    "device.min_tls": "--min-tls",
    "sender_rule.sender": "--from",
    "sender_rule.replaces": "--replace",
    "sender_rule.replaces.*": "--replace",
    "sender_rule": "--replace",
}


@dataclass(frozen=True, slots=True)
class Senders:
    """The options, as they were given."""

    networks: list[str] | None
    sender: str | None
    replaced: list[str] | None
    recipients: list[str] | None
    daily: int | None
    min_tls: str | None

    def made(self, *, is_device: bool) -> dict[str, Any]:
        """The fields of a new key. Raises Problem(BAD_REQUEST)."""
        device, rule = self._device(), self._rule()
        if is_device:
            return {"device": device | self._sender()} | ({"sender_rule": rule} if rule else {})
        if device:
            raise Problem(Kind.BAD_REQUEST, "--network, --to, --daily and --min-tls are for a device: give --device")
        return {"sender_rule": rule | self._sender()} if rule or self.sender is not None else {}

    def changed(self, key: ApiKey) -> dict[str, Any]:
        """The fields that change of a key; what is not named of them stays."""
        device, rule, sender = self._device(), self._rule(), self._sender()
        if self.networks == [""]:
            return {"device": None}
        if self.sender == "" and key.device is None:
            return {"sender_rule": None}
        fields: dict[str, Any] = {}
        if device or (sender and key.device is not None):
            fields["device"] = _dumped(key.device) | device | sender
        if rule or (sender and "device" not in fields):
            fields["sender_rule"] = _dumped(key.sender_rule) | rule | sender
        return fields

    def _device(self) -> dict[str, Any]:
        daily = "" if self.daily == 0 else self.daily
        return said(networks=self.networks, recipients=self.recipients, daily=daily, min_tls=self.min_tls)

    def _rule(self) -> dict[str, Any]:
        return {"replaces": self.replaced} if self.replaced else {}

    def _sender(self) -> dict[str, Any]:
        return said(sender=self.sender)


def _dumped(rule: SenderRule | Device | None) -> dict[str, Any]:
    return shown(rule) or {}


def shown(rule: SenderRule | Device | None) -> dict[str, Any] | None:
    """As JSON has it."""
    return None if rule is None else rule.model_dump(mode="json")
