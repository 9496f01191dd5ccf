"""What the file would change of the directory, row by row, and how each change is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, cast

from relay.store import Connection
from relay.store.directory.accounts import SesAccount
from relay.store.directory.domains import SenderDomain
from relay.store.directory.tenants import Tenant
from relay.values import Section

Said = TypeVar("Said", bound=Section)

# Field -> value, as JSON has it. Never a secret.
Shown = dict[str, Any]
Differences = Mapping[str, tuple[Any, Any]]  # field -> (before, after)
CHANGED = ("", "changed")  # of a secret, no more is said


def differences(before: Shown, after: Shown) -> dict[str, tuple[Any, Any]]:
    return {name: (before[name], value) for name, value in after.items() if before[name] != value}


def additions(after: Shown) -> Differences:
    """What is said of something new: all but what is empty."""
    return {name: (None, value) for name, value in after.items() if value not in (None, False, [], {})}


class Verb(Enum):
    """What becomes of a row."""

    ADD = "add"
    CHANGE = "change"
    DISABLE = "disable"  # it vanished from the file; a key is revoked, for good
    ENABLE = "enable"  # it came back


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one row. `differences`: field -> (before, after), as JSON has them; never a secret."""

    verb: Verb
    what: str  # "tenant acme", "account main", "domain example.com", "key app"
    differences: Differences

    def __str__(self) -> str:
        return f"{self.verb.value} {self.what}"

    @property
    def words(self) -> str:
        """The differences, for people."""
        return "; ".join(f"{field}: {_words(*each)}" for field, each in self.differences.items())


def _words(before: Any, after: Any) -> str:
    return _word(after) if before in (None, "") else f"{_word(before)} -> {_word(after)}"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change, or did: tenants first, then SES accounts, domains and keys."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A change, and how it is made."""

    change: Change
    make: Callable[[Connection], object]


def settle(
    what: str,
    row: Tenant | SesAccount | SenderDomain,
    changed: Differences,
    *,
    take_over: Callable[[Connection], object],
    change: Callable[[Connection], object],
) -> Iterator[Step]:
    """A row that the file names: taken over if it is not the file's, and changed where it differs."""
    if row.is_declared:
        if changed:
            yield Step(Change(Verb.CHANGE, what, changed), change)
        return

    def both(db: Connection) -> None:
        take_over(db)
        change(db)

    if row.disabled_at is not None:
        yield Step(Change(Verb.ENABLE, what, changed), both)
    else:
        yield Step(Change(Verb.CHANGE, what, {"declared": (False, True), **changed}), both)


def whole(kind: type[Said], said: Section, **instead: Any) -> Said:
    """Every field of `kind`, as it is said or by default: what the file leaves out it leaves to the default."""
    values = {name: getattr(said, name) for name in kind.model_fields} | instead
    return cast("Said", kind.model_construct(set(values), **values))
