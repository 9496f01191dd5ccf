"""Sends raw messages to one SES account, and asks for its quota."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from relay.delivery import Tracking
from relay.errors import Kind
from relay.ses.errors import Scope, SesProblem, classify
from relay.ses.link import NO_GRACE, Link
from relay.ses.mail import Mail
from relay.ses.slices import InParts


@dataclass(frozen=True, slots=True)
class Quota:
    """What GetAccount says. `daily` is recipients in a rolling 24 hours, None where unlimited.

    `enforcement` is HEALTHY, PROBATION (under review) or SHUTDOWN (sending is stopped).
    """

    rate: float
    daily: float | None
    sent_today: float
    is_sending_enabled: bool
    is_production: bool
    enforcement: str = "HEALTHY"


UNSAID = Tracking()


class SesAccount:
    """One account in one region, through a client that is opened at the first call and lives until `close`."""

    def __init__(self, name: str, region: str, link: Link) -> None:
        self.name = name
        self.region = region
        self._link = link

    async def send(
        self,
        raw: bytes | InParts,
        recipients: Sequence[str],
        *,
        domain: str,
        tags: Mapping[str, str],
        configuration_set: str | None,
        tenant: str | None = None,
        tracking: Tracking = UNSAID,
    ) -> str:
        """Send to exactly `recipients`, whatever the headers say; returns the SES message id. Raises SesProblem.

        No FromEmailAddress: SES then takes the header's From and leaves it as it is (SES fact 1.3). `tenant` is SES's
        TenantName, whose identities and configuration sets the message may use. `tracking` overrides, where it says
        something, what the configuration set does. A message in parts is read twice, to
        sign it and to send it: what reading raises the first time is raised here, and nothing has been sent then.
        """
        members: dict[str, Any] = {
            "Destination": {"ToAddresses": list(recipients)},
            "EmailTags": [{"Name": name, "Value": value} for name, value in tags.items()],
        }
        if configuration_set:
            members["ConfigurationSetName"] = configuration_set
        if tenant:
            members["TenantName"] = tenant
        if overrides := _overrides(tracking):
            members["ConfigurationOverrides"] = {"Tracking": overrides}
        answer = await self._link.send(Mail(raw, members), partial(classify, domain=domain))
        message_id = answer.get("MessageId")
        if not isinstance(message_id, str) or not message_id:
            raise SesProblem(Kind.SES_UNKNOWN_OUTCOME, Scope.MESSAGE, "SES answered 200 without a message id")
        return message_id

    async def quota(self) -> Quota:
        """The account's live limits. Raises SesProblem."""
        answer = await self.ask("get_account")
        quota = answer.get("SendQuota", {})
        daily = float(quota.get("Max24HourSend", -1))
        return Quota(
            rate=float(quota.get("MaxSendRate", 0)),
            daily=daily if daily >= 0 else None,
            sent_today=float(quota.get("SentLast24Hours", 0)),
            is_sending_enabled=bool(answer.get("SendingEnabled", True)),
            is_production=bool(answer.get("ProductionAccessEnabled", True)),
            enforcement=str(answer.get("EnforcementStatus", "HEALTHY")),
        )

    async def ask(self, operation: str, domain: str = "", **request: Any) -> dict[str, Any]:
        """Any operation that can be repeated, named as botocore's methods are; its answer. Raises SesProblem."""
        return await self._link.call(operation, partial(classify, domain=domain), **request)

    async def refresh(self) -> None:
        """SES finds the credentials too old: the next call looks for fresh ones, unless that was done just now."""
        await self._link.renew()

    async def close(self, grace: timedelta = NO_GRACE) -> None:
        """Take no more calls, and wait for those in hand, at most for `grace`."""
        await self._link.close(grace)


def _overrides(tracking: Tracking) -> dict[str, str]:
    """ConfigurationOverrides.Tracking, with a member for what is said (SES fact 1.1)."""
    said = {"OpenTrackingEnabled": tracking.opens, "ClickTrackingEnabled": tracking.clicks}
    return {name: "ENABLED" if value else "DISABLED" for name, value in said.items() if value is not None}
