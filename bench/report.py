"""Turns measurements into medians and ratios, and prints them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench import line_up
from bench.machine import Machine
from bench.rounds import BATCHES, BENCH, HTTP, ONE, REUSED, SMTP_SOURCE, Fault, Found, Idle, Measurement

MB = 1 << 20
# Like beside like: both deliver, or both only accept. The discarding Postfix is what is often measured.
ACCEPTING = (
    (line_up.RELAY, line_up.POSTFIX, 3.0),
    (line_up.ONLY_ACCEPTING, line_up.HOLD, 3.0),
    (line_up.RELAY, line_up.DISCARD, None),
    (line_up.ONLY_ACCEPTING, line_up.DISCARD, None),
    (line_up.RELAY, line_up.LIMIT, None),
    (line_up.ONLY_ACCEPTING, line_up.LIMIT, None),
    (line_up.ONLY_ACCEPTING, line_up.AIOSMTPD, None),
)
SENDING = ((line_up.POSTFIX, 2.0), (line_up.HARAKA, 1.0), (line_up.SENDING_LIMIT, None))


@dataclass(frozen=True, slots=True)
class Ratio:
    """One target: the median over the rounds of one figure divided by another of the same round."""

    what: str
    found: float | None  # None where a side was not measured
    wanted: float | None = None  # None: for comparison only

    @property
    def verdict(self) -> str:
        if self.found is None:
            return "not measured"
        if self.wanted is None:
            return ""
        return "holds" if self.found >= self.wanted else "MISSED"


class Report:
    """All of one run."""

    def __init__(self, machine: Machine, found: Sequence[Found], skipped: Mapping[str, str]) -> None:
        self.machine = machine
        self.skipped = skipped  # servers that cannot run here, and why
        self.faults = [each for each in found if isinstance(each, Fault)]
        self.measurements = [each for each in found if isinstance(each, Measurement)]
        self._judged_by = SMTP_SOURCE if any(each.generator == SMTP_SOURCE for each in self.measurements) else BENCH
        self.idle = {
            peer: round(median(each.memory for each in found if isinstance(each, Idle) and each.peer == peer))
            for peer in dict.fromkeys(each.peer for each in found if isinstance(each, Idle))
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": asdict(self.machine),
            "idle_memory": self.idle,
            "ratios": [asdict(each) | {"verdict": each.verdict} for each in self.ratios()],
            "measurements": [asdict(each) for each in self.measurements],
            "skipped": dict(self.skipped),
            "faults": [asdict(each) for each in self.faults],
        }

    def ratios(self) -> list[Ratio]:
        found: list[Ratio] = []
        for pattern in (ONE, REUSED):
            for ours, other, wanted in ACCEPTING:
                # The target is for the generator that costs the machine least; without it, for ours.
                for generator in (SMTP_SOURCE, BENCH):
                    ratio = self._ratio(_accept, (ours, pattern), (other, pattern), generator)
                    is_judged = generator == self._judged_by
                    if ratio is not None or is_judged:
                        what = f"accept, {pattern}, by {generator}: {ours} / {other}"
                        found.append(Ratio(what, ratio, wanted if is_judged else None))
            for other, wanted in SENDING:
                ratio = self._ratio(_end_to_end, (line_up.RELAY, pattern), (other, pattern))
                found.append(Ratio(f"end to end, {pattern}: {line_up.RELAY} / {other}", ratio, wanted))
        for ours in (line_up.RELAY, line_up.ONLY_ACCEPTING):
            what = f"HTTP accept: {ours} / {line_up.STARLETTE}"
            found.append(Ratio(what, self._ratio(_accept, (ours, HTTP), (line_up.STARLETTE, HTTP)), 0.2))
        return found

    def _ratio(
        self,
        figure: Callable[[Measurement], float | None],
        ours: tuple[str, str],
        theirs: tuple[str, str],
        generator: str = BENCH,
    ) -> float | None:
        by_round: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        for each in self.measurements:
            if each.generator == generator and (value := figure(each)) is not None:
                by_round[each.peer, each.pattern][each.round] = value
        both = by_round[ours].keys() & by_round[theirs].keys()
        return median(by_round[ours][number] / by_round[theirs][number] for number in both) if both else None

    def lines(self) -> list[str]:
        """The whole report as Markdown."""
        return [
            *self.machine.lines(),
            "",
            *_table(
                ("server", "pattern", "generator", "accept/s", "range", "end to end/s", "p50 ms", "p99 ms", "work us"),
                self._rows(),
            ),
            "",
            *_table(
                ("ratio (median of the rounds' ratios)", "found", "target", ""),
                [(each.what, _number(each.found, 2), _number(each.wanted, 1), each.verdict) for each in self.ratios()],
            ),
            "",
            *self._memory(),
            *(f"SKIPPED: {name}: {reason}" for name, reason in self.skipped.items()),
            *(f"FAILED in round {each.round}: {each.peer}: {each.reason}" for each in self.faults),
        ]

    def _rows(self) -> list[tuple[str, ...]]:
        together: dict[tuple[str, str, str], list[Measurement]] = defaultdict(list)
        for each in self.measurements:
            together[each.pattern, each.generator, each.peer].append(each)
        order = {ONE: 0, REUSED: 1, HTTP: 2, BATCHES: 3}
        return [
            _row(peer, pattern, generator, group)
            for (pattern, generator, peer), group in sorted(
                together.items(), key=lambda item: (item[0][1] != BENCH, order[item[0][0]])
            )
        ]

    def _memory(self) -> list[str]:
        after = [each.memory for each in self.measurements if each.peer == line_up.RELAY and each.memory]
        lines = [f"{peer}: {octets / MB:.0f} MB resident when idle" for peer, octets in self.idle.items()]
        return lines + ([f"{line_up.RELAY}: {max(after) / MB:.0f} MB at most after its loads"] if after else [])


def _accept(each: Measurement) -> float | None:
    return each.accept


def _end_to_end(each: Measurement) -> float | None:
    return each.end_to_end


def _row(peer: str, pattern: str, generator: str, group: Sequence[Measurement]) -> tuple[str, ...]:
    accepts = [each.accept for each in group]
    ends = [each.end_to_end for each in group if each.end_to_end is not None]
    halves = [each.p50 * 1000 for each in group if each.p50 is not None]
    tails = [each.p99 * 1000 for each in group if each.p99 is not None]
    works = [each.work * 1e6 for each in group if each.work is not None]
    return (
        peer,
        pattern,
        generator,
        f"{median(accepts):.0f}",
        f"{min(accepts):.0f} to {max(accepts):.0f}",
        _number(median(ends) if ends else None, 0),
        _number(median(halves) if halves else None, 1),
        _number(median(tails) if tails else None, 1),
        _number(median(works) if works else None, 0),
    )


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return [line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)]
