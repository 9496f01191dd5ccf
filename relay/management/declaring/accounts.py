"""The SES accounts that the file declares."""

from __future__ import annotations

from collections.abc import Iterator

from relay.config import Settings
from relay.declared import AccountChange, AccountFields, Credentials, FeedbackFields
from relay.errors import Fault
from relay.management.declaring.plan import (
    CHANGED,
    Change,
    Differences,
    Shown,
    Step,
    Verb,
    additions,
    differences,
    settle,
    whole,
)
from relay.sealing import Sealer
from relay.store import Connection
from relay.store.directory import accounts
from relay.store.directory.accounts import Reach, SesAccount
from relay.store.directory.audit import FILE


def steps(db: Connection, sealer: Sealer, settings: Settings) -> Iterator[Step | Fault]:
    known = {row.name: row for row in accounts.every(db)}
    for name, said in settings.ses_accounts.items():
        yield from _account(name, said, known.get(name), sealer)
    for row in known.values():
        if row.is_declared and row.name not in settings.ses_accounts:
            yield _forgotten(row)


def _account(name: str, said: AccountFields, row: SesAccount | None, sealer: Sealer) -> Iterator[Step | Fault]:
    what, after = f"account {name}", _said(said)
    if row is None:
        yield Step(Change(Verb.ADD, what, additions(after)), lambda db: accounts.add(db, sealer, FILE, name, said))
        return
    changed = differences(_is(row), after)
    if changed.keys() & {"region", "tenant"}:
        yield from _stays(row, changed)
        return
    secret = said.credentials.secret_access_key
    if secret is not None and row.sealed_secret is not None and row.secret(sealer) != secret.get_secret_value():
        changed["secret_access_key"] = CHANGED
    fields = whole(AccountChange, said)
    yield from settle(
        what,
        row,
        changed,
        take_over=lambda db: accounts.take_over(db, FILE, row),
        change=lambda db: accounts.change(db, sealer, FILE, name, fields),
    )


def _stays(row: SesAccount, changed: Differences) -> Iterator[Fault]:
    path, instead = f"ses_accounts.{row.name}", "declare the other one by another name"
    if "region" in changed:
        yield Fault(f"{path}.region", f"{row.name} is in {row.region}, and that stays: {instead}")
    if "tenant" in changed:
        owner = f"the tenant {row.tenant}" if row.tenant else "the operator"
        yield Fault(f"{path}.tenant", f"{row.name} belongs to {owner}, and that stays: {instead}")


def _forgotten(row: SesAccount) -> Step:
    return Step(Change(Verb.DISABLE, f"account {row.name}", {}), lambda db: accounts.let_go(db, FILE, row))


def _is(account: SesAccount) -> Shown:
    return {
        "tenant": account.tenant,
        "region": account.region,
        "credentials": _reached(account.reach),
        "endpoint_url": account.endpoint_url,
        "egress.proxy": account.proxy,
        "egress.ca_bundle": account.ca_bundle,
        "rate": account.rate,
        "concurrency": account.concurrency,
        "feedback": _feedback(account.feedback),
    }


def _said(fields: AccountFields) -> Shown:
    return {
        "tenant": fields.tenant,
        "region": fields.region,
        "credentials": _reached(fields.credentials),
        "endpoint_url": fields.endpoint_url,
        "egress.proxy": fields.egress.proxy,
        "egress.ca_bundle": None if fields.egress.ca_bundle is None else str(fields.egress.ca_bundle),
        "rate": fields.rate,
        "concurrency": fields.concurrency,
        "feedback": _feedback(fields.feedback),
    }


def _feedback(fields: FeedbackFields) -> str | None:
    """None: as usual."""
    said = fields.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{name} {value}" for name, value in said.items()) or None


def _reached(how: Reach | Credentials) -> str:
    if how.role_arn is not None:
        return f"role {how.role_arn}"
    if how.access_key_id is not None:
        return f"access key {how.access_key_id}"
    return "default chain" if how.profile is None else f"profile {how.profile}"
