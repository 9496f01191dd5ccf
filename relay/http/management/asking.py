"""Reads what a management request asks for: its query and its body, with every fault of both in one answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, ValidationError

from relay.errors import Fault, Kind, Problem, printable
from relay.store.directory.paging import Asked, place
from relay.values import Line, Section, faults_of

Model = TypeVar("Model", bound=BaseModel)
UNASKED = "is not a parameter of this request"
LAST_YEAR = 9000  # a later moment could leave the calendar in another time zone


def _flag(value: Any) -> bool:
    if value not in {"true", "false"}:
        raise ValueError("must be true or false")
    return bool(value == "true")


def _cursor(value: str) -> str:
    place(value)
    return value


_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].+")  # a number of seconds is no moment


def _written(value: Any) -> Any:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError("must be a moment with its time zone, for example 2030-01-31T00:00:00Z")
    return value


def _future(value: datetime) -> datetime:
    if value.year > LAST_YEAR:
        raise ValueError(f"must be before the year {LAST_YEAR + 1}")
    if value <= datetime.now(UTC):
        raise ValueError("is over already")
    return value


Flag = Annotated[bool, BeforeValidator(_flag)]  # in a query
Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
Future = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_future)]
Said = Annotated[Line, Field(min_length=1)]  # a reason or note


class Nothing(Section):
    """A query or a body that takes nothing."""


class Listing(Section):
    """Which page of a list. Filters are added by each list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Annotated[str, Field(max_length=1000), AfterValidator(_cursor)] | None = None

    @property
    def asked(self) -> Asked:
        return Asked(self.limit, self.cursor)


def refuse_of(asked: Section, *names: str) -> None:
    """Where one path can be asked in two ways: raises Problem(BAD_REQUEST) for what is of the other."""
    fields = type(asked).model_fields
    given = [fields[name].alias or name for name in names if getattr(asked, name) is not None]
    if given:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(Fault(name, UNASKED) for name in given))


def read(
    query: type[Section], given: Iterable[tuple[str, str]], body: type[Section], members: dict[str, Any]
) -> tuple[Section, Section]:
    """A request's query and body as their models. Raises Problem(BAD_REQUEST) with every fault of both."""
    pairs = list(given)
    counts = Counter(name for name, _ in pairs)
    faults = [Fault(printable(name), "is given twice") for name, count in counts.items() if count > 1]
    asked, more = _checked(query, dict(pairs), UNASKED)
    said, rest = _checked(body, members, "is not a known field")
    faults += more + rest
    if faults or asked is None or said is None:
        raise Problem(Kind.BAD_REQUEST, faults=tuple(faults))
    return asked, said


def _checked(model: type[Model], value: dict[str, Any], unknown: str) -> tuple[Model | None, list[Fault]]:
    try:
        return model.model_validate(value), []
    except ValidationError as exc:
        faults = faults_of(exc, unknown=unknown)
        return None, [Fault(printable(fault.path), fault.message) for fault in faults]


def narrowed(model: type[Model], body: BaseModel, **values: Any) -> Model:
    """The part of a body that is what the directory takes: without the fields that only the request has.

    `values` replace what was given. What was not given stays unsaid.
    """
    names = model.model_fields.keys()
    members = {name: getattr(body, name) for name in names} | values
    return model.model_construct(_fields_set=(body.model_fields_set & names) | values.keys(), **members)
