"""Attachments are dropped, structure and texts stay: of mail as programs write it, as strangers do, however it is cut."""

from __future__ import annotations

import time
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.routing.slimming import MAX_PARTS, NOTE, Slimming, may_have_attachments

PDF = bytes(range(256)) * 40
TEXT = b"Subject: s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"


def slim(raw: bytes, size: int = 1 << 20) -> tuple[bytes, bool]:
    slimming = Slimming()
    kept = [slimming.feed(raw[at : at + size]) for at in range(0, len(raw), size)]
    return b"".join([*kept, slimming.end()]), slimming.is_changed


def written(message: EmailMessage) -> bytes:
    message["From"], message["Subject"] = "me@a.test", "Hi"
    return message.as_bytes(policy=policy.SMTP)


def typical() -> EmailMessage:
    """mixed(alternative(text, related(html, image)), pdf, csv)"""
    message = EmailMessage()
    message.set_content("Dear Ana,\nthe invoice.\n-- \nBo")
    message.add_alternative('<p>Dear <img src="cid:logo@a"></p>', subtype="html")
    message.get_payload()[1].add_related(b"\x89PNG" * 100, "image", "png", cid="<logo@a>")  # type: ignore[union-attr,index]
    message.add_attachment(PDF, maintype="application", subtype="pdf", filename="Größe 漢字.pdf")
    message.add_attachment("a;b\n1;2\n", subtype="csv", filename="a.csv")
    return message


def tree(raw: bytes) -> list[tuple[int, str]]:
    """Each part's depth and type."""

    def walk(part: EmailMessage, depth: int) -> list[tuple[int, str]]:
        inner = [each for sub in part.iter_parts() for each in walk(sub, depth + 1)]  # type: ignore[arg-type]
        return [(depth, part.get_content_type()), *inner]

    return walk(message_from_bytes(raw, policy=policy.default), 0)  # type: ignore[arg-type]


def test_structure_and_texts_stay_and_a_note_stands_for_each_file() -> None:
    raw = written(typical())
    kept, is_changed = slim(raw)
    assert is_changed
    before, after = tree(raw), tree(kept)
    assert [each[0] for each in after] == [each[0] for each in before]
    assert [each[1] for each in after] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "text/plain",
        "text/plain",
        "text/plain",
    ]
    message = message_from_bytes(kept, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    assert (message["From"], message["Subject"]) == ("me@a.test", "Hi")
    assert message.get_body(("plain",)).get_content().replace("\r", "") == "Dear Ana,\nthe invoice.\n-- \nBo\n"  # type: ignore[union-attr]
    notes = [part for part in message.walk() if part[NOTE]]
    assert [(part.get_filename(), part[NOTE]) for part in notes] == [
        (None, "image/png; size=400"),
        ("Größe 漢字.pdf", f"application/pdf; size={len(PDF)}"),
        ("a.csv", "text/csv; size=10"),
    ]
    assert notes[0]["Content-ID"] == "<logo@a>"
    assert f'"Größe 漢字.pdf" (application/pdf, {len(PDF):,} octets)' in notes[1].get_content()
    assert len(kept) < len(raw) - len(PDF)
    assert slim(kept)[0].count(NOTE.title().encode()) == 3  # a note is text with a name: it gives way to another


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_it_does_not_matter_how_a_message_is_cut(size: int) -> None:
    raw = written(typical())
    assert slim(raw, size) == slim(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"\r\nno header",
        TEXT,
        b"Subject: s\r\n\r\n",
        b"Subject: s",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\nepilogue\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n--b--",
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n--bc\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\nnever opened\r\n-- b\r\n",
        b"Content-Type: text/plain; x=\r\n\tname\r\n\r\n--b\r\n--b--\r\n",
    ],
)
def test_what_has_no_attachment_stays_octet_for_octet(raw: bytes) -> None:
    assert slim(raw) == (raw, False)
    assert slim(raw, 1) == (raw, False)


MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "kept", "size"),
    [
        # The message is the file itself, as of a fax machine.
        (b"Subject: s\r\nContent-Type: image/tiff\r\nContent-Transfer-Encoding: base64\r\n\r\nU0VD\r\n", b"Subject: s", 3),
        (b'Content-Type: text/plain; name="a.txt"\r\n\r\nSECRET', b"", 6),
        (b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nSECRET", b"", 6),
        # Never closed; closed by the outer one; without a body; without a boundary; a forwarded message.
        (MIXED + b"--b\r\nContent-Type: a/b\r\n\r\nSECRET", b"--b\r\n", 6),
        (
            MIXED + b"--b\r\nContent-Type: multipart/related; boundary=c\r\n\r\n--c\r\nContent-Type: a/b\r\n\r\nSECRET\r\n--b--",
            b"--c\r\n",
            6,
        ),
        (MIXED + b"--b\r\nContent-Type: a/b\r\n\r\n--b--", b"--b--", 0),
        (MIXED + b"--b\r\nContent-Type: multipart/mixed\r\n\r\nSECRET\r\n--b--", b"--b--", 6),
        (MIXED + b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: SECRET\r\n\r\n\r\n--b--", b"--b--", 19),
        (MIXED.replace(b"mixed", b"digest") + b"--b\r\n\r\nSubject: SECRET\r\n\r\n\r\n--b--", b"--b--", 19),
        # What is nearly a delimiter is none.
        (MIXED + b"--b\r\nContent-Type: a/b\r\n\r\nSECRET\r\n--bb\r\n--b-\r\n -b\r\n--b--", b"\r\n--b--", 23),
        (MIXED + b"--b\r\nContent-Type: a/b\r\n\r\nSECRET\r\n--b" + b" " * 2000 + b"\r\n--b--", b"\r\n--b--", 2011),
        (
            MIXED + b"--b\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSECR=\r\nET=3D\r\n--b-- \r\nend",
            b"--b-- \r\nend",
            7,
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 5, 1 << 20])
def test_files_that_strangers_write_go_too(raw: bytes, kept: bytes, size: int, step: int) -> None:
    found, is_changed = slim(raw, step)
    assert is_changed
    assert kept in found
    assert b"SECR" not in found
    assert f"; size={size}\r\n".encode() in found
    assert found.count(NOTE.title().encode()) == 1


def test_a_name_cannot_break_out_of_its_note() -> None:
    name = '=?utf-8?q?a=0D=0AX-Evil=3A_1=0D=0A=0D=0A=22?= " \\ ' + "n" * 5000
    raw = (
        b"Content-Type: a/b\r\nContent-Disposition: attachment;\r\n filename*=utf-8''"
        + b"%0d%0aX-Evil:%201"
        + b"%e6" * 900
    )
    for each in (raw, f'Content-Type: a/b; name="{name}"'.encode()):
        found, _ = slim(each + b"\r\n\r\nSECRET")
        header = found.partition(b"\r\n\r\n")[0]
        assert not any(line.lower().startswith(b"x-evil") for line in header.split(b"\r\n"))
        assert max(map(len, found.split(b"\r\n"))) < 4000
        assert b"SECRET" not in found


def test_a_header_without_end_is_text() -> None:
    raw = b"X: " + b"x" * (300 << 10) + b"\r\nContent-Type: a/b\r\n\r\nx"
    assert slim(raw, 1000) == (raw, False)
    many = b"X: 1\r\n" * 60_000
    assert slim(many, 5000) == (many, False)


def test_what_comes_after_very_many_parts_is_dropped_as_one() -> None:
    raw = MIXED + b"--b\r\n\r\n\r\n" * (MAX_PARTS + 50) + b"--b\r\nContent-Type: a/b\r\n\r\nSECRET\r\n--b--\r\n"
    found, is_changed = slim(raw)
    assert is_changed
    assert b"SECRET" not in found
    assert found.count(NOTE.title().encode()) == 1


PIECES = [b"\r\n", b"--b", b"--c", b"--", b"b", b"-", b" ", b"x" * 70, b"Content-Type: ", b"a/b", b"text/plain"]
PIECES += [
    b"multipart/mixed; boundary=",
    b"multipart/digest; boundary=c",
    b'; name="',
    b"=?",
    b"\xff",
    b"\r\n\r\n",
    b":",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.integers(1, 50))
def test_whatever_it_is_nothing_fails_and_cuts_do_not_matter(pieces: list[bytes], size: int) -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n" + b"".join(pieces)
    whole, is_changed = slim(raw)
    assert slim(raw, size) == (whole, is_changed)
    assert is_changed or whole == raw


def test_work_grows_with_the_message_and_nothing_else() -> None:
    def cost(octets: int) -> float:
        raw = MIXED + b"--b\r\nContent-Type: a/b\r\n\r\n" + b"\r\n--" * (octets // 4)
        started = time.process_time()
        slim(raw)
        return time.process_time() - started

    cost(1 << 18)
    assert cost(1 << 20) < 12 * max(cost(1 << 18), 0.01)


@pytest.mark.parametrize(
    ("header", "may"),
    [
        (b"Subject: s", False),
        (b"content-TYPE: Text/plain; charset=x", False),
        (b"Content-Type:\r\n text/html", False),
        (b"Content-Type: text/plain;\r\n\tNAME=a.txt", True),
        (b"Content-Type : multipart/alternative; boundary=b", True),
        (b"Content-Type: application/pdf", True),
        (b"Content-Type: nonsense", True),
        (b"Content-Disposition: inline", True),
        (b"X-Content-Type: a/b", False),
    ],
)
def test_a_plain_text_is_not_even_looked_at(header: bytes, may: bool) -> None:
    assert may_have_attachments(header + b"\r\n\r\nContent-Type: application/pdf") is may
