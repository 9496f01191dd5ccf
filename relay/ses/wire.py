"""Sends raw messages to one SES account, and asks for its quota. Every botocore exception ends here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError as TransportError
from botocore import exceptions

from relay.errors import Kind
from relay.ses.errors import Answer, Scope, SesProblem, classify


@dataclass(frozen=True, slots=True)
class Quota:
    """What GetAccount says. `daily` is recipients in a rolling 24 hours, None where unlimited."""

    rate: float
    daily: float | None
    sent_today: float
    is_sending_enabled: bool
    is_production: bool


class SesAccount:
    """One account in one region, through a client that lives as long as the process."""

    def __init__(self, name: str, client: Any) -> None:
        self.name = name
        self._client = client

    async def send(
        self,
        raw: bytes,
        recipients: Sequence[str],
        *,
        domain: str,
        tags: Mapping[str, str],
        configuration_set: str | None,
    ) -> str:
        """Send to exactly `recipients`, whatever the headers say; returns the SES message id. Raises SesProblem.

        No FromEmailAddress: SES then takes the header's From and leaves it as it is (SES fact 1.3).
        """
        request: dict[str, Any] = {
            "Content": {"Raw": {"Data": raw}},
            "Destination": {"ToAddresses": list(recipients)},
            "EmailTags": [{"Name": name, "Value": value} for name, value in tags.items()],
        }
        if configuration_set:
            request["ConfigurationSetName"] = configuration_set
        answer = await self._call(self._client.send_email, domain, **request)
        message_id = answer.get("MessageId")
        if not isinstance(message_id, str) or not message_id:
            raise SesProblem(Kind.SES_UNKNOWN_OUTCOME, Scope.MESSAGE, "SES answered 200 without a message id")
        return message_id

    async def quota(self) -> Quota:
        """The account's live limits. Raises SesProblem."""
        answer = await self._call(self._client.get_account, "")
        quota = answer.get("SendQuota", {})
        daily = float(quota.get("Max24HourSend", -1))
        return Quota(
            rate=float(quota.get("MaxSendRate", 0)),
            daily=daily if daily >= 0 else None,
            sent_today=float(quota.get("SentLast24Hours", 0)),
            is_sending_enabled=bool(answer.get("SendingEnabled", True)),
            is_production=bool(answer.get("ProductionAccessEnabled", True)),
        )

    async def _call(self, operation: Any, domain: str, **request: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await operation(**request)
        except exceptions.ClientError as exc:
            error = exc.response.get("Error", {})
            status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            found = Answer(str(error.get("Code", "")), int(status), str(error.get("Message") or ""))
            raise classify(found, domain) from exc
        except _NEVER_LEFT as exc:
            raise SesProblem(Kind.SES_UNAVAILABLE, Scope.ACCOUNT, _said(exc)) from exc
        except _NO_CREDENTIALS as exc:
            raise SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, _said(exc)) from exc
        except exceptions.ParamValidationError as exc:
            # Our own fault: its text quotes the parameters, and they are content.
            raise SesProblem(Kind.SES_REJECTED, Scope.MESSAGE, "the request is not one SES takes") from exc
        except (exceptions.BotoCoreError, TransportError, TimeoutError, OSError, ValueError) as exc:
            # The body was sent, or may have been: SES may have it (SES fact 0.1).
            raise SesProblem(Kind.SES_UNKNOWN_OUTCOME, Scope.MESSAGE, f"no answer: {type(exc).__name__}") from exc
        return answer


_NEVER_LEFT = (
    exceptions.EndpointConnectionError,
    exceptions.ConnectTimeoutError,
    exceptions.ProxyConnectionError,
    exceptions.SSLError,
)
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.ProfileNotFound,
    exceptions.NoRegionError,
    exceptions.UnauthorizedSSOTokenError,
)


def _said(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"
