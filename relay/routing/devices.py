"""What a device's key is kept to: where it may log in from and how, whom it may write to, and how much in a day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from relay.declared import Device, TlsVersion
from relay.errors import Kind, Problem
from relay.message import Address
from relay.routing.counting import Reserved, Tally
from relay.routing.sender_rules import REMEMBERED, Patterns
from relay.routing.senders import Credential
from relay.store.clock import rfc3339
from relay.store.directory.keys import ApiKey
from relay.store.usage import Used, day_of

# As the standard library's ssl names them, oldest first; a version that is not here is newer than all.
TLS_NAMES = {
    "SSLv3": -1,
    "TLSv1": 0,
    "TLSv1.1": 1,
    "TLSv1.2": 2,
    "TLSv1.3": 3,
}
FLOORS = {version: place for place, version in enumerate(TlsVersion)}


def check_device(credential: Credential, client: str, tls: str | None) -> None:
    """Whether a key that was right may be used by this client. `tls`: the version as `ssl` names it; None is none.

    Raises Problem(UNAUTHORIZED), which says what was wrong: whoever reads it knew the key.
    """
    key = credential.key
    if key is None or key.device is None:
        return
    problem = refused_place(key.device, client) or refused_tls(key.device, tls)
    if problem is not None:
        raise problem


def refused_place(device: Device, client: str) -> Problem | None:
    address = plain_address(client)
    if address is not None and any(address in network for network in device.networks):
        return None
    allowed = ", ".join(map(str, device.networks))
    return Problem(
        Kind.UNAUTHORIZED,
        f"this key is for a device in {allowed}, and {client or 'this connection'} is not there: send from there, or "
        "ask the operator to add a network to the key",
    )


def refused_tls(device: Device, tls: str | None) -> Problem | None:
    if device.min_tls is None:
        return None
    if tls is not None and TLS_NAMES.get(tls, len(TLS_NAMES)) >= FLOORS[device.min_tls]:
        return None
    spoken = "no TLS" if tls is None else tls
    return Problem(
        Kind.UNAUTHORIZED,
        f"this key needs TLS {device.min_tls.value} or later, and this connection speaks {spoken}: switch it on in the "
        "device, or ask the operator to lower the key's min_tls",
    )


def check_recipient(credential: Credential, recipient: Address) -> None:
    """Raises Problem(FORBIDDEN) for a recipient that a device may not write to."""
    key = credential.key
    if key is None or key.device is None or key.device.recipients is None:
        return
    if not _patterns(key.device.recipients).match(recipient):
        allowed = ", ".join(key.device.recipients[:5]) + (", ..." if len(key.device.recipients) > 5 else "")
        raise Problem(
            Kind.FORBIDDEN,
            f"this key writes to {allowed} only, and not to {recipient}: use such an address, or ask the operator to "
            "allow this one",
        )


_patterns = lru_cache(REMEMBERED)(Patterns.of)


def require_no_device(credential: Credential) -> None:
    """Raises Problem(FORBIDDEN) for a device's key, over HTTP."""
    if credential.key is not None and credential.key.device is not None:
        raise Problem(Kind.FORBIDDEN, "this API key is for a device that sends by SMTP: use another one over HTTP")


def plain_address(client: str) -> IPv4Address | IPv6Address | None:
    """Where a client is, without the zone of a link-local address; None where it has no address.

    An IPv4 client of a dual-stack listener is an IPv4 client.
    """
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


# -- how much in a day -----------------------------------------------------------------------------------------------


def _day(at: int) -> tuple[int, int]:
    return day_of(at), day_of(at) + 1


class DailyCaps:
    """How many recipients each device with a cap may still write to in this UTC day. One per server.

    Told by `load` what the database says: once before the first message, then every few seconds.
    """

    def __init__(self) -> None:
        self._days = Tally(_day)

    def load(self, used: Mapping[int, Used], at: int) -> None:
        """Take over `device_usage.of_day(db, at)`: every device's numbers, by key."""
        self._days.load(used, at)

    def check(self, key: ApiKey | None, recipients: int, now: int) -> None:
        """Raises Problem(QUOTA_EXCEEDED) where so many more do not fit. Counts nothing."""
        daily = cap_of(key)
        if key is None or daily is None:
            return
        day = self._days.period(now)
        used = day.used(key.id)
        if used + recipients > daily:
            raise Problem(
                Kind.QUOTA_EXCEEDED,
                f"this device has {daily} recipients a day: {used} are used, and {recipients} more "
                f"{'does' if recipients == 1 else 'do'} not fit; it starts anew at {rfc3339(day.end, 'seconds')}, or "
                "ask the operator for more",
                retry_after=timedelta(milliseconds=day.end - now),
            )

    def reserve(self, key: ApiKey | None, together: Reserved, recipients: int, now: int) -> None:
        """Count at once what `check` let pass; it is released together with what the message holds elsewhere."""
        if key is not None and cap_of(key) is not None:
            together.join(self._days.period(now).reserve(key.id, recipients))


def cap_of(key: ApiKey | None) -> int | None:
    """Recipients a day."""
    return None if key is None or key.device is None else key.device.daily
