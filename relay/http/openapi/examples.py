"""Examples of the bodies that management takes. Those of sending stand with their models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from relay.declared import AccountChange, Application, DomainChange, TenantFields, WebhookChange, WebhookFields
from relay.http.dialects import mailerlogic_webhooks
from relay.http.emails import moving
from relay.http.management import accounts, domains, keys, suppressions, templates, tenants, webhooks

EXAMPLES: dict[type[BaseModel], dict[str, Any]] = {
    tenants.NewTenant: {"name": "globex", "contact": "ops@globex.example", "settings": {"mx_policy": "warn"}},
    TenantFields: {"contact": "post@acme.example", "settings": {"retention_content": "30d"}},
    tenants.Reason: {"reason": "too many complaints"},
    tenants.MaybeNote: {"note": "welcome"},
    tenants.Note: {"note": "tell us what you send"},
    Application: {
        "use_case": "receipts of a shop",
        "company": "Acme",
        "website": "https://acme.example",
        "expected_volume": 10000,
    },
    accounts.NewAccount: {
        "name": "globex-ses",
        "region": "eu-west-1",
        "credentials": {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "the-secret-of-that-key"},
    },
    AccountChange: {"rate": 14},
    accounts.WantedSetup: {"dry_run": True, "track": {"broadcast": ["opens", "clicks"]}},
    accounts.MaybeReason: {"reason": "maintenance"},
    domains.NewDomain: {"domain": "news.acme.example", "mode": "byoc", "tenant": "acme", "account": "acme-ses"},
    DomainChange: {"include_subdomains": True},
    keys.NewKey: {"name": "shop", "permission": "send_only"},
    keys.Changes: {"name": "shop in the basement"},
    keys.Overlap: {"overlap": "24h"},
    moving.Rescheduled: {"scheduled_at": "2026-12-01T09:00:00Z"},
    moving.Why: {"reason": "the price in it is wrong"},
    templates.NewTemplate: {
        "name": "receipt",
        "subject": "Your order {{ order.number }}",
        "text": "Thanks, {{ name }}.",
        "html": "<p>Thanks, {{ name }}.</p>",
    },
    templates.TemplateChange: {"subject": "Thanks for order {{ order.number }}"},
    templates.Trial: {"variables": {"name": "Ana", "order": {"number": 4711}}},
    templates.Draft: {"subject": "Hi {{ name }}", "text": "Hi {{ name }}", "variables": {"name": "Ana"}},
    WebhookFields: {
        "url": "https://acme.example/hooks/mail",
        "name": "shop",
        "dialect": "native",
        "events": ["email.bounced", "email.complained"],
    },
    WebhookChange: {"events": ["email.*"], "enabled": True},
    mailerlogic_webhooks.NewHook: {
        "name": "shop",
        "url": "https://acme.example/hooks/mail",
        "domain_ids": None,
        "events": ["email.bounced", "email.complained"],
    },
    mailerlogic_webhooks.HookChange: {"events": ["email.delivered"], "is_active": True},
    webhooks.Overlap: {"overlap": "24h"},
    webhooks.Again: {"from": "2026-12-01T00:00:00Z", "to": "2026-12-02T00:00:00Z", "only_dead": True},
    suppressions.NewSuppression: {"address": "ana@example.com", "reason": "manual", "note": "asked by telephone"},
}
