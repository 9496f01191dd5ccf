"""Any sequence of commands over a real socket, beside a model of what each must be answered.

Every command gets exactly one reply, in order. The connection is closed only by what is in CLOSING, by the twentieth
command that was not understood, by the third failed login, and by what follows a command that had to be waited for.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support import World
from tests.wire import Wire

APP = "app@shared.example"
LIMIT = 65_536  # octets of a message
FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    anywhere = {"address": "127.0.0.1:0", "tls": "none", "auth_without_tls": True}
    listeners = [anywhere, {"address": "127.0.0.1:0"}, anywhere | {"trusted_networks": ["127.0.0.1/32"]}]
    with World(
        tmp_path_factory.mktemp("hypothesis"), smtp={"listeners": listeners}, limits={"max_message_size": LIMIT}
    ) as world:
        yield world


# -- the model -------------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """What a session is, as far as the next reply depends on it."""

    is_known: bool
    is_greeted: bool = False
    is_authenticated: bool = False
    has_sender: bool = False
    has_recipient: bool = False
    errors: int = 0
    logins: int = 0
    is_closed: bool = False

    def greet(self) -> None:
        self.is_greeted = True
        self.forget()

    def authenticate(self) -> None:
        self.is_known = self.is_authenticated = True

    def fail(self) -> None:
        self.logins += 1

    def begin(self) -> None:
        self.has_sender = True

    def name(self) -> None:
        self.has_recipient = True

    def forget(self) -> None:
        self.has_sender = self.has_recipient = False

    def close(self) -> None:
        self.is_closed = True

    def stay(self) -> None:
        pass

    def expect(self, said: Said) -> list[tuple[bytes, str]]:
        """What is sent, and how each reply begins. Moves to the state after it."""
        for holds, refusal in said.needs:
            if not holds(self):
                return [(said.line, self._refused(refusal))]
        said.effect(self)
        exchange = [(said.line, said.reply), *said.then]
        last, reply = exchange[-1]
        if self.logins == 3:
            self.close()
            reply = "421 4.7.0 Too many failed logins"
        return [*exchange[:-1], (last, self._refused(reply))]

    def _refused(self, reply: str) -> str:
        """What was not understood is counted; what may not be is not."""
        if reply[:3] in {"454", "500", "501", "502", "503", "504", "555"}:
            self.errors += 1
            if self.errors == 20:
                self.close()
                return "421 4.7.0 Too many errors"
        return reply


Need: TypeAlias = tuple[Callable[[Model], bool], str]
GREETED: Need = (lambda model: model.is_greeted, "503 5.5.1 Send EHLO first")
STRANGER: Need = (lambda model: not model.is_authenticated, "503 5.5.1 already authenticated")
KNOWN: Need = (lambda model: model.is_known, "530 5.7.0")
FREE: Need = (lambda model: not model.has_sender, "503 5.5.1")
SENDER: Need = (lambda model: model.has_sender, "503 5.5.1 send MAIL first")
RECIPIENT: Need = (lambda model: model.has_recipient, "503 5.5.1 send MAIL and at least one good RCPT first")


@dataclass(frozen=True)
class Said:
    """A command, what it takes, how it is answered if that holds, what it changes, and what is said after it."""

    line: bytes
    reply: str
    needs: Sequence[Need] = ()
    effect: Callable[[Model], None] = Model.stay
    then: Sequence[tuple[bytes, str]] = ()

    def __repr__(self) -> str:
        return repr(self.line[:60])


def plain(password: str) -> bytes:
    return b64encode(f"\0user\0{password}".encode())


AT_LOGIN = (GREETED, STRANGER, FREE)
AT_MAIL = (GREETED, FREE, KNOWN)
HEADER = f"From: {APP}\r\n\r\n".encode()

SINGLE = [  # in any place of a group of commands
    Said(b"NOOP", "250 2.0.0"),
    Said(b"noop anything", "250 2.0.0"),
    Said(b"RSET", "250 2.0.0", effect=Model.forget),
    Said(b"HELP", "214 2.0.0"),
    Said(b"VRFY ann", "252 2.5.2"),
    Said(b"EXPN all", "502 5.5.1"),
    Said(b"ETRN x", "502 5.5.1"),
    Said(b"WHAT is this", "500 5.5.2"),
    Said(b"", "500 5.5.2"),
    Said(b"N" * 5000, "500 5.5.6"),
    Said(b"EHLO", "501 5.5.4"),
    Said(b"HELO ", "501 5.5.4"),
    Said(b"DATA now", "501 5.5.4"),
    Said(b"STARTTLS now", "501 5.5.4"),
    Said(b"STARTTLS", "454 4.7.0", [FREE]),
    Said(b"MAIL FROM:<app@shared.example>", "250 2.1.0", AT_MAIL, Model.begin),
    Said(b"mail from: app@byoc.example BODY=8BITMIME RET=FULL AUTH=<>", "250 2.1.0", AT_MAIL, Model.begin),
    Said(b"MAIL FROM:<app@not-ours.test>", "550 5.7.1", AT_MAIL),
    Said(b"MAIL FROM:<>", "550 5.7.1", AT_MAIL),
    Said(b"MAIL FROM:<root>", "553 5.1.3", AT_MAIL),
    Said(b"MAIL FROM:<app@shared.example> SIZE=65537", "552 5.3.4", AT_MAIL),
    Said(b"MAIL FROM:<app@shared.example> SMTPUTF8", "555 5.5.4", AT_MAIL),
    Said(b"MAIL FROM:<app@shared.example", "501 5.5.4", AT_MAIL),
    Said(b"MAIL", "501 5.5.4", AT_MAIL),
    Said(b"RCPT TO:<ann@one.test>", "250 2.1.5", [SENDER], Model.name),
    Said(b"RCPT TO:<ann@one.test> NOTIFY=NEVER", "250 2.1.5", [SENDER], Model.name),
    Said(b"RCPT TO:<>", "553 5.1.3", [SENDER]),
    Said(b"RCPT TO:<b\xfc@one.test>", "553 5.6.7", [SENDER]),
    Said(b"RCPT TO:<ann@one.test> NOTIFY=MAYBE", "501 5.5.4", [SENDER]),
    Said(b"RCPT", "501 5.5.4", [SENDER]),
]
STEPS = [  # what must be waited for
    Said(b"EHLO client.test", "250 HELP", effect=Model.greet),
    Said(b"helo client.test", "250 relay.test", effect=Model.greet),
    Said(b"AUTH CRAM-MD5", "504 5.5.4", AT_LOGIN),
    Said(b"AUTH PLAIN =", "501 5.5.4", AT_LOGIN),
    Said(b"AUTH LOGIN ???", "501 5.5.2", AT_LOGIN),
    Said(b"AUTH PLAIN", "334 ", AT_LOGIN, then=[(b"*", "501 5.7.0")]),
    Said(b"auth login dXNlcg==", "334 UGFzc3dvcmQ6", AT_LOGIN, Model.fail, [(b"bm8=", "535 5.7.8")]),
    Said(b"DATA", "354", [RECIPIENT], Model.forget, [(HEADER + b"x\r\n.", "250 2.0.0 Accepted as")]),
    Said(b"DATA", "354", [RECIPIENT], Model.forget, [(b".", "554 5.6.0 the message has no From header")]),
    Said(b"DATA", "354", [RECIPIENT], Model.forget, [(HEADER + b"x\r\n" * 23_000 + b".", "552 5.3.4")]),
]
CLOSING = [
    Said(b"QUIT", "221 2.0.0", effect=Model.close),
    Said(b"quit now", "221 2.0.0", effect=Model.close),
    Said(b"BDAT 5 LAST", "502 5.5.1 CHUNKING is not offered", effect=Model.close),
    Said(b"GET / HTTP/1.1", "500 5.5.2", effect=Model.close),
    Said(b"POST / HTTP/1.1", "500 5.5.2", effect=Model.close),
    Said(b"\x01\x02", "500 5.5.2", effect=Model.close),
    Said(b".", "500 5.5.2", effect=Model.close),
]
GOOD = [STEPS[0], SINGLE[15], SINGLE[24], STEPS[7]]  # else a message would hardly ever come about
EITHER = st.sampled_from([*SINGLE, *STEPS]) | st.sampled_from(GOOD)
SESSIONS = st.lists(EITHER, max_size=20) | st.lists(EITHER, min_size=30, max_size=60)


def wire_of(world: World, *, is_trusted: bool) -> Wire:
    wire = Wire(world.plain if is_trusted else world.starttls)
    assert wire.reply().startswith("220 ")
    return wire


def play(wire: Wire, model: Model, commands: Sequence[Said]) -> None:
    for said in commands:
        for line, reply in model.expect(said):
            assert wire.say(line).startswith(reply)
        if model.is_closed:
            assert wire.line() == ""
            return


@FAST
@given(st.booleans(), SESSIONS, st.sampled_from(CLOSING))
@example(True, [*GOOD[:3], STEPS[9], SINGLE[15]], CLOSING[0])
def test_every_command_is_answered_as_the_model_says(
    world: World, is_trusted: bool, commands: list[Said], last: Said
) -> None:
    login = Said(b"AUTH PLAIN " + plain(world.key), "235 2.7.0", AT_LOGIN, Model.authenticate)
    middle = len(commands) // 2
    with wire_of(world, is_trusted=is_trusted) as wire:
        play(wire, Model(is_known=is_trusted), [*commands[:middle], login, *commands[middle:], last])


@FAST
@given(
    st.booleans(), st.lists(st.sampled_from(SINGLE) | st.sampled_from(GOOD[1:3]), min_size=3, max_size=25), st.data()
)
def test_a_group_of_commands_is_answered_in_order(
    world: World, is_trusted: bool, commands: list[Said], data: st.DataObject
) -> None:
    """In one write or in any pieces: the replies are those of one command after the other."""
    octets = b"".join(said.line + b"\r\n" for said in commands)
    cuts = data.draw(st.lists(st.integers(0, len(octets)), max_size=3).map(sorted))
    with wire_of(world, is_trusted=is_trusted) as wire:
        assert wire.say(GOOD[0].line) == GOOD[0].reply
        model = Model(is_known=is_trusted, is_greeted=True)
        expected = [reply for said in commands for _, reply in model.expect(said)]
        for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
            wire.socket.sendall(octets[start:end])
        for reply in expected:
            assert wire.reply().startswith(reply)
        play(wire, model, [CLOSING[0]])


@FAST
@given(st.booleans(), st.sampled_from([*STEPS[:5], STEPS[7]]), st.sampled_from([*SINGLE, *STEPS, *CLOSING]))
def test_what_must_be_waited_for_and_is_not_ends_the_session(
    world: World, is_trusted: bool, step: Said, after: Said
) -> None:
    """RFC 2920 section 3.1. Where the command is refused anyway, nothing was to be waited for."""
    with wire_of(world, is_trusted=is_trusted) as wire:
        model = Model(is_known=is_trusted)
        play(wire, model, GOOD[:3])
        [(_, reply), *_] = model.expect(step)
        wire.socket.sendall(step.line + b"\r\n" + after.line + b"\r\n")
        if reply.startswith(("503", "530")):
            assert wire.reply().startswith(reply)
            return
        assert wire.reply().startswith("503 5.5.1 Wait for the reply before you go on")
        assert wire.line() == ""


WORDS = [*(said.line.split(b" ")[0][:20] for said in (*SINGLE, *STEPS)), *(bytes([octet]) for octet in b" \t:<>@=\r\0")]
LINES = st.lists(st.sampled_from(WORDS) | st.binary(max_size=20), max_size=8).map(b"".join)
OPEN_ENDED = (b"AUTH", b"QUIT", b"BDAT", b"GET", b"POST", b"CONNECT")


@FAST
@given(st.booleans(), st.lists(LINES, min_size=1, max_size=15))
def test_any_line_is_answered_once(world: World, is_trusted: bool, lines: list[bytes]) -> None:
    """Whatever the octets: a reply in the form that all have (Wire sees to that), and the session goes on."""
    with wire_of(world, is_trusted=is_trusted) as wire:
        wire.say("EHLO client.test")
        for line in lines:
            line = line.replace(b"\n", b"")
            if line[:8].upper().startswith(OPEN_ENDED):
                continue
            reply = wire.say(line)
            first = line.rstrip(b"\r").split(b" ")[0][:1]
            if first and not first.isalpha():
                assert reply.startswith("500 5.5.2")
                assert wire.line() == ""
                return
            assert wire.say("NOOP").startswith("250 2.0.0")
