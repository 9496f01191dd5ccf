"""Failed logins: who has made too many of them is blocked for a while. Decides in memory; others write it down."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from operator import itemgetter

from relay.errors import Kind, Problem, printable
from relay.settings import Logins as LoginSettings
from relay.store.blocks import Block
from relay.store.clock import milliseconds
from relay.values import Network

ADDRESSES = 50_000  # counted at once; the one that failed longest ago is forgotten first
FAILURES = 200_000  # counted at once, over all addresses: some 40 MB with these
BLOCKS = 10_000  # begun here and still standing
PREFIX = 20  # characters kept of what a stranger offers as the head of a key
WHOLE_ADDRESS = ""
NAMELESS = "-"  # stands for an empty head: "" would mean every key from the address


class Logins:
    """One per server. Ask only about an attempt that failed: a valid credential always passes.

    It counts for itself, since `limits` has no memory storage that is bounded whoever fails from wherever, and since
    one list of failures answers for an address and for each of its prefixes. Failures are told apart by `clock`, the
    seconds of any steady one; moments of blocks, which other processes read, are Unix time.
    """

    def __init__(
        self, settings: LoginSettings, exempt: Sequence[Network], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._for_prefix = settings.failures
        self._for_address = settings.failures_per_address
        self._within = settings.within.total_seconds()
        self._block_for = milliseconds(settings.block_for)
        self._exempt = {*settings.exempt, *exempt}
        self._clock = clock
        # By address: when it failed and with which prefix, oldest first. The address that failed last stands last.
        self._failures: OrderedDict[str, list[tuple[float, str]]] = OrderedDict()
        self._noted = 0
        self._blocks: dict[tuple[str, str], Block] = {}
        self._written: frozenset[tuple[str, str]] = frozenset()  # those of them that the database has

    def failed(self, client: str, key_prefix: str, now: float) -> Block | None:
        """Note a failure, now in Unix seconds. Returns the block that begins with it, to be written down."""
        address = self._counted(client)
        if address is None:
            return None
        prefix = shown_prefix(key_prefix)
        recent = self._note(address, prefix)
        at = int(now * 1000)
        with_prefix = sum(failed_with == prefix for _, failed_with in recent)
        for each, failures, enough in (
            (WHOLE_ADDRESS, len(recent), self._for_address),
            (prefix, with_prefix, self._for_prefix),
        ):
            if self._left(address, each, at) > 0:
                return None
            if failures >= enough:
                return self._begin(Block(address, each, failures, at, at + self._block_for), at)
        return None

    def blocked(self, client: str, key_prefix: str, now: float) -> timedelta | None:
        """How much longer invalid attempts like this one are blocked, now in Unix seconds; None if they are not."""
        if not self._blocks or (address := self._counted(client)) is None:
            return None
        at = int(now * 1000)
        left = max(self._left(address, each, at) for each in (WHOLE_ADDRESS, shown_prefix(key_prefix)))
        return timedelta(milliseconds=left) if left > 0 else None

    def replace(self, blocks: Iterable[Block]) -> None:
        """Take over what the database says. Failures counted so far stay.

        A block of ours that was not yet written when the database was read is gone with this, until the next failure
        begins it again, or the database has it. One that the database had and has no more was lifted, or is over:
        failures of that address are counted anew, or the next one would begin it again.
        """
        written = {(block.address, block.prefix): block for block in blocks}
        for address, _ in self._written - written.keys():
            self._noted -= len(self._failures.pop(address, ()))
        self._blocks, self._written = written, frozenset(written)

    @staticmethod
    def refusal(remaining: timedelta) -> Problem:
        """What a blocked attempt is told."""
        seconds = math.ceil(remaining.total_seconds())
        return Problem(
            Kind.BLOCKED,
            f"too many failed logins from this address: try again in {seconds} seconds, or with a valid API key",
            retry_after=remaining,
        )

    # -- counting ----------------------------------------------------------------------------------------------------

    def _counted(self, client: str) -> str | None:
        """The address that failures of a client count for, or None where it is exempt."""
        try:
            address = ip_address(client)
        except ValueError:
            return origin(client)
        forms = {address, _plain(address)}
        if any(form in network for network in self._exempt for form in forms):
            return None
        return origin(client)

    def _note(self, address: str, prefix: str) -> list[tuple[float, str]]:
        """Count a failure. Returns all recent ones of the address, oldest first."""
        now = self._clock()
        recent = self._failures.setdefault(address, [])
        before = len(recent)
        recent.append((now, prefix))
        # No more than decide are kept, or one address could take all the room there is.
        over = bisect_right(recent, now - self._within, key=itemgetter(0))
        del recent[: max(over, len(recent) - max(self._for_prefix, self._for_address))]
        self._noted += len(recent) - before
        self._failures.move_to_end(address)
        self._forget(now)
        return recent

    def _forget(self, now: float) -> None:
        """Let go of addresses whose last failure is long ago and, where there are too many, of the next ones."""
        while self._failures:
            address, oldest = next(iter(self._failures.items()))
            is_over = oldest[-1][0] <= now - self._within
            if not is_over and len(self._failures) <= ADDRESSES and self._noted <= FAILURES:
                return
            self._noted -= len(oldest)
            del self._failures[address]

    # -- blocks ------------------------------------------------------------------------------------------------------

    def _begin(self, block: Block, at: int) -> Block | None:
        """Hold a new block from now on. None where too many stand: such an attack is not one of addresses."""
        if len(self._blocks) >= BLOCKS:
            self._blocks = {key: each for key, each in self._blocks.items() if each.until > at}
            if len(self._blocks) >= BLOCKS:
                return None
        self._blocks[block.address, block.prefix] = block
        return block

    def _left(self, address: str, prefix: str, at: int) -> int:
        """Milliseconds. Never more than the block was begun for, though the wall clock be set back."""
        block = self._blocks.get((address, prefix))
        return 0 if block is None else min(block.until - at, block.until - block.since)


def origin(client: str) -> str:
    """The address that a client's failures count for, as blocks name it: of IPv6 the /64, which is one customer's."""
    try:
        address = _plain(ip_address(client))
    except ValueError:
        return printable(client, 45)[:45] or "unknown"
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def shown_prefix(offered: str) -> str:
    """The head of a key as it may be stored and shown: a stranger made it up."""
    return printable(offered[:PREFIX], PREFIX)[:PREFIX] or NAMELESS


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 client of a dual-stack listener is an IPv4 client."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
