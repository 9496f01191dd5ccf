"""What the relay asks of AWS STS: credentials of a role, and who a caller is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from aiobotocore.credentials import AioDeferredRefreshableCredentials

from relay.errors import Kind
from relay.ses.access import Role
from relay.ses.errors import Answer, Scope, SesProblem, classify, classify_assuming
from relay.ses.link import Link

ROLE_SECONDS = 3600  # at 900, credentials would be due for renewal as soon as they came (SES fact 10.3)

_ASSUMED = re.compile(r"arn:([a-z-]+):sts::(\d+):assumed-role/([^/]+)/.+")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom AWS takes a caller for."""

    account_number: str
    arn: str

    @property
    def principal(self) -> str:
        """The ARN for a trust policy: a session's role. STS does not say a role's path, should it have one."""
        session = _ASSUMED.fullmatch(self.arn)
        return f"arn:{session[1]}:iam::{session[2]}:role/{session[3]}" if session else self.arn


async def caller_of(link: Link) -> Caller:
    """Whom AWS takes the owner of this STS client for. Raises SesProblem."""
    answer = await link.call("get_caller_identity", _classify_asking)
    return Caller(str(answer.get("Account", "")), str(answer.get("Arn", "")))


class Lender:
    """Lends the credentials of a role to a session's clients. They renew themselves, by one call however many wait."""

    def __init__(self, sts: Link, role: Role) -> None:
        self._sts = sts
        self._role = role
        self._credentials = AioDeferredRefreshableCredentials(self._assume, "assume-role")

    async def load_credentials(self) -> AioDeferredRefreshableCredentials:
        return self._credentials

    async def _assume(self) -> dict[str, str]:
        """New credentials, as botocore takes them. Raises SesProblem, which passes through botocore as it is."""
        role = self._role
        answer = await self._sts.call(
            "assume_role",
            partial(classify_assuming, role_arn=role.role_arn),
            RoleArn=role.role_arn,
            RoleSessionName=role.session_name,
            ExternalId=role.external_id,
            DurationSeconds=ROLE_SECONDS,
        )
        credentials = answer["Credentials"]
        expires_at: datetime = credentials["Expiration"]
        if expires_at <= datetime.now(UTC):
            said = f"AWS gave credentials for {role.role_arn} that have expired already"
            raise SesProblem(Kind.SES_DENIED, Scope.HOST, said, remedy="set this machine's clock")
        return {
            "access_key": credentials["AccessKeyId"],
            "secret_key": credentials["SecretAccessKey"],
            "token": credentials["SessionToken"],
            "expiry_time": expires_at.isoformat(),
        }


def _classify_asking(answer: Answer) -> SesProblem:
    found = classify(answer, "")
    scope = Scope.HOST if found.scope is Scope.HOST else Scope.ACCOUNT
    return SesProblem(found.kind, scope, found.said, code=found.code)
