"""Whether a recipient may be sent to: the suppression list, then the MX check."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from relay.errors import Fault, Kind, Problem
from relay.message import Address
from relay.routing.devices import check_recipient
from relay.routing.limits import together
from relay.routing.mx import MxCheck
from relay.routing.senders import Credential
from relay.store.store import Store


class Recipients:
    """The checks every recipient passes, at either edge."""

    def __init__(self, store: Store, mx: MxCheck) -> None:
        self._store = store
        self._mx = mx

    async def check(self, credential: Credential, address: Address) -> str | None:
        """Returns a warning, if any.

        Raises Problem(FORBIDDEN | SUPPRESSED | INVALID_RECIPIENT | NULL_MX | DNS_DOWN).
        """
        check_recipient(credential, address)
        listed = await self._store.suppressed(credential.tenant_id, [address.folded])
        if found := listed.get(address.folded):
            since = datetime.fromtimestamp(found.created_at / 1000, UTC).date().isoformat()
            raise Problem(
                Kind.SUPPRESSED,
                f"{address} is on the suppression list since {since} ({found.reason}); nothing was sent",
            )
        return await self._mx.check(address.domain, credential.tenant.settings.mx_policy)

    async def _checked(self, credential: Credential, address: Address) -> str | Problem | None:
        try:
            return await self.check(credential, address)
        except Problem as problem:
            return problem

    async def check_all(self, credential: Credential, addresses: Sequence[tuple[str, Address]]) -> list[str]:
        """Check many, each with its path in the request; returns warnings.

        Raises the first one's Problem with the faults of all: nothing is queued then.
        """
        results = await together([self._checked(credential, address) for _, address in addresses])
        faults: list[Fault] = []
        first: Problem | None = None
        for (path, _), result in zip(addresses, results, strict=True):
            if isinstance(result, Problem):
                first = first or result
                faults.append(Fault(path, result.detail))
        if first is not None:
            detail = first.detail if len(faults) == 1 else ""
            raise Problem(first.kind, detail, faults=tuple(faults), retry_after=first.retry_after)
        return list(dict.fromkeys(result for result in results if isinstance(result, str)))
