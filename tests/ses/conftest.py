"""What the tests of SES share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.ses.ses_stand import Stand


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with asyncio.Runner() as runner:
        stand = Stand(runner)
        yield stand
        stand.close()
