"""What is stopped in a lane, as a table of moments: one probe each, and nobody else's fault counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.dispatch.stops import SICK_AFTER, Stop, Stops
from relay.errors import Kind
from relay.routing.standing import ACCOUNT


def opens(stops: Stops, domain: str) -> float | None:
    """When a stopped domain's mail may next be probed; None while that is under way, or not SES's to say."""
    stop = stops.stop_of(domain)
    return None if stop is None or stop.is_probed or stops.is_closed(domain) else stop.until


def test_a_pause_is_not_mistaken_for_silence() -> None:
    """A call that was under way when SES paused the account ends without an answer: the pause stays."""
    stops = Stops()
    stops.hold(ACCOUNT, Kind.SES_PAUSED, "paused", 0.0, remedy="ask")
    for _ in range(2 * SICK_AFTER):
        assert not stops.failed("no answer", 1.0)
    assert stops.of("a.example") == (Kind.SES_PAUSED, "paused: ask")
    assert not stops.answered()
    assert opens(stops, "a.example") == 30.0


def test_what_stops_several_domains_ends_for_all_of_them() -> None:
    stops = Stops()
    assert stops.hold_all(["a.example", "b.example"], Kind.SES_PAUSED, "main", 0.0, shared="main")
    stops.hold("c.example", Kind.SES_PAUSED, "other", 0.0, shared="other")
    assert not stops.hold_all(["a.example", "b.example"], Kind.SES_PAUSED, "main", 1.0, shared="main")
    assert stops.hold_all(["a.example", "d.example"], Kind.SES_PAUSED, "main", 1.0, shared="main")
    stops.begin_probe("b.example")
    assert stops.succeeded("b.example") == ["b.example", "a.example", "d.example"]
    assert list(stops.by_ses()) == ["c.example"]


def test_getaccount_is_wanted_when_an_account_stops_and_not_for_a_domain() -> None:
    stops = Stops()
    stops.hold("a.example", Kind.SES_UNVERIFIED, "why", 0.0)
    assert not stops.take_wish()
    stops.hold(ACCOUNT, Kind.SES_QUOTA, "why", 0.0)
    assert stops.take_wish()
    assert not stops.take_wish()
    stops.begin_probe(ACCOUNT)
    stops.hold(ACCOUNT, Kind.SES_QUOTA, "why", 900.0)  # the probe was told the same
    assert stops.take_wish()


def test_what_was_stopped_before_a_start_is_probed_at_once_and_what_is_known_now_stays() -> None:
    stops = Stops()
    stops.hold("a.example", Kind.SES_DENIED, "new", 5.0)
    before = Stop(Kind.SES_UNVERIFIED, "old", since=-100.0, until=5.0, wait=30.0)
    stops.restore({"a.example": before, "b.example": before})
    assert stops.of("a.example") == (Kind.SES_DENIED, "new")
    assert stops.due(5.0) == ["b.example"]
    stops.begin_probe("b.example")
    stops.hold("b.example", Kind.SES_UNVERIFIED, "old", 6.0)
    assert opens(stops, "b.example") == 66.0  # as long as any second wait


def test_another_process_s_stops_replace_what_was_known() -> None:
    stops = Stops()
    stops.hold("a.example", Kind.SES_DENIED, "mine", 0.0)
    stops.restore({}, is_all=True)
    assert stops.is_open("a.example")


Step = tuple[str, str, float]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hold", "fail", "succeed", "answer", "probe", "end"]),
        st.sampled_from([ACCOUNT, "a.example", "b.example"]),
        st.floats(0, 2000),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_a_stop_is_looked_at_again_within_a_quarter_of_an_hour(steps: list[Step]) -> None:
    stops, now = Stops(), 0.0
    for what, key, wait in steps:
        now += wait
        match what:
            case "hold":
                stops.hold(key, Kind.SES_QUOTA if key == ACCOUNT else Kind.SES_UNVERIFIED, "why", now)
            case "fail":
                stops.failed("no answer", now)
            case "succeed":
                stops.succeeded(key or "a.example")
            case "answer":
                stops.answered()
            case "probe" if key in stops.by_ses():
                stops.begin_probe(key)
            case "end":
                stops.end_probe(key, now)
        for key, stop in stops.by_ses().items():
            assert stop.is_probed or stop.until - now <= 900.001
            assert not stops.is_open(key)
