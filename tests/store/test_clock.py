"""Moments: milliseconds since 1970 in columns, RFC 3339 to people and programs."""

from __future__ import annotations

from datetime import datetime

from hypothesis import example, given
from hypothesis import strategies as st

from relay.store.clock import moment_ms, rfc3339


@example(1_073_574_951)  # 1,073,574,950.9999999 by way of a float
@given(st.integers(0, 253_402_300_799_999))
def test_a_moment_that_is_shown_is_read_as_the_same_moment(at: int) -> None:
    assert moment_ms(datetime.fromisoformat(rfc3339(at))) == at
