"""Hostile input from files (corpus/README.md): each case is answered as it says there, and what is taken is not lost.

A message that is taken arrives byte for byte as it was sent, but for what its ledger says: what was added is taken off
again, what was dropped is expected to be missing, and what was re-encoded is compared decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from relay.sandbox.accounts import Account
from tests.smtp.corpus.reading import FOLDER, Case, unescaped
from tests.smtp.corpus.undoing import require_nothing_else_changed
from tests.support import ACCOUNTS, World, wait_for
from tests.wire import Wire

APP = "app@shared.example"
COMMANDS = sorted((FOLDER / "commands").glob("*.txt"))
MESSAGES = sorted((FOLDER / "messages").glob("*.txt"))
ADDED = ("added Received", "added Message-ID", "added Date")  # in every ledger, where the message had none


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    ours = sorted(domain for file in python_messages() for domain in domains_of(file.read_bytes()))
    accounts = [Account(each.name, (*each.identities, *ours), daily_quota=-1) for each in ACCOUNTS]
    domains = {domain: {"mode": "shared", "account": "operator"} for domain in ("shared.example", *ours)}
    http = {"requests_per_minute": 1_000_000}
    with World(tmp_path_factory.mktemp("corpus"), accounts=accounts, domains=domains, http=http) as world:
        yield world


# -- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: file.stem)
def test_command(world: World, file: Path) -> None:
    case = Case.read(file)
    line = case.sent.removesuffix(b"\r\n")
    code, _, taken = case.expected.partition(" to ")
    with Wire(world.plain) as wire:
        wire.reply()
        wire.say("EHLO client.test")
        if line[:4].upper() == b"RCPT":
            wire.say(f"MAIL FROM:<{APP}>")
        assert wire.say(line).startswith(code)
        if taken:
            wire.say("RCPT TO:<beside@one.test>")
            wire.say("DATA")
            assert wire.say(f"From: {APP}\r\nSubject: {file.stem}\r\n\r\n.").startswith("250 2.0.0")
        assert wire.say("NOOP").startswith("250 2.0.0")  # and no other reply is on its way
    if taken:
        subject = f"Subject: {file.stem}\r\n".encode()
        [message] = wait_for(lambda: [each for each in world.messages() if subject in each["raw"]])
        assert message["recipients"] == [taken, "beside@one.test"]


@pytest.mark.parametrize("size", [0, 1, 10, LIMIT := 40 << 20])
def test_a_size_that_lies(world: World, size: int) -> None:
    to = f"size{size}@one.test"
    with Wire(world.plain) as wire:
        wire.reply()
        for line in ("EHLO client.test", f"MAIL FROM:<{APP}> SIZE={size}", f"RCPT TO:<{to}>", "DATA"):
            assert wire.say(line)[0] in "23"
        assert wire.say(f"From: {APP}\r\n\r\n{'x' * 500}\r\n.").startswith("250 2.0.0")
    assert b"x" * 500 in world.sent_to(to)[0]["raw"]


# -- messages --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of a message: the reply to its end, and of one that was taken its ledger and what SES got."""

    sent: bytes
    reply: str
    ledger: tuple[str, ...] = ()
    raw: bytes = b""

    def require_nothing_else_changed(self) -> None:
        require_nothing_else_changed(self.sent, self.ledger, self.raw)


def send(world: World, octets: bytes, to: str) -> str:
    whole = octets if octets.endswith(b"\r\n") else octets + b"\r\n"
    with Wire(world.plain) as wire:
        wire.open(APP, to)
        wire.socket.sendall(re.sub(rb"(\A|\r\n)\.", rb"\1..", whole) + b".\r\n")
        reply = wire.reply()
        assert wire.say("NOOP").startswith("250 2.0.0")
    return reply


def send_all(world: World, messages: dict[str, bytes]) -> dict[str, Outcome]:
    """Send them, and wait until all that were taken are where they should be: each once, and no other."""

    def ledger(reply: str) -> tuple[str, ...]:
        answer = world.call("GET", f"/api/v1/emails/{reply.rpartition(' ')[2]}")
        return tuple(answer.json["changes"])

    before = world.messages()[-1:]
    sent = {f"{number}.{before[0]['id'] if before else 'first'}@one.test": name for number, name in enumerate(messages)}
    with ThreadPoolExecutor(8) as pool:
        replies = dict(zip(sent.values(), pool.map(lambda to: send(world, messages[sent[to]], to), sent), strict=True))
    taken = {to for to, name in sent.items() if replies[name].startswith("250 ")}

    def arrived() -> dict[str, bytes]:
        found = [(message["recipients"][0], message["raw"]) for message in world.messages()]
        mine = {to: raw for to, raw in found if to in sent}
        assert len([to for to, _ in found if to in sent]) == len(mine)
        return mine if mine.keys() >= taken else {}

    raw = wait_for(arrived) if taken else {}
    assert raw.keys() == taken
    return {
        name: Outcome(messages[name], replies[name], ledger(replies[name]), raw[to])
        if to in taken
        else Outcome(messages[name], replies[name])
        for to, name in sent.items()
    }


@pytest.fixture(scope="module")
def outcomes(world: World) -> dict[str, Outcome]:
    return send_all(world, {file.stem: Case.read(file).sent for file in MESSAGES})


@pytest.mark.parametrize("file", MESSAGES, ids=lambda file: file.stem)
def test_message(outcomes: dict[str, Outcome], file: Path) -> None:
    case, outcome = Case.read(file), outcomes[file.stem]
    assert outcome.reply.startswith(case.expected)
    if not outcome.raw:
        assert len(outcome.reply) > len("554 5.6.0 ") + 10  # a reason
        return
    beyond = [entry for entry in outcome.ledger if entry not in ADDED]
    assert len(beyond) == len(case.ledger)
    assert all(entry.startswith(said) for entry, said in zip(beyond, case.ledger, strict=True))
    outcome.require_nothing_else_changed()


# -- what CPython tests its own parser with --------------------------------------------------------------------------


def python_messages() -> list[Path]:
    try:
        from test import test_email
    except ImportError:
        return []
    return sorted((Path(str(test_email.__file__)).parent / "data").glob("msg_*.txt"))


def domains_of(message: bytes) -> set[str]:
    """Of the From fields, so that it is ours."""
    found = re.findall(rb"(?im)^From:.*@([a-z0-9.-]+\.[a-z]+)", message.replace(b"\r\n", b"\n"))
    return {domain.decode().lower() for domain in found}


def test_odd_messages_that_python_has(world: World) -> None:
    if not (files := python_messages()):
        pytest.skip("this Python has no test.test_email with data: on Debian the package libpython3-testsuite")
    as_they_are = {file.name: file.read_bytes() for file in files}
    with_crlf = {f"{name}, CRLF": re.sub(rb"\r?\n", b"\r\n", octets) for name, octets in as_they_are.items()}
    outcomes = send_all(world, as_they_are | with_crlf)
    for name, outcome in outcomes.items():
        if outcome.raw:
            outcome.require_nothing_else_changed()
        else:
            assert re.match(r"55[034] 5\.(6\.0|1\.3|7\.1) .{20,}", outcome.reply), name
    assert sum(bool(outcome.raw) for outcome in outcomes.values()) > len(outcomes) / 2


# -- what nobody thought of ------------------------------------------------------------------------------------------

# In the form of the files, so that what fails can become one. Without multiparts: not even parsers agree on odd ones.
FIELDS = [
    *[
        "Subject: x",
        "Bcc: evil@one.test",
        "Date:",
        "Date: never",
        "Message-ID:",
        "Message-ID: <a@b>",
        "Return-Path: <>",
    ],
    *["Sender: evil@not-ours.test", "Sender: other@shared.example", "X-Relay-Evil: 1", "X-Relay-Tag: t", "X-SES-E: 1"],
    *["MIME-Version: 1.0", "Content-Type: text/plain", "Content-Type: text/html; charset=utf-8"],
    *[
        "Content-Type: image/png",
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit",
        "Content-Transfer-Encoding: base64",
        r"X: \xff\x00\x1b",
    ],
    *["Content-Transfer-Encoding: quoted-printable", "Content-Transfer-Encoding: 8bit", r"X-Long: \{300*word \}"],
    *[" folded", r"\t", "Received: from x", "To: ann@one.test", r"X-Long: \{990*x\}", "x-empty:"],
]
LINES = [
    *[
        "",
        "--b",
        "--b",
        "--b--",
        r"\{998*x\}",
        r"\{999*x\}",
        r"\{700*x=\}",
        r"\{300*iVBO\}",
        r"\{500*ü \}",
        r"\{1200* \}",
    ],
    *[".", "..", "=", r"=\r", "--b--", r"\xff\x00", "text", "From: evil@not-ours.test", *FIELDS],
]
ENDS = st.sampled_from(["\n"] * 20 + [r"\n", r"\r", "\\r\n"])
ODD = st.builds(
    lambda fields, lines: "".join("".join(pair) for pair in [*fields, ("", "\n"), *lines]),
    st.lists(st.tuples(st.sampled_from(FIELDS), ENDS), max_size=6, unique_by=lambda pair: pair[0].split(":")[0]),
    st.lists(st.tuples(st.sampled_from(LINES), ENDS), max_size=12),
)


@settings(max_examples=25, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.lists(ODD, min_size=10, max_size=20))
def test_messages_made_of_odd_pieces(world: World, messages: list[str]) -> None:
    """The same ones each time, and what fails is not made smaller: that takes minutes."""
    written = [f"From: {APP}\n{message}" for message in messages]
    for message, outcome in send_all(world, {each: unescaped(each.encode()) for each in written}).items():
        note(message)
        if outcome.raw:
            outcome.require_nothing_else_changed()
        else:
            assert re.match(r"55[034] 5\.(6\.0|1\.3|7\.1) .{20,}", outcome.reply)
