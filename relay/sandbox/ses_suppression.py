"""The SES v2 REST operations on the account's suppression list."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox.cloud import Cloud
from relay.sandbox.paging import read_size, read_token, token_after
from relay.sandbox.refusals import Refusal
from relay.sandbox.rules import check_address
from relay.sandbox.suppression import REASONS, Suppressed
from relay.sandbox.wire import Caller, Json, answer, member, read_object

_BEGINNING, _END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


async def put_suppressed_destination(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    wanted = read_object(body)
    _check_tenant(member(wanted, "TenantName", str))
    address, reason = member(wanted, "EmailAddress", str) or "", member(wanted, "Reason", str) or ""
    check_address(address)
    _check_reason(reason)
    cloud.region(caller).suppression_list.put(address, reason, datetime.now(UTC))
    return answer({})


async def get_suppressed_destination(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    _check_tenant(request.query_params.get("TenantName"))
    found = cloud.region(caller).suppression_list.find(request.path_params["address"])
    return answer({"SuppressedDestination": _shown(found)})


async def delete_suppressed_destination(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    _check_tenant(request.query_params.get("TenantName"))
    cloud.region(caller).suppression_list.delete(request.path_params["address"])
    return answer({})


async def list_suppressed_destinations(cloud: Cloud, caller: Caller, request: Request, body: bytes) -> Response:
    query = request.query_params
    _check_tenant(query.get("TenantName"))
    reasons = query.getlist("Reason") or REASONS
    for reason in reasons:
        _check_reason(reason)
    start, end = _read_moment(query.get("StartDate"), _BEGINNING), _read_moment(query.get("EndDate"), _END)
    found, last = cloud.region(caller).suppression_list.page(
        read_token(query.get("NextToken"), "InvalidNextTokenException"),
        read_size(query.get("PageSize")),
        lambda each: each.reason in reasons and start <= each.updated_at <= end,
    )
    more = {} if last is None else {"NextToken": token_after(last)}
    return answer({"SuppressedDestinationSummaries": [_shown(each) for each in found]} | more)


def _shown(suppressed: Suppressed) -> Json:
    return {
        "EmailAddress": suppressed.address,
        "Reason": suppressed.reason,
        "LastUpdateTime": suppressed.updated_at.timestamp(),
    }


def _check_tenant(name: str | None) -> None:
    if name is not None:
        raise Refusal("NotFoundException", f"Tenant {name[:64]} does not exist.")


def _check_reason(reason: str) -> None:
    if reason not in REASONS:
        raise Refusal("BadRequestException", f"A reason is one of {', '.join(REASONS)}.")


def _read_moment(text: str | None, default: datetime) -> datetime:
    if text is None:
        return default
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal("BadRequestException", "A date is written as in ISO 8601.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
