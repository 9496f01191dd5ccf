"""Configuration sets, and where each publishes what becomes of its mail: what is there, what is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from relay.ses.aws import Aws
from relay.ses.call import Call, Service
from relay.ses.errors import SesProblem

OPENS, CLICKS = "OPEN", "CLICK"  # asking for these makes SES put a pixel into mail and rewrite its links (SES fact 6)
TRACKING = frozenset({OPENS, CLICKS})
OUTCOMES = frozenset(
    {"SEND", "REJECT", "BOUNCE", "COMPLAINT", "DELIVERY", "RENDERING_FAILURE", "DELIVERY_DELAY", "SUBSCRIPTION"}
)
MOST = 10  # destinations of a set (SES fact 1.2)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where events of these types go. `topic` None: to something else than SNS."""

    name: str
    is_enabled: bool
    types: frozenset[str]
    topic: str | None


@dataclass(frozen=True, slots=True)
class ConfigurationSet:
    """A configuration set as it is."""

    name: str
    is_sending: bool
    destinations: tuple[Destination, ...]


async def find_set(aws: Aws, name: str) -> ConfigurationSet | None:
    """The configuration set, None where there is none. Raises SesProblem."""
    try:
        said = await aws.ask(_call("get_configuration_set", ConfigurationSetName=name))
        answer = await aws.ask(_call("get_configuration_set_event_destinations", ConfigurationSetName=name))
    except SesProblem as problem:
        if problem.code != "NotFoundException":
            raise
        return None
    is_sending = bool((said.get("SendingOptions") or {}).get("SendingEnabled", True))
    return ConfigurationSet(name, is_sending, tuple(map(_read, answer.get("EventDestinations") or ())))


def _read(each: dict[str, Any]) -> Destination:
    topic = (each.get("SnsDestination") or {}).get("TopicArn")
    return Destination(
        str(each["Name"]), bool(each.get("Enabled", False)), frozenset(each.get("MatchingEventTypes") or ()), topic
    )


async def is_mailing_feedback(aws: Aws, identity: str) -> bool:
    """Whether SES mails bounces and complaints of an identity; not where there is none. Raises SesProblem."""
    try:
        said = await aws.ask(_call("get_email_identity", EmailIdentity=identity))
    except SesProblem as problem:
        if problem.code != "NotFoundException":
            raise
        return False
    return bool(said.get("FeedbackForwardingStatus", False))


# -- what is made of them --------------------------------------------------------------------------------------------


def create_set(name: str) -> Call:
    return _call("create_configuration_set", ConfigurationSetName=name)


def create_destination(set_name: str, name: str, types: Iterable[str], topic: str) -> Call:
    """SES tries the topic: it must be there, and let SES publish."""
    return _destination("create", set_name, name, types, topic)


def update_destination(set_name: str, name: str, types: Iterable[str], topic: str) -> Call:
    return _destination("update", set_name, name, types, topic)


def stop_mailing_feedback(identity: str) -> Call:
    return _call("put_email_identity_feedback_attributes", EmailIdentity=identity, EmailForwardingEnabled=False)


def _destination(verb: str, set_name: str, name: str, types: Iterable[str], topic: str) -> Call:
    return _call(
        f"{verb}_configuration_set_event_destination",
        ConfigurationSetName=set_name,
        EventDestinationName=name,
        EventDestination={
            "Enabled": True,
            "MatchingEventTypes": sorted(types),
            "SnsDestination": {"TopicArn": topic},
        },
    )


def _call(operation: str, **request: Any) -> Call:
    return Call(Service.SES, operation, request)
