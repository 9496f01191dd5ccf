"""Whose address mail goes out under where a rule replaces its own. Pure: functions of a rule and an address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from relay.declared import Device, SenderRule
from relay.message import Address

MISSING = "missing"
NULL = "<>"
REMEMBERED = 4096  # rules read, of all keys and listeners


@dataclass(frozen=True, slots=True)
class Rule:
    """What replaces the senders of one credential's mail. `is_forced`: every one but the null envelope sender."""

    sender: Address
    patterns: Patterns
    is_forced: bool
    replaces_missing: bool
    replaces_null: bool

    def replaces(self, address: Address) -> bool:
        return self.is_forced or self.patterns.match(address)


@lru_cache(REMEMBERED)
def of_rule(rule: SenderRule) -> Rule:
    return Rule(
        sender=Address.parse(rule.sender),
        patterns=Patterns.of(each for each in rule.replaces if each not in {MISSING, NULL}),
        is_forced=False,
        replaces_missing=MISSING in rule.replaces,
        replaces_null=NULL in rule.replaces,
    )


@lru_cache(REMEMBERED)
def of_device(device: Device) -> Rule:
    """A device knows nothing of addresses: all it sends goes out under its own."""
    return Rule(Address.parse(device.sender), Patterns(()), is_forced=True, replaces_missing=True, replaces_null=False)


def envelope(rule: Rule | None, sender: Address | None) -> Address | None:
    """The envelope sender under a rule. None is the null one, and stays it unless the rule names it."""
    if rule is None:
        return sender
    if sender is None:
        return rule.sender if rule.replaces_null else None
    return rule.sender if rule.replaces(sender) else sender


def author(rule: Rule | None, found: Address | None) -> Address | None:
    """What replaces the header From under a rule; None: it stays as it is. `found` None: there is no From."""
    if rule is None:
        return None
    is_replaced = rule.replaces_missing if found is None else rule.replaces(found)
    return rule.sender if is_replaced else None


# -- patterns --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Patterns:
    """Addresses in which `*` stands for any run of characters, never across the @. Case does not count.

    Each is (pieces of the local part, pieces of the domain), between which anything may stand. No regular expression:
    tenants write these, and a few stars too many must not stall the server.
    """

    pieces: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Patterns:
        parts = [text.lower().rpartition("@") for text in texts]
        return cls(tuple((tuple(local.split("*")), tuple(domain.split("*"))) for local, _, domain in parts))

    def match(self, address: Address) -> bool:
        local = address.local.lower()
        return any(_fits(in_domain, address.domain) and _fits(in_local, local) for in_local, in_domain in self.pieces)


def _fits(pieces: tuple[str, ...], text: str) -> bool:
    if len(pieces) == 1:
        return pieces[0] == text
    first, *middle, last = pieces
    start, end = len(first), len(text) - len(last)
    if start > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for piece in middle:  # the leftmost place of each leaves the most room to those after it
        found = text.find(piece, start, end)
        if found < 0:
            return False
        start = found + len(piece)
    return True
