"""Sender domains: whose each is, through which account it sends, and whether it has been verified."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from relay.declared import DEFAULT_TENANT, Approval, DomainChange, DomainFields, DomainStatus
from relay.delivery import Tracking
from relay.errors import Kind, Problem
from relay.message import Address, Ids, Mode, Stream
from relay.store.clock import clock, milliseconds
from relay.store.directory import accounts, audit, tenants
from relay.store.directory.accounts import SesAccount
from relay.store.directory.audit import Actor
from relay.store.directory.domain_events import note_changes
from relay.store.directory.installation import bump
from relay.store.directory.paging import Asked, Page, page
from relay.store.directory.tenants import Tenant
from relay.store.schema import deliveries, domains, ses_accounts
from relay.store.schema import tenants as tenant_rows

CLAIM_LASTS = timedelta(days=7)
CLAIMS_AT_ONCE = 50  # of one tenant
_ids = Ids()


@dataclass(frozen=True, slots=True)
class SenderDomain:
    """A sender domain as it is. `records`, `checks` are those of management.checks, as JSON."""

    id: int
    tenant_id: int
    tenant: str
    account_id: int
    account: str
    name: str
    mode: Mode
    include_subdomains: bool
    configuration_sets: Mapping[Stream, str]
    streams: frozenset[Stream]
    default_sender: str | None
    ses_tenant: str | None
    mail_from: str | None
    status: DomainStatus
    verified_at: int | None
    challenge: str | None
    claimed_at: int | None
    records: Sequence[Mapping[str, Any]] = field(repr=False)
    checks: Sequence[Mapping[str, Any]] = field(repr=False)
    warnings: tuple[str, ...]
    misses: int
    checked_at: int | None
    check_at: int
    created_at: int
    updated_at: int
    is_declared: bool
    disabled_at: int | None
    recipients_per_call: int | None = None
    tracking: Tracking = Tracking()  # noqa: RUF009 - frozen; as its tenant has it

    @property
    def is_claimed(self) -> bool:
        """Whether it is known to be this tenant's: one that is not takes nothing from anyone else, and lapses."""
        return self.claimed_at is not None

    @property
    def claim_expires_at(self) -> int | None:
        return None if self.is_claimed else self.created_at + milliseconds(CLAIM_LASTS)

    @property
    def mail_from_domain(self) -> str | None:
        return f"{self.mail_from}.{self.name}" if self.mail_from else None


_select = (
    select(
        domains,
        tenant_rows.c.name.label("tenant"),
        tenant_rows.c.settings.label("tenant_settings"),
        ses_accounts.c.name.label("account"),
    )
    .join(tenant_rows, tenant_rows.c.id == domains.c.tenant_id)
    .join(ses_accounts, ses_accounts.c.id == domains.c.account_id)
)


def _domain(row: Row[Any]) -> SenderDomain:
    return SenderDomain(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant=row.tenant,
        account_id=row.account_id,
        account=row.account,
        name=row.name,
        mode=Mode(row.mode),
        include_subdomains=row.include_subdomains,
        configuration_sets={Stream(stream): name for stream, name in json.loads(row.configuration_sets).items()},
        streams=frozenset(Stream(stream) for stream in json.loads(row.streams)),
        default_sender=row.default_sender,
        ses_tenant=row.ses_tenant,
        mail_from=row.mail_from,
        status=DomainStatus(row.status),
        verified_at=row.verified_at,
        challenge=row.challenge,
        claimed_at=row.claimed_at,
        records=tuple(json.loads(row.records)),
        checks=tuple(json.loads(row.checks)),
        warnings=tuple(json.loads(row.warnings)),
        misses=row.misses,
        checked_at=row.checked_at,
        check_at=row.check_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        is_declared=row.is_declared,
        disabled_at=row.disabled_at,
        recipients_per_call=row.recipients_per_call,
        tracking=_tracking(row.tenant_settings),
    )


def _tracking(settings: str) -> Tracking:
    """What a tenant's settings ask for: what they do not is left to the configuration set."""
    wanted = json.loads(settings)
    return Tracking(wanted.get("track_opens") or None, wanted.get("track_clicks") or None)


# -- reading ---------------------------------------------------------------------------------------------------------


def every(db: Connection) -> list[SenderDomain]:
    return [_domain(row) for row in db.execute(_select.order_by(domains.c.id))]


def find(db: Connection, name: str, *, tenant_id: int | None = None) -> SenderDomain:
    """Raises Problem(NOT_FOUND), for another tenant's as for none."""
    which = _select.where(domains.c.name == name)
    if tenant_id is not None:
        which = which.where(domains.c.tenant_id == tenant_id)
    row = db.execute(which).one_or_none()
    if row is None:
        raise Problem(Kind.NOT_FOUND, f"there is no domain {name} here")
    return _domain(row)


def carrier(domain: str, tenant_id: int, known: Mapping[str, SenderDomain]) -> SenderDomain | None:
    """The tenant's registered domain that carries this one: itself, or the longest parent with its subdomains.

    Another tenant's longer match keeps it from the parent; but only one that is known to be that tenant's, or a mere
    claim would cut off someone else's mail.
    """
    name, is_exact = domain, True
    while True:
        found = known.get(name)
        if found is not None and (is_exact or found.include_subdomains):
            if found.tenant_id == tenant_id:
                return found
            if found.is_claimed and found.verified_at is not None:
                return None
        _, dot, name = name.partition(".")
        is_exact = False
        if not dot:
            return None


def around(db: Connection, domain: str) -> dict[str, SenderDomain]:
    """The registered ones among a domain and its parents: what `carrier` needs to know of."""
    labels = domain.split(".")
    names = [".".join(labels[start:]) for start in range(len(labels))]
    return {row.name: _domain(row) for row in db.execute(_select.where(domains.c.name.in_(names)))}


def listed(
    db: Connection,
    asked: Asked,
    *,
    tenant_id: int | None = None,
    names: Sequence[str] | None = None,
    status: DomainStatus | None = None,
    mode: Mode | None = None,
    account: str | None = None,
) -> Page[SenderDomain]:
    """`names`: only these, for a key that is for some domains."""
    which = _select
    if tenant_id is not None:
        which = which.where(domains.c.tenant_id == tenant_id)
    if names is not None:
        which = which.where(domains.c.name.in_(names))
    if status is not None:
        which = which.where(domains.c.status == status.value)
    if mode is not None:
        which = which.where(domains.c.mode == mode.value)
    if account is not None:
        which = which.where(ses_accounts.c.name == account)
    return page(db, which, domains.c.name, asked, _domain)


def due(db: Connection, limit: int, of_account: int) -> list[SenderDomain]:
    """Those the background pass is to look at now, longest due first, at most so many of one account.

    SES takes about one such call a second of an account: one that has thousands must not keep the others waiting.
    """
    place = func.row_number().over(partition_by=domains.c.account_id, order_by=domains.c.check_at)
    waiting = (
        select(domains.c.id, place.label("place"))
        .where(domains.c.check_at <= clock(db), domains.c.disabled_at.is_(None))
        .subquery()
    )
    which = _select.join(waiting, waiting.c.id == domains.c.id).where(waiting.c.place <= of_account)
    return [_domain(row) for row in db.execute(which.order_by(waiting.c.place, domains.c.check_at).limit(limit))]


def are_claims_over(db: Connection) -> bool:
    """Whether `expire_claims` has something to do."""
    return db.execute(_claims_over(db).limit(1)).first() is not None


# -- changing --------------------------------------------------------------------------------------------------------


def add(db: Connection, actor: Actor, name: str, fields: DomainFields, *, is_vouched: bool = False) -> SenderDomain:
    """Register a domain for a tenant. `is_vouched`: the operator says that it is the tenant's.

    Raises Problem(NOT_FOUND | CONFLICT | BAD_REQUEST).
    """
    _require_operator(actor, name, fields.mode, fields.model_fields_set)
    tenant = tenants.find(db, fields.tenant)
    if not actor.is_operator:
        _require_room(db, tenant, fields.mode)
    taken = db.execute(select(domains.c.tenant_id).where(domains.c.name == name)).one_or_none()
    if taken is not None:
        theirs = "of this tenant" if taken.tenant_id == tenant.id else "elsewhere in this installation"
        raise Problem(
            Kind.CONFLICT,
            f"{name} is registered already, {theirs}; a claim that is not proven within 7 days lapses by itself",
        )
    account = _account_for(db, tenant, fields.mode, fields.account, is_operator=actor.is_operator)
    _check_sender(name, fields.default_sender, fields.include_subdomains)
    now = clock(db)
    # An identity that exists in the operator's SES account proves nothing about this tenant. In a customer's own
    # account it is the customer's doing; and the default tenant is the operator.
    needs_claim = fields.mode is Mode.SHARED and tenant.name != DEFAULT_TENANT and not is_vouched
    # In its own account a tenant proves it by having it verified there; until then the name is taken for 7 days only.
    is_known = actor.is_operator if fields.mode is Mode.BYOC else not needs_claim
    db.execute(
        insert(domains).values(
            id=_ids.next(),
            tenant_id=tenant.id,
            account_id=account.id,
            name=name,
            mode=fields.mode.value,
            mail_from=fields.mail_from,
            status=(DomainStatus.VERIFIED if actor.is_file else DomainStatus.PENDING).value,
            verified_at=now if actor.is_file else None,
            challenge=f"relay-tenant={tenant.name} token={secrets.token_hex(16)}" if needs_claim else None,
            claimed_at=now if is_known else None,
            records="[]",
            checks="[]",
            warnings="[]",
            misses=0,
            check_at=now,
            created_at=now,
            updated_at=now,
            is_declared=actor.is_file,
            **_options(fields),
        )
    )
    said = fields.model_dump(mode="json", exclude_unset=True) | {"account": account.name}
    audit.record(db, actor, "domain.add", f"domain {name}", tenant_id=tenant.id, changes=audit.differences({}, said))
    return find(db, name)


# Of a shared domain: what says how the operator's SES account is used.
OPERATORS = {"account", "configuration_set", "configuration_sets", "streams", "ses_tenant"}


def _require_operator(actor: Actor, name: str, mode: Mode, given: Iterable[str]) -> None:
    """Raises Problem(FORBIDDEN)."""
    theirs = sorted(OPERATORS & set(given))
    if theirs and mode is Mode.SHARED and not actor.is_operator:
        raise Problem(
            Kind.FORBIDDEN,
            f"{name} sends through the operator's SES account: {', '.join(theirs)} is the operator's to say",
        )


def _require_room(db: Connection, tenant: Tenant, mode: Mode) -> None:
    """What a tenant registers makes an identity in an SES account: of the operator's only for whom it knows.

    Raises Problem(NOT_APPROVED | CONFLICT).
    """
    if mode is Mode.SHARED and tenant.approval is not Approval.APPROVED:
        raise Problem(Kind.NOT_APPROVED, f"shared sending of {tenant.name} is not approved: ask for approval first")
    claims = select(func.count()).where(domains.c.tenant_id == tenant.id, domains.c.claimed_at.is_(None))
    if (db.scalar(claims) or 0) >= CLAIMS_AT_ONCE:
        raise Problem(
            Kind.CONFLICT,
            f"{CLAIMS_AT_ONCE} domains of {tenant.name} wait to be proven: publish their records, or remove them",
        )


def _options(fields: DomainFields | DomainChange) -> dict[str, Any]:
    sets = fields.sets
    return {
        "include_subdomains": fields.include_subdomains,
        "configuration_sets": json.dumps({stream.value: sets[stream] for stream in Stream if stream in sets}),
        "streams": json.dumps([stream.value for stream in fields.streams]),
        "default_sender": fields.default_sender,
        "ses_tenant": fields.ses_tenant,
        "recipients_per_call": fields.recipients_per_call,
    }


def _account_for(db: Connection, tenant: Tenant, mode: Mode, name: str | None, *, is_operator: bool) -> SesAccount:
    """The account a domain may use: the named one, or the only one there is for its mode and tenant."""
    if name is None:
        wanted = tenant.id if mode is Mode.BYOC else None
        fitting = [each for each in accounts.every(db) if each.tenant_id == wanted and each.disabled_at is None]
        if len(fitting) != 1 and mode is Mode.SHARED and not is_operator:
            raise Problem(
                Kind.BAD_REQUEST, "account: there is no single one for shared domains: ask the operator to add it"
            )
        if len(fitting) != 1:
            have = ", ".join(each.name for each in fitting) or "none"
            raise Problem(
                Kind.BAD_REQUEST,
                f"account: name the SES account; for {mode.value} domains of {tenant.name} there is {have}",
            )
        return fitting[0]
    account = accounts.find(db, name)
    may_use = {
        Mode.SHARED: account.tenant_id is None,
        Mode.BYOC: account.tenant_id == tenant.id or (account.tenant_id is None and is_operator),
    }
    if not may_use[mode]:
        owner = "the operator" if mode is Mode.SHARED else f"the tenant {tenant.name}"
        raise Problem(
            Kind.BAD_REQUEST, f"account: the account of a {mode.value} domain must belong to {owner}; {name} does not"
        )
    return account


def _check_sender(name: str, sender: str | None, include_subdomains: bool) -> None:
    if sender is None:
        return
    theirs = Address.parse(sender).domain
    if theirs != name and not (include_subdomains and theirs.endswith(f".{name}")):
        raise Problem(Kind.BAD_REQUEST, f"default_sender: {sender} is not an address of {name}")


def change(
    db: Connection,
    actor: Actor,
    name: str,
    fields: DomainChange,
    *,
    tenant_id: int | None = None,
) -> SenderDomain:
    """Change what `fields` names. Raises Problem(NOT_FOUND | CONFLICT | BAD_REQUEST)."""
    domain = find(db, name, tenant_id=tenant_id)
    actor.require_free(f"the domain {name}", domain.is_declared)
    given = fields.model_fields_set
    if "mode" in given and fields.mode is not domain.mode:
        raise Problem(Kind.CONFLICT, immutable_mode(domain))
    _require_operator(actor, name, domain.mode, given)
    values = {column: value for column, value in _options(fields).items() if column in given}
    if given & {"configuration_set", "configuration_sets"}:
        values["configuration_sets"] = _options(fields)["configuration_sets"]
    include = values.get("include_subdomains", domain.include_subdomains)
    _check_sender(name, values.get("default_sender", domain.default_sender), include)
    if "account" in given and fields.account != domain.account:
        tenant = tenants.find(db, domain.tenant)
        account = _account_for(db, tenant, domain.mode, fields.account, is_operator=actor.is_operator)
        # Another account is another identity, to be verified there.
        values |= {"account_id": account.id, "check_at": clock(db), "misses": 0}
        if not actor.is_file:
            values |= {"status": DomainStatus.PENDING.value, "verified_at": None}
    write(db, actor, domain, "domain.change", values)
    return find(db, name)


def immutable_mode(domain: SenderDomain) -> str:
    return (
        f"{domain.name} is {domain.mode.value}, and that stays: what was accepted under one mode was promised its "
        "privacy and its SES account; remove the domain and add it again to send it another way"
    )


def write(
    db: Connection, actor: Actor, domain: SenderDomain, action: str, values: Mapping[str, Any], *, is_seen: bool = True
) -> None:
    """Write columns that differ from what they were, with the audit row. Raises nothing for no difference."""
    row = db.execute(select(domains).where(domains.c.id == domain.id)).one()
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not changed:
        return
    db.execute(update(domains).where(domains.c.id == domain.id).values(**changed, updated_at=clock(db)))
    changes = {name: [getattr(row, name), value] for name, value in changed.items()}
    audit.record(
        db, actor, action, f"domain {domain.name}", tenant_id=domain.tenant_id, changes=changes, is_seen=is_seen
    )
    note_changes(db, domain.name, domain.tenant_id, row.account_id, changed)


def remove(db: Connection, actor: Actor, name: str, *, tenant_id: int | None = None) -> None:
    """Raises Problem(NOT_FOUND), or CONFLICT while mail of it waits."""
    domain = find(db, name, tenant_id=tenant_id)
    actor.require_free(f"the domain {name}", domain.is_declared)
    if waiting := _waiting(db, name):
        raise Problem(
            Kind.CONFLICT, f"{waiting} deliveries of {name} wait to be sent: let them go, or cancel them, first"
        )
    db.execute(delete(domains).where(domains.c.id == domain.id))
    audit.record(db, actor, "domain.remove", f"domain {name}", tenant_id=domain.tenant_id)


def _waiting(db: Connection, name: str) -> int:
    """How many deliveries are not final, each kind by its own partial index."""
    theirs = select(func.count()).where(deliveries.c.domain == name)
    return sum(
        db.scalar(theirs.where(state)) or 0
        for state in (deliveries.c.state == "queued", deliveries.c.state.in_(("sending", "unknown", "held")))
    )


# -- the configuration file ------------------------------------------------------------------------------------------


def take_over(db: Connection, actor: Actor, domain: SenderDomain) -> None:
    """The file declares it, for the first time or again: it is the file's and enabled, and the operator vouches for it.

    So it is verified, until SES says otherwise.
    """
    now = clock(db)
    values: dict[str, Any] = {"is_declared": True, "disabled_at": None, "check_at": now}
    if not domain.is_claimed:
        values |= {"claimed_at": now, "challenge": None}
    if domain.status is not DomainStatus.VERIFIED:
        values |= {"status": DomainStatus.VERIFIED.value, "verified_at": now, "misses": 0}
    action = "domain.take_over" if domain.disabled_at is None else "domain.enable"
    write(db, actor, domain, action, values)


def let_go(db: Connection, actor: Actor, domain: SenderDomain) -> None:
    """It vanished from the file: disabled, and no longer the file's, so that it can be removed."""
    write(db, actor, domain, "domain.disable", {"is_declared": False, "disabled_at": clock(db)})


def move_mail_from(db: Connection, actor: Actor, domain: SenderDomain, mail_from: str | None) -> None:
    """Another MAIL FROM domain: the next look, now, tells SES of it."""
    write(db, actor, domain, "domain.change", {"mail_from": mail_from, "check_at": clock(db)})


# -- verification ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at a domain came to. `seen_at`: the row's `checked_at` when the look began."""

    domain_id: int
    account_id: int
    seen_at: int | None
    status: DomainStatus
    is_claimed: bool
    records: Sequence[Mapping[str, Any]]
    checks: Sequence[Mapping[str, Any]]
    warnings: Sequence[str]
    misses: int
    check_in: timedelta


def settle(db: Connection, actor: Actor, finding: Finding) -> SenderDomain | None:
    """Write what was found, and return the domain as it is now. None where it has gone, or moved to another account.

    Where another look was faster, that one stands.
    """
    ours = (domains.c.id == finding.domain_id, domains.c.account_id == finding.account_id)
    row = db.execute(_select.where(*ours)).one_or_none()
    if row is None:
        return None
    domain = _domain(row)
    now = max(clock(db), (finding.seen_at or 0) + 1)  # so that no two looks have the same moment
    quiet = {
        "records": json.dumps(list(finding.records)),
        "checks": json.dumps(list(finding.checks)),
        "misses": finding.misses,
        "checked_at": now,
        "check_at": now + milliseconds(finding.check_in),
    }
    seen = domains.c.checked_at.is_not_distinct_from(finding.seen_at)
    written = db.execute(update(domains).where(*ours, seen).values(**quiet).returning(domains.c.id)).all()
    if not written:
        return find(db, domain.name)
    if quiet["checks"] != row.checks:
        bump(db)  # refusals name what is missing
    loud: dict[str, Any] = {"warnings": json.dumps(list(finding.warnings)), "status": finding.status.value}
    if finding.is_claimed and not domain.is_claimed:
        loud["claimed_at"] = now
    if finding.status is DomainStatus.VERIFIED and domain.status is not DomainStatus.VERIFIED:
        loud["verified_at"] = now
    write(db, actor, domain, "domain.check", loud)
    return find(db, domain.name)


def put_off(db: Connection, domain: SenderDomain, span: timedelta) -> None:
    """Look at it later: the look itself failed."""
    db.execute(update(domains).where(domains.c.id == domain.id).values(check_at=clock(db) + milliseconds(span)))


def expire_claims(db: Connection) -> list[str]:
    """Forget claims that nobody proved in time. Returns the names that are free again."""
    over = delete(domains).where(domains.c.id.in_(_claims_over(db)), domains.c.claimed_at.is_(None))
    gone = db.execute(over.returning(domains.c.name, domains.c.tenant_id)).all()
    for row in gone:
        audit.record(db, audit.RELAY, "domain.claim_expired", f"domain {row.name}", tenant_id=row.tenant_id)
    return [row.name for row in gone]


def _claims_over(db: Connection) -> Select[tuple[int]]:
    before = clock(db) - milliseconds(CLAIM_LASTS)
    return select(domains.c.id).where(domains.c.claimed_at.is_(None), domains.c.created_at <= before)
