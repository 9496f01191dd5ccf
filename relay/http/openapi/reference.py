"""The reference as a page of HTML: every operation, every reason. It needs no script, and nothing from elsewhere."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from importlib import resources
from typing import Any

from relay.http.openapi.reasons import REMEDIES, SENDMUX, titles
from relay.http.openapi.schemas import WHERE, Schema

STYLE = resources.files("relay.http.openapi").joinpath("reference.css").read_text("utf-8")
_STYLE_HASH = base64.b64encode(sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; " + (
    "frame-ancestors 'none'"
)
RESPONSES = "#/components/responses/"


def page(document: Schema) -> str:
    """`document`: as OpenAPI."""
    by_tag: dict[str, list[tuple[str, str, Schema]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append((method.upper(), path, operation))
    info = document["info"]
    parts = [
        f"<h1>{escape(info['title'])}</h1>",
        f"<p class=quiet>Version {escape(info['version'])} · <a href=api/v1/openapi.json>OpenAPI</a> · "
        "<a href=docs/postman.json>Postman</a></p>",
        _text(info["description"]),
        *(part for tag in document["tags"] for part in _group(tag, by_tag[tag["name"]])),
        *_reasons(),
        *_refusals(document["components"]["responses"]),
        "<h2 id=schemas>Schemas</h2>",
        *(part for name, schema in document["components"]["schemas"].items() for part in _schema(name, schema)),
    ]
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}: reference</title><style>{STYLE}</style></head>"
        f"<body><a class=skip href=#content>Skip to the content</a>{_contents(by_tag)}"
        f"<main id=content>{''.join(parts)}</main></body></html>"
    )


def _contents(by_tag: dict[str, list[tuple[str, str, Schema]]]) -> str:
    groups = []
    for tag, operations in by_tag.items():
        items = "".join(
            f'<li><a href="#{operation["operationId"]}">{_method(method)} {escape(_brief(path))}</a></li>'
            for method, path, operation in operations
        )
        groups.append(f"<details><summary>{escape(tag)}</summary><ul>{items}</ul></details>")
    return (
        f"<nav aria-label=Contents>{''.join(groups)}"
        "<p><a href=#reasons>Reasons</a></p><p><a href=#refusals>Refusals</a></p><p><a href=#schemas>Schemas</a></p>"
        "</nav>"
    )


def _brief(path: str) -> str:
    return path.removeprefix("/api/v1")


def _method(method: str) -> str:
    return f'<b class="m {method.lower()}">{method}</b>'


def _group(tag: Schema, operations: list[tuple[str, str, Schema]]) -> Iterator[str]:
    yield f'<h2 id="tag-{_anchor(tag["name"])}">{escape(tag["name"])}</h2>{_text(tag["description"])}'
    for method, path, operation in operations:
        yield f'<section id="{operation["operationId"]}"><h3>{_method(method)} <code>{escape(path)}</code></h3>'
        yield _text(operation["summary"])
        yield _text(operation.get("description", ""))
        yield _parameters(operation.get("parameters", []))
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"<h4>Body <small>{escape(media_type)}</small></h4>{_content(content)}"
        yield f"<h4>Answers</h4>{''.join(_answers(operation['responses']))}</section>"


def _anchor(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())


def _text(text: str) -> str:
    """Paragraphs, in which backquotes stand for code."""
    paragraphs = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)).split("\n\n")
    return "".join(f"<p>{each}</p>" for each in paragraphs if each)


def _parameters(parameters: list[Schema]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><th scope=row><code>{escape(each['name'])}</code></th><td>{escape(each['in'])}"
        f"{', required' if each.get('required') else ''}</td><td>{_kind(each['schema'])}</td>"
        f"<td>{_text(each.get('description', ''))}</td></tr>"
        for each in parameters
    )
    return f"<h4>Parameters</h4><table>{rows}</table>"


def _content(content: Schema) -> str:
    examples = "".join(_example(each["value"]) for each in content.get("examples", {}).values())
    return f"<p>{_kind(content['schema'])}</p>{examples}"


def _example(value: Any) -> str:
    return f"<pre tabindex=0><code>{escape(json.dumps(value, indent=2, ensure_ascii=False), quote=False)}</code></pre>"


def _answers(responses: Schema) -> Iterator[str]:
    """Successes as they look, and which refusals there may be: those look alike everywhere."""
    for status, response in responses.items():
        if "$ref" not in response:
            yield _answer(status, response)
    refused = [
        f'<a href="#{each["$ref"].removeprefix(RESPONSES)}">{status}</a>'
        for status, each in responses.items()
        if "$ref" in each
    ]
    if refused:
        yield f"<p>Refused: {', '.join(refused)}</p>"


def _answer(status: str, response: Schema) -> str:
    kinds = " or ".join(
        f"{_kind(each['schema'])} <small>{escape(media)}</small>" for media, each in response.get("content", {}).items()
    )
    examples = [
        f"{f'<h5>{escape(name)}</h5>' if status >= '4' else ''}{_example(each['value'])}"
        for content in response.get("content", {}).values()
        for name, each in content.get("examples", {}).items()
    ]
    return (
        f'<details><summary><span class="s s{status[0]}">{status}</span> {escape(response["description"])}</summary>'
        f"<p>{kinds or 'No body.'}</p>{''.join(examples)}</details>"
    )


def _refusals(responses: Schema) -> Iterator[str]:
    yield "<h2 id=refusals>Refusals</h2>"
    yield _text("How each dialect says no: when sending, when managing, and when only looking.")
    for name, response in responses.items():
        yield f'<div id="{escape(name)}"><h4>{escape(name)}</h4>{_answer(name.rpartition("-")[2], response)}</div>'


def _reasons() -> Iterator[str]:
    yield "<h2 id=reasons>Reasons</h2>"
    yield _text("What `reason` says in the native API, and what to do about it.")
    for slug, kinds in titles().items():
        again = "A later attempt may succeed." if any(kind.is_temporary for kind in kinds) else ""
        statuses = ", ".join(dict.fromkeys(str(kind.http) for kind in kinds))
        words = "".join(f"<p>{escape(title)}.</p>" for title in dict.fromkeys(kind.title for kind in kinds))
        yield f'<section id="{slug}"><h3><code>{slug}</code> <small>{statuses}</small></h3>{words}'
        yield f"{_text(REMEDIES[slug])}{_text(again)}</section>"
    yield "<h3>Sendmux's codes</h3>"
    for code, remedy in SENDMUX.items():
        yield f'<section id="{code}"><h3><code>{code}</code></h3>{_text(remedy)}</section>'


def _schema(name: str, schema: Schema) -> Iterator[str]:
    yield f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3>{_text(schema.get("description", ""))}'
    members = schema.get("properties", {})
    if not members:
        yield f"<p>{_kind(schema)}</p></section>"
        return
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><th scope=row><code>{escape(member)}</code></th><td>{'required' if member in required else ''}</td>"
        f"<td>{_kind(each)}</td><td>{_text(each.get('description', ''))}</td></tr>"
        for member, each in members.items()
    )
    yield f"<table>{rows}</table></section>"


def _kind(schema: Schema) -> str:
    """What sort of value it is, in a few words."""
    if ref := schema.get("$ref", "").removeprefix(WHERE):
        return f'<a href="#schema-{escape(ref)}">{escape(ref)}</a>'
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_kind(each) for each in schema[several])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"<code>{escape(str(each))}</code>" for each in schema.get("enum", [schema.get("const")]))
    words = [str(schema.get("type", "anything"))]
    if "items" in schema:
        words.append(f"of {_kind(schema['items'])}")
    elif isinstance(schema.get("additionalProperties"), dict):
        words.append(f"of {_kind(schema['additionalProperties'])}")
    if "format" in schema:
        words.append(f"({escape(schema['format'])})")
    words += [f"{said} {escape(str(schema[name]))}" for name, said in _BOUNDS.items() if name in schema]
    if schema.get("default") is not None and not isinstance(schema["default"], dict | list):
        words.append(f"= <code>{escape(json.dumps(schema['default']))}</code>")
    return " ".join(words)


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "over",
    "maximum": "at most",
    "minLength": "length at least",
    "maxLength": "length at most",
    "minItems": "items at least",
    "maxItems": "items at most",
    "pattern": "of the form",
}
