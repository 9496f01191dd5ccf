"""Builds, runs and stops the parts of a server, in order. The only place that knows them all."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from relay import __version__, log
from relay.certificates import self_signed, server_context
from relay.config import Settings, Tls
from relay.dispatch.dispatcher import Dispatcher
from relay.dns import Resolver
from relay.http.app import create_app
from relay.http.server import HttpServer
from relay.http.state import Readiness, State
from relay.metrics import Metrics
from relay.routing.intake import Intake
from relay.routing.limits import MemoryBudget
from relay.routing.mx import MxCheck
from relay.routing.recipients import Recipients
from relay.routing.senders import Senders
from relay.ses.clients import open_accounts
from relay.smtp.edge import Edge
from relay.smtp.listener import Listeners
from relay.store import directory
from relay.store.files import database_url, master_key, state_folder
from relay.store.store import Store, open_store

RELOAD_EVERY = 1.0  # seconds: how soon a key made or revoked by a command counts
ANSWER_WITHIN = timedelta(seconds=5)  # what is in hand when the doors close


class Server:
    """A running server. Built by `running`; its ports are for whoever asked for port 0."""

    def __init__(self, store: Store, dispatcher: Dispatcher, senders: Senders) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._senders = senders
        self._generation = -1
        self._is_stopping = False
        self.work: list[asyncio.Task[None]] = []
        self.smtp_ports: list[int] = []
        self.http_port = 0

    async def reload_for_ever(self) -> None:
        """Read again what commands have changed beside us."""
        while True:
            await asyncio.sleep(RELOAD_EVERY)
            try:
                await self.reload()
            except Exception as exc:  # the next round tries again; the old state stays good
                log.trouble("reload.failed", exc)

    async def reload(self) -> None:
        found = await self._store.read(directory.generation)
        if found == self._generation:
            return
        self._senders.replace_keys(await self._store.read(directory.api_keys))
        await self._dispatcher.look_again()
        self._generation = found

    def readiness(self) -> Readiness:
        faults: dict[str, str] = {}
        for name, lane in self._dispatcher.lanes.items():
            for key, stop in lane.stops.all().items():
                faults[f"account {name}" + (f", domain {key}" if key else "")] = f"{stop.kind.title}: {stop.detail}"
            if name in self._dispatcher.quota_faults:
                fault = self._dispatcher.quota_faults[name]
                faults[f"quota of {name}"] = f"GetAccount fails, so the configured rate is used: {fault}"
        if self._is_stopping:
            faults["server"] = "is stopping"
        return Readiness(not self._is_stopping, faults)

    def stopping(self) -> None:
        self._is_stopping = True


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Server]:
    """A whole server: accepting and sending from here to the end of the block, then stopped in order.

    Raises StoreError, SealingError, AccountError, CertificateError or OSError where it cannot start, with what to do.
    """
    metrics = Metrics()
    memory = MemoryBudget(settings.limits.message_memory)
    metrics.message_memory.set_function(lambda: memory.used)
    resolver = Resolver(settings.dns.nameservers, settings.dns.timeout)
    async with (
        open_store(database_url(settings), master_key(settings)) as store,
        open_accounts(settings.ses_accounts) as accounts,
    ):
        tenant_id = await store.read(directory.default_tenant)
        senders = Senders(settings.domains, store.sealer, tenant_id)
        dispatcher = Dispatcher(settings, accounts, store, metrics)
        recipients = Recipients(store, MxCheck(resolver, settings.mx.policy, settings.mx.on_trouble))
        intake = Intake(settings, senders, recipients, store, dispatcher, metrics)
        server = Server(store, dispatcher, senders)
        await dispatcher.start()
        await server.reload()
        context = _tls_context(settings)
        edge = Edge(settings, intake, memory, metrics)
        listeners = Listeners(edge)
        http = _http_server(settings, server, intake, store, memory, metrics, dispatcher, context)
        server.work = work = [
            asyncio.create_task(dispatcher.run(), name="dispatcher"),
            asyncio.create_task(server.reload_for_ever(), name="reload"),
        ]
        try:
            for listener in settings.smtp.listeners:
                await listeners.open(listener, context)
            server.smtp_ports = listeners.ports
            if http is not None:
                await http.open()
                server.http_port = http.port
            log.event("server.ready", version=__version__)
            yield server
        finally:
            # No new attempt; then the doors; then what is in hand; then calls under way; the store last.
            server.stopping()
            dispatcher.start_nothing_more()
            doors = [listeners.close(ANSWER_WITHIN)] + ([http.close(ANSWER_WITHIN)] if http else [])
            await asyncio.gather(*doors)
            await intake.close()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await dispatcher.close()
            await resolver.close()
            log.event("server.stopped")


def _http_server(
    settings: Settings,
    server: Server,
    intake: Intake,
    store: Store,
    memory: MemoryBudget,
    metrics: Metrics,
    dispatcher: Dispatcher,
    context: ssl.SSLContext | None,
) -> HttpServer | None:
    if settings.http is None:
        return None
    state = State(
        intake=intake,
        store=store,
        memory=memory,
        metrics=metrics,
        readiness=server.readiness,
        measure=dispatcher.measure,
        metrics_for=settings.http.metrics,
    )
    return HttpServer(create_app(state), settings.http.address, context if settings.http.tls else None)


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    needs_tls = (settings.http is not None and settings.http.tls) or any(
        listener.tls is not Tls.NONE for listener in settings.smtp.listeners
    )
    if not needs_tls:
        return None
    if settings.certificate is not None:
        return server_context(settings.certificate.certificate, settings.certificate.key)
    return server_context(*self_signed(state_folder(settings), settings.hostname))


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, or until a part of the server fails."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    async with running(settings) as server:
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *server.work], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        log.event("server.stopping")
        for task in done - {stopped}:  # they run for ever: one that ends has failed, and mail would wait unseen
            log.trouble("server.part_failed", task.exception(), part=task.get_name())
            raise RuntimeError(f"{task.get_name()} failed")
