"""Builds, runs and stops the parts of a server, in order. The only place that knows them all."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from relay import __version__, log
from relay.certificates import Certificates, self_signed
from relay.config import Http, Settings, Tls, load
from relay.declared import TlsVersion
from relay.dispatch.dispatcher import Dispatcher
from relay.dns import Resolver
from relay.errors import Kind, Problem, Unusable
from relay.http.app import create_app
from relay.http.hall import Hall
from relay.http.proxies import Proxies
from relay.http.server import HttpServer
from relay.http.state import Readiness, State
from relay.management import declaring
from relay.management.desk import Desk
from relay.management.noticing import Notifier
from relay.management.reaching import access_of, base_of
from relay.management.verification import Verification
from relay.memory import give_back_large_blocks, leave_alone
from relay.metrics import Metrics
from relay.routing import standing
from relay.routing.devices import DailyCaps
from relay.routing.disk import Disk
from relay.routing.door import Door
from relay.routing.intake import Intake
from relay.routing.limits import MemoryBudget
from relay.routing.logins import Logins
from relay.routing.mx import MxCheck
from relay.routing.quota import Quota
from relay.routing.rates import Rates
from relay.routing.recipients import Recipients
from relay.routing.senders import Senders
from relay.routing.standing import ACCOUNT
from relay.routing.trust import Trust
from relay.sealing import SealingError
from relay.ses.access import Access, StaticKeys
from relay.ses.clients import Accounts
from relay.smtp import descriptors
from relay.smtp.edge import Edge
from relay.smtp.listener import Listeners
from relay.smtp.record import FailureLog
from relay.store import blocks, device_usage, idempotency, smtp_failures, usage
from relay.store.clock import now_ms
from relay.store.database import is_sqlite, sqlite_path
from relay.store.directory import installation, keys
from relay.store.directory.snapshot import Snapshot
from relay.store.directory.snapshot import read_alone as read_snapshot
from relay.store.files import database_url, master_key, state_folder
from relay.store.store import Store, open_store
from relay.store.writer import Rank
from relay.values import Endpoint, Network

RELOAD_EVERY = 1.0  # seconds: how soon what a command or another process changed counts
USAGE_EVERY = 10.0  # seconds: how old other processes' counts towards a quota may be
USED_EVERY = 60.0  # seconds: how old "last used" of a key may be
SWEEP_EVERY = 3600.0  # seconds: how much longer than promised something may stay
SWEEPS = (smtp_failures.sweep, idempotency.sweep)  # each deletes a slice of what is over, and says how much that was
ANSWER_WITHIN = timedelta(seconds=5)  # what is in hand when the doors close


@dataclass(frozen=True, slots=True)
class Core:
    """Everything between the doors and SES: what both edges ask, and what holds the directory in memory."""

    store: Store
    accounts: Accounts
    dispatcher: Dispatcher
    senders: Senders
    logins: Logins
    door: Door
    quota: Quota
    caps: DailyCaps
    disk: Disk
    failures: FailureLog
    intake: Intake
    desk: Desk
    memory: MemoryBudget
    metrics: Metrics


class Server:
    """A running server. Built by `running`; its ports are for whoever asked for port 0."""

    def __init__(self, core: Core) -> None:
        self._core = core
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
        core.logins.replace(await core.store.read(blocks.standing))
        if await core.store.read(installation.generation) == self._generation:
            return
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

    async def redeclare(self, settings: Settings) -> None:
        """The file was changed: its rows become what it says, all or nothing. Raises Problem."""
        store = self._core.store
        plan = await store.change(lambda db: declaring.apply(db, store.sealer, settings))
        self._core.senders.plans = settings.plans
        self._generation = -1  # plans, too, say which domains may send
        log.event("config.applied", changes=len(plan.changes))
        await self.reload()

    def readiness(self) -> Readiness:
        faults: dict[str, str] = {}
        dispatcher, senders = self._core.dispatcher, self._core.senders
        for name, lane in dispatcher.lanes.items():
            for key, (kind, detail) in lane.stops.all().items():
                faults[f"account {name}" + (f", domain {key}" if key else "")] = f"{kind.title}: {detail}"
            if name in dispatcher.quota_faults:
                fault = dispatcher.quota_faults[name]
                faults[f"quota of {name}"] = f"GetAccount fails, so the configured rate is used: {fault}"
        for tenant in senders.snapshot.tenants.values():
            if tenant.plan is not None and tenant.plan not in senders.plans:
                said = f"its plan {tenant.plan} is not in the configuration, so nothing limits it"
                faults[f"tenant {tenant.name}"] = said
        if self.certificates is not None and self.certificates.fault:
            faults["certificate"] = self.certificates.fault
        for trust in self.trusts:
            faults |= trust.faults()
        if self._is_stopping:
            faults["server"] = "is stopping"
        return Readiness(not self._is_stopping, faults)

    def stopping(self) -> None:
        self._is_stopping = True


async def take_over(core: Core, snapshot: Snapshot) -> None:
    """Open, change and close SES accounts and lanes as the directory has them."""
    holds = standing.holds(snapshot, core.senders.plans)
    wanted: dict[str, Access] = {}
    for name, account in snapshot.accounts.items():
        try:
            wanted[name] = access_of(account, core.store.sealer)
        except SealingError as exc:  # one account's trouble, not everybody's
            log.trouble("account.unreadable", exc, account=name)
            holds[name][ACCOUNT] = Problem(Kind.SES_CONFIG, f"{exc}: give the account its credentials again")
            wanted[name] = Access(name, account.region, StaticKeys("unreadable", "unreadable"), account.endpoint_url)
    opened = await core.accounts.replace(wanted)
    await core.dispatcher.replace(snapshot, opened, holds)


async def count_usage(store: Store, quota: Quota, caps: DailyCaps) -> None:
    """What every process together accepted: this month of tenants, today of devices."""
    now = now_ms()
    month, today = await store.read(lambda db: (usage.of_month(db, now), device_usage.of_day(db, now)))
    quota.load(month, now)
    caps.load(today, now)


@asynccontextmanager
async def _built(settings: Settings) -> AsyncIterator[Core]:
    """The core over its opened database, with the directory in memory, and nothing running yet.

    Raises StoreError, SealingError or Problem where it cannot be, with what to do.
    """
    metrics = Metrics()
    memory = MemoryBudget(settings.limits.message_memory)
    metrics.message_memory.set_function(lambda: memory.used)
    url = database_url(settings)
    async with (
        open_store(url, master_key(settings)) as store,
        Accounts(base_of(settings.aws)) as accounts,
        _resolver(settings) as resolver,
    ):
        await store.change(lambda db: declaring.apply(db, store.sealer, settings))
        senders = Senders(store.sealer, await store.read_whole(read_snapshot), settings.plans)
        logins = Logins(settings.logins, exempt_networks(settings))
        logins.replace(await store.read(blocks.standing))
        quota, caps = Quota(), DailyCaps()
        await count_usage(store, quota, caps)
        dispatcher = Dispatcher(settings, store, metrics)
        disk = Disk(sqlite_path(url).parent if is_sqlite(url) else None, settings.limits.max_message_size)
        recipients = Recipients(store, MxCheck(resolver, settings.mx.policy, settings.mx.on_trouble))
        yield Core(
            store=store,
            accounts=accounts,
            dispatcher=dispatcher,
            senders=senders,
            logins=logins,
            door=Door(senders, logins),
            quota=quota,
            caps=caps,
            disk=disk,
            failures=FailureLog(metrics),
            intake=Intake(settings, senders, recipients, quota, caps, disk, store, dispatcher, metrics),
            desk=Desk(store, accounts, resolver),
            memory=memory,
            metrics=metrics,
        )


@asynccontextmanager
async def _resolver(settings: Settings) -> AsyncIterator[Resolver]:
    resolver = Resolver(settings.dns.nameservers, settings.dns.timeout)
    try:
        yield resolver
    finally:
        await resolver.close()


@asynccontextmanager
async def accepting(settings: Settings) -> AsyncIterator[State]:
    """What the HTTP application needs over the queue alone: nothing listens, and nothing is sent. For commands.

    Raises what `running` does; StoreError where a server has the database to itself.
    """
    async with _built(settings) as core:
        try:
            yield _http_state(settings, core, lambda: Readiness(is_ready=True, faults={}))
        finally:
            await core.intake.close()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Server]:
    """A whole server: accepting and sending from here to the end of the block, then stopped in order.

    Raises StoreError, SealingError, CertificateError, Problem or OSError where it cannot start, with what to do.
    """
    async with _built(settings) as core:
        server = Server(core)
        await take_over(core, core.senders.snapshot)
        await core.dispatcher.start()
        server.certificates = certificates = _certificates(settings)
        edge = Edge(settings, core.intake, core.door, core.memory, core.metrics, core.failures, core.disk)
        listeners = Listeners(edge)
        server.trusts = listeners.trusts
        http = _http_server(settings, server, core, certificates)
        server.work = work = [
            asyncio.create_task(core.dispatcher.run(), name="dispatcher"),
            asyncio.create_task(server.reload_for_ever(), name="reload"),
            asyncio.create_task(edge.watch(), name="smtp"),
            asyncio.create_task(Verification(core.store, core.desk).run(), name="verification"),
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


def exempt_networks(settings: Settings) -> tuple[Network, ...]:
    """Who is never blocked for failed logins: whom the operator names, and whoever may send without a key."""
    trusted = [each.network for listener in settings.smtp.listeners for each in listener.trusted_networks]
    return (*settings.logins.exempt, *trusted)


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
    return HttpServer(create_app(_http_state(settings, core, server.readiness)), http.address, context, hall)


def _http_state(settings: Settings, core: Core, readiness: Callable[[], Readiness]) -> State:
    http = settings.http or Http(address=Endpoint("127.0.0.1", 0))  # a command needs no listener
    return State(
        intake=core.intake,
        store=core.store,
        desk=core.desk,
        door=core.door,
        rates=Rates(),
        memory=core.memory,
        metrics=core.metrics,
        readiness=readiness,
        measure=core.dispatcher.measure,
        held=core.dispatcher.held,
        note=core.dispatcher.note,
        metrics_for=http.metrics,
        requests_per_minute={"native": http.requests_per_minute, **http.dialect_requests_per_minute.model_dump()},
        management_requests_per_minute=http.management_requests_per_minute,
        public_url=http.public_url or "",
        trusted_proxies=http.trusted_proxies,
        cors_origins=http.cors_origins,
    )


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
