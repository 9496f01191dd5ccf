"""Brings the directory to what the configuration file declares: every change of a plan is made, or none."""

from __future__ import annotations

from relay.config import Settings
from relay.errors import Fault, Kind, Problem
from relay.management.declaring import accounts, domains, keys, tenants
from relay.management.declaring.plan import Plan, Step
from relay.sealing import Sealer
from relay.store import Connection
from relay.store.directory import installation


def plan(db: Connection, sealer: Sealer, settings: Settings) -> Plan:
    """What `apply` would change. Only reads.

    Raises Problem(CONFLICT) with a fault for everything that cannot change.
    """
    return Plan(tuple(step.change for step in _steps(db, sealer, settings)))


def apply(db: Connection, sealer: Sealer, settings: Settings) -> Plan:
    """Make the rows what the file says, in the caller's transaction. Writes nothing where they are so already.

    Raises Problem(CONFLICT) as `plan` does, before it writes; the caller's transaction has to end with it.
    """
    installation.lock(db)  # two servers may start at once, with one file
    steps = _steps(db, sealer, settings)
    for step in steps:
        step.make(db)
    return Plan(tuple(step.change for step in steps))


def _steps(db: Connection, sealer: Sealer, settings: Settings) -> list[Step]:
    found = [
        *tenants.steps(db, settings),
        *accounts.steps(db, sealer, settings),
        *domains.steps(db, settings),
        *keys.steps(db, sealer, settings),
    ]
    if faults := tuple(each for each in found if isinstance(each, Fault)):
        raise Problem(Kind.CONFLICT, faults=faults)
    return [each for each in found if isinstance(each, Step)]
