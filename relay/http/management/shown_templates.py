"""What answers about templates look like, for the reference."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from relay.http.management.shown import Shown


class TemplateBrief(Shown):
    """A template as a list shows it. `version`: its newest."""

    name: str
    tenant: str
    version: int
    created_at: datetime
    updated_at: datetime


class TemplateShown(Shown):
    """A version of a template. `variables`: what it takes, with their members."""

    name: str
    tenant: str
    version: int
    latest_version: int
    subject: str
    text: str | None
    html: str | None
    missing: Literal["error", "empty"]
    variables: list[str]
    created_at: datetime


class TemplateVersionShown(Shown):
    """A version, as the list of all shows it."""

    version: int
    subject: str
    created_at: datetime


class TemplateFilled(Shown):
    """What a template makes of variables."""

    subject: str
    text: str | None
    html: str | None


class TemplatePreview(TemplateFilled):
    """The same, of a stored one."""

    name: str
    version: int


class TemplateFault(Shown):
    """Something wrong with a template. `line` and `column`, from 1, where there is a place."""

    param: str
    message: str
    line: int | None
    column: int | None


class TemplateJudged(Shown):
    """Whether a text is a template. `preview` where it was given variables, and can be filled in with them."""

    valid: bool
    variables: list[str]
    faults: list[TemplateFault]
    preview: TemplateFilled | None
