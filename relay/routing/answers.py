"""Writes down what submissions were answered, for whoever asks again under the same key."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeAlias

from relay.errors import Fault, Kind, Problem
from relay.message import Acceptance, Mode
from relay.sealing import Sealer
from relay.store.clock import milliseconds

Outcome: TypeAlias = Acceptance | Problem

SEALED = "sealed:"
PURPOSE = "answer"


def written(outcomes: Sequence[Outcome], sealer: Sealer) -> str:
    """JSON; sealed where something was refused or warned of, for that may name an address."""
    text = json.dumps([_said(each) for each in outcomes])
    if all(isinstance(each, Acceptance) and not each.warnings for each in outcomes):
        return text
    return SEALED + base64.b64encode(sealer.seal_secret(text, PURPOSE)).decode("ascii")


def read(answer: str, sealer: Sealer) -> list[Outcome]:
    """Raises SealingError where it was sealed by another installation."""
    return [_read(each) for each in json.loads(opened(answer, sealer))]


def opened(answer: str, sealer: Sealer) -> str:
    """The JSON of it. Raises SealingError where it was sealed by another installation."""
    if not answer.startswith(SEALED):
        return answer
    return sealer.open_secret(base64.b64decode(answer.removeprefix(SEALED)), PURPOSE)


def _said(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Acceptance):
        return asdict(outcome) | {"mode": outcome.mode.value}
    return {
        "kind": outcome.kind.name,
        "detail": outcome.detail,
        "faults": [asdict(fault) for fault in outcome.faults],
        "retry_after": None if outcome.retry_after is None else milliseconds(outcome.retry_after),
        "aspect": outcome.aspect,
    }


def _read(said: dict[str, Any]) -> Outcome:
    if "kind" not in said:
        return Acceptance(**said | {"mode": Mode(said["mode"]), "warnings": tuple(said["warnings"])})
    return Problem(
        Kind[said["kind"]],
        said["detail"],
        faults=tuple(Fault(**fault) for fault in said["faults"]),
        retry_after=None if said["retry_after"] is None else timedelta(milliseconds=said["retry_after"]),
        aspect=said["aspect"],
    )
