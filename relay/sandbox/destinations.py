"""The event destinations of a configuration set: which events of its mail go to which topic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from relay.sandbox.arns import read_arn
from relay.sandbox.refusals import Refusal
from relay.sandbox.wire import Json, member

MOST = 10  # of a configuration set (SES developer guide, Service quotas)
# What an event is called in itself, and what a destination calls it.
TYPES: Mapping[str, str] = {
    "Send": "SEND",
    "Reject": "REJECT",
    "Bounce": "BOUNCE",
    "Complaint": "COMPLAINT",
    "Delivery": "DELIVERY",
    "Open": "OPEN",
    "Click": "CLICK",
    "Rendering Failure": "RENDERING_FAILURE",
    "DeliveryDelay": "DELIVERY_DELAY",
    "Subscription": "SUBSCRIPTION",
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OTHERS = ("KinesisFirehoseDestination", "CloudWatchDestination", "EventBridgeDestination", "PinpointDestination")


@dataclass(frozen=True, slots=True)
class Destination:
    """`types` as SES's API has them; `topic` is an ARN."""

    name: str
    is_enabled: bool
    types: tuple[str, ...]
    topic: str

    def wants(self, kind: str) -> bool:
        """Whether an event of that `eventType` goes there."""
        return self.is_enabled and TYPES[kind] in self.types

    def as_json(self) -> Json:
        return {
            "Name": self.name,
            "Enabled": self.is_enabled,
            "MatchingEventTypes": list(self.types),
            "SnsDestination": {"TopicArn": self.topic},
        }


def read_destination(name: str, wanted: Json) -> Destination:
    """An EventDestination of the API. Raises Refusal."""
    if not _NAME.fullmatch(name):
        text = f"Invalid event destination name <{name[:64]}>: only alphanumeric ASCII characters, '_',  '-'"
        raise Refusal("BadRequestException", f"{text} are allowed, 64 at most.")
    types = member(wanted, "MatchingEventTypes", list) or []
    unknown = [each for each in types if each not in TYPES.values()]
    if not types or unknown:
        raise Refusal("BadRequestException", f"MatchingEventTypes takes some of {', '.join(TYPES.values())}.")
    if any(wanted.get(each) for each in _OTHERS):
        raise Refusal("BadRequestException", "The sandbox has SnsDestination only.")
    topic: Json = member(wanted, "SnsDestination", dict) or {}
    arn = member(topic, "TopicArn", str) or ""
    try:
        read_arn(arn, "sns")
    except Refusal:
        raise Refusal("BadRequestException", f"Invalid SNS topic ARN <{arn[:200]}>.") from None
    return Destination(name, wanted.get("Enabled") is True, tuple(dict.fromkeys(types)), arn)
