"""Looks whether the DNS can be asked at all, as every recipient's domain is."""

from __future__ import annotations

from relay.config import Settings
from relay.declared import MxPolicy
from relay.dns import MailExchange, Resolver
from relay.management.doctoring.checked import Checked, fine, red, skipped, warning

KNOWN = "amazon.com"  # it has taken mail for thirty years


async def look(settings: Settings, resolver: Resolver) -> Checked:
    """One question."""
    if settings.dns.nameservers == ():
        return skipped("DNS", "`dns: nameservers: []` wants none asked: domains of recipients are not checked")
    return judge(await resolver.mail_exchange(KNOWN), is_wanted=settings.mx.policy is not MxPolicy.OFF)


def judge(found: MailExchange, *, is_wanted: bool) -> Checked:
    """Pure. `is_wanted`: recipients' domains are checked."""
    wrong = red if is_wanted else warning
    if found is MailExchange.TROUBLE:
        remedy = "see that /etc/resolv.conf, or `dns: nameservers`, names servers that answer this machine on port 53"
        return wrong("DNS", "no name server answers", remedy)
    if found is not MailExchange.ACCEPTS:
        remedy = "name servers that know the world, in `dns: nameservers`: those of now change answers, or are local"
        return wrong("DNS", f"the name servers say that {KNOWN} takes no mail", remedy)
    return fine("DNS", "name servers answer, and know who takes mail")
