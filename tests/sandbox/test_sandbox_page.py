"""The page for people: readable, and unharmed by hostile mail."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest

HOSTILE = (
    b'From: "<script>alert(1)</script>" <hello@shared.example>\r\n'
    b"To: ann@one.test\r\n"
    b"Subject: =?utf-8?q?=3Cimg_src=3Dx_onerror=3Dalert(2)=3E_B=C3=BCcher?=\r\n"
    b'X-Evil: "><svg onload=alert(3)>\r\n'
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n</pre><script>alert(4)</script>\r\n"
    b"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    b"<h1 title='\"'>Hello</h1>\"></iframe><script>alert(5)</script>\r\n"
    b'--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="<b>bill</b>.pdf"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nQUJDREU=\r\n--b--\r\n"
)
POLICY = "default-src 'none'"


async def page(world: Any, path: str, status: int = 200) -> str:
    async with world.http.get(f"{world.url}{path}") as response:
        assert response.status == status
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["content-security-policy"].startswith(POLICY)
        return str(await response.text())


def test_the_list_shows_the_newest_first(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        assert "No mail yet." in await page(world, "/")
        first = await world.send(raw.replace(b"Hello", b"First"))
        second = await world.send(raw.replace(b"Hello", b"Second"), to="a@x.test b@x.test c@x.test d@x.test")
        html = await page(world, "/")
        assert html.index(second) < html.index(first)
        assert html.index("Second") < html.index("First")
        assert "a@x.test, b@x.test, c@x.test ..." in html
        assert "Shop &lt;hello@shared.example&gt;" in html
        assert 'http-equiv="refresh"' in html

    play(story)


def test_a_long_list_has_pages(play: Any, raw: bytes) -> None:
    async def story(world: Any) -> None:
        ses = await world.client("sesv2")
        ids = [(await ses.send_email(Content={"Raw": {"Data": raw}}))["MessageId"] for _ in range(101)]
        html = await page(world, "/")
        assert ids[0] not in html
        assert f"/?before={ids[1]}" in html
        html = await page(world, f"/?before={ids[1]}")
        assert ids[0] in html
        assert ids[1] not in html
        assert "refresh" not in html

    play(story)


def test_one_message(play: Any) -> None:
    async def story(world: Any) -> None:
        id = await world.send(HOSTILE, EmailTags=[{"Name": "relay_id", "Value": "a1"}], ConfigurationSetName="relay")
        html = await page(world, f"/mail/{id}")
        for text in ["relay_id", "a1", "x@d.test", "operator, eu-west-1", "Bücher", "application/pdf, 5 bytes"]:
            assert text in html
        frame = html[html.index("<iframe") : html.index("</iframe>")]
        assert frame.startswith('<iframe sandbox="" title="HTML part" srcdoc="')
        assert "<h1 title='\"'>Hello</h1>" in unescape(frame)

    play(story)


def test_hostile_mail_is_only_text(play: Any) -> None:
    async def story(world: Any) -> None:
        id = await world.send(HOSTILE)
        for path in ("/", f"/mail/{id}"):
            html = await page(world, path)
            for tag in ("<script", "<img", "<svg", "<b>", "<h1 title"):
                assert tag not in html
            assert html.count("</iframe>") == html.count("<iframe")
            assert "&lt;img src=x onerror=alert(2)&gt;" in html

    play(story)


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: text/plain; charset=\xff\xfe\r\n\r\n\xff\xfe",
        b"Content-Type: text/html; charset=unicode_escape\r\n\r\n\\ud800",
        b"Content-Transfer-Encoding: base64\r\n\r\n!!!",
        b"Subject: =?utf-8?b?!?= =?nope?q?x?=\r\n\r\n",
        b"Content-Disposition: attachment; filename*=x''%ff\r\n\r\n",
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(1500)),
    ],
    ids=range(7),
)
def test_broken_mail_can_be_looked_at(play: Any, body: bytes) -> None:
    async def story(world: Any) -> None:
        id = await world.send(b"From: hello@shared.example\r\n" + body)
        await page(world, "/")
        await page(world, f"/mail/{id}")

    play(story)


def test_what_is_not_held(play: Any) -> None:
    async def story(world: Any) -> None:
        assert "No such message" in await page(world, "/mail/unknown", 404)

    play(story)
