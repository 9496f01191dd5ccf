"""How many domains a tenant may have waiting to be proven: each is an identity in somebody's SES account."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import URL

from relay.declared import AccountFields, DomainFields, TenantFields
from relay.errors import Kind, Problem
from relay.message import Mode
from relay.store.directory import accounts, domains, tenants
from relay.store.directory.audit import Actor
from relay.store.store import Store
from tests.store.stories import play

OPERATOR, TENANT = Actor("command root", is_operator=True), Actor("key relay_acme0000")


def test_a_tenant_has_so_many_claims_at_once_and_the_operator_any_number(url: URL) -> None:
    async def story(store: Store, _: int) -> None:
        fields = DomainFields(mode=Mode.SHARED, tenant="acme")

        def prepare(db: Connection) -> None:
            tenants.create(db, OPERATOR, "acme", TenantFields(), is_approved=True)
            accounts.add(db, store.sealer, OPERATOR, "main", AccountFields(region="eu-west-1"))

        await store.change(prepare)
        for number in range(domains.CLAIMS_AT_ONCE):
            await store.change(lambda db, name=f"d{number}.example": domains.add(db, TENANT, name, fields))  # type: ignore[misc]
        with pytest.raises(Problem, match="wait to be proven") as caught:
            await store.change(lambda db: domains.add(db, TENANT, "more.example", fields))
        assert caught.value.kind is Kind.CONFLICT
        await store.change(lambda db: domains.add(db, OPERATOR, "more.example", fields))
        await store.change(lambda db: domains.remove(db, TENANT, "d0.example"))
        with pytest.raises(Problem, match="wait to be proven"):  # the operator's, too, is one of the tenant's claims
            await store.change(lambda db: domains.add(db, TENANT, "again.example", fields))

    play(url, story)
