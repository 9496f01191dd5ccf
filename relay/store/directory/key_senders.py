"""The sender rules and devices of API keys: how their columns hold them, and whose address they may name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from relay.declared import Device, KeyFields, Permission, SenderRule
from relay.errors import Fault, Kind, Problem
from relay.message import Address
from relay.store.directory import domains

if TYPE_CHECKING:
    from relay.store.directory.keys import ApiKey


def column(rule: SenderRule | Device | None) -> str | None:
    """As the row has it."""
    return None if rule is None else rule.model_dump_json()


def sender_rule(column: str | None) -> SenderRule | None:
    return None if column is None else SenderRule.model_validate_json(column)


def device(column: str | None) -> Device | None:
    return None if column is None else Device.model_validate_json(column)


def require_senders(db: Connection, key: ApiKey) -> None:
    """Raises Problem(BAD_REQUEST)."""

    def carrier_of(domain: str) -> str | None:
        found = domains.carrier(domain, key.tenant_id, domains.around(db, domain))
        return None if found is None else found.name

    if faults := faults_of_senders(key, key.tenant, carrier_of):
        raise Problem(Kind.BAD_REQUEST, faults=tuple(faults))


def faults_of_senders(key: ApiKey | KeyFields, tenant: str, carrier_of: Callable[[str], str | None]) -> list[Fault]:
    """Why a key may not have its sender rule or be for its device, as it is or is to be.

    `carrier_of`: the tenant's registered domain that carries one, if there is one.
    """
    faults = []
    if key.device is not None and key.sender_rule is not None:
        faults.append(Fault("sender_rule", "a device needs none: its sender replaces all others"))
    if key.device is not None and key.permission is not Permission.SEND_ONLY:
        faults.append(Fault("permission", "must be send_only: a device's key is for SMTP alone"))
    for name, rule in (("sender_rule", key.sender_rule), ("device", key.device)):
        if rule is None:
            continue
        domain = Address.parse(rule.sender).domain
        found = carrier_of(domain)
        if found is None:
            said = f"{domain} is not registered for the tenant {tenant}: use an address of a domain that is"
            faults.append(Fault(f"{name}.sender", said))
        elif key.domains is not None and found not in key.domains:
            faults.append(Fault(f"{name}.sender", f"{found} is not one of the domains that this key is for"))
    return faults
