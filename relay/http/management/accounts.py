"""SES accounts, for the operator: registered, proven, paused. A secret comes in and never goes out."""

from __future__ import annotations

from enum import Enum
from typing import Any

from starlette.responses import Response

from relay.declared import AccountChange, AccountFields
from relay.http.management.answers import View, created, done, gone, listed, moment, single
from relay.http.management.asking import Listing, Nothing, Said, narrowed
from relay.http.management.rules import Call
from relay.management.setting_up import TRACKED, Asked
from relay.message import Stream
from relay.ses.proof import Proof
from relay.ses.wire import Quota
from relay.store.directory import accounts
from relay.store.directory.accounts import SesAccount, Sort
from relay.store.directory.installation import shown
from relay.values import Label, Name, Section, WebUrl, Yes


class Wanted(Listing):
    """Filters of the list."""

    tenant: Name | None = None
    region: Label | None = None


class NewAccount(AccountFields):
    name: Name


class MaybeReason(Section):
    reason: Said | None = None


class Trackable(Enum):
    OPENS = "opens"
    CLICKS = "clicks"


class WantedSetup(Section):
    """`push`: the public https:// URL of this installation, for SNS to post to. `track`: of whole streams; of one that
    is not named, what is there stays."""

    dry_run: Yes = False
    push: WebUrl | None = None
    track: dict[Stream, tuple[Trackable, ...]] = {}
    stop_feedback_mail: Yes = False


def view(account: SesAccount) -> View:
    is_paused = account.paused_at is not None
    return {
        "id": shown(account.id),
        "name": account.name,
        "tenant": account.tenant,
        "region": account.region,
        "status": "disabled" if account.disabled_at is not None else "paused" if is_paused else "active",
        "paused_at": moment(account.paused_at),
        "paused_by": account.paused_by,
        "paused_reason": account.paused_reason,
        "credentials": account.reach.as_json(),
        "endpoint_url": account.endpoint_url,
        "egress": {"proxy": account.proxy, "ca_bundle": account.ca_bundle},
        "rate": account.rate,
        "concurrency": account.concurrency,
        "feedback": account.feedback.model_dump(mode="json"),
        "declared_in_file": account.is_declared,
        "disabled_at": moment(account.disabled_at),
        "created_at": moment(account.created_at),
        "updated_at": moment(account.updated_at),
    }


async def _whole(call: Call[Any, Any], account: SesAccount) -> View:
    """With the policies to paste into AWS, where a role has to be made for it."""
    if account.reach.sort is not Sort.ROLE:
        return view(account)
    return view(account) | {"policies": (await call.state.desk.policies(account)).as_json()}


async def _found(call: Call[Any, Any]) -> SesAccount:
    name = call.named("name")
    return await call.state.store.read(lambda db: accounts.find(db, name))


async def index(call: Call[Wanted, Nothing]) -> Response:
    asked = call.query
    tenant_id = await call.whose(asked.tenant)
    page = await call.state.store.read(
        lambda db: accounts.listed(db, asked.asked, tenant_id=tenant_id, region=asked.region)
    )
    return listed(page, view)


async def create(call: Call[Nothing, NewAccount]) -> Response:
    store, body = call.state.store, call.body
    fields = narrowed(AccountFields, body)
    made = await store.change(lambda db: accounts.add(db, store.sealer, call.actor, body.name, fields))
    return created(await _whole(call, made), "ses-accounts", made.name)


async def retrieve(call: Call[Nothing, Nothing]) -> Response:
    return single(call.request, await _whole(call, await _found(call)))


async def change(call: Call[Nothing, AccountChange]) -> Response:
    store, name = call.state.store, call.named("name")
    changed = await store.change(lambda db: accounts.change(db, store.sealer, call.actor, name, call.body))
    return done(await _whole(call, changed))


async def remove(call: Call[Nothing, Nothing]) -> Response:
    name = call.named("name")
    await call.state.store.change(lambda db: accounts.remove(db, call.actor, name))
    return gone()


async def pause(call: Call[Nothing, MaybeReason]) -> Response:
    name, reason = call.named("name"), call.body.reason or ""
    return done(view(await call.state.store.change(lambda db: accounts.pause(db, call.actor, name, reason))))


async def resume(call: Call[Nothing, Nothing]) -> Response:
    name = call.named("name")
    return done(view(await call.state.store.change(lambda db: accounts.resume(db, call.actor, name))))


# -- what AWS says ---------------------------------------------------------------------------------------------------


async def prove(call: Call[Nothing, Nothing]) -> Response:
    """200 whatever is found: that the account cannot send is the answer, not a failure to answer."""
    return done(_proof(await call.state.desk.prove_account(await _found(call))))


def _proof(proof: Proof) -> View:
    return {
        "name": proof.account,
        "region": proof.region,
        "ok": proof.is_ok,
        "caller": None if proof.caller is None else {"account": proof.caller.account_number, "arn": proof.caller.arn},
        "findings": [
            {"check": each.check, "ok": each.is_ok, "found": each.said, "remedy": each.remedy or None}
            for each in proof.findings
        ],
    }


async def set_up(call: Call[Nothing, WantedSetup]) -> Response:
    """200 whatever comes of it: what AWS refused, and what was done until then, is the answer."""
    body = call.body
    tracking = {stream: frozenset(TRACKED[each.value] for each in wanted) for stream, wanted in body.track.items()}
    asked = Asked(body.push, tracking, body.stop_feedback_mail)
    account, desk = await _found(call), call.state.desk
    found = await desk.set_up(call.actor, account, asked, is_dry=body.dry_run, told=lambda _: None)
    return done(found.as_json())


async def usage(call: Call[Nothing, Nothing]) -> Response:
    account = await _found(call)
    return single(call.request, _quota(account, await call.state.desk.account_usage(account)))


def _quota(account: SesAccount, quota: Quota) -> View:
    return {
        "name": account.name,
        "region": account.region,
        "recipients_a_second": quota.rate,
        "daily_quota": quota.daily,
        "sent_in_24_hours": quota.sent_today,
        "left_in_24_hours": None if quota.daily is None else max(0.0, quota.daily - quota.sent_today),
        "sending_enabled": quota.is_sending_enabled,
        "production_access": quota.is_production,
        "enforcement": quota.enforcement,
    }
