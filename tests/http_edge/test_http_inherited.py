"""What our HTTP connection takes from uvicorn: every name it needs, and that the pinned version has it."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version

import httptools
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from relay.http.connection import Connection

CALLED = {  # by ours, which does more
    "connection_made",
    "connection_lost",
    "on_message_begin",
    "on_header",
    "on_headers_complete",
    "on_body",
    "on_message_complete",
    "_start_asgi_task",
    "shutdown",
}
REPLACED = {"data_received", "eof_received", "on_response_complete"}  # asyncio, or what is kept, calls ours instead
READ = ("app", "cycle", "flow", "headers", "loop", "parser", "pipeline", "scope", "server_state", "tasks", "transport")


def test_the_version_is_one_that_was_read() -> None:
    major, minor = map(int, version("uvicorn").split(".")[:2])
    assert (major, minor) == (0, 54), "read its httptools_impl.py again, then raise the range in pyproject.toml"
    assert int(httptools.__version__.split(".")[1]) >= 7


@pytest.mark.parametrize("name", sorted(CALLED | REPLACED))
def test_the_method_is_there(name: str) -> None:
    theirs, own = inspect.signature(getattr(HttpToolsProtocol, name)), inspect.signature(getattr(Connection, name))
    assert len(theirs.parameters) == len(own.parameters)


@pytest.mark.parametrize("name", READ)
def test_init_sets_what_we_read(name: str) -> None:
    source = inspect.getsource(HttpToolsProtocol.__init__) + inspect.getsource(HttpToolsProtocol.on_message_begin)
    assert f"self.{name}" in source


def test_an_answer_asks_its_transport_for_no_more_than_ours_has() -> None:
    used = set(re.findall(r"self\.transport\.(\w+)", inspect.getsource(RequestResponseCycle)))
    assert used <= {"write", "close", "is_closing"}
    taken = set(inspect.signature(RequestResponseCycle.__init__).parameters)
    assert {"message_event", "on_response", "keep_alive", "expect_100_continue"} <= taken
