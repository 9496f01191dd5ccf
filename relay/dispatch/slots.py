"""How many calls a lane makes at once: as many as its pace needs at the latency that is seen (Little's law). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

USUAL_LATENCY = 0.15  # seconds, until it is known (SES fact 10.2)
HEAD_ROOM = 1.5  # times the average: latency varies
FLOOR = 4
BUSY = 0.85  # of a core: what takes longer then is this process itself, and more calls at once only make it worse
BUSY_CEILING = 24
WEIGHT = 0.1  # of a new observation
OUTLIER = 5.0  # times the average: a call that timed out says nothing of the others


@dataclass(slots=True)
class Slots:
    """What was seen of one lane's calls. `most`: what the account's connections, and its configuration, allow."""

    most: int
    latency: float = USUAL_LATENCY
    recipients: float = 1.0  # of a call
    limit: int = FLOOR  # calls at once, as last adjusted

    def observe(self, seconds: float, recipients: int) -> None:
        """A slot was held for so long, for a call to so many."""
        self.latency += WEIGHT * (min(seconds, OUTLIER * self.latency + 0.05) - self.latency)
        self.recipients += WEIGHT * (recipients - self.recipients)

    def at_once(self, rate: float, load: float = 0.0) -> int:
        """Calls to make at once, for `rate` recipients a second. `load`: of its core that this process uses, 0 to 1."""
        wanted = max(FLOOR, ceil(HEAD_ROOM * self.latency * rate / self.recipients))
        return max(1, min(wanted, self.most, BUSY_CEILING if load > BUSY else self.most))

    def adjust(self, rate: float, load: float = 0.0) -> None:
        self.limit = self.at_once(rate, load)

    def throughput(self) -> float:
        """Recipients a second that the calls at once can carry."""
        return self.limit * self.recipients / self.latency
