"""A real directory on SQLite, as the core holds it in memory, and as commands change it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from relay import config
from relay.declared import KeyFields
from relay.management import declaring
from relay.routing.senders import Credential, Senders
from relay.store.beside import with_database
from relay.store.directory import keys, snapshot
from relay.store.directory.audit import Actor
from relay.store.directory.installation import shown
from relay.store.directory.keys import ApiKey

ADMIN = Actor("test", is_operator=True)
FILE: dict[str, Any] = {
    "http": {"address": "127.0.0.1:0"},
    "ses_accounts": {"main": {"region": "eu-west-1"}},
    "tenants": {"acme": {"approved": True}},
    "domains": {
        "ours.example": {"mode": "shared"},
        "acme.example": {"mode": "shared", "tenant": "acme", "include_subdomains": True},
    },
}


class Directory:
    """The default tenant has ours.example, the tenant acme has acme.example."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self._settings = config.check(json.loads(json.dumps(FILE | sections)), folder / "config.yaml", {})
        with_database(self._settings, lambda db, sealer: declaring.apply(db, sealer, self._settings))
        sealer = with_database(self._settings, lambda _, sealer: sealer)
        self.senders = Senders(sealer, with_database(self._settings, lambda db, _: snapshot.read(db)), {})

    def look(self) -> None:
        """What a server does within a second of a change."""
        self.senders.replace(with_database(self._settings, lambda db, _: snapshot.read(db)))

    def key(self, name: str = "key", **fields: Any) -> ApiKey:
        wanted = KeyFields.model_validate({"name": name} | fields)
        made, _ = with_database(self._settings, lambda db, sealer: keys.create(db, sealer, ADMIN, wanted))
        self.look()
        return made

    def credential(self, **fields: Any) -> Credential:
        """Of a new key."""
        made = self.key(**fields)
        return Credential(self.senders.snapshot.tenants[made.tenant_id], made)

    def rotate(self, key: ApiKey, overlap: Any) -> ApiKey:
        made, _ = with_database(
            self._settings, lambda db, sealer: keys.rotate(db, sealer, ADMIN, shown(key.id), overlap)
        )
        self.look()
        return made

    def revoke(self, key: ApiKey) -> None:
        with_database(self._settings, lambda db, _: keys.revoke(db, ADMIN, shown(key.id)))
        self.look()
