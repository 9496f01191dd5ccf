"""Runs a server: its core, its doors and what goes on in between, started and stopped in order."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from relay import __version__, log
from relay.certificates import Certificates, self_signed
from relay.config import Settings, Tls, load
from relay.core import Core, built, count_usage, http_state, take_over, take_over_key, tell_limits
from relay.declared import TlsVersion
from relay.dispatch.dropping import Dropping
from relay.errors import Problem, Unusable
from relay.http.app import create_app
from relay.http.hall import Hall
from relay.http.proxies import Proxies
from relay.http.server import HttpServer
from relay.http.state import Readiness
from relay.management import declaring
from relay.management.noticing import Notifier
from relay.management.verification import Verification
from relay.memory import give_back_large_blocks, leave_alone
from relay.routing.trust import Trust
from relay.smtp import descriptors
from relay.smtp.edge import Edge
from relay.smtp.listener import Listeners
from relay.store import blocks, forgetting, idempotency, retention, smtp_failures, standings
from relay.store.directory import installation, keys
from relay.store.directory.snapshot import read_alone as read_snapshot
from relay.store.files import state_folder
from relay.store.webhooks import sweeping
from relay.store.writer import Rank

RELOAD_EVERY = 1.0  # seconds: how soon what a command or another process changed counts
USAGE_EVERY = 10.0  # seconds: how old other processes' counts towards a quota may be
USED_EVERY = 60.0  # seconds: how old "last used" of a key may be
SWEEP_EVERY = 3600.0  # seconds: how much longer than promised something may stay
SWEEPS = (
    smtp_failures.sweep,
    idempotency.sweep,
    standings.sweep,
    retention.sweep_counts,
    forgetting.sweep_probes,
)  # each deletes a slice of what is over, and says how much that was
ANSWER_WITHIN = timedelta(seconds=5)  # what is in hand when the doors close


class Server:
    """A running server. Built by `running`; its ports are for whoever asked for port 0."""

    def __init__(self, core: Core, settings: Settings) -> None:
        self._core = core
        self._settings = settings
        self._keep_log_for = settings.retention.log
        self._is_stopping = False
        self._counted_at = self._noted_at = 0.0
        self._swept_at = -SWEEP_EVERY  # at once after a start, too
        self._generation = core.senders.snapshot.generation  # what every part goes by
        self._reloading = asyncio.Lock()
        self.work: list[asyncio.Task[None]] = []
        self.smtp_ports: list[int] = []
        self.trusts: Sequence[Trust] = ()
        self.http_port = 0
        self.certificates: Certificates | None = None

    async def reload_for_ever(self) -> None:
        """Read again what others changed, and write down what was noticed here."""
        while True:
            await asyncio.sleep(RELOAD_EVERY)
            try:
                if self.certificates is not None:
                    self.certificates.refresh()
                await self.note()
                await self.reload()
                for trust in self.trusts:
                    trust.look()
                await self._sweep()
            except Exception as exc:  # the next round tries again; the old state stays good
                log.trouble("reload.failed", exc)

    async def reload(self) -> None:
        """Take over the directory if it changed: all of it, or what is left of it the next time."""
        async with self._reloading:  # a signal may ask for it, too
            await self._reload()

    async def _reload(self) -> None:
        core = self._core
        if time.monotonic() - self._counted_at > USAGE_EVERY:
            self._counted_at = time.monotonic()
            await count_usage(core.store, core.quota, core.caps)
            await tell_limits(core)
        core.logins.replace(await core.store.read(blocks.standing))
        if await core.store.read(installation.generation) == self._generation:
            return
        await take_over_key(core.store, self._settings)
        snapshot = await core.store.read_whole(read_snapshot)
        core.senders.replace(snapshot)
        await take_over(core, snapshot)
        await core.dispatcher.look_again()
        self._generation = snapshot.generation

    async def note(self, *, is_last: bool = False) -> None:
        """Write down what only memory knows: who was blocked, which sessions failed, and which keys were used."""
        store = self._core.store
        for block in self._core.door.begun():
            await store.write(blocks.begin, block, Rank.SWEEP)
            self._core.door.forget(block)
        while failures := self._core.failures.take():
            sealed = [smtp_failures.seal(store.sealer, each) for each in failures]
            await store.write(smtp_failures.note, sealed, Rank.SWEEP)
        if is_last or time.monotonic() - self._noted_at > USED_EVERY:
            self._noted_at = time.monotonic()
            if used := self._core.senders.take_used():
                await store.write(keys.note_used, used, Rank.SWEEP)

    async def _sweep(self) -> None:
        """Delete what is kept for a time that is over. A server that sweeps beside us finds nothing left."""
        if time.monotonic() - self._swept_at < SWEEP_EVERY:
            return
        self._swept_at = time.monotonic()
        for sweep in SWEEPS:
            while await self._core.store.write(sweep, None, Rank.SWEEP):
                pass
        while await self._core.store.write(sweeping.sweep, self._settings.webhooks.keep_for, Rank.SWEEP):
            pass
        await self._sweep_log()

    async def _sweep_log(self) -> None:
        """Delete the rows of mail that was accepted too long ago, and events of that time."""
        store, look = self._core.store, retention.Look(self._keep_log_for)
        while (gone := await store.write(retention.sweep_log, look, Rank.SWEEP)).after is not None:
            look = replace(look, after=gone.after)
        while await store.write(retention.sweep_events, look.keep_for, Rank.SWEEP):
            pass
        for walk in forgetting.WALKS:
            after: int | None = 0
            while after is not None:
                after = await store.write(walk, after, Rank.SWEEP)

    async def redeclare(self, settings: Settings) -> None:
        """The file was changed: its rows become what it says, all or nothing. Raises Problem."""
        store = self._core.store
        plan = await store.change(lambda db: declaring.apply(db, store.sealer, settings))
        self._core.senders.plans = settings.plans
        self._settings = settings
        self._generation = -1  # plans, too, say which domains may send
        log.event("config.applied", changes=len(plan.changes))
        await self.reload()

    def readiness(self) -> Readiness:
        faults: dict[str, str] = {}
        dispatcher, senders = self._core.dispatcher, self._core.senders
        for name, lane in dispatcher.lanes.items():
            for key, (kind, detail) in lane.stops.all().items():
                faults[f"account {name}" + (f", domain {key}" if key else "")] = f"{kind.title}: {detail}"
            faults |= dispatcher.quotas[name].faults()
        for tenant in senders.snapshot.tenants.values():
            if tenant.plan is not None and tenant.plan not in senders.plans:
                said = f"its plan {tenant.plan} is not in the configuration, so nothing limits it"
                faults[f"tenant {tenant.name}"] = said
        if self.certificates is not None and self.certificates.fault:
            faults["certificate"] = self.certificates.fault
        for trust in self.trusts:
            faults |= trust.faults()
        for feedback in (self._core.poller, self._core.push, self._core.silence):
            faults |= feedback.faults()
        if store_fault := self._core.store.fault:
            faults["database"] = f"cannot be written, so nothing is taken: {store_fault}"
        if lack := self._core.disk.lack:
            faults["disk"] = f"too little {lack} for another message"
        if self._is_stopping:
            faults["server"] = "is stopping"
        return Readiness(not (self._is_stopping or store_fault), faults)

    def stopping(self) -> None:
        self._is_stopping = True


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Server]:
    """A whole server: accepting and sending from here to the end of the block, then stopped in order.

    Raises StoreError, SealingError, CertificateError, Problem or OSError where it cannot start, with what to do.
    """
    async with built(settings) as core:
        server = Server(core, settings)
        await take_over(core, core.senders.snapshot)
        await core.dispatcher.start()
        server.certificates = certificates = _certificates(settings)
        edge = Edge(settings, core.intake, core.door, core.memory, core.metrics, core.failures, core.disk)
        listeners = Listeners(edge)
        server.trusts = listeners.trusts
        http = _http_server(settings, server, core, certificates)
        server.work = work = [
            asyncio.create_task(core.dispatcher.run(), name="dispatcher"),
            asyncio.create_task(core.poller.run(), name="feedback"),
            asyncio.create_task(core.push.run(), name="push"),
            asyncio.create_task(core.poster.run(), name="webhooks"),
            asyncio.create_task(core.silence.run(), name="silence"),
            asyncio.create_task(server.reload_for_ever(), name="reload"),
            asyncio.create_task(edge.watch(), name="smtp"),
            asyncio.create_task(Verification(core.store, core.desk).run(), name="verification"),
            asyncio.create_task(Dropping(core.store).run(), name="attachments"),
            asyncio.create_task(Notifier(core.store, core.accounts, settings.notices).run(), name="notices"),
        ]
        try:
            for listener in settings.smtp.listeners:
                await listeners.open(listener, certificates)
            server.smtp_ports = listeners.ports
            if http is not None:
                await http.open()
                server.http_port = http.port
            log.event("server.ready", version=__version__)
            yield server
        finally:
            # No new attempt; then the doors; then what is in hand; then calls under way; the store last.
            server.stopping()
            core.dispatcher.start_nothing_more()
            doors = [listeners.close(ANSWER_WITHIN)] + ([http.close(ANSWER_WITHIN)] if http else [])
            await asyncio.gather(*doors)
            await core.intake.close()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await core.dispatcher.close()
            await server.note(is_last=True)
            log.event("server.stopped")


def _http_server(
    settings: Settings, server: Server, core: Core, certificates: Certificates | None
) -> HttpServer | None:
    http = settings.http
    if http is None:
        return None
    context = certificates.context() if http.tls and certificates is not None else None
    most = min(http.max_connections, descriptors.capacity())
    hall = Hall(most, http.max_connections_per_address, Proxies(http.trusted_proxies))
    core.metrics.http_connections.set_function(lambda: hall.admission.count)
    return HttpServer(create_app(http_state(settings, core, server.readiness)), http.address, context, hall)


def _certificates(settings: Settings) -> Certificates | None:
    """None where nobody speaks TLS. Raises CertificateError."""
    needs_tls = (settings.http is not None and settings.http.tls) or any(
        listener.tls is not Tls.NONE for listener in settings.smtp.listeners
    )
    if not needs_tls:
        return None
    if settings.certificate is not None:
        return Certificates([(settings.certificate.certificate, settings.certificate.key)])
    folder, name = state_folder(settings), settings.hostname
    pairs = [self_signed(folder, name)]
    if any(listener.min_tls in (TlsVersion.V1_0, TlsVersion.V1_1) for listener in settings.smtp.listeners):
        pairs.append(self_signed(folder, name, is_rsa=True))  # devices that old know no other
    return Certificates(pairs)


async def serve(file: Path, settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, or until a part of the server fails. SIGHUP: take over what the file says now."""
    give_back_large_blocks()
    stop = asyncio.Event()
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    loop.add_signal_handler(signal.SIGHUP, changed.set)
    descriptors.raise_limit()
    if (room := descriptors.capacity()) < settings.smtp.max_connections:
        log.trouble("smtp.few_descriptors", connections=room, reason="raise the limit on open files (LimitNOFILE)")
    async with running(settings) as server:
        leave_alone()
        stopped = asyncio.create_task(stop.wait())
        rereading = asyncio.create_task(_reread_for_ever(file, server, changed))
        done, _ = await asyncio.wait([stopped, *server.work], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        rereading.cancel()
        log.event("server.stopping")
        for task in done - {stopped}:  # they run for ever: one that ends has failed, and mail would wait unseen
            log.trouble("server.part_failed", task.exception(), part=task.get_name())
            raise RuntimeError(f"{task.get_name()} failed")


async def _reread_for_ever(file: Path, server: Server, changed: asyncio.Event) -> None:
    while True:
        await changed.wait()
        changed.clear()
        try:
            await server.redeclare(load(file))
        except (Problem, Unusable) as exc:  # the rows stay as they are
            for line in str(exc).splitlines():
                log.trouble("config.refused", reason=line)
        except Exception as exc:  # the next signal is heard all the same
            log.trouble("config.failed", exc)
