"""What one look came to: apart, for commands that do not load the AWS libraries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from relay.ses.finding import Finding


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # it works, and somebody should see to it
    RED = "red"
    SKIPPED = "skipped"  # it was not looked at; `said` is why


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing looked at. `remedy`: the command, record or step that mends it; empty where nothing is to mend."""

    check: str
    level: Level
    said: str
    remedy: str = ""

    @property
    def is_well(self) -> bool:
        return self.level is not Level.RED

    def as_json(self) -> dict[str, object]:
        return {
            "check": self.check,
            "ok": self.is_well,
            "level": self.level.value,
            "said": self.said,
            "remedy": self.remedy,
        }


def fine(check: str, said: str) -> Checked:
    return Checked(check, Level.OK, said)


def warning(check: str, said: str, remedy: str) -> Checked:
    return Checked(check, Level.WARNING, said, remedy)


def red(check: str, said: str, remedy: str) -> Checked:
    return Checked(check, Level.RED, said, remedy)


def skipped(check: str, said: str, remedy: str = "") -> Checked:
    return Checked(check, Level.SKIPPED, said, remedy)


def of(finding: Finding, place: str = "") -> Checked:
    """The same, in the place it was looked at."""
    check = f"{place}: {finding.check}" if place else finding.check
    return Checked(check, Level.OK if finding.is_ok else Level.RED, finding.said, finding.remedy)


def is_well(found: Iterable[Checked]) -> bool:
    return all(each.is_well for each in found)
