"""What nobody should send over HTTP: each is answered, nothing is leaked, and nothing gets into a header."""

from __future__ import annotations

import email
import http.client
import json
import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from email.header import decode_header, make_header
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from relay.http.fields import LONGEST_NAME
from tests.support import World, wait_for

PATH = "/api/v1/emails"
BODY = {"from": "news@shared.example", "to": "ana@one.test", "subject": "Hi", "text": "Hi Ana"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("hostile"), limits={"message_memory": "128MB"}) as world:
        yield world


def raw_json(**members: str) -> bytes:
    """A request whose members are written as given."""
    written = {name: json.dumps(value) for name, value in BODY.items()} | members
    return ("{" + ",".join(f'"{name}":{value}' for name, value in written.items()) + "}").encode()


# -- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON at line 1, column 2"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b"from=news@shared.example", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (json.dumps(BODY).encode("utf-16"), "not UTF-8 at octet 0"),
        (json.dumps({**BODY, "subject": "Grüße"}, ensure_ascii=False).encode("latin-1"), "not UTF-8"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (raw_json(headers='{"a":' * 30 + "1" + "}" * 30), "nested"),
        (raw_json(subject="NaN"), "not JSON"),
        (raw_json(subject="-Infinity"), "not JSON"),
        (raw_json(subject="1" * 5000), ""),
        (raw_json(subject="1e999"), "subject"),
        (raw_json(subject='"a\\u0000b"'), "subject"),
        (raw_json(text='"a\\u0000b"'), "text: has a NUL"),
        (raw_json(html='"a\\u0000b"'), "html: has a NUL"),
        (raw_json(subject='"a\\ud800b"'), "subject: has half of a surrogate pair"),
        (raw_json(text='"a\\udfffb"'), "text: has half of a surrogate pair"),
        (raw_json(from_name='"\\ud83c"'), "from_name: has half"),
        (raw_json(to='"\\ud83c@one.test"'), "to.0"),
        (raw_json(to='"a@\\ud83c.test"'), "to.0"),
        (raw_json(headers='{"X-\\ud83c":"x"}'), "headers"),
        (raw_json(headers='{"X-A":"\\ud83c"}'), "headers.X-A"),
        (raw_json(headers='{"":"x"}'), "headers"),
        (raw_json(headers='["X"]'), "headers"),
        (raw_json(attachments='[{"filename":"\\ud83c","content":""}]'), "attachments.0.filename"),
        (raw_json(attachments='[{"filename":"a","content":"\\ud83c"}]'), "attachments.0.content"),
        (raw_json(attachments='[{"filename":"a","content":"ü"}]'), "attachments.0.content"),
        (raw_json(attachments='{"filename":"a"}'), "attachments"),
        (raw_json(attachments="[[],1,null]"), "attachments.2"),
        (raw_json(to="[" + ",".join(['""'] * 20_000) + "]"), "to"),
    ],
)
def test_bad_bodies_are_refused_with_where(world: World, body: bytes, words: str) -> None:
    answer = world.call("POST", PATH, body)
    assert (answer.status, answer.json["error"]) == (400, "bad_request"), answer.body[:500]
    assert words in answer.json["message"]
    assert re.fullmatch(r"[ -~]*", answer.json["message"])
    assert "Traceback" not in answer.body.decode()
    assert "pydantic" not in answer.body.decode()


@pytest.mark.parametrize(
    ("member", "where"),
    [
        ("from", "from"),
        ("from_name", "from_name"),
        ("to", "to.0"),
        ("cc", "cc.0"),
        ("bcc", "bcc.0"),
        ("reply_to", "reply_to.0"),
        ("subject", "subject"),
    ],
)
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x0b", "\x00", "\x1b", "\x7f"])
def test_no_line_ends_where_one_line_is_asked_for(world: World, member: str, where: str, end: str) -> None:
    for value in (f"a{end}Bcc: x@evil.test@shared.example", f"a@shared.example{end}", f"{end}a@shared.example"):
        answer = world.call("POST", PATH, {**BODY, member: value})
        if answer.status == 202:  # white space around an address is passed over
            assert (member, value.strip()) == (where.partition(".")[0], "a@shared.example")
            assert where != member or member == "from"
        else:
            assert (answer.status, [fault["param"] for fault in answer.json["errors"]]) == (400, [where])


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\0"])
def test_no_line_ends_in_headers_and_attachments(world: World, end: str) -> None:
    file = {"filename": "a", "content": ""}
    for members in (
        {"headers": {"X-A": f"a{end}Bcc: x@evil.test"}},
        {"headers": {f"X-A: b{end}Bcc": "x@evil.test"}},
        {"headers": {f"X-A{end}": "x"}},
        {"attachments": [{**file, "filename": f'a"{end}X: y'}]},
        {"attachments": [{**file, "content_type": f"text/plain{end}X: y"}]},
        {"attachments": [{**file, "content_type": f"text/plain{end}"}]},
    ):
        assert world.call("POST", PATH, {**BODY, **members}).status == 400, members


# -- sizes and connections -------------------------------------------------------------------------------------------


class Raw:
    """A connection on which HTTP is written by hand."""

    def __init__(self, world: World, *fields: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", world.http), timeout=15)
        head = [f"POST {PATH} HTTP/1.1", "Host: relay.test", f"Authorization: Bearer {world.key}", *fields, "", ""]
        self.socket.sendall("\r\n".join(head).encode())

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def answer(self) -> tuple[int, Any]:
        found = http.client.HTTPResponse(self.socket, method="POST")
        try:
            found.begin()
            return found.status, json.loads(found.read())
        finally:
            found.close()


def test_a_declared_size_is_refused_before_the_body(world: World) -> None:
    with Raw(world, f"Content-Length: {41 << 20}") as connection:
        status, body = connection.answer()
    assert (status, body["reason"]) == (413, "too_large")


def test_a_size_that_lies_is_refused(world: World) -> None:
    for length in ("99999999999999999999999999", "-1", "1x", "0x10"):
        with Raw(world, f"Content-Length: {length}") as connection:
            assert connection.socket.recv(100).split()[1] in (b"400", b"413")


def test_an_endless_chunked_body_is_cut_off(world: World) -> None:
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    sent = 0
    with Raw(world, "Transfer-Encoding: chunked") as connection:
        try:
            while sent < 400:
                connection.socket.sendall(chunk)
                sent += 1
        except ConnectionError:
            pass
        else:
            pytest.fail("the server took 400 MB")
        assert sent >= 40
    with Raw(world, "Transfer-Encoding: chunked") as connection:  # one that listens reads why
        for _ in range(41):
            connection.socket.sendall(chunk)
        status, body = connection.answer()
    assert (status, body["reason"]) == (413, "too_large")


def test_a_body_that_is_cut_off_leaves_nothing_behind(world: World) -> None:
    for fields, part in (
        (["Content-Length: 1000"], b'{"from":'),
        (["Transfer-Encoding: chunked"], b'5\r\n{"fro'),
        (["Content-Length: 30000000"], b" " * 20_000_000),
    ):
        with Raw(world, *fields) as connection:
            connection.socket.sendall(part)
    wait_for(lambda: world.metric("relay_message_memory_bytes") == 0)
    assert world.call("POST", PATH, BODY).status == 202


def test_memory_is_bounded_over_all_requests(world: World) -> None:
    """Requests that wait with most of their bodies sent use the budget up; the next is refused, the first go on."""
    part = b" " * (38 << 20)
    with (
        Raw(world, f"Content-Length: {40 << 20}") as one,
        Raw(world, f"Content-Length: {40 << 20}") as two,
        Raw(world, f"Content-Length: {40 << 20}") as three,
    ):
        for connection in (one, two, three):
            connection.socket.sendall(part)
        wait_for(lambda: world.metric("relay_message_memory_bytes") == 3 * len(part))
        answer = world.call("POST", PATH, b" " * (12 << 20))
        assert (answer.status, answer.json["reason"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
        assert world.call("POST", PATH, BODY).status == 202
    wait_for(lambda: world.metric("relay_message_memory_bytes") == 0)


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"a" * (1 << 20) + b"\r\n\r\n",
        b"POST /api/v1/emails HTTP/1.1\r\nHost: x\r\nX-API-Key: a\0b\r\nContent-Length: 0\r\n\r\n",
        b"EHLO client.test\r\nMAIL FROM:<a@shared.example>\r\n",
    ],
)
def test_what_is_not_http_does_not_hurt(world: World, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", world.http), timeout=15) as connection:
        try:
            connection.sendall(request_)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except ConnectionError:
            answer = b""
    assert not answer or re.match(rb"HTTP/1\.1 4\d\d ", answer)
    assert world.call("GET", "/healthz").status == 200


# -- header injection ------------------------------------------------------------------------------------------------

AWKWARD = st.text(st.sampled_from("aZ9 \t\"\\'()<>@,;:.=?_*%&~üß日🎉\u2028\u0085\xa0-/[]{}"), max_size=60)
WORDS = st.lists(
    st.sampled_from(["=?utf-8?q?", "=0d=0a", "X:y", "?=", " ", "=?utf-8?b?DQpYOiB4?=", "x", "ü"]), max_size=12
)
TEXT = AWKWARD | WORDS.map("".join) | st.text(max_size=120)
INJECTED = "=?utf-8?q?a=0d=0aX-Evil:_x?="
FIELDS = ["content-type", "date", "from", "message-id", "mime-version", "received", "subject", "to", "x-own"]


def unfolded(value: str) -> str:
    """A header as a reader shows it (RFC 2047)."""
    return str(make_header(decode_header(value.replace("\r\n", ""))))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(subject=TEXT, name=TEXT, filename=TEXT)
@example(subject=INJECTED, name="a", filename="a")
@example(subject="a", name=INJECTED, filename="a")
@example(subject="a", name="a", filename=INJECTED)
@example(subject="a" * 998, name="n" * LONGEST_NAME, filename="f" * 255)
@example(subject="ü" * 998, name="ü" * LONGEST_NAME, filename="ü" * 255)
@example(subject=" ", name=" ", filename=" ")
@example(subject="a", name='"', filename='"')
@example(subject="a", name="\\", filename="\\")
@example(subject="a", name="n@shared.example, x", filename="a/../b")
def test_nothing_gets_into_a_header(world: World, subject: str, name: str, filename: str) -> None:
    body = {
        **BODY,
        "subject": subject,
        "from_name": name,
        "headers": {"X-Own": subject[:500]},
        "attachments": [{"filename": filename, "content": "eA=="}],
    }
    answer = world.call("POST", PATH, json.dumps(body).encode())
    if answer.status == 400:
        assert not all((subject, filename)) or re.search(r"[\0-\x1f\x7f]", subject + name + filename)
        return
    assert answer.status == 202, answer.body
    path = f"{PATH}/{answer.json['id']}"
    seen = wait_for(lambda: (found := world.call("GET", path).json)["status"] in ("sent", "failed") and found)
    assert seen["status"] == "sent", seen
    raw = next(m["raw"] for m in reversed(world.messages()) if m["id"] == seen["deliveries"][0]["ses_message_id"])
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    found = email.message_from_bytes(raw)
    assert sorted(field.lower() for field in found) == FIELDS
    assert unfolded(found["Subject"]) == subject
    assert subject.isascii() or unfolded(found["X-Own"]).strip() == subject[:500].strip()
    shown, address = parseaddr(found["From"].replace("\r\n", ""))
    assert (unfolded(shown), address) == (name.strip(), "news@shared.example")
    text, attachment = found.get_payload()
    assert sorted(field.lower() for field in text) == ["content-transfer-encoding", "content-type"]
    assert sorted(field.lower() for field in attachment) == [
        "content-disposition",
        "content-transfer-encoding",
        "content-type",
    ]
    assert (attachment.get_payload(decode=True), attachment.get_filename() or "") == (b"x", filename.strip())


# -- our own faults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["suppressions", "contents"])
def test_a_fault_of_ours_says_nothing_but_a_reference(
    tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A table that is gone: one is read for the recipients, the other written at the end."""
    with World(tmp_path) as world:
        with closing(sqlite3.connect(tmp_path / "relay.db", isolation_level=None)) as beside:
            beside.execute(f"ALTER TABLE {table} RENAME TO gone")
            answer = world.call("POST", PATH, BODY, X_Request_Id="mine")
            beside.execute(f"ALTER TABLE gone RENAME TO {table}")
        assert (answer.status, answer.json["error"], answer.json["reason"]) == (
            500,
            "internal_server_error",
            "internal",
        )
        assert "(reference mine)" in answer.json["message"]
        assert not re.search(rb"sql|table|exception|gone|\.py", answer.body, re.IGNORECASE)
        assert (answer.headers["x-request-id"], answer.headers["cache-control"]) == ("mine", "no-store")
        assert "mine" in [getattr(record, "fields", {}).get("request_id") for record in caplog.records]
        assert world.call("POST", PATH, BODY).status == 202
