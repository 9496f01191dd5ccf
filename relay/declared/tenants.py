"""What may be said of a tenant."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Annotated

from pydantic import Field, PlainSerializer

from relay.values import Email, Label, Name, Paragraph, Section, Span, Yes

DEFAULT_TENANT = "default"


class TenantStatus(Enum):
    """Whether a tenant may send at all."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class Approval(Enum):
    """Whether a tenant may send through the operator's accounts."""

    NONE = "none"  # it never asked
    REQUESTED = "requested"
    APPROVED = "approved"
    DECLINED = "declined"


class MxPolicy(Enum):
    """What a tenant wants to happen with a recipient whose domain takes no mail."""

    ENFORCE = "enforce"  # refuse it
    WARN = "warn"  # take it, and say so
    OFF = "off"  # never look


class ByocLog(Enum):
    """What stays known of a tenant's byoc mail once it is final, besides its content, which never stays."""

    MINIMAL = "minimal"  # no subject, nothing its sender said of it, addresses as keyed hashes only
    FULL = "full"  # as of shared mail


def _written(span: timedelta | None) -> str | None:
    return None if span is None else f"{int(span.total_seconds())}s"


class TenantSettings(Section):
    """What a tenant wants otherwise than the installation. `None`: as the installation has it."""

    mx_policy: MxPolicy | None = None
    track_opens: Yes = False
    track_clicks: Yes = False
    # How long the content of its shared mail is kept.
    retention_content: Annotated[Span | None, PlainSerializer(_written)] = None
    store_content: Yes = True  # False: as if retention_content were 0
    byoc_log: ByocLog = ByocLog.MINIMAL


class TenantFields(Section):
    """A tenant."""

    plan: Name | None = None
    tier: Name | None = None
    contact: Email | None = None
    settings: TenantSettings = TenantSettings()


class Application(Section):
    """What a tenant says when it asks to send through the operator's accounts."""

    use_case: Paragraph
    company: Label
    website: Label
    expected_volume: Annotated[int, Field(ge=1, le=10**9)]  # recipients a month
