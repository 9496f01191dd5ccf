"""The certificates of SNS: each fetched once, few in a minute, and nothing but certificates kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.errors import Kind, Problem
from relay.feedback.sns import certificates
from relay.feedback.sns.certificates import Certificates
from relay.feedback.sns.fetching import Fetcher
from relay.feedback.sns.topics import Source, source_of
from relay.ses.access import Access, Chain
from tests.feedback.sns import CERTIFICATE, GOLDEN, HOST, PEM, TOPIC
from tests.feedback.sns_server import Names, Sns, answer, authority, file, serving


@dataclass
class Scene:
    """`at`: what the clock says."""

    source: Source
    sns: Sns
    names: Names
    at: float = 1000.0

    def __post_init__(self) -> None:
        self.kept = Certificates(Fetcher(self.names), lambda: self.at)

    async def refused(self, url: str) -> Problem:
        with pytest.raises(Problem) as caught:
            await self.kept.find(url, self.source)
        return caught.value


def play(folder: Path, story: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        bundle, context = authority(folder)
        async with serving(context) as sns:
            names = Names(sns.port)
            source = source_of(TOPIC, Access("acme", "eu-west-1", Chain(), ca_bundle=str(bundle)))
            assert source is not None
            scene = Scene(source, sns, names)
            try:
                await story(scene)
            finally:
                await scene.kept.close()

    asyncio.run(whole())


def url(name: str) -> str:
    return f"https://{HOST}/SimpleNotificationService-{name:0>8}.pem"


def test_it_is_fetched_once_however_many_wait(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        found = await asyncio.gather(*(scene.kept.find(CERTIFICATE, scene.source) for _ in range(100)))
        assert {id(each) for each in [*found, await scene.kept.find(CERTIFICATE, scene.source)]} == {id(found[0])}
        assert scene.sns.asked == [f"GET {PEM} HTTP/1.1"]

    play(tmp_path, story)


def test_who_waited_first_may_go(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        first = asyncio.create_task(scene.kept.find(CERTIFICATE, scene.source))
        second = asyncio.create_task(scene.kept.find(CERTIFICATE, scene.source))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        assert len(scene.sns.asked) == 1

    play(tmp_path, story)


def test_what_failed_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.sns.answers[PEM] = answer(500)
        assert (await scene.refused(CERTIFICATE)).kind is Kind.OVERLOADED
        scene.sns.answers[PEM] = file("sns.pem")
        again = await scene.refused(CERTIFICATE)
        assert again.retry_after is not None
        assert again.retry_after < timedelta(seconds=20)  # when SNS comes again
        scene.sns.answers["/SimpleNotificationService-00000001.pem"] = file("other.pem")
        assert (await scene.refused(url("1"))).kind is Kind.FORBIDDEN
        assert (await scene.refused(url("1"))).kind is Kind.FORBIDDEN
        assert len(scene.sns.asked) == 2
        scene.at += certificates.AGAIN_AFTER.total_seconds()
        assert await scene.kept.find(CERTIFICATE, scene.source)
        assert (await scene.refused(url("1"))).kind is Kind.FORBIDDEN
        assert len(scene.sns.asked) == 3

    play(tmp_path, story)


def test_few_are_fetched_in_a_minute_and_few_failures_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "FORGONE", 5)

    async def story(scene: Scene) -> None:
        await scene.kept.find(CERTIFICATE, scene.source)
        found = await asyncio.gather(*(scene.refused(url(str(number))) for number in range(200)))
        assert {each.kind for each in found} == {Kind.OVERLOADED}
        assert len(scene.sns.asked) == certificates.MOST_A_MINUTE
        assert len(scene.kept._failures) == 5
        assert await scene.kept.find(CERTIFICATE, scene.source)
        scene.at += certificates.MINUTE
        scene.sns.answers["/SimpleNotificationService-00000500.pem"] = file("sns.pem")
        assert await scene.kept.find(url("500"), scene.source)

    play(tmp_path, story)


def test_a_server_that_nobody_vouches_for_is_not_asked(tmp_path: Path) -> None:
    """The account's own authorities count; without them, those of this machine do, and the test's is none of these."""

    async def story(scene: Scene) -> None:
        stranger = replace(scene.source, access=replace(scene.source.access, ca_bundle=None))
        with pytest.raises(Problem) as caught:
            await scene.kept.find(CERTIFICATE, stranger)
        assert caught.value.aspect == "unreachable"
        assert "Certificate" in caught.value.detail
        assert scene.sns.asked == []

    play(tmp_path, story)


def test_it_goes_by_the_proxy_of_the_account(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        async with serving() as proxy:
            source = replace(
                scene.source,
                access=replace(scene.source.access, proxy=proxy.url),
                stand_in="http://sns.example",
            )
            proxy.answers[f"http://sns.example{PEM}"] = file("sns.pem")
            assert await scene.kept.find(CERTIFICATE, source)
            assert proxy.asked == [f"GET http://sns.example{PEM} HTTP/1.1"]
            assert scene.names.asked == []

    play(tmp_path, story)


def test_what_is_compressed_is_not_unpacked(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        scene.sns.answers[PEM] = answer(200, (GOLDEN / "sns.pem").read_bytes(), "Content-Encoding: gzip")
        assert await scene.kept.find(CERTIFICATE, scene.source)

    play(tmp_path, story)
