"""Keeps the certificates that SNS signs with. Strangers who name others make it fetch little, and remember little."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from relay.errors import Kind, Problem
from relay.feedback.sns.fetching import Fetcher, NotFetched
from relay.feedback.sns.signatures import Certificate, NotSns
from relay.feedback.sns.topics import Source

KEPT = 64  # certificates; SNS has one a region, and a new one a year
FORGONE = 1000  # URLs that are not asked again for a while
# SNS comes again after 20 s, three times (SES fact 5.1): by then it is worth another try.
AGAIN_AFTER = timedelta(seconds=15)
NEVER_AGAIN = timedelta(minutes=10)  # what is there is none of SNS's
MOST_A_MINUTE = 10  # fetches from one host
MINUTE = 60.0  # seconds

UNREACHABLE = "unreachable"  # the aspect of a certificate that nobody here could have fetched
UNAVAILABLE = "unavailable"  # and of one that is not to be had now
FORGED = "forged"


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a certificate is not to be had. `until` is of the clock below."""

    kind: Kind
    why: str
    aspect: str
    until: float

    def problem(self) -> Problem:
        wait = None if self.kind is Kind.FORBIDDEN else AGAIN_AFTER
        return Problem(self.kind, f"the certificate of the signature: {self.why}", retry_after=wait, aspect=self.aspect)


class Certificates:
    """By URL, each fetched once however many posts wait for it. Belongs to one event loop. `clock`: in seconds."""

    def __init__(self, fetcher: Fetcher, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._known: dict[str, Certificate] = {}  # the one that was used last is the last
        self._failures: dict[str, _Failure] = {}  # the oldest first
        self._fetching: dict[str, asyncio.Task[Certificate | _Failure]] = {}
        self._fetched_at: dict[str, deque[float]] = {}  # by host

    async def find(self, url: str, source: Source) -> Certificate:
        """The one at a URL that the source `has_certificate` at.

        Raises Problem(FORBIDDEN) for one that is none of SNS's, and OVERLOADED for one that is not to be had now.
        """
        url = source.address(url)
        if (known := self._known.pop(url, None)) is not None:
            self._known[url] = known
            return known
        failed = self._failures.get(url)
        if failed is not None and failed.until > self._clock():
            raise failed.problem()
        # Shielded: who waits may go, and the next one finds it.
        found = await asyncio.shield(self._fetching.get(url) or self._begin(url, source))
        if isinstance(found, _Failure):
            raise found.problem()
        return found

    def _begin(self, url: str, source: Source) -> asyncio.Task[Certificate | _Failure]:
        """Raises Problem(OVERLOADED) where the host was asked often enough of late."""
        now = self._clock()
        recent = self._fetched_at.setdefault(source.host, deque())
        while recent and now - recent[0] >= MINUTE:
            recent.popleft()
        if len(recent) >= MOST_A_MINUTE:
            raise _Failure(Kind.OVERLOADED, "too many were asked for in this minute", UNAVAILABLE, now).problem()
        recent.append(now)
        task = self._fetching[url] = asyncio.create_task(self._fetch(url, source), name="sns-certificate")
        task.add_done_callback(lambda _: self._fetching.pop(url, None))
        return task

    async def _fetch(self, url: str, source: Source) -> Certificate | _Failure:
        try:
            found = Certificate(await self._fetcher.fetch(url, source.access))
        except NotFetched as exc:
            aspect = UNREACHABLE if exc.is_ours else UNAVAILABLE
            return self._failed(url, Kind.OVERLOADED, str(exc), aspect, AGAIN_AFTER)
        except NotSns as exc:
            return self._failed(url, Kind.FORBIDDEN, str(exc), FORGED, NEVER_AGAIN)
        self._failures.pop(url, None)
        self._known[url] = found
        _shorten(self._known, KEPT)
        return found

    def _failed(self, url: str, kind: Kind, why: str, aspect: str, rest: timedelta) -> _Failure:
        failure = _Failure(kind, why, aspect, self._clock() + rest.total_seconds())
        self._failures.pop(url, None)
        self._failures[url] = failure
        _shorten(self._failures, FORGONE)
        return failure

    async def close(self) -> None:
        tasks = [*self._fetching.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fetcher.close()


def _shorten(kept: dict[str, Certificate] | dict[str, _Failure], most: int) -> None:
    """Drop the oldest."""
    while len(kept) > most:
        del kept[next(iter(kept))]
