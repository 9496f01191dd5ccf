"""Closes the loop: mail to SES's mailbox simulator, past queue, suppression and standing, and its events back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from relay.declared import DomainStatus
from relay.errors import Problem
from relay.management.doctoring.accounts import Examined
from relay.management.doctoring.checked import Checked, Level, fine, red
from relay.management.doctoring.tools import Tools, patiently
from relay.message import Ids, Stream
from relay.ses.errors import SesProblem
from relay.ses.remedies import Place, remedy_of
from relay.store import probes
from relay.store.directory.domains import SenderDomain
from relay.store.probes import Probe

LOOK_EVERY = 0.25  # seconds
# Whom it is sent to at SES's simulator, and what comes of that (SES fact 8).
SIMULATED = {"delivered": "success", "bounced": "bounce", "complained": "complaint"}
# The way of an event from SES to the server, by how the checks of its links begin.
_WAY = (
    "configuration sets of",
    "configuration set",
    "event destination",
    "topic policy",
    "encryption",
    "topic",
    "subscription",
    "queue policy",
    "queue",
    "set-up",
    "trust",
    "hearing",
    "events in",
)
_ids = Ids()


@dataclass(frozen=True, slots=True)
class Sent:
    """One probe, through which set, and why it could not be sent."""

    probe: Probe
    configuration_set: str | None
    problem: SesProblem | None = None


def sender(theirs: Iterable[SenderDomain]) -> SenderDomain | None:
    """The domain that probes of an account come from; None where none may send."""
    able = [each for each in theirs if each.status is DomainStatus.VERIFIED and each.disabled_at is None]
    return min(able, key=lambda each: (not each.configuration_sets, each.name), default=None)


async def send(tools: Tools, examined: Examined, domain: SenderDomain) -> list[Sent]:
    """One mail for each thing that may become of mail. Raises Problem for the database's troubles."""
    account = examined.account
    made = [Probe(_ids.next(), account.name, domain.name, expects) for expects in SIMULATED]
    await tools.store.change(lambda db: probes.add(db, made))
    stream = next(each for each in Stream if each in domain.streams)
    name = domain.configuration_sets.get(stream)
    return [await _send(tools, examined, domain, each, name) for each in made]


async def _send(
    tools: Tools, examined: Examined, domain: SenderDomain, probe: Probe, configuration_set: str | None
) -> Sent:
    assert examined.access is not None
    to = f"{SIMULATED[probe.expects]}+{probe.id}@simulator.amazonses.com"
    try:
        async with tools.accounts.briefly(examined.access) as opened:
            await patiently(
                lambda: opened.send(
                    _letter(probe, domain, to),
                    [to],
                    domain=domain.name,
                    tags={"relay_probe": str(probe.id)},
                    configuration_set=configuration_set,
                    tenant=domain.ses_tenant,
                )
            )
    except SesProblem as problem:
        return Sent(probe, configuration_set, problem)
    return Sent(probe, configuration_set)


def _letter(probe: Probe, domain: SenderDomain, to: str) -> bytes:
    return "\r\n".join(
        (
            f"From: {domain.default_sender or f'relay-doctor@{domain.name}'}",
            f"To: {to}",
            "Subject: Relay doctor probe",
            f"Date: {format_datetime(datetime.now(UTC))}",
            f"Message-ID: <{probe.id}.probe@{domain.name}>",
            f"X-Relay-Probe: {probe.id}",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain",
            "",
            "Relay sent this to see whether it hears what becomes of mail.",
            "",
        )
    ).encode("ascii")


async def wait(tools: Tools, sent: Sequence[Sent], within: timedelta) -> Mapping[int, float]:
    """Until the events of all came, or the time is over. After how many seconds each did, by the probe's id."""
    ids = {each.probe.id for each in sent if each.problem is None}
    ends_at = time.monotonic() + within.total_seconds()
    came: Mapping[int, float] = {}
    while came.keys() != ids and time.monotonic() < ends_at:
        await asyncio.sleep(LOOK_EVERY)
        try:
            came = await tools.store.read(lambda db: probes.heard(db, ids))
        except Problem:  # the next look tries again
            continue
    return came


# -- pure ------------------------------------------------------------------------------------------------------------


def judge(sent: Sent, after: float | None, examined: Examined, within: timedelta) -> Checked:
    """What became of a probe. `after`: so many seconds; None: nothing came."""
    account, probe = examined.account, sent.probe
    check = f"account {account.name}: probe {probe.expects}"
    if sent.problem is not None:
        told = remedy_of(sent.problem, Place(account.name, account.region, probe.domain))
        otherwise = f"`relay account test {account.name}` says what lacks"
        return red(check, f"SES does not take it: {sent.problem.said}", told or otherwise)
    if after is not None:
        return fine(check, f"it was heard of after {after:.1f} s")
    said = f"nothing was heard of it within {within.total_seconds():.0f} s"
    if sent.configuration_set is None:
        remedy = f"`relay account setup {account.name}`: mail of {probe.domain} names no configuration set"
        return red(check, said, remedy)
    if (link := likely(examined.links, sent.configuration_set)) is not None:
        where = link.check.partition(": ")[2]
        return red(check, f"{said}: it is likely lost at the {where} ({link.said})", link.remedy)
    remedy = (
        f"look again with a longer `--wait`; then see in CloudWatch whether SNS delivers what SES publishes "
        f"(NumberOfNotificationsFailed of the topic), and the server's log for account={account.name}"
    )
    return red(check, f"{said}, though each link of the way looks well", remedy)


def likely(links: Iterable[Checked], configuration_set: str) -> Checked | None:
    """The first broken link on the way of an event of mail that names this set."""
    broken = [each for each in links if each.level is Level.RED and _is_on_the_way(each, configuration_set)]
    return min(broken, key=_rank, default=None)


def _is_on_the_way(link: Checked, configuration_set: str) -> bool:
    what = link.check.partition(": ")[2]
    is_of_a_set = what.startswith(("configuration set ", "event destination of "))
    return not is_of_a_set or what.endswith(f" {configuration_set}")


def _rank(link: Checked) -> int:
    what = link.check.partition(": ")[2]
    return next((rank for rank, start in enumerate(_WAY) if what.startswith(start)), len(_WAY))
