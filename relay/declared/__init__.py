"""What the configuration file, the API and commands may say of a tenant, an SES account, a domain, a key, a webhook."""

from relay.declared.accounts import (
    AccountChange,
    AccountFields,
    Credentials,
    Endpoint,
    FeedbackFields,
    Via,
)
from relay.declared.domains import (
    RECIPIENTS_PER_CALL,
    DomainChange,
    DomainFields,
    DomainStatus,
)
from relay.declared.keys import (
    Device,
    ImportedSecret,
    KeyChange,
    KeyFields,
    Permission,
    SenderRule,
    TlsVersion,
)
from relay.declared.tenants import (
    DEFAULT_TENANT,
    Application,
    Approval,
    ByocLog,
    MxPolicy,
    TenantFields,
    TenantSettings,
    TenantStatus,
)
from relay.declared.webhooks import WebhookChange, WebhookFields, untold
from relay.telling import TELLS, Dialect

__all__ = [
    "DEFAULT_TENANT",
    "RECIPIENTS_PER_CALL",
    "TELLS",
    "AccountChange",
    "AccountFields",
    "Application",
    "Approval",
    "ByocLog",
    "Credentials",
    "Device",
    "Dialect",
    "DomainChange",
    "DomainFields",
    "DomainStatus",
    "Endpoint",
    "FeedbackFields",
    "ImportedSecret",
    "KeyChange",
    "KeyFields",
    "MxPolicy",
    "Permission",
    "SenderRule",
    "TenantFields",
    "TenantSettings",
    "TenantStatus",
    "TlsVersion",
    "Via",
    "WebhookChange",
    "WebhookFields",
    "untold",
]
