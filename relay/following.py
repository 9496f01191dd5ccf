"""What the configuration file may say of events: how they are watched, what follows from them, who is told of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from relay.values import Network, Section, Span, Yes


class Feedback(Section):
    """When the events of an account are missed. `silence`: mail went out, and nothing was heard of any since.

    `backlog`: so many events wait in its queue. `only_signature_2`: SNS posts signed with SHA-1 are refused.
    """

    silence: Annotated[Span, Field(ge=timedelta(minutes=10))] = timedelta(hours=6)
    backlog: Annotated[int, Field(ge=100)] = 10_000
    only_signature_2: Yes = False


class Standing(Section):
    """When a tenant is warned, slowed down and suspended for what becomes of its mail. What is not said is as in the
    preset."""

    preset: Literal["sendfleet", "sendex"] = "sendfleet"


class Webhooks(Section):
    """How events are posted. Private targets are refused, but in `allow_networks`; plain HTTP, but with `allow_plain`.

    `keep_for`: what was posted, and how that went.
    """

    timeout: Annotated[Span, Field(ge=timedelta(seconds=1), le=timedelta(seconds=60))] = timedelta(seconds=10)
    allow_networks: tuple[Network, ...] = ()
    allow_plain: Yes = False
    keep_for: Annotated[Span, Field(ge=timedelta(days=3))] = timedelta(days=30)
