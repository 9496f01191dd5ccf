"""How far this machine's clock is off, by what AWS says the time is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from relay.ses.wire import SesAccount


async def ahead(account: SesAccount) -> timedelta | None:
    """By how much our clock is ahead of AWS's, to the second; None where the answer has no Date. Raises SesProblem."""
    began = datetime.now(UTC)
    answer = await account.ask("get_account")
    headers = (answer.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
    try:
        theirs = parsedate_to_datetime(str(headers["date"]))
    except (KeyError, ValueError):
        return None
    ours = began + (datetime.now(UTC) - began) / 2
    return ours - theirs.replace(tzinfo=theirs.tzinfo or UTC) - timedelta(milliseconds=500)  # Date is cut to seconds
