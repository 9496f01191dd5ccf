"""What may be said of a webhook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, Strict, model_validator

from relay.telling import EVENTS, TELLS, Dialect
from relay.values import Domain, Label, Name, Section, WebUrl, Yes

_PATTERNS = ("*", *dict.fromkeys(f"{name.partition('.')[0]}.*" for name in EVENTS))


def _event_pattern(text: str) -> str:
    if text not in EVENTS and text not in _PATTERNS:
        raise ValueError(f"is no event of ours; write a name such as email.bounced, or one of {', '.join(_PATTERNS)}")
    return text


EventPattern = Annotated[str, AfterValidator(_event_pattern)]
EventPatterns = Annotated[tuple[EventPattern, ...], Field(min_length=1, max_length=50)]
MOST_RETRIES = 8
Retries = Annotated[int, Strict(), Field(ge=0, le=MOST_RETRIES)]  # false is no 0


def untold(dialect: Dialect, events: Sequence[str]) -> str:
    """What is wrong with a choice of events: a name that the dialect has no word for, or nothing left. "": nothing."""
    tells = TELLS[dialect]
    if tells is None:
        return ""
    if missing := [name for name in events if name not in _PATTERNS and name not in tells]:
        return f"{dialect.value} has no word for {', '.join(missing)}"
    nouns = {name.partition(".")[0] for name in events}
    if "*" in nouns or any(name.partition(".")[0] in nouns for name in tells):
        return ""
    return f"{dialect.value} has no words for any of these"


class WebhookOptions(Section):
    """What may be chosen, and changed, of a webhook. `domains` None: of all sender domains, and what is of none.

    `retries`: how often a post that failed is tried again, 30 s to 24 h later.
    """

    events: EventPatterns = ("email.*",)
    domains: Annotated[tuple[Domain, ...], Field(min_length=1, max_length=1000)] | None = None
    retries: Retries = MOST_RETRIES


class WebhookFields(WebhookOptions):
    """A webhook: where events are posted to, and in whose form."""

    url: WebUrl
    name: Label = ""
    dialect: Dialect = Dialect.NATIVE
    tenant: Name | None = None

    @model_validator(mode="after")
    def _can_be_told(self) -> WebhookFields:
        if said := untold(self.dialect, self.events):
            raise ValueError(said)
        return self


class WebhookChange(WebhookOptions):
    """What may change of a webhook. What is not named stays."""

    url: WebUrl = ""
    name: Label = ""
    enabled: Yes = True
