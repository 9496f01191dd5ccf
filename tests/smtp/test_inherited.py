"""What our SMTP connection takes from aiosmtpd: every name it needs, and that the pinned version has it."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version

import pytest
from aiosmtpd.smtp import SMTP

from relay.smtp.channel import Channel
from relay.smtp.protocol import Connection

CALLED = {  # by us, or by asyncio on us, and not written again
    "_cb_client_connected",
    "_create_session",
    "_create_envelope",
    "_set_rset_state",
}
REPLACED = {  # ours must keep being what the rest of aiosmtpd calls
    "__init__",
    "_handle_client",
    "_reset_timeout",
    "_timeout_cb",
    "connection_lost",
    "connection_made",
    "eof_received",
    "push",
}
SET_BY_INIT = {  # what SMTP.__init__ would have set and inherited methods read
    "loop",
    "session",
    "envelope",
    "transport",
    "event_handler",
    "_timeout_handle",
    "_original_transport",
    "_tls_protocol",
    "_handler_coroutine",
}


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("aiosmtpd").split(".")[:2] == ["1", "4"]
    assert tuple(map(int, version("aiosmtpd").split(".")[:3])) >= (1, 4, 6)


@pytest.mark.parametrize("name", sorted(CALLED | REPLACED))
def test_the_name_is_there(name: str) -> None:
    assert callable(getattr(SMTP, name))


@pytest.mark.parametrize("name", sorted(REPLACED))
def test_ours_is_called_in_its_place(name: str) -> None:
    theirs, own = inspect.signature(getattr(SMTP, name)), inspect.signature(getattr(Connection, name))
    assert name in vars(Connection) or name in vars(Channel)
    assert inspect.iscoroutinefunction(getattr(SMTP, name)) == inspect.iscoroutinefunction(getattr(Connection, name))
    assert name == "__init__" or len(own.parameters) == len(theirs.parameters)


@pytest.mark.parametrize("name", sorted(SET_BY_INIT))
def test_init_sets_what_theirs_would(name: str) -> None:
    assert f"self.{name}" in inspect.getsource(SMTP.__init__)
    assert f"self.{name}" in inspect.getsource(Channel.__init__)


def test_the_rest_of_init_is_not_needed() -> None:
    """All that the methods kept from aiosmtpd read has been set by then, or is read for its own STARTTLS only."""
    kept = (SMTP.connection_made, SMTP.connection_lost, SMTP._cb_client_connected, SMTP._set_rset_state)
    read = {name for method in kept for name in re.findall(r"\bself\.(\w+)", inspect.getsource(method))}
    set_by_them = {"_reader", "_writer"}
    for_their_starttls = {"_handle_hooks", "_tls_handshake_okay"}
    inherited = {"_set_post_data_state"}
    assert read <= SET_BY_INIT | CALLED | REPLACED | set_by_them | for_their_starttls | inherited
