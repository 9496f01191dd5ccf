"""Sender domains: registered, verified, with the DNS records to publish. Named by their names, in any spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from starlette.responses import Response

from relay.declared import DomainChange, DomainFields, DomainStatus
from relay.errors import Kind, Problem, printable
from relay.http.management.answers import View, created, done, gone, listed, moment, single
from relay.http.management.asking import Listing, Nothing, narrowed
from relay.http.management.rules import Call
from relay.management import dns_records
from relay.message import Mode, Stream, canonical_domain
from relay.store.directory import accounts, domains
from relay.store.directory.domains import SenderDomain
from relay.store.directory.installation import shown
from relay.values import Domain, Name, Section, Yes


class Wanted(Listing):
    """Filters of the list."""

    tenant: Name | None = None
    status: DomainStatus | None = None
    mode: Mode | None = None
    account: Name | None = None


class NewDomain(DomainFields):
    """`vouched`: the operator knows that it is the tenant's, so no record has to prove it."""

    domain: Domain
    vouched: Yes = False


class Form(Section):
    """How records are written down."""

    format: Literal["json", "zone"] = "json"


# -- how it looks ----------------------------------------------------------------------------------------------------


def brief(domain: SenderDomain, region: str) -> View:
    return {
        "id": shown(domain.id),
        "domain": domain.name,
        "status": domain.status.value,
        "mode": domain.mode.value,
        "tenant": domain.tenant,
        "account": domain.account,
        "region": region,
        "created_at": moment(domain.created_at),
        "verified_at": moment(domain.verified_at),
    }


def view(domain: SenderDomain, region: str) -> View:
    return brief(domain, region) | {
        "claim": None if domain.is_claimed else {"expires_at": moment(domain.claim_expires_at)},
        "mail_from": domain.mail_from_domain,
        "records": list(domain.records),
        "checks": [_check(each) for each in domain.checks],
        "checked_at": moment(domain.checked_at),
        "warnings": list(domain.warnings),
        "options": {
            "include_subdomains": domain.include_subdomains,
            "configuration_sets": {
                stream.value: domain.configuration_sets[stream]
                for stream in Stream
                if stream in domain.configuration_sets
            },
            "streams": [stream.value for stream in Stream if stream in domain.streams],
            "default_sender": domain.default_sender,
            "ses_tenant": domain.ses_tenant,
            "recipients_per_call": domain.recipients_per_call,
        },
        "declared_in_file": domain.is_declared,
        "disabled_at": moment(domain.disabled_at),
        "updated_at": moment(domain.updated_at),
    }


def _check(check: Mapping[str, Any]) -> View:
    return {"required" if name == "is_required" else name: value for name, value in check.items()}


async def _view(call: Call[Any, Any], domain: SenderDomain) -> View:
    account = await call.state.store.read(lambda db: accounts.find(db, domain.account))
    return view(domain, account.region)


# -- which one -------------------------------------------------------------------------------------------------------


def _name(call: Call[Any, Any]) -> str:
    """The domain that the path names. Raises Problem(NOT_FOUND) for one that the key is not for."""
    named, scope = call.named("name"), call.credential.scope
    try:
        name = canonical_domain(named)
    except Problem:
        name = ""
    if not name or (scope is not None and name not in scope):
        raise Problem(Kind.NOT_FOUND, f"there is no domain {printable(named)} here")
    return name


async def _found(call: Call[Any, Any]) -> SenderDomain:
    name = _name(call)
    return await call.state.store.read(lambda db: domains.find(db, name, tenant_id=call.within))


async def _require_account(call: Call[Any, Any], name: str | None) -> None:
    """Another tenant's SES account is as unknown to a key as one that there is not. Raises Problem(NOT_FOUND)."""
    if name is None or call.is_operator:
        return
    every = await call.state.store.read(accounts.every)
    if not any(each.name == name and each.tenant_id in {None, call.within} for each in every):
        raise Problem(Kind.NOT_FOUND, f"there is no SES account {name} here")


# -- routes ----------------------------------------------------------------------------------------------------------


async def index(call: Call[Wanted, Nothing]) -> Response:
    asked, scope = call.query, call.credential.scope
    tenant_id = await call.whose(asked.tenant)
    page, regions = await call.state.store.read(
        lambda db: (
            domains.listed(
                db,
                asked.asked,
                tenant_id=tenant_id,
                names=None if scope is None else sorted(scope),
                status=asked.status,
                mode=asked.mode,
                account=asked.account,
            ),
            {account.name: account.region for account in accounts.every(db)},
        )
    )
    return listed(page, lambda domain: brief(domain, regions[domain.account]))


async def create(call: Call[Nothing, NewDomain]) -> Response:
    body, scope = call.body, call.credential.scope
    owner = call.owner(body.tenant if "tenant" in body.model_fields_set else None)
    if scope is not None and body.domain not in scope:
        raise Problem(Kind.FORBIDDEN, f"this API key is not for {body.domain}")
    if body.vouched and not call.is_operator:
        raise Problem(Kind.FORBIDDEN, "only the operator can vouch for a domain")
    await _require_account(call, body.account)
    fields = narrowed(DomainFields, body, tenant=owner)
    made = await call.state.desk.add_domain(call.actor, body.domain, fields, is_vouched=body.vouched)
    return created(await _view(call, made), "domains", made.name)


async def retrieve(call: Call[Nothing, Nothing]) -> Response:
    return single(call.request, await _view(call, await _found(call)))


async def change(call: Call[Nothing, DomainChange]) -> Response:
    name = _name(call)
    await _require_account(call, call.body.account)
    changed = await call.state.store.change(
        lambda db: domains.change(db, call.actor, name, call.body, tenant_id=call.within)
    )
    return done(await _view(call, changed))


async def remove(call: Call[Nothing, Nothing]) -> Response:
    name = _name(call)
    await call.state.store.change(lambda db: domains.remove(db, call.actor, name, tenant_id=call.within))
    return gone()


async def verify(call: Call[Nothing, Nothing]) -> Response:
    found = await _found(call)
    return done(await _view(call, await call.state.desk.verify_domain(call.actor, found)))


async def records(call: Call[Form, Nothing]) -> Response:
    domain = await _found(call)
    if call.query.format == "zone":
        return single(call.request, dns_records.zone_file(dns_records.read_json(domain.records), domain.name))
    found = list(domain.records)
    return single(call.request, {"data": found, "total": len(found), "next_cursor": None})
