"""The SES v2 REST operations on configuration sets."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox.cloud import Cloud
from relay.sandbox.paging import page, read_size, read_token
from relay.sandbox.refusals import Refusal
from relay.sandbox.wire import Caller, Json, answer, member, read_listing, read_object

_OPTIONS = """
    TrackingOptions DeliveryOptions ReputationOptions SendingOptions SuppressionOptions VdmOptions ArchivingOptions
    MessageSecurityOptions
""".split()  # noqa: SIM905


async def create_configuration_set(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    wanted = read_object(body)
    options: dict[str, object] = {name: member(wanted, name, dict) for name in _OPTIONS if wanted.get(name)}
    if tags := member(wanted, "Tags", list):
        options["Tags"] = tags
    cloud.region(caller).configuration_sets.create(member(wanted, "ConfigurationSetName", str) or "", options)
    return answer({})


async def get_configuration_set(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    name = request.path_params["name"]
    shown = cloud.region(caller).configuration_sets.show(name)
    if name in caller.account.paused_sets:
        return answer({**shown, "SendingOptions": {"SendingEnabled": False}})
    return answer(shown)


async def put_suppression_options(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    return _change(cloud, caller, request, "SuppressionOptions", read_object(body))


async def put_tracking_options(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    return _change(cloud, caller, request, "TrackingOptions", read_object(body))


async def put_delivery_options(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    return _change(cloud, caller, request, "DeliveryOptions", read_object(body))


async def put_sending_options(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    """Left out, SendingEnabled is false: SES's own default for a switch."""
    is_on = read_object(body).get("SendingEnabled") is True
    return _change(cloud, caller, request, "SendingOptions", {"SendingEnabled": is_on})


def _change(cloud: Cloud, caller: Caller, request: Request, option: str, value: Json) -> Response:
    cloud.region(caller).configuration_sets.change(request.path_params["name"], option, value)
    return answer({})


async def list_configuration_sets(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    wanted = read_listing(request, body)
    wanted_filter: Json = member(wanted, "Filter", dict) or {}
    if wanted_filter:
        raise Refusal("BadRequestException", "The sandbox lists configuration sets without a filter.")
    after = read_token(member(wanted, "NextToken", str))
    names, more = page(cloud.region(caller).configuration_sets.names(), read_size(wanted.get("PageSize")), after)
    return answer({"ConfigurationSets": names} | more)


async def delete_configuration_set(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    cloud.region(caller).configuration_sets.delete(request.path_params["name"])
    return answer({})
