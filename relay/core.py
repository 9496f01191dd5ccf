"""Builds what is between the doors and SES: what both edges ask, over its opened database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from relay import log
from relay.config import Http, Settings
from relay.dispatch.dispatcher import Dispatcher
from relay.dispatch.reports import compose
from relay.dns import Resolver
from relay.errors import Kind, Problem
from relay.feedback.hearing import Hearing
from relay.feedback.poller import Poller
from relay.feedback.push import Push
from relay.feedback.silence import Silence
from relay.feedback.webhooks.poster import Poster
from relay.feedback.webhooks.targets import Targets
from relay.http.state import Readiness, State
from relay.management import declaring
from relay.management.desk import Desk
from relay.management.reaching import access_of, base_of
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
from relay.sealing import SealingError
from relay.ses.access import Access, StaticKeys
from relay.ses.clients import Accounts
from relay.smtp.record import FailureLog
from relay.store import blocks, device_usage, usage
from relay.store.clock import now_ms
from relay.store.database import is_sqlite, sqlite_path
from relay.store.directory.snapshot import Snapshot
from relay.store.directory.snapshot import read_alone as read_snapshot
from relay.store.events import tell_left
from relay.store.files import database_url, master_key
from relay.store.limits import tell_reached
from relay.store.reports import Reporting
from relay.store.rewrapping import wrapped_installation_key
from relay.store.store import Store, open_store
from relay.store.writer import Rank
from relay.values import Endpoint, Network


@dataclass(frozen=True, slots=True)
class Core:
    """Everything between the doors and SES: what both edges ask, and what holds the directory in memory."""

    store: Store
    accounts: Accounts
    dispatcher: Dispatcher
    hearing: Hearing
    poller: Poller
    push: Push
    poster: Poster
    silence: Silence
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


async def take_over(core: Core, snapshot: Snapshot) -> None:
    """Open, change and close SES accounts and lanes as the directory has them."""
    core.store.hooks.replace(each.hook for each in snapshot.webhooks.values() if each.is_enabled)
    core.poster.replace(snapshot.webhooks)
    holds = standing.holds(snapshot, core.senders.plans)
    wanted: dict[str, Access] = {}
    for name, account in snapshot.accounts.items():
        try:
            wanted[name] = access_of(account, core.store.sealer)
        except SealingError as exc:  # one account's trouble, not everybody's
            log.trouble("account.unreadable", exc, account=name)
            holds[name][ACCOUNT] = Problem(Kind.SES_CONFIG, f"{exc}: give the account its credentials again")
            wanted[name] = Access(name, account.region, StaticKeys("unreadable", "unreadable"), account.endpoint_url)
    core.poller.replace(snapshot, wanted)
    core.push.replace(snapshot, wanted)
    core.silence.replace(snapshot)
    opened = await core.accounts.replace(wanted)
    await core.dispatcher.replace(snapshot, opened, holds)
    while await core.store.write(tell_left, None, Rank.SWEEP):
        pass


async def take_over_key(store: Store, settings: Settings) -> None:
    """Read the master key again, which may have been changed. One that does not fit is said, and not taken."""
    try:
        store.sealer.adopt(master_key(settings), await store.read(wrapped_installation_key))
    except SealingError as exc:
        log.trouble("master_key.refused", exc, reason=str(exc))


async def count_usage(store: Store, quota: Quota, caps: DailyCaps) -> None:
    """What every process together accepted: this month of tenants, today of devices."""
    now = now_ms()
    month, today = await store.read(lambda db: (usage.of_month(db, now), device_usage.of_day(db, now)))
    quota.load(month, now)
    caps.load(today, now)


async def tell_limits(core: Core) -> None:
    """Tell whose month is used up, once."""
    known = core.senders.snapshot.tenants.values()
    caps = {each.id: standing.plan_of(each, core.senders.plans).monthly for each in known}
    found = core.quota.reached(caps, now_ms())
    for each in found:
        await core.store.write(tell_reached, each, Rank.SWEEP)
    core.quota.told(found)


@asynccontextmanager
async def built(settings: Settings) -> AsyncIterator[Core]:
    """The core over its opened database, with the directory in memory, and nothing running yet.

    Raises StoreError, SealingError or Problem where it cannot be, with what to do.
    """
    metrics = Metrics()
    memory = MemoryBudget(settings.limits.message_memory)
    metrics.message_memory.set_function(lambda: memory.used)
    url = database_url(settings)
    async with (
        open_store(url, master_key(settings), reporting(settings), policy=settings.standing.policy) as store,
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
        hearing = Hearing(store, dispatcher, metrics)
        only_2 = settings.feedback.only_signature_2
        push = Push(store, accounts, hearing, dispatcher.feedback, only_signature_2=only_2)
        disk = Disk(sqlite_path(url).parent if is_sqlite(url) else None, settings.limits.max_message_size)
        recipients = Recipients(store, MxCheck(resolver, settings.mx.policy, settings.mx.on_trouble))
        try:
            yield Core(
                store=store,
                accounts=accounts,
                dispatcher=dispatcher,
                hearing=hearing,
                poller=Poller(store, accounts, dispatcher, hearing, metrics),
                push=push,
                poster=Poster(store, settings.webhooks, metrics),
                silence=Silence(store, dispatcher, settings.feedback, metrics),
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
        finally:
            await push.close()


def reporting(settings: Settings) -> Reporting | None:
    """How senders over SMTP are told what became of their mail; None where they are not to be."""
    bounces = settings.bounces
    if not bounces.enabled:
        return None
    composed = partial(compose, hostname=settings.hostname)
    return Reporting(composed, bounces.per_hour, bounces.delay_after, settings.delivery.max_age)


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
    async with built(settings) as core:
        try:
            yield http_state(settings, core, lambda: Readiness(is_ready=True, faults={}))
        finally:
            await core.intake.close()


def exempt_networks(settings: Settings) -> tuple[Network, ...]:
    """Who is never blocked for failed logins: whom the operator names, and whoever may send without a key."""
    trusted = [each.network for listener in settings.smtp.listeners for each in listener.trusted_networks]
    return (*settings.logins.exempt, *trusted)


def http_state(settings: Settings, core: Core, readiness: Callable[[], Readiness]) -> State:
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
        estimate=core.dispatcher.estimate,
        metrics_for=http.metrics,
        requests_per_minute={"native": http.requests_per_minute, **http.dialect_requests_per_minute.model_dump()},
        management_requests_per_minute=http.management_requests_per_minute,
        targets=Targets(settings.webhooks),
        push=core.push,
        public_url=http.public_url or "",
        trusted_proxies=http.trusted_proxies,
        cors_origins=http.cors_origins,
    )
