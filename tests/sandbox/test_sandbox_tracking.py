"""ConfigurationOverrides as aiobotocore sends them: checked, and shown with the mail."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.mark.parametrize(
    "tracking",
    [{}, {"OpenTrackingEnabled": "ENABLED"}, {"OpenTrackingEnabled": "DISABLED", "ClickTrackingEnabled": "ENABLED"}],
    ids=["nothing", "one", "both"],
)
def test_what_is_overridden_is_shown(play: Any, raw: bytes, tracking: dict[str, str]) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        await ses.send_email(Content={"Raw": {"Data": raw}}, ConfigurationOverrides={"Tracking": tracking})
        [message] = await world.messages()
        assert message["tracking"] == tracking

    play(story)


@pytest.mark.parametrize("value", ["yes", "enabled", ""])
def test_what_is_neither_on_nor_off_is_refused(play: Any, raw: bytes, value: str) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        with pytest.raises(ClientError) as refused:
            await ses.send_email(
                Content={"Raw": {"Data": raw}}, ConfigurationOverrides={"Tracking": {"OpenTrackingEnabled": value}}
            )
        assert refused.value.response["Error"]["Code"] == "BadRequestException"
        assert await world.messages() == []

    play(story)
