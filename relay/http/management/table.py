"""Who may ask for what: every route of the management API, with the permission it takes. docs/management.md shows it."""
# ruff: noqa: E501 - a table looks like a table

from __future__ import annotations

from http import HTTPStatus

from relay.declared import (
    AccountChange,
    Application,
    DomainChange,
    Permission,
    TenantFields,
    WebhookChange,
    WebhookFields,
)
from relay.errors import Kind
from relay.http.dialects.mailerlogic_events import MailerLogicEvents
from relay.http.management import (
    accounts,
    domains,
    events,
    keys,
    shown,
    shown_events,
    shown_ses,
    shown_stats,
    shown_templates,
    shown_webhooks,
    smtp_failures,
    stats,
    suppressions,
    templates,
    tenants,
    webhooks,
)
from relay.http.management.rules import Also, Rule, endpoints_of
from relay.http.management.shown import Listed

FULL, ADMIN = Permission.FULL, Permission.ADMIN
WHOLE, STANDING = Also.WHOLE, Also.STANDING
CREATED, NO_CONTENT = (HTTPStatus.CREATED,), (HTTPStatus.NO_CONTENT,)
CREATED_OR_THERE = (HTTPStatus.CREATED, HTTPStatus.OK)
SEVERAL = (Kind.CONFLICT,)  # have the name
AWS = (Kind.SES_DENIED, Kind.SES_UNAVAILABLE, Kind.SES_THROTTLED, Kind.SES_REJECTED)  # the answer waits for it

# fmt: off
ROUTES: tuple[Rule, ...] = (
    Rule("GET",    "/tenants",                       ADMIN, tenants.index,            "List tenants", query=tenants.Wanted, answer=Listed[shown.TenantShown]),
    Rule("POST",   "/tenants",                       ADMIN, tenants.create,           "Make a tenant", body=tenants.NewTenant, answer=shown.TenantShown, success=CREATED),
    Rule("GET",    "/tenants/{name}",                FULL,  tenants.retrieve,         "Show a tenant; a `full` key, its own", answer=shown.TenantShown),
    Rule("PATCH",  "/tenants/{name}",                ADMIN, tenants.change,           "Change a tenant's plan, contact or settings", body=TenantFields, answer=shown.TenantShown),
    Rule("POST",   "/tenants/{name}/suspend",        ADMIN, tenants.suspend,          "Stop a tenant's sending", body=tenants.Reason, answer=shown.TenantShown),
    Rule("POST",   "/tenants/{name}/resume",         ADMIN, tenants.resume,           "Let a tenant send again", body=tenants.MaybeNote, answer=shown.TenantShown),
    Rule("POST",   "/tenants/{name}/appeal",         FULL,  tenants.appeal,           "Appeal against a suspension; a `full` key, for its own tenant", body=tenants.Note, also=WHOLE, answer=shown.TenantShown),
    Rule("POST",   "/tenants/{name}/approve",        ADMIN, tenants.approve,          "Approve shared sending", body=tenants.MaybeNote, answer=shown.TenantShown),
    Rule("POST",   "/tenants/{name}/decline",        ADMIN, tenants.decline,          "Decline shared sending, or take its approval back", body=tenants.Note, answer=shown.TenantShown),
    Rule("POST",   "/tenants/{name}/approval",       FULL,  tenants.request_approval, "Ask for shared sending; a `full` key, for its own tenant", body=Application, also=WHOLE, answer=shown.TenantShown),

    Rule("GET",    "/ses-accounts",                  ADMIN, accounts.index,           "List SES accounts", query=accounts.Wanted, answer=Listed[shown_ses.AccountShown]),
    Rule("POST",   "/ses-accounts",                  ADMIN, accounts.create,          "Register an SES account", body=accounts.NewAccount, answer=shown_ses.AccountShown, success=CREATED),
    Rule("GET",    "/ses-accounts/{name}",           ADMIN, accounts.retrieve,        "Show an SES account; for a role, with the policies to paste", answer=shown_ses.AccountShown),
    Rule("PATCH",  "/ses-accounts/{name}",           ADMIN, accounts.change,          "Change an SES account", body=AccountChange, answer=shown_ses.AccountShown),
    Rule("DELETE", "/ses-accounts/{name}",           ADMIN, accounts.remove,          "Forget an SES account that no domain uses", success=NO_CONTENT),
    Rule("POST",   "/ses-accounts/{name}/test",      ADMIN, accounts.prove,           "Ask AWS what the account can do, and what is to be mended", answer=shown_ses.ProofShown),
    Rule("POST",   "/ses-accounts/{name}/pause",     ADMIN, accounts.pause,           "Let the account's mail wait", body=accounts.MaybeReason, answer=shown_ses.AccountShown),
    Rule("POST",   "/ses-accounts/{name}/resume",    ADMIN, accounts.resume,          "Let the account's mail go on", answer=shown_ses.AccountShown),
    Rule("POST",   "/ses-accounts/{name}/setup",     ADMIN, accounts.set_up,          "Make what the account's events need at AWS, or mend it; or only plan it", body=accounts.WantedSetup, answer=shown_ses.SetupShown, refuses=AWS),
    Rule("GET",    "/ses-accounts/{name}/usage",     ADMIN, accounts.usage,           "Show what SES grants the account, and what is left", answer=shown_ses.QuotaShown, refuses=AWS),

    Rule("GET",    "/domains",                       FULL,  domains.index,            "List sender domains", query=domains.Wanted, answer=Listed[shown_ses.DomainBrief]),
    Rule("POST",   "/domains",                       FULL,  domains.create,           "Register a sender domain", body=domains.NewDomain, also=STANDING, answer=shown_ses.DomainShown, success=CREATED, refuses=AWS),
    Rule("GET",    "/domains/{name}",                FULL,  domains.retrieve,         "Show a domain, with its records and checks", answer=shown_ses.DomainShown),
    Rule("PATCH",  "/domains/{name}",                FULL,  domains.change,           "Change a domain's options or its SES account", body=DomainChange, answer=shown_ses.DomainShown),
    Rule("DELETE", "/domains/{name}",                FULL,  domains.remove,           "Forget a domain that has no mail waiting", success=NO_CONTENT),
    Rule("POST",   "/domains/{name}/verify",         FULL,  domains.verify,           "Look now whether it is verified", also=STANDING, answer=shown_ses.DomainShown, refuses=AWS),
    Rule("GET",    "/domains/{name}/records",        FULL,  domains.records,          "List the DNS records to publish, as JSON or for a zone file", query=domains.Form, answer=Listed[shown_ses.RecordShown], or_as="text/plain"),

    Rule("GET",    "/keys",                          FULL,  keys.index,               "List API keys", query=keys.Wanted, answer=Listed[shown.KeyShown]),
    Rule("POST",   "/keys",                          FULL,  keys.create,              "Make or import a key; the secret is shown once", body=keys.NewKey, answer=shown.KeyMade, success=CREATED),
    Rule("GET",    "/keys/{id}",                     FULL,  keys.retrieve,            "Show a key, by its id or prefix", answer=shown.KeyShown),
    Rule("PATCH",  "/keys/{id}",                     FULL,  keys.change,              "Change a key's name, domains, rate, expiry, sender rule or device", body=keys.Changes, answer=shown.KeyShown),
    Rule("DELETE", "/keys/{id}",                     FULL,  keys.revoke,              "Revoke a key, for good", success=NO_CONTENT),
    Rule("POST",   "/keys/{id}/rotate",              FULL,  keys.rotate,              "Replace a key; both are good for a while", body=keys.Overlap, answer=shown.KeyMade, success=CREATED),

    Rule("GET",    "/suppressions",                  FULL,  suppressions.index,       "List suppressed addresses", query=suppressions.Wanted, answer=Listed[shown.SuppressionShown]),
    Rule("POST",   "/suppressions",                  FULL,  suppressions.add,         "Suppress an address", query=suppressions.ForEveryone, body=suppressions.NewSuppression, also=WHOLE, answer=shown.SuppressionShown, success=CREATED_OR_THERE),
    Rule("GET",    "/suppressions/{address:path}",   FULL,  suppressions.retrieve,    "Show whether and why an address is suppressed", query=suppressions.OfList, answer=shown.SuppressionShown),
    Rule("DELETE", "/suppressions/{address:path}",   FULL,  suppressions.remove,      "Take an address off the list", query=suppressions.OfList, also=WHOLE, success=NO_CONTENT),

    Rule("GET",    "/templates",                     FULL,  templates.index,          "List templates", query=templates.Wanted, answer=Listed[shown_templates.TemplateBrief]),
    Rule("POST",   "/templates",                     FULL,  templates.create,         "Make a template", body=templates.NewTemplate, also=WHOLE, answer=shown_templates.TemplateShown, success=CREATED, most=templates.MOST),
    Rule("POST",   "/templates/validate",            FULL,  templates.validate,       "Look whether a text is a template, and what it makes of variables", body=templates.Draft, answer=shown_templates.TemplateJudged, most=templates.MOST),
    Rule("GET",    "/templates/{name}",              FULL,  templates.retrieve,       "Show a template, the newest version or another", query=templates.OfVersion, answer=shown_templates.TemplateShown),
    Rule("PATCH",  "/templates/{name}",              FULL,  templates.change,         "Change a template: make its next version", query=templates.OfTenant, body=templates.TemplateChange, also=WHOLE, answer=shown_templates.TemplateShown, most=templates.MOST, is_guarded=True),
    Rule("DELETE", "/templates/{name}",              FULL,  templates.remove,         "Forget a template, with all versions", query=templates.OfTenant, also=WHOLE, success=NO_CONTENT, is_guarded=True),
    Rule("GET",    "/templates/{name}/versions",     FULL,  templates.versions,       "List a template's versions", query=templates.Versions, answer=Listed[shown_templates.TemplateVersionShown]),
    Rule("POST",   "/templates/{name}/preview",      FULL,  templates.preview,        "Show what a template makes of variables", query=templates.OfTenant, body=templates.Trial, answer=shown_templates.TemplatePreview, most=templates.MOST),

    Rule("GET",    "/webhooks",                      FULL,  webhooks.index,           "List webhooks", query=webhooks.Wanted, answer=Listed[shown_webhooks.WebhookShown]),
    Rule("POST",   "/webhooks",                      FULL,  webhooks.create,          "Make a webhook; the secret is shown once", body=WebhookFields, answer=shown_webhooks.WebhookMade, success=CREATED),
    Rule("GET",    "/webhooks/{id}",                 FULL,  webhooks.retrieve,        "Show a webhook, by its id or name", answer=shown_webhooks.WebhookShown, refuses=SEVERAL),
    Rule("PATCH",  "/webhooks/{id}",                 FULL,  webhooks.change,          "Change a webhook, disable it or enable it again", body=WebhookChange, answer=shown_webhooks.WebhookShown),
    Rule("DELETE", "/webhooks/{id}",                 FULL,  webhooks.remove,          "Forget a webhook, with what it was yet to be told", success=NO_CONTENT),
    Rule("POST",   "/webhooks/{id}/rotate",          FULL,  webhooks.rotate,          "Replace a webhook's secret; both sign for a while", body=webhooks.Overlap, answer=shown_webhooks.WebhookMade),
    Rule("POST",   "/webhooks/{id}/test",            FULL,  webhooks.test,            "Post an event that says nothing, to try a webhook", answer=shown_webhooks.WebhookDelivery, success=CREATED),
    Rule("GET",    "/webhooks/{id}/deliveries",      FULL,  webhooks.deliveries,      "List what was posted to a webhook, the newest first", query=webhooks.Posts, answer=Listed[shown_webhooks.WebhookDelivery], refuses=SEVERAL),
    Rule("GET",    "/webhooks/{id}/deliveries/{delivery}", FULL, webhooks.delivery,   "Show one delivery, with what was answered", answer=shown_webhooks.WebhookDelivery, refuses=SEVERAL),
    Rule("POST",   "/webhooks/{id}/replay",          FULL,  webhooks.post_again,      "Post a delivery anew, or those of a span of time", body=webhooks.Again, answer=shown_webhooks.Replayed),

    Rule("GET",    "/stats",                         FULL,  stats.show,               "Show how much was sent, what became of it, and what is left", query=stats.Span, answer=shown_stats.StatsShown),

    Rule("GET",    "/journal",                       FULL,  events.index,             "List what happened to mail, domains, accounts and tenants, newest first", query=events.Wanted, answer=Listed[shown_events.EntryShown]),

    Rule("GET",    "/smtp-failures",                 ADMIN, smtp_failures.index,      "List SMTP sessions that failed, and why", query=smtp_failures.Wanted, answer=Listed[shown.SmtpFailureShown]),
)
# fmt: on

# MailerLogic's path (MailerLogic contract 7).
_MAILERLOGICS = (
    Rule(
        "GET",
        "/events",
        FULL,
        events.as_mailerlogic,
        "List what happened to mail, newest first",
        query=events.MailerLogicWanted,
        answer=MailerLogicEvents,
    ),
)

endpoints = [*endpoints_of(ROUTES, "/sendex"), *endpoints_of(_MAILERLOGICS, "/mailerlogic")]
