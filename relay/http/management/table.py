"""Who may ask for what: every route of the management API, with the permission it takes. docs/api.md shows it."""
# ruff: noqa: E501 - a table looks like a table

from __future__ import annotations

from relay.declared import AccountChange, Application, DomainChange, Permission, TenantFields
from relay.http.management import accounts, domains, keys, smtp_failures, stats, suppressions, tenants
from relay.http.management.rules import Also, Rule, endpoints_of

FULL, ADMIN = Permission.FULL, Permission.ADMIN
WHOLE, STANDING = Also.WHOLE, Also.STANDING

# fmt: off
ROUTES: tuple[Rule, ...] = (
    Rule("GET",    "/tenants",                       ADMIN, tenants.index,            "List tenants", query=tenants.Wanted),
    Rule("POST",   "/tenants",                       ADMIN, tenants.create,           "Make a tenant", body=tenants.NewTenant),
    Rule("GET",    "/tenants/{name}",                FULL,  tenants.retrieve,         "Show a tenant; a `full` key, its own"),
    Rule("PATCH",  "/tenants/{name}",                ADMIN, tenants.change,           "Change a tenant's plan, contact or settings", body=TenantFields),
    Rule("POST",   "/tenants/{name}/suspend",        ADMIN, tenants.suspend,          "Stop a tenant's sending", body=tenants.Reason),
    Rule("POST",   "/tenants/{name}/resume",         ADMIN, tenants.resume,           "Let a tenant send again", body=tenants.MaybeNote),
    Rule("POST",   "/tenants/{name}/approve",        ADMIN, tenants.approve,          "Approve shared sending", body=tenants.MaybeNote),
    Rule("POST",   "/tenants/{name}/decline",        ADMIN, tenants.decline,          "Decline shared sending, or take its approval back", body=tenants.Note),
    Rule("POST",   "/tenants/{name}/approval",       FULL,  tenants.request_approval, "Ask for shared sending; a `full` key, for its own tenant", body=Application, also=WHOLE),

    Rule("GET",    "/ses-accounts",                  ADMIN, accounts.index,           "List SES accounts", query=accounts.Wanted),
    Rule("POST",   "/ses-accounts",                  ADMIN, accounts.create,          "Register an SES account", body=accounts.NewAccount),
    Rule("GET",    "/ses-accounts/{name}",           ADMIN, accounts.retrieve,        "Show an SES account; for a role, with the policies to paste"),
    Rule("PATCH",  "/ses-accounts/{name}",           ADMIN, accounts.change,          "Change an SES account", body=AccountChange),
    Rule("DELETE", "/ses-accounts/{name}",           ADMIN, accounts.remove,          "Forget an SES account that no domain uses"),
    Rule("POST",   "/ses-accounts/{name}/test",      ADMIN, accounts.prove,           "Ask AWS what the account can do, and what is to be mended"),
    Rule("POST",   "/ses-accounts/{name}/pause",     ADMIN, accounts.pause,           "Let the account's mail wait", body=accounts.MaybeReason),
    Rule("POST",   "/ses-accounts/{name}/resume",    ADMIN, accounts.resume,          "Let the account's mail go on"),
    Rule("GET",    "/ses-accounts/{name}/usage",     ADMIN, accounts.usage,           "Show what SES grants the account, and what is left"),

    Rule("GET",    "/domains",                       FULL,  domains.index,            "List sender domains", query=domains.Wanted),
    Rule("POST",   "/domains",                       FULL,  domains.create,           "Register a sender domain", body=domains.NewDomain, also=STANDING),
    Rule("GET",    "/domains/{name}",                FULL,  domains.retrieve,         "Show a domain, with its records and checks"),
    Rule("PATCH",  "/domains/{name}",                FULL,  domains.change,           "Change a domain's options or its SES account", body=DomainChange),
    Rule("DELETE", "/domains/{name}",                FULL,  domains.remove,           "Forget a domain that has no mail waiting"),
    Rule("POST",   "/domains/{name}/verify",         FULL,  domains.verify,           "Look now whether it is verified", also=STANDING),
    Rule("GET",    "/domains/{name}/records",        FULL,  domains.records,          "List the DNS records to publish, as JSON or for a zone file", query=domains.Form),

    Rule("GET",    "/keys",                          FULL,  keys.index,               "List API keys", query=keys.Wanted),
    Rule("POST",   "/keys",                          FULL,  keys.create,              "Make or import a key; the secret is shown once", body=keys.NewKey),
    Rule("GET",    "/keys/{id}",                     FULL,  keys.retrieve,            "Show a key, by its id or prefix"),
    Rule("PATCH",  "/keys/{id}",                     FULL,  keys.change,              "Change a key's name, domains, rate, expiry, sender rule or device", body=keys.Changes),
    Rule("DELETE", "/keys/{id}",                     FULL,  keys.revoke,              "Revoke a key, for good"),
    Rule("POST",   "/keys/{id}/rotate",              FULL,  keys.rotate,              "Replace a key; both are good for a while", body=keys.Overlap),

    Rule("GET",    "/suppressions",                  FULL,  suppressions.index,       "List suppressed addresses", query=suppressions.Wanted),
    Rule("POST",   "/suppressions",                  FULL,  suppressions.add,         "Suppress an address", query=suppressions.ForEveryone, body=suppressions.NewSuppression, also=WHOLE),
    Rule("GET",    "/suppressions/{address:path}",   FULL,  suppressions.retrieve,    "Show whether and why an address is suppressed", query=suppressions.OfList),
    Rule("DELETE", "/suppressions/{address:path}",   FULL,  suppressions.remove,      "Take an address off the list", query=suppressions.OfList, also=WHOLE),

    Rule("GET",    "/stats",                         FULL,  stats.show,               "Show how much was sent, and what is left", query=stats.Span),

    Rule("GET",    "/smtp-failures",                 ADMIN, smtp_failures.index,      "List SMTP sessions that failed, and why", query=smtp_failures.Wanted),
)
# fmt: on

endpoints = endpoints_of(ROUTES, "/sendex")
