"""Whatever is given is what two parsers read, whichever script it is in; and what could start a header is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.http.compose import compose
from relay.http.letter import Attachment, Letter, Mailbox
from relay.message import Address
from tests.http_edge.parsers import PARSERS, Reading, checked

AUTHOR = Address.parse("news@shared.example")
ANA = Mailbox(Address.parse("ana@one.test"))
STAMP = b"Message-ID: <a@shared.example>\r\nDate: Mon, 06 Jan 2025 10:00:00 +0000\r\n"
LETTER = Letter(to=(ANA,), subject="Hi", text="Hi Ana")

SAMPLES = [
    "Grüße",
    "日本語 テスト",
    "🎉👩‍👩‍👧",
    "שלום, עולם",
    "\u202eright to left",
    "e\u0301\u0301",
    "\u0301 lone",
    "ไทย",
    "=?utf-8?q?x?=",
    "=?",
    "?=",
    '"',
    "\\",
    "'",
    "a.b, c; <d>",
    "(e) [f]: @",
    "%41",
    "*=utf-8''x",
    "  ",
    " ",
    "a" * 90,
    "ü" * 60,
    "long " * 30,
    "two  spaces",
    "\x85\u2028\u2029\xa0\ufeff\x9f",
]
CONTROLS = [chr(number) for number in [*range(32), 127]]
LINE = st.one_of(
    st.lists(st.sampled_from(SAMPLES), max_size=6).map("".join),
    st.lists(st.sampled_from(SAMPLES), max_size=6).map(" ".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters=CONTROLS), max_size=120),
)
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    st.lists(
        st.sampled_from(
            [
                "\n",
                "\r\n",
                "\r",
                "\r\r\n",
                "From ",
                ".",
                "--",
                "=",
                " ",
                "\t",
                "x",
                "x" * 76,
                "y" * 1000,
                "日本",
                "\0",
                "\x0c",
                "=FF",
                "\xff",
                "\xad",
                "Fr",
                "om ",
                "=_",
                "--=_",
                "ü",
            ]
        ),
        max_size=40,
    ).map("".join),
)
ADDRESS = st.sampled_from(["ana@one.test", '"a b"@one.test', '"\\""@one.test', "x" * 64 + "@" + "y" * 60 + ".test"])
MAILBOX = st.builds(Mailbox, ADDRESS.map(Address.parse), LINE)
FILE = st.builds(
    Attachment,
    # The standard library takes off quotes and angle brackets that are part of a name.
    filename=LINE.filter(lambda name: name.strip()[:1] not in ('"', "<")),
    content=st.binary(max_size=200),
    content_type=st.sampled_from(["text/plain", "image/png", "application/octet-stream", "text/html"]),
    content_id=st.sampled_from([None, None, "logo", "logo@one.test", "a%b"]),
)
LETTERS = st.builds(
    Letter,
    to=st.lists(MAILBOX, min_size=1, max_size=3).map(tuple),
    cc=st.lists(MAILBOX, max_size=2).map(tuple),
    reply_to=st.lists(MAILBOX, max_size=2).map(tuple),
    author_name=LINE,
    subject=LINE,
    text=st.none() | TEXT,
    html=st.none() | TEXT,
    calendar=st.none() | TEXT.map("BEGIN:VCALENDAR\n{}\nEND:VCALENDAR\n".format),
    attachments=st.lists(FILE, max_size=3).map(tuple),
)


def made(letter: Letter) -> bytes:
    return checked(compose(letter, AUTHOR, STAMP))


def lines(text: str) -> bytes:
    """As a text arrives: its lines end in LF here, the last one, too."""
    text = re.sub(r"\r\n|\r", "\n", text)
    return (text if text.endswith("\n") else text + "\n").encode()


def expected_people(letter: Letter) -> dict[str, list[tuple[str, str]]]:
    named = {"From": (Mailbox(AUTHOR, letter.author_name),), "To": letter.to}
    named |= {"Cc": letter.cc, "Reply-To": letter.reply_to}
    return {name: [(each.name.strip(), str(each.address)) for each in people] for name, people in named.items()}


@settings(deadline=None, max_examples=200)
@given(LETTERS)
@example(replace(LETTER, subject="ü" * 998, author_name="日" * 320))
@example(replace(LETTER, text="", html=""))
@example(replace(LETTER, text=None))
def test_what_is_given_is_what_two_parsers_read(letter: Letter) -> None:
    raw = made(letter)
    for parser in PARSERS:
        found: Reading = parser(raw)
        assert found.subject == letter.subject
        assert found.people == expected_people(letter)
        texts = [each for each in (letter.text, letter.html, letter.calendar) if each is not None] or [""]
        # Only a text has no disposition.
        assert sorted(leaf.content.replace(b"\r\n", b"\n") for leaf in found.leaves if leaf.disposition is None) == (
            sorted(map(lines, texts))
        )
        files = [leaf for leaf in found.leaves if leaf.disposition is not None and leaf.filename != "invite.ics"]
        # Inline files come before the others; each sort is in its order.
        ordered = sorted(letter.attachments, key=lambda each: letter.html is None or each.content_id is None)
        assert [(leaf.filename, leaf.content, leaf.content_type, leaf.content_id) for leaf in files] == [
            (each.filename.strip(), each.content, each.content_type, each.content_id) for each in ordered
        ]


NAMES = st.sampled_from(["X-Order", "List-Unsubscribe", "References", "Comments", "X-" + "n" * 70])
ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=900)


@settings(deadline=None, max_examples=200)
@given(NAMES, ASCII)
def test_ascii_in_a_header_of_the_clients_own_is_only_folded(name: str, value: str) -> None:
    raw = made(replace(LETTER, headers=((name, value),)))
    header = raw.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").split(b"\r\n")
    assert f"{name}: {value.strip(' ')}".encode() in header


@settings(deadline=None, max_examples=200)
@given(LINE.filter(lambda text: "=?" not in text))
def test_the_rest_of_it_is_read_as_it_was_given(value: str) -> None:
    raw = made(replace(LETTER, headers=(("X-Order", value),)))
    for parser in PARSERS:
        assert parser(raw).headers["X-Order"] == [value.strip(" ")]


# -- refused ---------------------------------------------------------------------------------------------------------

PLACES: dict[str, Callable[[str], Letter]] = {
    "subject": lambda text: replace(LETTER, subject=text),
    "from_name": lambda text: replace(LETTER, author_name=text),
    "to": lambda text: replace(LETTER, to=(Mailbox(ANA.address, text),)),
    "cc": lambda text: replace(LETTER, cc=(Mailbox(ANA.address, text),)),
    "reply_to": lambda text: replace(LETTER, reply_to=(Mailbox(ANA.address, text),)),
    "header": lambda text: replace(LETTER, headers=(("X-A", text),)),
    "header_name": lambda text: replace(LETTER, headers=((text, "a"),)),
    "filename": lambda text: replace(LETTER, attachments=(Attachment(text, b""),)),
    "content_type": lambda text: replace(LETTER, attachments=(Attachment("a", b"", f"text/{text}"),)),
    "content_id": lambda text: replace(LETTER, html="", attachments=(Attachment("a", b"", "image/png", text),)),
}
BODIES: dict[str, Callable[[str], Letter]] = {
    "text": lambda text: replace(LETTER, text=text),
    "html": lambda text: replace(LETTER, html=text),
    "calendar": lambda text: replace(LETTER, calendar=text),
}


def refusal(letter: Letter) -> Problem:
    with pytest.raises(Problem) as caught:
        compose(letter, AUTHOR, STAMP)
    assert caught.value.kind is Kind.BAD_REQUEST
    return caught.value


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("control", CONTROLS, ids=repr)
def test_no_control_character_comes_into_a_header(place: str, control: str) -> None:
    for text in (f"a{control}b", f"ü{control}Bcc: x@one.test", f"=?utf-8?q?{control}?=", "a" * 300 + control):
        refusal(PLACES[place](text))
    refusal(PLACES[place](f"a{control}"))


@pytest.mark.parametrize("place", [*PLACES, *BODIES])
def test_half_of_a_surrogate_pair_is_refused(place: str) -> None:
    problem = refusal((PLACES | BODIES)[place]("secret\ud800"))
    assert "secret" not in str(problem.detail) or place == "header_name"
    assert problem.__cause__ is None


@pytest.mark.parametrize("name", ["", "X A", "X:A", "X-Ü", "X-A\r\nBcc"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    refusal(replace(LETTER, headers=((name, "a"),)))


@pytest.mark.parametrize(
    ("name", "size", "is_taken"),
    [
        ("List-Unsubscribe", 998 - len("List-Unsubscribe: "), True),
        ("List-Unsubscribe", 999 - len("List-Unsubscribe: "), False),
        ("In-Reply-To", 2000, False),
        ("X-Token", 2000, True),
    ],
)
def test_a_header_that_cannot_be_folded(name: str, size: int, is_taken: bool) -> None:
    letter = replace(LETTER, headers=((name, "u" * size),))
    if is_taken:
        assert all(parser(made(letter)).headers[name] == ["u" * size] for parser in PARSERS)
    else:
        assert [fault.path for fault in refusal(letter).faults] == [f"headers.{name}"]


# -- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [0, 1, 56, 57, 58, 57 * 1024 - 1, 57 * 1024, 57 * 1024 + 1, 57 * 2048, 57 * 2048 + 58, 300_000]
)
def test_files_of_every_size_arrive(size: int) -> None:
    content = bytes(number * 7 % 251 for number in range(size))
    raw = made(replace(LETTER, attachments=(Attachment("a.bin", content),)))
    assert all(parser(raw).leaves[-1].content == content for parser in PARSERS)
    encoded = raw.partition(b'filename="a.bin"\r\n\r\n')[2].partition(b"--=_")[0].split(b"\r\n")[:-1]
    assert max(map(len, encoded)) <= 76
    assert all(len(line) == 76 for line in encoded[:-1] if size > 57)


@pytest.mark.parametrize(
    "text",
    [
        "ü" + "x" * 500_000,
        "ü From \n" * 40_000,
        ("x" * 70 + "ü" + " \n") * 3000,
        "日" * 100_000,
        "y" * 300_000,
        "=" * 70_000,
    ],
    ids=range(6),
)
def test_large_texts_arrive(text: str) -> None:
    raw = made(replace(LETTER, text=text, html=text))
    for parser in PARSERS:
        assert [leaf.content.replace(b"\r\n", b"\n") for leaf in parser(raw).leaves] == [lines(text)] * 2


def test_a_letter_is_composed_the_same_each_time_but_for_its_boundaries() -> None:
    letter = replace(LETTER, html="<p>Hi</p>", attachments=(Attachment("a.bin", b"a"),))
    first, second = (re.sub(rb"=_[0-9a-f]{32}", b"", made(letter)) for _ in range(2))
    assert first == second
    assert re.findall(rb"=_[0-9a-f]{32}", made(letter)) != re.findall(rb"=_[0-9a-f]{32}", made(letter))


def test_everyone_who_gets_a_copy_unseen_stays_unseen() -> None:
    hidden: dict[str, Any] = {"bcc": (Mailbox(Address.parse("hidden@one.test"), "Hidden"),)}
    assert b"idden" not in made(replace(LETTER, **hidden))
