"""Confirms a subscription by SNS's API, as ourselves: a URL out of a post is never followed (SES fact 5.2)."""

from __future__ import annotations

from dataclasses import replace

from relay.errors import Kind
from relay.feedback.sns.topics import Source
from relay.ses.clients import Accounts
from relay.ses.errors import Answer, Scope, SesProblem, classify

_DENIED = {"AuthorizationError", "AuthorizationErrorException"}


async def confirm(accounts: Accounts, source: Source, topic: str, token: str) -> None:
    """Raises SesProblem, with what to mend. Confirming twice is once."""
    link = accounts.beside("sns", replace(source.access, region=source.region))
    try:
        await link.call(
            "confirm_subscription",
            lambda answer: meaning(answer, topic),
            TopicArn=topic,
            Token=token,
            # Every post names a URL that ends the subscription, for whoever holds it: only AWS's own word may.
            AuthenticateOnUnsubscribe="true",
        )
    finally:
        await link.close()


def meaning(answer: Answer, topic: str) -> SesProblem:
    """What an error answer of SNS to ConfirmSubscription means."""
    found = classify(answer, "")
    if answer.code in _DENIED or (found.kind is Kind.SES_DENIED and found.scope is Scope.DOMAIN):
        said = f"AWS does not let the account confirm its subscription to {topic}"
        remedy = "allow sns:ConfirmSubscription on that topic"
        return SesProblem(Kind.SES_DENIED, Scope.ACCOUNT, said, remedy=remedy, code=answer.code)
    scope = found.scope if found.scope is Scope.HOST else Scope.ACCOUNT
    return SesProblem(found.kind, scope, f"SNS does not confirm the subscription ({found.said})", code=answer.code)
