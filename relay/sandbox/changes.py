"""What a script may change of an account while the sandbox runs: read, and every fault of it named."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from relay.sandbox.accounts import ENFORCEMENTS

_DAY = 86_400.0


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


# fmt: off
#   member          the account's     what it must be                               whether it is
MEMBERS: dict[str, tuple[str, str, Callable[[Any], bool]]] = {
    "rate":         ("rate",          "more than 0 recipients a second",            lambda v: _is_number(v) and v > 0),
    "daily_quota":  ("daily_quota",   "a number of recipients, or -1",              _is_number),
    "production":   ("production",    "true or false",                              lambda v: isinstance(v, bool)),
    "paused":       ("is_paused",     "true or false",                              lambda v: isinstance(v, bool)),
    "paused_sets":  ("paused_sets",   "a list of configuration sets",               _is_names),
    "enforcement":  ("enforcement",   " or ".join(ENFORCEMENTS),                    lambda v: v in list(ENFORCEMENTS)),
    "sent":         ("sent_by_others", "a number of recipients",                    lambda v: _is_number(v) and v >= 0),
    "unverified":   ("unverified",    "a list of identities",                       _is_names),
    "dkim_failed":  ("dkim_failed",   "a list of identities",                       _is_names),
    "mail_from_failed": ("mail_from_failed", "a list of identities",                _is_names),
    "clock":        ("clock",         f"seconds, {_DAY:g} at most either way",
                                                                        lambda v: _is_number(v) and abs(v) <= _DAY),
}
# fmt: on


def read_changes(value: object, wrong: list[str]) -> dict[str, Any]:
    """The fields of an account that become otherwise. Adds what cannot be to `wrong`."""
    if not isinstance(value, dict) or not value:
        wrong.append(f"set: must be an object with some of {', '.join(MEMBERS)}")
        return {}
    changes: dict[str, Any] = {}
    for name, given in value.items():
        if name not in MEMBERS:
            wrong.append(f"set.{name}: unknown")
            continue
        its, must, holds = MEMBERS[name]
        if not holds(given):
            wrong.append(f"set.{name}: must be {must}")
        changes[its] = tuple(given) if isinstance(given, list) else given
    return changes
