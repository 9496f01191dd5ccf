"""Looks which webhooks are not told what they should be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from relay.management.doctoring.checked import Checked, fine, red, warning
from relay.store.clock import rfc3339
from relay.store.directory.installation import shown
from relay.store.webhooks.rows import BY_HAND, Webhook


def judge(every: Iterable[Webhook]) -> Iterator[Checked]:
    """One for each that is not well; one for all others together."""
    well = 0
    for each in every:
        check = f"webhook {shown(each.id)} of {each.tenant}"
        if not each.is_enabled and each.disabled_reason != BY_HAND:
            remedy = (
                f"mend {each.origin}, then `relay webhook change {shown(each.id)} --enable`; `relay webhook replay` "
            )
            yield red(
                check, f"it was disabled: {each.disabled_reason}", f"{remedy}posts again what it missed until then"
            )
        elif each.is_enabled and each.failing_since is not None:
            said = f"its last {each.failures} posts failed, since {rfc3339(each.failing_since, 'seconds')}"
            yield warning(check, said, f"see what it answers: `relay webhook deliveries {shown(each.id)}`")
        else:
            well += 1
    if well:
        yield fine("webhooks", f"{well} are told what they should be, or disabled by hand")
