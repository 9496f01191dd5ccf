"""Finds one address in texts that others wrote, and puts a mark in its place."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, ColumnElement, func, or_, true

from relay.store.erasing import Person

_ATOM = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"  # RFC 5322 section 3.2.3


@dataclass(frozen=True, slots=True)
class Words:
    """Finds the person's address in texts: in any case, and not as a part of a longer one."""

    person: Person
    _pattern: re.Pattern[str] = field(repr=False)

    @classmethod
    def of(cls, person: Person) -> Words:
        address = re.escape(person.address)
        return cls(
            person, re.compile(rf"(?<![{_ATOM}])(?<![{_ATOM}]\.){address}(?![A-Za-z0-9-])(?!\.[A-Za-z0-9])", re.I)
        )

    def are_in(self, text: str | None) -> bool:
        return text is not None and self._pattern.search(text) is not None

    def without(self, text: str) -> str:
        """The text with the mark in the place of the address."""
        return self._pattern.sub(self.person.mark, text)

    def are_in_json(self, text: str | None) -> bool:
        return text is not None and self.without_in_json(text) != text

    def without_in_json(self, text: str) -> str:
        """The same of the strings in a JSON text: its escapes would hide where words begin."""
        said = json.loads(text)
        cleaned = self._cleaned(said)
        return text if cleaned == said else json.dumps(cleaned)

    def _cleaned(self, said: Any) -> Any:
        match said:
            case str():
                return self.without(said)
            case list():
                return [self._cleaned(each) for each in said]
            case dict():
                return {self.without(name): self._cleaned(value) for name, value in said.items()}
        return said

    def maybe_in(self, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
        """For the database: what it finds is to be looked at once more."""
        escaped = json.dumps(self.person.address)[1:-1]
        texts = {self.person.address, escaped}
        return or_(*(func.lower(each).contains(text, autoescape=True) for each in columns for text in sorted(texts)))

    def within(self, column: Column[Any]) -> ColumnElement[bool]:
        """Of the tenant, where one is named."""
        tenant_id = self.person.tenant_id
        return true() if tenant_id is None else column == tenant_id
