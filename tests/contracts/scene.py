"""One relay for the contract tests: keys of every sort, and everything that the contracts say is refused."""

from __future__ import annotations

import email
import email.policy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select

from relay.declared import DomainStatus
from relay.message import public_id_of
from relay.sealing import api_key_prefix
from relay.store import suppressions
from relay.store.directory import domains, keys, tenants
from relay.store.directory.domains import Finding
from relay.store.schema import messages
from relay.store.suppressions import Entry
from tests.dns_server import DnsServer, records
from tests.support import Answer, World
from tests.tenancy.house import ACTOR, ANYTHING, FAR, House, housing

ZONE = {
    "one.test": records("MX 10 mx.one.test."),
    "xn--bcher-kva.test": records("A 192.0.2.1"),
    "null-mx.test": records("MX 0 ."),
}
GONE = "gone@one.test"  # on acme's suppression list
NO_MX = "ana@nowhere.test"
NULL_MX = "ana@null-mx.test"
BYOC, SHARED = "byoc.test.example", "shared.test.example"  # acme's, verified
WARNING = "DMARC missing: publish v=DMARC1; p=none; at _dmarc.shared.test.example"
PLANS: dict[str, Any] = {"two": {"monthly": 2}, "nothing": {"monthly": 0}, "own-account": {"modes": ["byoc"]}}

# Keys that were another product's, each as that product writes one.
IMPORTED = {
    "sendfleet": "sf_live_a1b2c3d4.0123456789abcdef0123456789abcdef",
    "sendfleet bare": "b1c2d3e4.0123456789abcdef0123456789abcdef",
    "sendex": "sk_live_" + "a1B2c3D4" * 6,
    "mailerlogic": "ml_live_0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "sendmux mailbox": "smx_mbx_0123456789abcdefghijklmnopqrstuv",
    "sendmux root": "smx_root_0123456789abcdefghijklmnopqrstuv",
}

Header = Literal["x-api-key", "authorization"]
BAD = {"revoked", "expired"}  # keys that were good once


@dataclass
class Scene:
    """`keys` by name. All but those of `tenant_of` are acme's, and ask as often as they like but for `published...`.

    acme has the domains BYOC and SHARED, and dkim.test.example (its DKIM records are missing) and claim.test.example
    (nobody has shown that it is acme's), which may not send. Other tenants have one verified domain each, NAME.example,
    and a key NAME: suspended, unapproved, modeless, spent (no quota), thrifty (two are left), default-sender,
    second-ready (its first domain may not send), unready (none of its domains may), domainless, and two that send at
    the published rates: published, published-too (two keys of it: published-too and published-two).
    """

    house: House
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    _sources: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def world(self) -> World:
        return self.house.world

    def key(self, name: str) -> str:
        """The key of this name, or else what is given: some secret that is no key here."""
        return self.keys.get(name, name)

    def call(
        self, method: str, path: str, body: Any = None, *, key: str = "full", header: Header = "x-api-key", **more: str
    ) -> Answer:
        """One request with a key in `header`; `key=""`: without. Octets go out as they are, all else as JSON.

        With a bad key it comes from an address of its own: too many failed logins from one would block that.
        """
        if isinstance(body, dict | list):
            more.setdefault("Content-Type", "application/json")
        source = f"127.0.8.{next(self._sources)}" if key and (key in BAD or key not in self.keys) else ""
        if secret := self.key(key):
            more |= {"X-API-Key": secret} if header == "x-api-key" else {"Authorization": f"Bearer {secret}"}
        return self.world.call(method, path, body, key="", source=source, **more)

    def row(self, given_id: str) -> Mapping[str, Any]:
        """A message as it was written down, by any form of its id."""
        which = select(messages).where(messages.c.public_id == public_id_of(given_id))
        return self.house.read(lambda db: db.execute(which).mappings().one())

    def raw_to(self, address: str) -> bytes:
        """The octets of the only message that SES was given for a recipient."""
        [sent] = self.world.sent_to(address)
        raw: bytes = sent["raw"]
        return raw

    def mail_to(self, address: str) -> EmailMessage:
        """The same as the standard library reads it."""
        return parsed(self.raw_to(address))

    def was_sent_to(self, address: str) -> bool:
        """Whether SES was given anything for a recipient so far."""
        return any(address in message["recipients"] for message in self.world.messages())


def parsed(raw: bytes) -> EmailMessage:
    found = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    assert [part.defects for part in found.walk() if part.defects] == []
    return found


def tree(part: EmailMessage) -> Any:
    """The types of a message: a word for a leaf, a list that begins with its type for a multipart."""
    if not part.is_multipart():
        return part.get_content_type()
    below = [tree(each) for each in part.iter_parts() if isinstance(each, EmailMessage)]
    return [part.get_content_type(), *below]


def without(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


@contextmanager
def set_up(folder: Path) -> Iterator[Scene]:
    """It takes about two seconds: one for a module."""
    with (
        DnsServer(ZONE) as dns,
        housing(
            folder,
            "relay.db",
            plans=PLANS,
            mx={"policy": "enforce", "on_trouble": "defer"},
            dns={"nameservers": [dns.nameserver]},
        ) as house,
    ):
        scene = Scene(house)
        _acme(scene)
        _others(scene)
        house.settle()
        yield scene


def _acme(scene: Scene) -> None:
    house = scene.house
    tenant = house.tenant("acme")
    house.domain(BYOC, "acme")
    house.domain(SHARED, "acme", "shared")
    _look(house, SHARED, DomainStatus.VERIFIED, warnings=[WARNING])
    for missing in ("dkim", "claim"):
        name = f"{missing}.test.example"
        house.domain(name, "acme", is_verified=False)
        _look(house, name, DomainStatus.PENDING, [_missing(missing, f"{missing.upper()} missing: publish it")])
    house.domain("transactional.test.example", "acme", streams=["transactional"])
    house.change(lambda db: suppressions.suppress(db, ACTOR, tenant.id, Entry(GONE, "bounced")))
    made: dict[str, tuple[str, dict[str, Any]]] = {
        "full": ("full", {}),
        "send_only": ("send_only", {}),
        "scoped": ("send_only", {"domains": [BYOC]}),
        "revoked": ("send_only", {}),
        "expired": ("send_only", {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}),
        **{name: ("full", {"secret": secret}) for name, secret in IMPORTED.items()},
    }
    for name, (permission, fields) in made.items():
        scene.keys[name] = house.key("acme", permission, rate_per_minute=ANYTHING, **fields)
    scene.keys["rated"] = house.key("acme", "full", rate_per_minute=2)
    for dialect in ("sendfleet", "mailerlogic", "sendmux", "native"):  # its rate is for all of them together
        scene.keys[f"rated {dialect}"] = house.key("acme", "full", rate_per_minute=2)
    house.change(lambda db: keys.revoke(db, ACTOR, api_key_prefix(scene.keys["revoked"])))


def _others(scene: Scene) -> None:
    house = scene.house
    own: dict[str, dict[str, Any]] = {"spent": {"plan": "nothing"}, "thrifty": {"plan": "two"}}
    for name in ("suspended", "spent", "thrifty", "published", "published-too"):
        house.tenant(name, **own.get(name, {}))
        house.domain(f"{name}.example", name)
    house.tenant("unapproved", is_approved=False)
    house.domain("unapproved.example", "unapproved", "shared")
    house.tenant("modeless", plan="own-account")
    house.domain("modeless.example", "modeless", "shared")
    house.tenant("default-sender")
    house.domain("first-default-sender.example", "default-sender")
    house.domain("default-sender.example", "default-sender", default_sender="desk@default-sender.example")
    house.tenant("second-ready")
    house.domain("not-second-ready.example", "second-ready", is_verified=False)
    house.domain("second-ready.example", "second-ready")
    house.tenant("unready")
    house.domain("unready.example", "unready", is_verified=False)
    house.tenant("domainless")
    for name in ("suspended", "spent", "thrifty", "unapproved", "modeless", "default-sender", "second-ready"):
        scene.keys[name] = house.key(name, "full", rate_per_minute=ANYTHING)
    for name in ("unready", "domainless"):
        scene.keys[name] = house.key(name, "full", rate_per_minute=ANYTHING)
    scene.keys["published"] = house.key("published", "full")
    scene.keys["published-too"] = house.key("published-too", "full")
    scene.keys["published-two"] = house.key("published-too", "full")
    house.change(lambda db: tenants.suspend(db, ACTOR, "suspended", "4 % bounces"))


def _missing(purpose: str, said: str) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "status": "missing",
        "is_required": True,
        "expected": [],
        "found": [],
        "said": said,
    }


def _look(
    house: House,
    name: str,
    status: DomainStatus,
    checks: Sequence[Mapping[str, Any]] = (),
    *,
    warnings: Sequence[str] = (),
) -> None:
    """As if a domain had been looked at, with this outcome; it is not looked at again."""
    found = house.read(lambda db: domains.find(db, name))
    finding = Finding(found.id, found.account_id, found.checked_at, status, True, (), checks, warnings, 1, FAR)
    assert house.change(lambda db: domains.settle(db, ACTOR, finding)) is not None
