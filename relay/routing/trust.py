"""Who may send by its address alone, and as whom: the trusted networks of one listener."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay import log
from relay.container import Gateways
from relay.declared import SenderRule
from relay.errors import Kind, Problem
from relay.routing.devices import check_device, plain_address
from relay.routing.senders import Credential, Senders
from relay.settings import SmtpListener, TrustedNetwork
from relay.store.clock import now_ms
from relay.store.directory.installation import row_id
from relay.store.directory.keys import ApiKey, without_secret
from relay.values import Network


@dataclass(frozen=True, slots=True)
class _Entry:
    """One network as the directory has it now. `fault`: why nobody there is trusted."""

    network: Network
    credential: Credential | None
    fault: str = ""

    def fault_at(self, now: int) -> str:
        key = None if self.credential is None else self.credential.key
        if key is not None and not key.is_valid(now):
            return f"its key {key.prefix} has expired: give the key more time, or name another one"
        return self.fault


class Trust:
    """One per listener. It follows the directory: a network whose key is revoked is trusted no more."""

    def __init__(
        self,
        listener: str,
        networks: Sequence[TrustedNetwork],
        senders: Senders,
        rule: SenderRule | None,
        gateways: Gateways,
    ) -> None:
        self._listener = listener
        # The first that holds an address is the smallest one.
        self._networks = sorted(networks, key=lambda each: each.network.prefixlen, reverse=True)
        self._senders = senders
        self._rule = rule
        self._gateways = gateways
        self._snapshot = senders.snapshot
        self._entries = self._read()
        self._said: dict[str, str] = {}
        self._log_gateways()

    @classmethod
    def of(cls, listener: SmtpListener, senders: Senders, gateways: Gateways) -> Trust:
        return cls(str(listener.address), listener.trusted_networks, senders, listener.sender_rule, gateways)

    def credential(self, client: str, tls: str | None = None) -> Credential | None:
        """What a client may do by its address alone. `tls`: the version as `ssl` names it, which a device may need."""
        if not self._networks or (address := plain_address(client)) is None or address in self._gateways:
            return None
        for entry in self._current():
            if address in entry.network:
                return entry.credential if _is_usable(entry.credential, client, tls) else None
        return None

    def faults(self) -> dict[str, str]:
        """Why networks are not trusted as the configuration says, in words."""
        now = now_ms()
        found = {entry.network: entry.fault_at(now) for entry in self._current()}
        return {f"trusted network {network} at {self._listener}": fault for network, fault in found.items() if fault}

    def look(self) -> None:
        """Log what changed since this was last asked."""
        faults = self.faults()
        for name in faults.keys() - self._said.keys():
            log.trouble("smtp.trust_lost", network=name, reason=faults[name])
        for name in self._said.keys() - faults.keys():
            log.event("smtp.trust_restored", network=name)
        self._said = faults

    def _current(self) -> list[_Entry]:
        if self._senders.snapshot is not self._snapshot:
            self._snapshot = self._senders.snapshot
            self._entries = self._read()
        return self._entries

    def _read(self) -> list[_Entry]:
        return [self._entry(each) for each in self._networks]

    def _entry(self, said: TrustedNetwork) -> _Entry:
        rule = self._rule if said.sender is None else SenderRule(sender=said.sender)
        if said.key is None:
            return _Entry(said.network, Credential(self._snapshot.default_tenant, None, rule, is_trusted=True))
        try:
            key = find_key(self._snapshot.keys.values(), said.key)
        except Problem as problem:
            return _Entry(said.network, None, problem.detail)
        return _Entry(said.network, Credential(self._snapshot.tenants[key.tenant_id], key, rule, is_trusted=True))

    def _log_gateways(self) -> None:
        for each in self._networks:
            for gateway in self._gateways:
                if gateway in each.network:
                    log.event(
                        "smtp.gateway_not_trusted",
                        listener=self._listener,
                        network=str(each.network),
                        gateway=str(gateway),
                        reason="whoever comes through a published port of this container may seem to come from there",
                    )


def _is_usable(credential: Credential | None, client: str, tls: str | None) -> bool:
    """A key that has expired, or that is for a device elsewhere, gives no trust: the client may log in."""
    if credential is None:
        return False
    if credential.key is None:
        return True
    try:
        check_device(credential, client, tls)
    except Problem:
        return False
    return credential.key.is_valid(now_ms())


def find_key(keys: Iterable[ApiKey], name: str) -> ApiKey:
    """By id; else by the name the configuration file gave it; else by prefix or any other name.

    Of keys that were rotated under one name it is the newest. Tenants name their keys as they like: where that leaves
    a choice, nobody is trusted. Raises Problem(NOT_FOUND | CONFLICT).
    """
    found = list(keys)
    called = (
        [key for key in found if key.id == row_id(name)]
        or [key for key in found if key.is_declared and key.name == name]
        or [key for key in found if name in {key.name, key.prefix}]
    )
    replaced = {key.replaces for key in called}
    newest = [key for key in called if key.id not in replaced]
    said = without_secret(name)
    if not newest:
        raise Problem(Kind.NOT_FOUND, f"there is no valid key {said!r}: make one, or name another one")
    if len(newest) > 1:
        raise Problem(Kind.CONFLICT, f"several keys are called {said!r}: name one by its id")
    return newest[0]
