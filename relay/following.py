"""What the configuration file may say of events: how they are watched, what follows from them, who is told of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import Field

from relay.judging import PRESETS, Enforce, Policy
from relay.values import Network, Section, Span, Yes

Rate = Annotated[float, Field(gt=0, le=1)]
Part = Annotated[float, Field(gt=0, le=1)]


class Feedback(Section):
    """When the events of an account are missed. `silence`: mail went out, and nothing was heard of any since.

    `backlog`: so many events wait in its queue. `only_signature_2`: SNS posts signed with SHA-1 are refused.
    """

    silence: Annotated[Span, Field(ge=timedelta(minutes=10))] = timedelta(hours=6)
    backlog: Annotated[int, Field(ge=100)] = 10_000
    only_signature_2: Yes = False


class Standing(Section):
    """When a tenant is warned, slowed down and suspended for what becomes of its mail. What is None is as in the
    preset.

    `warn_at`, `slow_at`: parts of the rates at which a tenant is suspended. `slow_to`: the part of a lane that is left
    to one who is slowed down.
    """

    preset: Literal["sendfleet", "sendex"] = "sendfleet"
    window: Annotated[Span, Field(ge=timedelta(hours=1), le=timedelta(days=90))] | None = None
    min_sends: Annotated[int, Field(ge=1)] | None = None
    bounce_rate: Rate | None = None
    complaint_rate: Rate | None = None
    min_complaints: Annotated[int, Field(ge=1)] | None = None
    warn_at: Part = 0.5
    slow_at: Part = 0.75
    slow_to: Annotated[float, Field(ge=0.001, le=1)] = 0.1
    enforce: Enforce = Enforce.SUSPEND

    @property
    def policy(self) -> Policy:
        said = self.model_dump(exclude={"preset"}, exclude_none=True)
        exact: dict[str, Any] = {
            name: Fraction(str(value)) if isinstance(value, float) else value for name, value in said.items()
        }
        return replace(PRESETS[self.preset], **exact)


class Webhooks(Section):
    """How events are posted. Private targets are refused, but in `allow_networks`; plain HTTP, but with `allow_plain`.

    `keep_for`: what was posted, and how that went.
    """

    timeout: Annotated[Span, Field(ge=timedelta(seconds=1), le=timedelta(seconds=60))] = timedelta(seconds=10)
    allow_networks: tuple[Network, ...] = ()
    allow_plain: Yes = False
    keep_for: Annotated[Span, Field(ge=timedelta(days=3))] = timedelta(days=30)
