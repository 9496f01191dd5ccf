"""JSON schemas of the models that requests are checked by and answers are documented by, as OpenAPI components."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

Schema: TypeAlias = dict[str, Any]
Use: TypeAlias = tuple[type[BaseModel], JsonSchemaMode]

WHERE = "#/components/schemas/"
_GENERIC = re.compile(r"Listed_(?:.*_)?(\w+?)_")


class _Plain(GenerateJsonSchema):
    """Without titles that only repeat a name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class Components:
    """The schemas of `uses`, each under a name of its own."""

    def __init__(self, uses: Iterable[Use]) -> None:
        wanted = list(dict.fromkeys(uses))
        found, whole = models_json_schema(wanted, ref_template=WHERE + "{model}", schema_generator=_Plain)
        text = json.dumps({"refs": [found[use]["$ref"] for use in wanted], "schemas": whole.get("$defs", {})})
        for name in sorted(whole.get("$defs", {}), key=len, reverse=True):
            text = text.replace(f'{WHERE}{name}"', f'{WHERE}{_short(name)}"')
        read = json.loads(text)
        self.schemas: dict[str, Schema] = {
            _short(name): _described(schema) for name, schema in sorted(read["schemas"].items())
        }
        self._refs = {use: {"$ref": ref} for use, ref in zip(wanted, read["refs"], strict=True)}

    def ref(self, model: type[BaseModel], mode: JsonSchemaMode = "validation") -> Schema:
        return self._refs[model, mode]

    def parameters(self, query: type[BaseModel]) -> list[Schema]:
        """The members of a model of a query, each as a parameter."""
        schema = self._named(self.ref(query))
        required = schema.get("required", [])
        return [
            {"name": name, "in": "query", "required": name in required, "schema": _given(member)}
            | ({"description": member["description"]} if "description" in member else {})
            for name, member in schema.get("properties", {}).items()
        ]

    def drop(self, model: type[BaseModel]) -> None:
        """A model that is not spoken of by its name."""
        self.schemas.pop(self.ref(model)["$ref"].removeprefix(WHERE), None)

    def examples(self, model: type[BaseModel]) -> list[Any]:
        found: list[Any] = self._named(self.ref(model)).get("examples", [])
        return found

    def _named(self, ref: Schema) -> Schema:
        return self.schemas[ref["$ref"].removeprefix(WHERE)]


def _short(name: str) -> str:
    """Where several modules have a name, pydantic puts their paths before it: the last part says enough.

    A list of things is named after them.
    """
    *path, last = name.split("__")
    if generic := _GENERIC.fullmatch(last):
        return f"{generic[1]}List"
    return last if not path or path[-1].startswith("shown") else path[-1].title().replace("_", "") + last


def _described(schema: Schema) -> Schema:
    """The text of a docstring as one line for each paragraph."""
    if isinstance(text := schema.get("description"), str):
        schema["description"] = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    schema.pop("title", None)
    return schema


def _given(schema: Schema) -> Schema:
    """What a query can say: it leaves out what would be null."""
    kept = {name: value for name, value in schema.items() if (name, value) != ("default", None)}
    kinds = [each for each in kept.get("anyOf", ()) if each != {"type": "null"}]
    if "anyOf" in kept:
        del kept["anyOf"]
        kept |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    kept.pop("description", None)
    return kept
