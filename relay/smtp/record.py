"""What is kept of an SMTP connection in case it fails, and how many failures are kept at all."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

from relay import log
from relay.errors import Kind, Problem
from relay.metrics import Metrics
from relay.routing.logins import origin
from relay.smtp import transcript
from relay.smtp.transcript import Entry
from relay.store.clock import now_ms
from relay.store.smtp_failures import Failure, Reason

BEGINNING = transcript.FIRST_LINES
END = transcript.LINES - BEGINNING
ROOM = BEGINNING + 2 * END  # entries before the middle goes
LINE = transcript.WIDTH + 1  # octets kept of a line: one more than is shown, so that it is seen to be cut

# What follows when something else has failed: a client that is refused its recipient goes on to DATA, or hangs up.
_AFTERMATH = {Reason.PROTOCOL, Reason.TIMEOUT, Reason.CUT}
_BY_KIND = {
    Kind.UNAUTHORIZED: Reason.AUTH,
    Kind.NO_CREDENTIAL: Reason.AUTH,
    Kind.BLOCKED: Reason.AUTH,
    Kind.OVERLOADED: Reason.OVERLOAD,
    Kind.STORAGE_FULL: Reason.OVERLOAD,
    Kind.STORAGE_DOWN: Reason.OVERLOAD,
}


class Record:
    """One connection. Nothing is formatted until it has failed. `client` may change: a proxy says who it is for."""

    __slots__ = ("_entries", "_key_id", "_left_out", "_reason", "_sentence", "_tenant_id", "client", "listener")

    def __init__(self, listener: str, client: str) -> None:
        self.listener = listener
        self.client = client
        self._entries: list[Entry] = []
        self._left_out = 0
        self._reason: Reason | None = None
        self._sentence = ""
        self._tenant_id: int | None = None
        self._key_id: int | None = None

    # -- what is said ------------------------------------------------------------------------------------------------

    def said(self, line: bytes) -> None:
        """A command line of the client. What may not be shown of it is masked later."""
        self._add(line[:LINE])

    def hid(self, what: str) -> None:
        """Stands in place of a line that holds a secret: "AUTH LOGIN password"."""
        self._add(what)

    def heard(self, reply: bytes) -> None:
        """A reply of ours, of one line or more."""
        self._add((reply,))

    def carried(self, octets: int) -> None:
        """A message, or as much of it as came."""
        self._add(octets)

    def _add(self, entry: Entry) -> None:
        entries = self._entries
        if len(entries) == ROOM:
            del entries[BEGINNING : BEGINNING + END]
            self._left_out += END
        entries.append(entry)

    # -- what became of it -------------------------------------------------------------------------------------------

    def by(self, tenant_id: int, key_id: int | None) -> None:
        """Who it is, by a login or an address. That it did not get so far at first did no harm."""
        self._tenant_id = tenant_id
        self._key_id = key_id
        if self._reason in {Reason.AUTH, Reason.PROTOCOL}:
            self._reason = None

    def accepted(self) -> None:
        """A message was taken: what was not understood before it did no harm."""
        if self._reason is Reason.PROTOCOL:
            self._reason = None

    def failed(self, reason: Reason, sentence: str) -> None:
        """Why, in a plain sentence. The last one holds, unless it only follows from the one before."""
        if self._reason in {None, reason} or reason not in _AFTERMATH:
            self._reason = reason
            self._sentence = sentence

    def refused(self, problem: Problem) -> None:
        """The same for a row of the table of troubles."""
        if problem.kind is Kind.NO_CREDENTIAL and self._reason is not None:
            return  # why it has none has been said
        self.failed(_BY_KIND.get(problem.kind, Reason.REFUSED), problem.detail)

    def failure(self) -> Failure | None:
        """What is to be kept, at the end of the connection."""
        if self._reason is None:
            return None
        return Failure(
            at=now_ms(),
            listener=self.listener,
            client=self.client,
            tenant_id=self._tenant_id,
            key_id=self._key_id,
            reason=self._reason,
            sentence=transcript.nameless(self._sentence),
            transcript=transcript.transcript(self._entries[:BEGINNING], self._left_out, self._entries[BEGINNING:]),
        )


WAITING = 1000
A_MINUTE = 600  # failures kept, of all clients
A_MINUTE_EACH = 60  # of one, an IPv6 one as its /64
AT_ONCE = 100  # written in one transaction


class FailureLog:
    """One per server: failures that wait to be written down. A storm is only counted, so it costs no disk.

    `clock`: the seconds of any steady one.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._waiting: deque[Failure] = deque()
        self._minute = 0
        self._kept: Counter[str] = Counter()  # in this minute, by client
        self._kept_of_all = 0
        self._dropped = 0

    def note(self, failure: Failure) -> None:
        """Count a session that failed, and keep it if there is room."""
        self._metrics.smtp_failures.labels(failure.reason.value).inc()
        self._turn()
        client = origin(failure.client)
        is_room = self._kept_of_all < A_MINUTE and len(self._waiting) < WAITING
        if not is_room or self._kept[client] >= A_MINUTE_EACH:
            self._dropped += 1
            return
        self._kept[client] += 1
        self._kept_of_all += 1
        self._waiting.append(failure)

    def take(self) -> list[Failure]:
        """The oldest of those that wait, as many as are written in one transaction; empty where none do."""
        self._turn()
        return [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]

    def _turn(self) -> None:
        minute = int(self._clock() / 60)
        if minute == self._minute:
            return
        self._minute = minute
        self._kept.clear()
        self._kept_of_all = 0
        if self._dropped:
            log.event("smtp.failures_not_kept", sessions=self._dropped)
            self._dropped = 0
