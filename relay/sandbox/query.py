"""The query protocol of AWS, which SNS and STS speak: a form goes in, XML comes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl
from uuid import uuid4
from xml.sax.saxutils import escape

from starlette.responses import Response

from relay.sandbox.refusals import Refusal

_MOST_FIELDS = 1_000
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 section 2.2
_NAMESPACES = {"sns": "http://sns.amazonaws.com/doc/2010-03-31/", "sts": "https://sts.amazonaws.com/doc/2011-06-15/"}

Form = Mapping[str, str]


class Entries(dict[str, str]):
    """A map, which XML has as `entry`s of a `key` and a `value`; other mappings are structures."""


def read_form(body: bytes) -> Form:
    """Raises Refusal."""
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise Refusal("MalformedQueryString", "The body is not a form.") from None


def required(form: Form, name: str) -> str:
    """Raises Refusal."""
    value = form.get(name)
    if not value:
        raise Refusal("InvalidParameter", f"Invalid parameter: {name}")
    return value


def read_map(form: Form, name: str) -> dict[str, str]:
    """`Attributes.entry.1.key`, `Attributes.entry.1.value` and so on."""
    return _pairs(form, f"{name}.entry", "key", "value")


def read_tags(form: Form) -> dict[str, str]:
    return _pairs(form, "Tags.member", "Key", "Value")


def read_list(form: Form, name: str) -> list[str]:
    return [value for key, value in form.items() if key.startswith(f"{name}.member.")]


def query_answer(service: str, operation: str, result: Mapping[str, object] | None) -> Response:
    """None is for operations that answer nothing."""
    shown = "" if result is None else _element(f"{operation}Result", result)
    request_id = str(uuid4())
    metadata = _element("ResponseMetadata", {"RequestId": request_id})
    return _response(f"{operation}Response", service, f"{shown}{metadata}", 200, request_id)


def query_refusal(service: str, refusal: Refusal) -> Response:
    kind = "Sender" if refusal.status < 500 else "Receiver"
    error = {"Type": kind, "Code": refusal.code, "Message": refusal.message or ""}
    request_id = str(uuid4())
    content = _element("Error", error) + _element("RequestId", request_id)
    return _response("ErrorResponse", service, content, refusal.status, request_id)


def _pairs(form: Form, prefix: str, key: str, value: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    number = 1
    while (name := form.get(f"{prefix}.{number}.{key}")) is not None:
        pairs[name] = form.get(f"{prefix}.{number}.{value}", "")
        number += 1
    return pairs


def _response(name: str, service: str, content: str, status: int, request_id: str) -> Response:
    text = f'<{name} xmlns="{_NAMESPACES[service]}">{content}</{name}>'
    return Response(text.encode(), status, {"x-amzn-RequestId": request_id}, "text/xml")


def _element(name: str, value: object) -> str:
    if isinstance(value, Entries):
        inner = "".join(_element("entry", {"key": key, "value": each}) for key, each in value.items())
    elif isinstance(value, Mapping):
        inner = "".join(_element(key, each) for key, each in value.items())
    elif isinstance(value, list):
        inner = "".join(_element("member", each) for each in value)
    else:
        inner = escape(_NOT_XML.sub("\ufffd", str(value)))
    return f"<{name}>{inner}</{name}>"
