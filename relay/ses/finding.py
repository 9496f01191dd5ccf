"""What a look at an account or an installation found: apart, for commands that do not load the AWS libraries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `remedy` is empty where there is nothing to mend."""

    check: str
    is_ok: bool
    said: str
    remedy: str = ""
