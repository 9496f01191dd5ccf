"""SES accounts: where mail leaves from, whose each is, and how it is reached. Secrets rest sealed."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from relay.declared import AccountChange, AccountFields, Credentials, FeedbackFields
from relay.errors import Kind, Problem
from relay.message import Ids
from relay.sealing import Sealer
from relay.store.clock import clock
from relay.store.directory import audit, tenants
from relay.store.directory.audit import Actor
from relay.store.directory.paging import Asked, Page, page
from relay.store.schema import domains, ses_accounts
from relay.store.schema import tenants as tenant_rows

EXTERNAL_ID = 24  # octets, 48 hex digits
_ids = Ids()


class Sort(Enum):
    """How an account is reached."""

    CHAIN = "chain"  # the AWS default chain of this machine
    PROFILE = "profile"
    STATIC = "static"
    ROLE = "role"


@dataclass(frozen=True, slots=True)
class Reach:
    """The credentials of an account: what may be shown. `last_four` are the secret's."""

    sort: Sort
    profile: str | None = None
    access_key_id: str | None = None
    last_four: str | None = None
    role_arn: str | None = None
    external_id: str | None = None

    def as_json(self) -> dict[str, str]:
        given = {
            "type": self.sort.value,
            "profile": self.profile,
            "access_key_id": self.access_key_id,
            "secret_last_four": self.last_four,
            "role_arn": self.role_arn,
            "external_id": self.external_id,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class SesAccount:
    """An SES account as it is. `tenant_id` None: the operator's."""

    id: int
    tenant_id: int | None
    tenant: str | None
    name: str
    region: str
    reach: Reach
    sealed_secret: bytes | None = field(repr=False)
    endpoint_url: str | None
    proxy: str | None
    ca_bundle: str | None
    rate: float
    concurrency: int | None
    feedback: FeedbackFields
    paused_at: int | None
    paused_by: str | None
    paused_reason: str | None
    created_at: int
    updated_at: int
    is_declared: bool
    disabled_at: int | None

    def secret(self, sealer: Sealer) -> str | None:
        """The secret access key in clear. Raises SealingError."""
        return None if self.sealed_secret is None else sealer.open_secret(self.sealed_secret, _purpose(self.name))


_select = select(ses_accounts, tenant_rows.c.name.label("tenant")).outerjoin(
    tenant_rows, tenant_rows.c.id == ses_accounts.c.tenant_id
)


def _purpose(name: str) -> str:
    return f"SES account {name}"


def _account(row: Row[Any]) -> SesAccount:
    shown = json.loads(row.credentials)
    reach = Reach(
        Sort(shown["type"]),
        shown.get("profile"),
        shown.get("access_key_id"),
        shown.get("secret_last_four"),
        shown.get("role_arn"),
        shown.get("external_id"),
    )
    return SesAccount(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant=row.tenant,
        name=row.name,
        region=row.region,
        reach=reach,
        sealed_secret=row.sealed_secret,
        endpoint_url=row.endpoint_url,
        proxy=row.proxy,
        ca_bundle=row.ca_bundle,
        rate=row.rate,
        concurrency=row.concurrency,
        feedback=FeedbackFields.model_validate_json(row.feedback),
        paused_at=row.paused_at,
        paused_by=row.paused_by,
        paused_reason=row.paused_reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
        is_declared=row.is_declared,
        disabled_at=row.disabled_at,
    )


# -- reading ---------------------------------------------------------------------------------------------------------


def every(db: Connection) -> list[SesAccount]:
    return [_account(row) for row in db.execute(_select.order_by(ses_accounts.c.id))]


def find(db: Connection, name: str) -> SesAccount:
    """Raises Problem(NOT_FOUND)."""
    row = db.execute(_select.where(ses_accounts.c.name == name)).one_or_none()
    if row is None:
        raise Problem(Kind.NOT_FOUND, f"there is no SES account {name!r} here")
    return _account(row)


def listed(
    db: Connection, asked: Asked, *, tenant_id: int | None = None, region: str | None = None
) -> Page[SesAccount]:
    which = _select
    if tenant_id is not None:
        which = which.where(ses_accounts.c.tenant_id == tenant_id)
    if region is not None:
        which = which.where(ses_accounts.c.region == region)
    return page(db, which, ses_accounts.c.name, asked, _account)


# -- changing --------------------------------------------------------------------------------------------------------


def add(
    db: Connection, sealer: Sealer, actor: Actor, name: str, fields: AccountFields, *, external_id: str | None = None
) -> SesAccount:
    """Raises Problem(CONFLICT | NOT_FOUND). A role gets an ExternalId of ours, which nobody can have guessed."""
    if db.scalar(select(ses_accounts.c.id).where(ses_accounts.c.name == name)) is not None:
        raise Problem(Kind.CONFLICT, f"there is an SES account {name!r} already")
    owner = tenants.find(db, fields.tenant) if fields.tenant is not None else None
    now = clock(db)
    reach, sealed = _sealed(sealer, name, fields.credentials, external_id)
    db.execute(
        insert(ses_accounts).values(
            id=_ids.next(),
            tenant_id=owner.id if owner else None,
            name=name,
            region=fields.region,
            credentials=json.dumps(reach.as_json()),
            sealed_secret=sealed,
            endpoint_url=fields.endpoint_url,
            proxy=fields.egress.proxy,
            ca_bundle=str(fields.egress.ca_bundle) if fields.egress.ca_bundle else None,
            rate=fields.rate,
            concurrency=fields.concurrency,
            feedback=fields.feedback.model_dump_json(),
            created_at=now,
            updated_at=now,
            is_declared=actor.is_file,
        )
    )
    made = find(db, name)
    changes = audit.differences({}, shown(made))
    audit.record(db, actor, "account.add", f"account {name}", tenant_id=made.tenant_id, changes=changes)
    return made


def change(db: Connection, sealer: Sealer, actor: Actor, name: str, fields: AccountChange) -> SesAccount:
    """Change what `fields` names. Raises Problem(NOT_FOUND | CONFLICT)."""
    account = find(db, name)
    actor.require_free(f"the SES account {name}", account.is_declared)
    given = fields.model_fields_set
    values: dict[str, Any] = {each: getattr(fields, each) for each in given & {"endpoint_url", "rate", "concurrency"}}
    if "egress" in given:
        values |= {
            "proxy": fields.egress.proxy,
            "ca_bundle": str(fields.egress.ca_bundle) if fields.egress.ca_bundle else None,
        }
    if "feedback" in given:
        said = account.feedback.model_dump(mode="json") | fields.feedback.model_dump(mode="json", exclude_unset=True)
        values["feedback"] = json.dumps(said)
    if "credentials" in given:
        reach, sealed = _sealed(sealer, name, fields.credentials, account.reach.external_id)
        is_same = reach == account.reach and (
            sealed is None or _secret_of(fields.credentials) == account.secret(sealer)
        )
        if not is_same:
            values |= {"credentials": json.dumps(reach.as_json()), "sealed_secret": sealed}
    _update(db, actor, account, "account.change", values)
    return find(db, name)


def _update(db: Connection, actor: Actor, account: SesAccount, action: str, values: dict[str, Any]) -> None:
    before = {
        "credentials": json.dumps(account.reach.as_json()),
        "sealed_secret": account.sealed_secret,
        "feedback": json.dumps(account.feedback.model_dump(mode="json")),
    }
    changed = {
        name: value
        for name, value in values.items()
        if (before[name] if name in before else getattr(account, name)) != value
    }
    if not changed:
        return
    db.execute(update(ses_accounts).where(ses_accounts.c.id == account.id).values(**changed, updated_at=clock(db)))
    changes = {
        # Only that it changed: a sealed secret is nobody's to read.
        name: ["", "changed"] if name == "sealed_secret" else [before.get(name, getattr(account, name, None)), value]
        for name, value in changed.items()
    }
    audit.record(db, actor, action, f"account {account.name}", tenant_id=account.tenant_id, changes=changes)


def pause(db: Connection, actor: Actor, name: str, reason: str) -> SesAccount:
    """Send nothing through it until it is resumed; mail waits. Raises Problem(NOT_FOUND | CONFLICT)."""
    account = find(db, name)
    if account.paused_at is not None:
        raise Problem(Kind.CONFLICT, f"{name} is paused already: {account.paused_reason or 'no reason was given'}")
    values = {"paused_at": clock(db), "paused_by": actor.name, "paused_reason": reason or None}
    _update(db, actor, account, "account.pause", values)
    return find(db, name)


def resume(db: Connection, actor: Actor, name: str) -> SesAccount:
    """Raises Problem(NOT_FOUND | CONFLICT)."""
    account = find(db, name)
    if account.paused_at is None:
        raise Problem(Kind.CONFLICT, f"{name} is not paused")
    _update(db, actor, account, "account.resume", {"paused_at": None, "paused_by": None, "paused_reason": None})
    return find(db, name)


def remove(db: Connection, actor: Actor, name: str) -> None:
    """Raises Problem(NOT_FOUND), or CONFLICT while a domain sends through it."""
    account = find(db, name)
    actor.require_free(f"the SES account {name}", account.is_declared)
    using = db.scalar(select(func.count()).where(domains.c.account_id == account.id))
    if using:
        raise Problem(Kind.CONFLICT, f"{using} domains send through {name}: move or remove them first")
    db.execute(delete(ses_accounts).where(ses_accounts.c.id == account.id))
    audit.record(db, actor, "account.remove", f"account {name}", tenant_id=account.tenant_id)


def take_over(db: Connection, actor: Actor, account: SesAccount) -> None:
    """The file declares it, for the first time or again: from now on it is the file's, and enabled."""
    action = "account.take_over" if account.disabled_at is None else "account.enable"
    _update(db, actor, account, action, {"is_declared": True, "disabled_at": None})


def let_go(db: Connection, actor: Actor, account: SesAccount) -> None:
    """It vanished from the file: disabled, and no longer the file's, so that it can be removed."""
    _update(db, actor, account, "account.disable", {"is_declared": False, "disabled_at": clock(db)})


def shown(account: SesAccount) -> dict[str, Any]:
    """What may be seen of it, as it is written down in the audit."""
    return {
        "tenant": account.tenant,
        "region": account.region,
        "credentials": account.reach.as_json(),
        "endpoint_url": account.endpoint_url,
        "proxy": account.proxy,
        "ca_bundle": account.ca_bundle,
        "rate": account.rate,
        "concurrency": account.concurrency,
        "feedback": account.feedback.model_dump(mode="json"),
    }


def _secret_of(credentials: Credentials) -> str | None:
    secret = credentials.secret_access_key
    return None if secret is None else secret.get_secret_value()


def _sealed(sealer: Sealer, name: str, credentials: Credentials, external_id: str | None) -> tuple[Reach, bytes | None]:
    if credentials.role_arn is not None:
        known = external_id or secrets.token_hex(EXTERNAL_ID)
        return Reach(Sort.ROLE, role_arn=credentials.role_arn, external_id=known), None
    if credentials.access_key_id is not None:
        secret = _secret_of(credentials)
        assert secret is not None  # they go together
        reach = Reach(Sort.STATIC, access_key_id=credentials.access_key_id, last_four=_last_four(secret))
        return reach, sealer.seal_secret(secret, _purpose(name))
    if credentials.profile is not None:
        return Reach(Sort.PROFILE, profile=credentials.profile), None
    return Reach(Sort.CHAIN), None


def _last_four(secret: str) -> str | None:
    """Enough to know a secret again; of a short one, nothing."""
    return secret[-4:] if len(secret) >= 16 else None
