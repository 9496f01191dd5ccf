"""The shapes of what is composed, as tables: trees, transfer encodings, fields, filenames, calendars; one as a whole."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from relay.http.letter import Attachment, Letter, Mailbox
from relay.message import Address
from tests.http_edge.parsers import PARSERS
from tests.http_edge.test_compose import ANA, LETTER, made

TEXT, HTML, CALENDAR, ICS = "text/plain", "text/html", "text/calendar", "application/ics"
PDF = Attachment("a.pdf", b"%PDF", "application/pdf")
LOGO = Attachment("logo.png", b"PNG", "image/png", "logo")
INVITE = "BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:REQUEST\nBEGIN:VEVENT\nEND:VEVENT\nEND:VCALENDAR\n"


def members(letters: str) -> dict[str, Any]:
    """t: text, h: HTML, c: calendar, f: a file, i: an inline one."""
    files = {"f": PDF, "i": LOGO}
    return {
        "text": "Hi" if "t" in letters else None,
        "html": "<p>Hi</p>" if "h" in letters else None,
        "calendar": INVITE if "c" in letters else None,
        "attachments": tuple(files[each] for each in letters if each in files),
    }


@pytest.mark.parametrize(
    ("letters", "tree"),
    [
        ("t", TEXT),
        ("h", HTML),
        ("th", ("multipart/alternative", TEXT, HTML)),
        ("tf", ("multipart/mixed", TEXT, "application/pdf")),
        ("tff", ("multipart/mixed", TEXT, "application/pdf", "application/pdf")),
        ("hi", ("multipart/related", HTML, "image/png")),
        ("thi", ("multipart/alternative", TEXT, ("multipart/related", HTML, "image/png"))),
        (
            "thfi",
            (
                "multipart/mixed",
                ("multipart/alternative", TEXT, ("multipart/related", HTML, "image/png")),
                "application/pdf",
            ),
        ),
        ("ti", ("multipart/mixed", TEXT, "image/png")),  # nothing shows it
        ("c", ("multipart/mixed", CALENDAR, ICS)),
        ("tc", ("multipart/mixed", ("multipart/alternative", TEXT, CALENDAR), ICS)),
        (
            "thcf",  # MailerLogic contract 3
            ("multipart/mixed", ("multipart/alternative", TEXT, HTML, CALENDAR), ICS, "application/pdf"),
        ),
        (
            "thcfi",
            (
                "multipart/mixed",
                ("multipart/alternative", TEXT, ("multipart/related", HTML, "image/png"), CALENDAR),
                ICS,
                "application/pdf",
            ),
        ),
        ("", TEXT),
        ("f", ("multipart/mixed", TEXT, "application/pdf")),
    ],
)
def test_trees(letters: str, tree: Any) -> None:
    raw = made(replace(LETTER, **members(letters)))
    assert [parser(raw).tree for parser in PARSERS] == [tree, tree]


def test_a_whole_message() -> None:
    letter = Letter(
        to=(Mailbox(Address.parse("ana@one.test"), "Ana Bo"), Mailbox(Address.parse("bo@one.test"))),
        cc=(Mailbox(Address.parse("cy@one.test"), "Cy, Inc."),),
        reply_to=(Mailbox(Address.parse("help@one.test"), "Hilfe für alle"),),
        author_name="News",
        subject="Grüße",
        headers=(("X-Order", "7"),),
        **members("thcfi"),
    )
    raw = re.sub(rb"=_[0-9a-f]{32}", b"=_", made(letter)).decode("ascii")
    assert raw.replace("\r\n", "\n").partition("\n\n")[0] == (
        "Message-ID: <a@shared.example>\n"
        "Date: Mon, 06 Jan 2025 10:00:00 +0000\n"
        "From: News <news@shared.example>\n"
        "To: Ana Bo <ana@one.test>,\n bo@one.test\n"
        'Cc: "Cy, Inc." <cy@one.test>\n'
        "Reply-To: =?utf-8?b?SGlsZmUgZsO8ciBhbGxl?= <help@one.test>\n"
        "Subject: =?utf-8?b?R3LDvMOfZQ==?=\n"
        "X-Order: 7\n"
        "MIME-Version: 1.0\n"
        'Content-Type: multipart/mixed;\n boundary="=__m"'
    )
    assert raw.replace("\r\n", "\n").partition("\n\n")[2] == (
        '--=__m\nContent-Type: multipart/alternative;\n boundary="=__a"\n\n'
        "--=__a\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n\nHi\n\n"
        '--=__a\nContent-Type: multipart/related; type="text/html";\n boundary="=__r"\n\n'
        "--=__r\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 7bit\n\n<p>Hi</p>\n\n"
        "--=__r\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n"
        'Content-Disposition: inline;\n filename="logo.png"\nContent-ID: <logo>\n\nUE5H\n--=__r--\n\n'
        "--=__a\nContent-Type: text/calendar; charset=utf-8; method=REQUEST\nContent-Transfer-Encoding: 7bit\n\n"
        f"{INVITE}\n--=__a--\n\n"
        "--=__m\nContent-Type: application/ics\nContent-Transfer-Encoding: base64\n"
        'Content-Disposition: attachment;\n filename="invite.ics"\n\n'
        "QkVHSU46VkNBTEVOREFSDQpWRVJTSU9OOjIuMA0KTUVUSE9EOlJFUVVFU1QNCkJFR0lOOlZFVkVO\n"
        "VA0KRU5EOlZFVkVOVA0KRU5EOlZDQUxFTkRBUg0K\n"
        "--=__m\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n"
        'Content-Disposition: attachment;\n filename="a.pdf"\n\nJVBERg==\n--=__m--\n'
    )


@pytest.mark.parametrize(
    ("text", "encoding", "body"),
    [
        ("Hi", "7bit", "Hi\r\n"),
        ("", "7bit", "\r\n"),
        ("one\r\ntwo\nthree\rfour", "7bit", "one\r\ntwo\r\nthree\r\nfour\r\n"),
        ("\ttab", "7bit", "\ttab\r\n"),
        ("=3D =\n", "7bit", "=3D =\r\n"),
        ("From", "7bit", "From\r\n"),
        ("..\n.a", "7bit", "..\r\n.a\r\n"),
        ("x" * 998, "7bit", "x" * 998 + "\r\n"),
        ("x" * 999, "quoted-printable", ("x" * 75 + "=\r\n") * 13 + "x" * 24 + "\r\n"),
        ("sig\n-- \nAna", "quoted-printable", "sig\r\n--=20\r\nAna\r\n"),
        ("a\t\n", "quoted-printable", "a=09\r\n"),
        ("a ", "quoted-printable", "a=20\r\n"),
        ("x" * 75 + " ", "quoted-printable", "x" * 75 + "=\r\n=20\r\n"),
        ("From me", "quoted-printable", "=46rom me\r\n"),
        ("a\nFrom me\n", "quoted-printable", "a\r\n=46rom me\r\n"),
        (".", "quoted-printable", "=2E\r\n"),
        ("a\n.\nb", "quoted-printable", "a\r\n=2E\r\nb\r\n"),
        ("Hi \x1b[1m", "quoted-printable", "Hi =1B[1m\r\n"),
        ("nul\0 here", "quoted-printable", "nul=00 here\r\n"),
        ("Viele liebe Grüße an alle", "quoted-printable", "Viele liebe Gr=C3=BC=C3=9Fe an alle\r\n"),
        ("=FF is not From =FD \u00ad", "quoted-printable", "=3DFF is not =46rom =3DFD =C2=AD\r\n"),
        ("日本語", "base64", "5pel5pys6KqeDQo=\r\n"),
        ("Grüße", "base64", "R3LDvMOfZQ0K\r\n"),
    ],
)
def test_transfer_encodings(text: str, encoding: str, body: str) -> None:
    raw = made(replace(LETTER, text=text)).decode("ascii")
    assert raw.partition("\r\n\r\n")[2] == body
    assert f"\r\nContent-Transfer-Encoding: {encoding}\r\n" in raw


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", "news@shared.example"),
        ("  ", "news@shared.example"),
        ("News", "News <news@shared.example>"),
        (" News ", "News <news@shared.example>"),
        ("News of today", "News of today <news@shared.example>"),
        ("Dr. News", '"Dr. News" <news@shared.example>'),
        ("News, Inc.", '"News, Inc." <news@shared.example>'),
        ("a  b", '"a  b" <news@shared.example>'),
        ('"N" \\ <x@y>', '"\\"N\\" \\\\ <x@y>" <news@shared.example>'),
        ("=?utf-8?q?x?=", "=?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <news@shared.example>"),
        ("Ü, Inc.", "=?utf-8?b?w5wsIEluYy4=?= <news@shared.example>"),
        ("n" * 70, "n" * 70 + "\r\n <news@shared.example>"),
    ],
)
def test_names(name: str, written: str) -> None:
    assert f"\r\nFrom: {written}\r\n".encode() in made(replace(LETTER, author_name=name))


def test_an_address_with_quotes_stands_in_brackets() -> None:
    to = (Mailbox(Address.parse('"a b"@one.test')), ANA)
    assert b'\r\nTo: <"a b"@one.test>,\r\n ana@one.test\r\n' in made(replace(LETTER, to=to))


@pytest.mark.parametrize(
    ("subject", "written"),
    [
        ("Hi", "Hi"),
        ("", ""),
        (" Hi", "=?utf-8?b?IEhp?="),
        ("a =?= b", "=?utf-8?b?YSA9Pz0gYg==?="),
        ("x" * 69, "x" * 69),
        ("word " * 20 + "end", "word " * 13 + "word\r\n" + " word" * 6 + " end"),
        ("a  b " + "x" * 62 + "  c", "a  b\r\n " + "x" * 62 + "  c"),  # some readers make one of two spaces
        ("x" * 70, "=?utf-8?b?" + "eHh4" * 13 + "?=\r\n =?utf-8?b?" + "eHh4" * 10 + "eA==?="),
    ],
)
def test_subjects(subject: str, written: str) -> None:
    raw = made(replace(LETTER, subject=subject))
    assert f"\r\nSubject: {written}\r\n".encode() in raw
    assert [parser(raw).subject for parser in PARSERS] == [subject, subject]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("7", "7"),
        ("", ""),
        ("  7  ", "7"),
        ("=?utf-8?q?=C3=BC?=", "=?utf-8?q?=C3=BC?="),  # the client's own words
        ("Nr. ü7 b", "Nr. =?utf-8?b?w7w3?= b"),
        ("ü ä b", "=?utf-8?b?w7wgw6Q=?= b"),
        ("ü  b", "=?utf-8?b?w7wgIGI=?="),
        ("List ü <list.one.test>", "List =?utf-8?b?w7w=?= <list.one.test>"),
        ("<" + "u" * 200 + ">", "<" + "u" * 200 + ">"),
        ("a " + "u" * 100 + " b", "a\r\n " + "u" * 100 + "\r\n b"),
    ],
)
def test_headers_of_the_clients_own(value: str, written: str) -> None:
    assert f"\r\nX-A: {written}\r\n".encode() in made(replace(LETTER, headers=(("X-A", value),)))


def test_reply_to_as_a_header_gives_way_to_the_field() -> None:
    headers = (("reply-to", "one@one.test"), ("X-A", "1"))
    assert b"\r\nreply-to: one@one.test\r\n" in made(replace(LETTER, headers=headers))
    raw = made(replace(LETTER, headers=headers, reply_to=(ANA,)))
    assert b"\r\nReply-To: ana@one.test\r\n" in raw
    assert b"one@one.test\r\nX-A" not in raw


@pytest.mark.parametrize(
    ("filename", "written"),
    [
        ("a.pdf", ';\r\n filename="a.pdf"'),
        ("my report (1).pdf", ';\r\n filename="my report (1).pdf"'),
        ("x" * 255, f';\r\n filename="{"x" * 255}"'),
        ("", ""),
        ("  ", ""),
        ("ü.pdf", ";\r\n filename*=utf-8''%C3%BC.pdf"),
        ('a"b;c%.pdf', ";\r\n filename*=utf-8''a%22b%3Bc%25.pdf"),
        ("=?utf-8?q?x?=", ";\r\n filename*=utf-8''%3D%3Futf-8%3Fq%3Fx%3F%3D"),
        ("a/../b", ";\r\n filename*=utf-8''a%2F..%2Fb"),
        (
            "日" * 9 + ".pdf",
            f";\r\n filename*0*=utf-8''{'%E6%97%A5' * 5};\r\n filename*1*={'%E6%97%A5' * 4}.pdf",
        ),
    ],
)
def test_filenames(filename: str, written: str) -> None:
    raw = made(replace(LETTER, attachments=(Attachment(filename, b"x"),)))
    assert f"\r\nContent-Disposition: attachment{written}\r\n\r\n".encode() in raw
    assert [parser(raw).leaves[-1].filename for parser in PARSERS] == [filename.strip()] * 2


@pytest.mark.parametrize("content_type", ["message/rfc822", "multipart/mixed", "Message/Partial"])
def test_a_file_is_never_a_part_that_holds_others(content_type: str) -> None:
    raw = made(replace(LETTER, attachments=(Attachment("a", b"x", content_type),)))
    assert [parser(raw).tree for parser in PARSERS] == [("multipart/mixed", TEXT, "application/octet-stream")] * 2


@pytest.mark.parametrize(
    ("calendar", "method"),
    [
        (INVITE, "REQUEST"),
        (INVITE.replace("\n", "\r\n"), "REQUEST"),
        (INVITE.replace("METHOD:REQUEST", "method:cancel "), "CANCEL"),
        (INVITE.replace("METHOD:REQUEST", "METHOD;X-A=b:REPLY"), "REPLY"),
        (INVITE.replace("METHOD:REQUEST", "METHOD:RE\n QUEST"), "REQUEST"),
        (INVITE.replace("METHOD:REQUEST\n", ""), "PUBLISH"),
        (INVITE.replace("METHOD:REQUEST", "METHOD:"), "PUBLISH"),
        (INVITE.replace("METHOD:REQUEST", "METHOD:X;Y=1"), "PUBLISH"),
        (INVITE.replace("METHOD:REQUEST", "X-A:b\n METHOD:CANCEL"), "PUBLISH"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDESCRIPTION:x\nMETHOD:CANCEL\nEND:VEVENT\nEND:VCALENDAR", "PUBLISH"),
        ("METHOD:" + "x" * 100_000, "PUBLISH"),
    ],
)
def test_a_calendar_says_its_method(calendar: str, method: str) -> None:
    raw = made(replace(LETTER, calendar=calendar))
    assert f"\r\nContent-Type: text/calendar; charset=utf-8; method={method}\r\n".encode() in raw
    for parser in PARSERS:
        _, shown, attached = parser(raw).leaves
        assert attached.filename == "invite.ics"
        assert attached.content.count(b"\n") == attached.content.count(b"\r\n")
        assert shown.content.replace(b"\r\n", b"\n").rstrip() == attached.content.replace(b"\r\n", b"\n").rstrip()
