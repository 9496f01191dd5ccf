"""Stored messages read back: what real programs write, what nobody should, and that neither takes long."""

from __future__ import annotations

import base64
import json
import time
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.http.emails.stored import MAX_PARTS, MAX_TEXT, StoredFile, read

TEXT = "text/plain"


def octets(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Subject: Hi\n\nbody\n", {"subject": "Hi", "text": "body\n", "html": None}),
        ("\nbody", {"subject": "", "text": "body", "author": None}),
        ("", {"text": ""}),
        ("Subject: only a header", {"subject": "only a header", "text": ""}),
        ("no header at all\n\nbody", {"subject": "", "text": "body"}),
        ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n =?utf-8?q?_und_mehr?=\n\n", {"subject": "Grüße und mehr"}),
        ("Subject: =?x-none?q?a?= =?utf-8?b?%%%?=\n\n", {"subject": "=?x-none?q?a?= =?utf-8?b?%%%?="}),
        ("Subject: Grüße, as they are\n\n", {"subject": "Grüße, as they are"}),
        ('From: "Ana, B." <ana@a.test>\n\n', {"author": "ana@a.test", "author_name": "Ana, B."}),
        ("From: =?utf-8?q?J=C3=BCrgen?= <j@a.test>\n\n", {"author": "j@a.test", "author_name": "Jürgen"}),
        ("To: a@a.test, B <b@b.test>\nCc: c@c.test\nReply-To: r@r.test\n\n",
         {"to": ["a@a.test", "b@b.test"], "cc": ["c@c.test"], "reply_to": ["r@r.test"]}),
        ("To: undisclosed-recipients:;\n\n", {"to": []}),
        ("Content-Type: text/html\n\n<p>", {"text": None, "html": "<p>"}),
        ("Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe=\n!",
         {"text": "Grüße!"}),
        ("Content-Type: text/plain; charset=x-nothing\n\nGrüße", {"text": "Grüße"}),
        ("Content-Type: text/plain; charset=idna\n\nGrüße", {"text": "Grüße"}),
        ("Content-Type: text/plain; charset=utf_7\n\n+2AA-", {"text": "+2AA-"}),
        ("Content-Type: text/plain; charset=hex\n\nabc", {"text": "abc"}),
        ('Content-Type: text/plain; charset="a\0b"\n\nabc', {"text": "abc"}),
        ("Content-Transfer-Encoding: base64\n\nR3LDvMOf\nZQ==\n", {"text": "Grüße"}),
        ("Content-Transfer-Encoding: base64\n\nR3LDvMOfZQ", {"text": "Grüße"}),
        ("Content-Transfer-Encoding: base64\n\n%%%R3LD vMOf Z\n", {"text": "Grüß"}),
        ("Content-Transfer-Encoding: base64\n\n====\n", {"text": ""}),
        ("Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n",
         {"text": None, "files": [StoredFile("a.pdf", "application/pdf", 5, None)]}),
        ("Content-Disposition: attachment\n\nx", {"text": None, "files": [StoredFile(None, TEXT, 1, None)]}),
        ("Content-Type: image/png\nContent-ID: <logo@a>\nContent-Disposition: inline; filename*=utf-8''gr%C3%BC.png\n\n",
         {"files": [StoredFile("grü.png", "image/png", 0, "logo@a")]}),
        ('Content-Type: image/png; name="=?utf-8?q?gr=C3=BC.png?="\n\n',
         {"files": [StoredFile("grü.png", "image/png", 0, None)]}),
        ("Content-Type: image/png; name*0=a; name*1=b.png\n\n", {"files": [StoredFile("ab.png", "image/png", 0, None)]}),
        ("Content-Type: multipart/mixed\n\nno boundary", {"files": [StoredFile(None, "multipart/mixed", 11, None)]}),
        ("Content-Type: multipart/mixed; boundary=b\n\nnothing begins", {"text": None, "files": []}),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo", {"text": "one",
         "files": [StoredFile(None, TEXT, 3, None)]}),
        ("Content-Type: multipart/alternative; boundary=b\n\npre\n--b\n\none\n--b\nContent-Type: text/html\n\n<p>\n--b--\npost",
         {"text": "one", "html": "<p>", "files": []}),
        ("Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\ny\n--b--",
         {"text": None, "files": [StoredFile(None, "message/rfc822", 15, None)]}),
    ],
)  # fmt: skip
def test_what_is_read(raw: str, expected: dict[str, Any]) -> None:
    stored = read(octets(raw))
    assert {name: getattr(stored, name) for name in expected} == expected
    assert not stored.is_cut


@pytest.mark.parametrize("size", [0, 1, 2, 3, 57, 58, 1000, 99_999])
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "7bit"])
def test_sizes_are_those_of_what_is_decoded(size: int, encoding: str) -> None:
    letter = EmailMessage()
    letter.set_content("x")
    text = ("=é" * size)[:size] if encoding == "quoted-printable" else "x" * size
    content = text.encode() if encoding == "base64" else text.encode("utf-8" if encoding != "7bit" else "ascii")
    letter.add_attachment(content, "application", "x-of-mine", cte=encoding, filename="f")
    raw = letter.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    [found] = read(raw).files
    assert abs(found.size - len(content)) <= (2 if encoding != "base64" else 0)  # the last line end


def test_texts_and_lists_are_cut(tmp_path: Any) -> None:
    for encoding, long in (("7bit", b"a" * (2 * MAX_TEXT)), ("base64", base64.encodebytes(b"a" * (2 * MAX_TEXT)))):
        stored = read(b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n\r\n" + long)
        assert stored.text == "a" * MAX_TEXT
        assert stored.is_cut
    many = read(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 5000 + b"--b--")
    assert (len(many.files), many.is_cut) == (MAX_PARTS - 1, True)


def nested(depth: int) -> bytes:
    heads = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n - 1, n) for n in range(1, depth)
    )
    return b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n" + heads


HOSTILE = {
    "deep": nested(2000),
    "deep and long": nested(19) + b"x" * (8 << 20),
    "a long header": b"Subject: " + b"a" * (4 << 20) + b"\r\n\r\n",
    "many words": b"Subject: " + b"=?a?q?" * 200_000 + b"\r\n\r\n",
    "many long words": b"Subject: " + b" =?utf-8?b?" * 700 + b"\r\n\r\n",
    "many addresses": b"To: " + b"a@a.test," * 100_000 + b"\r\n\r\n",
    "nested comments": b"To: " + b"(" * 60_000 + b"\r\n\r\n",
    "quotes": b'To: "' + b'\\"' * 30_000 + b"\r\n\r\n",
    "parameters": b"Content-Type: text/plain" + b"; a=b" * 12_000 + b"\r\n\r\n",
    "continuations": b"Content-Type: a/b" + b"".join(b"; name*%d=x" % n for n in range(4000)) + b"\r\n\r\n",
    "a great continuation": b"Content-Type: a/b; name*" + b"9" * 5000 + b"=x\r\n\r\n",
    "spaces": b"Content-Type: text/plain;" + b" " * 60_000 + b"x\r\n\r\n",
    "brackets": b"From: " + b"<" * 60_000 + b"\r\n\r\n",
    "fields": b"X: y\r\n" * 10_000 + b"\r\n\r\n",
    "a delimiter without end": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b" + b" " * (1 << 20) + b"x\r\n",
    "delimiters": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 500_000,
    "near delimiters": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b-\r\n" * 500_000,
    "near delimiters, deep": b"".join(
        b"--" + b"b" * n + b"\r\nContent-Type: multipart/mixed; boundary=" + b"b" * (n + 1) + b"\r\n\r\n"
        for n in range(19)
    )[4:]
    + (b"--" + b"b" * 30 + b"\r\n") * 100_000,
    "equal signs": b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=" * (8 << 20),
    "dashes of base64": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"-" * (8 << 20),
    "nothing but zeros": b"\0" * (1 << 20),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_takes_long(name: str) -> None:
    started = time.process_time()
    stored = read(HOSTILE[name])
    assert time.process_time() - started < 1.5
    assert len(json.dumps([stored.text, stored.html, stored.subject, stored.to])) < 32 << 20


CHUNKS = st.sampled_from(
    [
        *(b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: multipart/alternative; boundary=c\r\n"),
        *(b"Content-Type: text/html; charset=", b"Content-Transfer-Encoding: base64\r\n", b"--b\r\n", b"--c\r\n"),
        *(
            b"--b--\r\n",
            b"\r\n",
            b"\r\n\r\n",
            b"Subject: =?utf-8?q?=",
            b"?=",
            b"To: ",
            b"From: ",
            b"<",
            b">",
            b"(",
            b'"',
        ),
        *(b"filename*=", b"utf-8''%", b"Content-Disposition: attachment; ", b"name=", b"\\", b";", b"=", b"QUJD", b"="),
        *(
            b"Content-Transfer-Encoding: quoted-printable\r\n",
            b"Content-ID: ",
            b"utf-16",
            b"utf-7",
            b"*0*=",
            b":",
            b" ",
        ),
    ]
)


@settings(max_examples=400)
@given(st.lists(CHUNKS | st.binary(max_size=12), max_size=40).map(b"".join))
def test_nothing_is_too_odd_to_be_read(raw: bytes) -> None:
    stored = read(raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n"))
    for text in (stored.subject, stored.author_name, stored.text or "", stored.html or "", *stored.to):
        text.encode()  # no half of a surrogate pair
    for file in stored.files:
        assert file.size >= 0
        (file.filename or "").encode()
