"""The SES v2 REST operations on the event destinations of configuration sets."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox.cloud import Cloud
from relay.sandbox.destinations import Destination, read_destination
from relay.sandbox.publishing import why_not
from relay.sandbox.refusals import Refusal
from relay.sandbox.wire import Caller, Json, answer, member, read_object

_NOTICE = "Successfully validated SNS topic for Amazon SES event publishing."
_WORDS = {
    "topic missing": "SNS topic <{arn}> not found.",
    "topic policy": "Amazon SES does not have permission to publish to the SNS topic <{arn}>.",
    "topic key": "Amazon SES may not use the key that the SNS topic <{arn}> is encrypted with.",
}


async def create_destination(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    wanted = read_object(body)
    name = member(wanted, "EventDestinationName", str) or ""
    sets, set_name = cloud.region(caller).configuration_sets, request.path_params["name"]
    destination = _read(name, wanted)
    sets.check_new_destination(set_name, name)
    _check_topic(cloud, caller, set_name, destination)
    sets.put_destination(set_name, destination)
    return answer({})


async def update_destination(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    sets, set_name = cloud.region(caller).configuration_sets, request.path_params["name"]
    name = request.path_params["destination"]
    sets.find_destination(set_name, name)
    destination = _read(name, read_object(body))
    _check_topic(cloud, caller, set_name, destination)
    sets.put_destination(set_name, destination)
    return answer({})


async def get_destinations(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    found = cloud.region(caller).configuration_sets.destinations(request.path_params["name"])
    return answer({"EventDestinations": [each.as_json() for each in found]})


async def delete_destination(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    sets = cloud.region(caller).configuration_sets
    sets.delete_destination(request.path_params["name"], request.path_params["destination"])
    return answer({})


def _read(name: str, wanted: Json) -> Destination:
    given: Json | None = member(wanted, "EventDestination", dict)
    if given is None:
        raise Refusal("BadRequestException", "EventDestination must be specified.")
    return read_destination(name, given)


def _check_topic(cloud: Cloud, caller: Caller, set_name: str, destination: Destination) -> None:
    """Raise Refusal unless SES may publish there. Where it may it does: the notice that it could."""
    topic = cloud.topic(destination.topic)
    reason = why_not(topic, cloud.region(caller), set_name)
    if topic is None or reason is not None:
        raise Refusal("BadRequestException", _WORDS[reason or "topic missing"].format(arn=destination.topic))
    cloud.office.publish(topic, _NOTICE, None)
