"""A Postman collection (format 2.1) of every operation in the document."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from relay.http.openapi.schemas import Schema

FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_NAMES = uuid.UUID("7d1f4a36-3f2c-4b52-9a53-0e1f6c2f7a10")  # ids are made of names below this one
_PARAMETER = re.compile(r"\{(\w+)\}")


def collection(document: Schema) -> Schema:
    """`document`: as OpenAPI. The address and the key are variables of the collection."""
    folders: dict[str, list[Schema]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            folders[operation["tags"][0]].append(_item(method.upper(), path, operation))
    info = document["info"]
    base = document["servers"][0]["url"]
    return {
        "info": {
            "_postman_id": str(uuid.uuid5(_NAMES, info["title"])),
            "name": info["title"],
            "description": info["description"],
            "schema": FORMAT,
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{api_key}}", "type": "string"}]},
        "variable": [
            {"key": "base_url", "value": "http://127.0.0.1:8080" if base == "/" else base},
            {"key": "api_key", "value": ""},
        ],
        "item": [
            {"name": tag["name"], "description": tag["description"], "item": folders[tag["name"]]}
            for tag in document["tags"]
        ],
    }


def _item(method: str, path: str, operation: Schema) -> Schema:
    parameters = operation.get("parameters", [])
    written = _PARAMETER.sub(r":\1", path)
    url: Schema = {
        "raw": "{{base_url}}" + written,
        "host": ["{{base_url}}"],
        "path": written.removeprefix("/").split("/"),
        "query": [_off(each) for each in parameters if each["in"] == "query"],
        "variable": [
            {"key": each["name"], "value": str(each.get("example", "")), "description": each.get("description", "")}
            for each in parameters
            if each["in"] == "path"
        ],
    }
    request: Schema = {
        "method": method,
        "description": "\n\n".join(filter(None, (operation["summary"], operation.get("description")))),
        "url": url,
        "header": [_off(each) for each in parameters if each["in"] == "header"],
    }
    if operation.get("security") == []:
        request["auth"] = {"type": "noauth"}
    body = operation.get("requestBody", {}).get("content", {})
    if "application/json" in body:
        request["header"].insert(0, {"key": "Content-Type", "value": "application/json"})
        request["body"] = {
            "mode": "raw",
            "raw": json.dumps(_example(body["application/json"]), indent=2, ensure_ascii=False),
            "options": {"raw": {"language": "json"}},
        }
    return {"id": str(uuid.uuid5(_NAMES, operation["operationId"])), "name": f"{method} {path}", "request": request}


def _off(parameter: Schema) -> Schema:
    """There to be switched on."""
    said = {"description": parameter["description"]} if "description" in parameter else {}
    return {"key": parameter["name"], "value": "", "disabled": not parameter.get("required", False)} | said


def _example(content: Schema) -> Any:
    return next((each["value"] for each in content.get("examples", {}).values()), {})
