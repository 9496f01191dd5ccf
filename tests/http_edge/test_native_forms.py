"""Messages as forms (RFC 7578): from clients that are not ours, at every bound, and byte by byte in odd ones."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Problem
from relay.http.emails.form import MAX_FIELDS, MAX_PART_HEADER, MAX_PARTS, parts, read
from relay.message import Address
from tests.clients.programs import call, needs
from tests.support import Answer, World

PATH = "/api/v1/emails"
MINIMAL = {"from": "news@shared.example", "to": "ana@one.test", "subject": "Hi", "text": "Hi Ana"}
EMAIL = (
    b'Content-Disposition: form-data; name="email"\r\nContent-Type: application/json\r\n\r\n'
    + json.dumps(MINIMAL).encode()
)
AUTHOR = Address("news", "shared.example")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("forms")) as world:
        yield world


def form(*given: bytes, boundary: bytes = b"b") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in given) + b"--" + boundary + b"--\r\n"


def file(content: bytes = b"x", disposition: bytes = b'form-data; name="f"; filename="a.bin"', *fields: bytes) -> bytes:
    return b"\r\n".join([b"Content-Disposition: " + disposition, *fields, b"", content])


def post(world: World, body: bytes, boundary: str = "b", **headers: str) -> Answer:
    return world.call("POST", PATH, body, Content_Type=f"multipart/form-data; boundary={boundary}", **headers)


def arrived(world: World, to: str) -> list[tuple[str | None, str, bytes, str | None]]:
    """The files of a message: their names, types, contents and Content-IDs."""
    message = email.message_from_bytes(world.sent_to(to)[0]["raw"], policy=email.policy.default)
    return [
        (part.get_filename(), part.get_content_type(), part.get_payload(decode=True), part["Content-ID"])
        for part in message.walk()
        if part.get_filename()
    ]


# -- clients that are not ours ---------------------------------------------------------------------------------------

FILES = {
    "ü 日本.pdf": (bytes(range(256)) * 300, "application/pdf"),
    'we"ird; na%me.txt': (b"one\r\n--b\r\n", "text/plain"),
}


def by_curl(url: str, key: str, members: str, folder: Path) -> int:
    given = ["-F", f"email={members};type=application/json"]
    for number, (name, (content, kind)) in enumerate(FILES.items()):
        (folder / str(number)).write_bytes(content)
        escaped = name.replace('"', '\\"')
        given += ["-F", f'attachments=@"{folder / str(number)}";filename="{escaped}";type={kind}']
    command = [
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        f"Authorization: Bearer {key}",
        *given,
        url,
    ]
    return int(call(needs("curl"), *command))


def by_requests(url: str, key: str, members: str, _: Path) -> int:
    given: list[Any] = [("email", (None, members, "application/json"))]
    given += [("attachments", (name, *what)) for name, what in FILES.items()]
    answer = requests.post(url, files=given, headers={"Authorization": f"Bearer {key}"}, timeout=15)
    return answer.status_code


def by_httpx(url: str, key: str, members: str, _: Path) -> int:
    given: list[Any] = [("email", (None, members, "application/json"))]
    given += [("attachments", (name, *what)) for name, what in FILES.items()]
    return httpx.post(url, files=given, headers={"Authorization": f"Bearer {key}"}).status_code


def by_aiohttp(url: str, key: str, members: str, _: Path) -> int:
    async def sent() -> int:
        data = aiohttp.FormData(quote_fields=False)
        data.add_field("email", members, content_type="application/json")
        for name, (content, kind) in FILES.items():
            data.add_field("attachments", content, filename=name, content_type=kind)
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession() as session, session.post(url, data=data, headers=headers) as answer:
            return answer.status

    return asyncio.run(sent())


def by_node(url: str, key: str, members: str, _: Path) -> int:
    script = """
        const [url, key, email, files] = process.argv.slice(1);
        const form = new FormData();
        form.set("email", email);
        for (const [name, content, type] of JSON.parse(files))
            form.append("attachments", new File([Buffer.from(content, "base64")], name, {type}));
        fetch(url, {method: "POST", body: form, headers: {authorization: `Bearer ${key}`}})
            .then(answer => console.log(answer.status));
    """
    files = [[name, base64.b64encode(content).decode(), kind] for name, (content, kind) in FILES.items()]
    command = ["-e", script, "--", url, key, members, json.dumps(files)]
    return int(call(needs("node", "nodejs"), *command))


@pytest.mark.parametrize("client", [by_curl, by_requests, by_httpx, by_aiohttp, by_node])
def test_forms_of_other_clients(world: World, client: Callable[..., int], tmp_path: Path) -> None:
    to = f"{client.__name__}@one.test"
    url = f"http://127.0.0.1:{world.http}{PATH}"
    assert client(url, world.key, json.dumps({**MINIMAL, "to": to}), tmp_path) == 202
    assert arrived(world, to) == [(name, kind, content, None) for name, (content, kind) in FILES.items()]


# -- stories ---------------------------------------------------------------------------------------------------------


def test_a_file_with_a_content_id_is_inline(world: World) -> None:
    given = EMAIL.replace(b"ana@", b"inline@").replace(b'"text"', b'"html"')
    logo = file(b"png", b'form-data; name="logo"; filename="l.png"', b"Content-Type: image/png", b"Content-ID: <logo>")
    assert post(world, form(given, logo, file())).status == 202
    assert arrived(world, "inline@one.test") == [
        ("l.png", "image/png", b"png", "<logo>"),
        ("a.bin", "application/octet-stream", b"x", None),
    ]
    message = email.message_from_bytes(world.sent_to("inline@one.test")[0]["raw"])
    assert [part.get_content_type() for part in message.walk()][:2] == ["multipart/mixed", "multipart/related"]


# aiohttp warns of what aiobotocore does with every body over 1 MB.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_files_may_be_as_large_as_ses_takes_and_no_larger(world: World) -> None:
    most = 28 << 20  # in base64 it is 38.3 MB
    given = EMAIL.replace(b"ana@", b"large@")
    assert post(world, form(given, file(b"\r\n--c" * (most // 5)))).status == 202
    assert [len(content) for _, _, content, _ in arrived(world, "large@one.test")] == [most // 5 * 5]
    world.forget_messages()
    answer = post(world, form(given, file(b"x" * (30 << 20))))
    assert (answer.status, answer.json["reason"]) == (413, "too_large")


def test_one_key_with_two_boundaries_is_one_message(world: World) -> None:
    bodies = [form(EMAIL.replace(b"ana@", b"once@"), file(), boundary=boundary) for boundary in (b"b", b"another")]
    first = post(world, bodies[0], Idempotency_Key="form")
    again = post(world, bodies[1], "another", Idempotency_Key="form")
    assert (first.status, again.status, again.json) == (202, 202, first.json)
    other = post(world, form(EMAIL.replace(b"ana@", b"once@"), file(b"y")), Idempotency_Key="form")
    assert (other.status, other.json["reason"]) == (409, "idempotency_conflict")
    world.sent_to("once@one.test")


def test_a_rehearsal_by_form(world: World) -> None:
    answer = post(world, form(EMAIL.replace(b"{", b'{"dry_run": true, '), file()))
    assert (answer.status, answer.json["dry_run"], answer.json["id"]) == (200, True, None)


# -- bounds and oddities ---------------------------------------------------------------------------------------------

LONG_NAME = b'form-data; name="f"; filename="' + b"n" * 256 + b'"'


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (form(), "email"),
        (form(file()), "email"),
        (form(EMAIL, EMAIL), "email"),
        (form(EMAIL, file(b"x", b'form-data; name="to"')), "to"),
        (form(EMAIL, file(b"x", LONG_NAME)), "f"),
        (form(EMAIL, file(b"x", b'form-data; name="f"; filename=""')), "f"),
        (form(EMAIL, file(b"x", b'form-data; name="f"; filename="a%0D%0Ab"')), "f"),
        (form(EMAIL, file(b"x", b'form-data; name="f"; filename="a"', b"Content-ID: a b")), "f"),
        (form(EMAIL.replace(b"subject", b"subjekt")), "subject"),
        (b"", None),
        (b"x", None),
        (b"--b\r\n", None),
        (form(EMAIL)[:-4], None),
        (form(EMAIL)[:-9], None),
        (form(EMAIL).replace(b"\r\n", b"\n"), None),
        (form(EMAIL, b""), None),
        (form(EMAIL, b"no header"), None),
        (form(EMAIL, b"no header\r\n\r\n"), None),
        (form(EMAIL, file(b"x", b"form-data")), None),
        (form(EMAIL, file(b"x", b'attachment; name="f"; filename="a"')), None),
        (form(EMAIL, file(b"x", b'form-data; name="f"; filename="a"; filename="b"')), None),
        (form(EMAIL, file(b"x", b'form-data; name="f"; filename="\xff"')), None),
        (form(EMAIL, file(b"eA==", b'form-data; name="f"; filename="a"', b"Content-Transfer-Encoding: base64")), None),
        (form(EMAIL, file(b"x", b'form-data; name="f"; filename="' + b"n" * MAX_PART_HEADER + b'"')), None),
        (form(EMAIL, file(b"x", b'form-data; name="f"; filename="a"', *[b"X: y"] * MAX_FIELDS)), None),
        (form(EMAIL, *[file()] * MAX_PARTS), None),
        (form(EMAIL, file(b"\r\n--bx" * 1000)), None),
        (form(b'Content-Disposition: form-data; name="email"\r\n\r\n[]'), None),
        (form(b'Content-Disposition: form-data; name="email"\r\n\r\n{"a": 1, "a": 2}'), None),
    ],
)
def test_refused(world: World, body: bytes, param: str | None) -> None:
    answer = post(world, body)
    assert (answer.status, answer.json["error"], answer.json.get("param")) == (400, "bad_request", param), answer.body


@pytest.mark.parametrize("boundary", ["", '""', "b" * 71])
def test_boundaries_that_are_none(world: World, boundary: str) -> None:
    assert post(world, form(EMAIL), boundary).status == 400


def test_a_compressed_form_is_refused(world: World) -> None:
    assert post(world, form(EMAIL), Content_Encoding="gzip").status == 415


@pytest.mark.parametrize(
    ("disposition", "fields", "name", "kind"),
    [
        (b'form-data; name="f"; filename="a\\"b\\\\c.txt"', b"", 'a"b\\c.txt', "application/octet-stream"),
        (b'form-data; name="f"; filename="C:\\dir\\a.txt"', b"", "C:\\dir\\a.txt", "application/octet-stream"),
        (b'form-data; name="f"; filename="a%22b%20c"', b"", 'a"b%20c', "application/octet-stream"),
        (b"FORM-DATA;name=f ; FileName=a.txt", b"", "a.txt", "application/octet-stream"),
        (b"form-data; name=f; filename*=utf-8''%C3%BC.txt; filename=x", b"", "ü.txt", "application/octet-stream"),
        (b'form-data; name="f"; filename="a"', b"Content-Type: Text/CSV; charset=utf-8\r\n", "a", "text/csv"),
        (b'form-data; name="f"; filename="a"', b"content-type: message/rfc822\r\n", "a", "application/octet-stream"),
        (b'form-data; name="f"; filename="a"', b"content-type: multipart/mixed\r\n", "a", "application/octet-stream"),
        (b'form-data; name="f"; filename="a"', b'content-type: a"b/c\r\n', "a", "application/octet-stream"),
        (
            b'form-data; name="f"; filename="a"',
            b"content-transfer-encoding: binary\r\n",
            "a",
            "application/octet-stream",
        ),
    ],
)
def test_how_a_file_is_named(disposition: bytes, fields: bytes, name: str, kind: str) -> None:
    part = b"Content-Disposition: " + disposition + b"\r\n" + fields + b"\r\nx"
    [found] = read(b"preamble\r\n" + form(EMAIL, part) + b"epilogue", b"b", AUTHOR).attachments
    assert (found.filename, found.content_type, found.content) == (name, kind, b"x")


@given(
    st.lists(
        st.binary(max_size=60) | st.sampled_from([b"\r\n--b", b"--b--", b"\r\n", b"\r\n--", b"--b\r\n"]), max_size=6
    )
)
def test_contents_come_out_as_they_went_in(contents: list[bytes]) -> None:
    boundary = b"b" * 40
    found = list(parts(form(*map(file, contents), boundary=boundary), boundary)) if contents else []
    assert [part.content for part in found] == contents


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([b"--b", b"\r\n", b"--", EMAIL, file(), b": ", b"\0"])).map(b"".join)
)
def test_any_octets_are_a_letter_or_a_problem(body: bytes) -> None:
    try:
        assert read(body, b"b", AUTHOR).to
    except Problem as problem:
        assert problem.detail.isprintable()


def test_a_form_takes_little_more_memory_than_its_files() -> None:
    body = form(EMAIL, file(b"x" * (8 << 20)))
    tracemalloc.start()
    try:
        read(body, b"b", AUTHOR)
        assert tracemalloc.get_traced_memory()[1] < 2.1 * len(body)
    finally:
        tracemalloc.stop()
