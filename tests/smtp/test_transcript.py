"""What was said, as a transcript shows it: as it went, without secrets and content, and never too much of it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp import transcript
from relay.smtp.record import Record
from relay.store.smtp_failures import Reason

SECRET = "hunter2.Sesame-opens"
ENCODED = base64.b64encode(f"\0user\0{SECRET}".encode()).decode()


def of(made: Record) -> str:
    made.failed(Reason.PROTOCOL, "it failed")
    failure = made.failure()
    assert failure is not None
    return failure.transcript


def told(*steps: Any) -> list[str]:
    """The transcript of lines (text), replies (octets), messages (numbers) and what was hidden (in a tuple)."""

    made = Record("587", "192.0.2.7")
    for step in steps:
        match step:
            case str():
                made.said(step.encode("utf-8"))
            case bytes():
                made.heard(step + b"\r\n")
            case int():
                made.carried(step)
            case (what,):
                made.hid(what)
    return of(made).splitlines()


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_a_session_reads_as_it_went() -> None:
    assert told(
        *(b"220 relay.test ESMTP Relay", "EHLO scanner", b"250-relay.test\r\n250-SIZE 100\r\n250 HELP"),
        *("AUTH login", b"334 VXNlcm5hbWU6", ("AUTH LOGIN user name",), b"334 UGFzc3dvcmQ6", ("AUTH LOGIN password",)),
        *(b"235 2.7.0 Authentication succeeded", "MAIL FROM:<a@one.test> SIZE=5120", b"250 2.1.0 Sender OK"),
        *("rcpt to:<b@two.test>", b"250 2.1.5 Recipient OK", "DATA", b"354 End data with <CR><LF>.<CR><LF>", 5120),
        *(b"554 5.6.0 The message has two Subject fields", "QUIT", b"221 2.0.0 Bye"),
    ) == [
        "S: 220 relay.test ESMTP Relay",
        "C: EHLO scanner",
        "S: 250-relay.test",
        "S: 250-SIZE 100",
        "S: 250 HELP",
        "C: AUTH login",
        "S: 334 VXNlcm5hbWU6",
        "C: <AUTH LOGIN user name>",
        "S: 334 UGFzc3dvcmQ6",
        "C: <AUTH LOGIN password>",
        "S: 235 2.7.0 Authentication succeeded",
        "C: MAIL FROM:<a@one.test> SIZE=5120",
        "S: 250 2.1.0 Sender OK",
        "C: rcpt to:<b@two.test>",
        "S: 250 2.1.5 Recipient OK",
        "C: DATA",
        "S: 354 End data with <CR><LF>.<CR><LF>",
        "C: <message, 5120 octets>",
        "S: 554 5.6.0 The message has two Subject fields",
        "C: QUIT",
        "S: 221 2.0.0 Bye",
    ]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("EHLO [192.0.2.7]", "EHLO [192.0.2.7]"),
        ("HELO My Laptop", "HELO My Laptop"),
        ("MAIL FROM: a@one.test", "MAIL FROM: a@one.test"),
        ("MAIL me the password", "MAIL <15 octets>"),
        ("RCPT TO:<b@two.test> NOTIFY=NEVER", "RCPT TO:<b@two.test> NOTIFY=NEVER"),
        ("RSET", "RSET"),
        ("noop I am still here", "NOOP <15 octets>"),
        ("VRFY b@two.test", "VRFY <10 octets>"),
        ("AUTH", "AUTH"),
        ("AUTH PLAIN", "AUTH PLAIN"),
        ("auth plain AGEAYg==", "AUTH plain <response>"),
        ("AUTH\tPLAIN AGEAYg==", "AUTH PLAIN <response>"),
        ("  AUTH  PLAIN  AGEAYg==  x", "AUTH PLAIN <response>"),
        ("AUTH AGEAYg==", "AUTH <unknown mechanism>"),
        ("AUTH=PLAIN AGEAYg==", "AUTH <...>"),
        ("AUTHPLAIN AGEAYg==", "AUTH <...>"),
        ("EHLP scanner", "EHLP ..."),
        ("GET / HTTP/1.1", "GET ..."),
        ("password:hunter2", "password ..."),
        ("XCLIENT ADDR=192.0.2.7", "XCLIENT ..."),
        ("X-Mailer: tiny", "X-Mailer ..."),
        ("QUIT\0", "QUIT ..."),
        ("AGEAYgAGEAYgAGEAYgAGEAYg", "<not a command, 24 octets>"),
        ("12345", "<not a command, 5 octets>"),
        ("", "<not a command, 0 octets>"),
        ("EHLO caf\u00e9\r\x1b[2J", "EHLO caf\\xe9\\r\\x1b[2J"),
    ],
)
def test_what_of_a_line_is_shown(line: str, shown: str) -> None:
    assert told(line) == [f"C: {shown}"]


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        # A client that does not wait to be refused sends its password, or its mail, as commands.
        (["AUTH LOGIN", b"538 5.7.11 Start TLS first", "dXNlcg", "secret"], ["<not a command, 6 octets>"] * 2),
        (["DATA", b"503 5.5.1 Not now", "Dear Ann", "Helo there Ann", "Help me", "Yours"], None),
        # Then there is a command again.
        (["AUTH LOGIN", b"538 5.7.11 Start TLS first", "EHLO x", b"250 ok", "XTRA 1"], ["EHLO x", "XTRA ..."]),
        (["AUTH PLAIN AA==", b"235 2.7.0 ok", "XTRA 1"], ["XTRA ..."]),
    ],
)
def test_what_may_be_a_secret_or_content_is_not_shown(steps: list[Any], shown: list[str] | None) -> None:
    after = [line.removeprefix("C: ") for line in told(*steps) if line.startswith("C: ")][1:]
    if shown is None:
        assert not any(word in line for line in after for word in ("Dear", "Ann", "there", "me", "Yours"))
    else:
        assert after == shown


def test_the_line_that_answers_a_challenge_is_hidden_whatever_it_is() -> None:
    for answer in ("*", "RSET", "MAIL FROM:<a@one.test>", SECRET):
        assert told("AUTH LOGIN", b"334 UGFzc3dvcmQ6", answer)[-1] == "C: <AUTH response>"


def test_a_long_line_is_cut() -> None:
    [line] = told("EHLO " + "x" * 5000)
    assert len(line) == len("C: ") + transcript.WIDTH
    assert line.endswith("x...")


@pytest.mark.parametrize("commands", [0, 1, 49, 50, 51, 79, 80, 81, 500])
def test_the_middle_is_left_out(commands: int) -> None:
    lines = told(*(step for number in range(commands) for step in (f"EHLO {number}", b"250 %d" % number)))
    every = [line for number in range(commands) for line in (f"C: EHLO {number}", f"S: 250 {number}")]
    if len(every) <= transcript.LINES:
        assert lines == every
        return
    first, last = transcript.FIRST_LINES, transcript.LINES - transcript.FIRST_LINES - 1
    assert lines[:first] == every[:first]
    assert lines[first] == f"... ({len(every) - first - last} lines are left out)"
    # The first line after the gap might have answered a challenge that is not there any more.
    assert lines[first + 1 :][1:] == every[-last:][1:]


# -- no secret, whatever happens -------------------------------------------------------------------------------------

_secret = st.sampled_from([SECRET.encode(), ENCODED.encode(), base64.b64encode(SECRET.encode())])
_case = st.sampled_from([b"AUTH", b"auth", b"Auth", b" AUTH", b"AUTH\t", b"AUTH ", b"AUTH:", b"AUTH=", b"AUTH\0"])
_mechanism = st.sampled_from([b"", b"PLAIN", b"plain ", b"LOGIN", b"LOGIN user", b"XYZ", b"\t", b"=", b"NTLM:"])
_refusal = st.sampled_from([b"500 5.5.2 no\r\n", b"538 5.7.11 no\r\n", b"501 5.5.2 no\r\n", b"535 5.7.8 no\r\n"])
_unwaited = st.lists(st.tuples(_secret, st.booleans()), min_size=1, max_size=3)
_session = st.lists(
    st.one_of(
        st.tuples(st.just("auth"), _case, _mechanism, _secret, _refusal),
        st.tuples(st.just("challenge"), _secret),
        st.tuples(st.just("not waiting"), _refusal, _unwaited),
        st.tuples(st.just("no command"), st.binary(max_size=5).filter(lambda b: b"\n" not in b), _secret),
        st.tuples(st.just("content"), st.sampled_from([b"Dear Ann", b"Help me", b"", b"."]), _secret),
        st.tuples(st.just("much"), st.integers(1, 130)),
        st.tuples(st.just("noise"), st.binary(max_size=400), st.binary(max_size=400)),
    ),
    max_size=12,
)


def _tell(made: Record, step: tuple[Any, ...]) -> None:
    match step:
        case ("auth", verb, mechanism, secret, refusal):
            made.said(verb + b" " + mechanism + b" " + secret)
            made.heard(refusal)
        case ("challenge", secret):
            made.said(b"AUTH LOGIN")
            made.heard(b"334 UGFzc3dvcmQ6\r\n")
            made.said(secret)
            made.heard(b"535 5.7.8 no\r\n")
        case ("not waiting", refusal, answers):
            made.said(b"AUTH LOGIN")
            made.heard(refusal)
            for secret, is_heard in answers:
                made.said(secret)
                if is_heard:
                    made.heard(b"500 5.5.2 no\r\n")
        case ("no command", word, secret):
            made.said(word + b"x " + secret)
            made.heard(b"500 5.5.2 no\r\n")
        case ("content", line, secret):
            made.said(b"DATA")
            made.heard(b"503 5.5.1 no\r\n")
            made.said(line)
            made.said(secret + b" is the password")
        case ("much", count):
            for _ in range(count):
                made.said(b"NOOP")
                made.heard(b"250 2.0.0 OK\r\n")
        case ("noise", line, reply):
            made.said(line)
            made.heard(reply)


@given(session=_session)
def test_no_secret_is_ever_in_a_transcript(session: list[tuple[Any, ...]]) -> None:
    made = Record("587", "192.0.2.7")
    for step in session:
        _tell(made, step)
    shown = of(made)
    for secret in (SECRET, ENCODED, base64.b64encode(SECRET.encode()).decode()):
        assert secret not in shown
        assert secret[:16] not in shown
    assert len(shown) <= transcript.OCTETS
    assert len(shown.splitlines()) <= transcript.LINES
    assert all(" " <= character <= "~" for line in shown.split("\n") for character in line)
