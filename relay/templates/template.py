"""A template read once, to be filled in often: subject, text and HTML with the same variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from liquid import BoundTemplate
from liquid.exceptions import LiquidError, LiquidInterrupt
from liquid.token import Token

from relay.errors import Fault, Kind, Problem, printable
from relay.templates.filters import FAILURES
from relay.templates.limits import LONGEST_SUBJECT, MOST_VARIABLES, QUICK_SECONDS, QUICK_STEPS, SECONDS, STEPS
from relay.templates.markup import line_and_column, wrong_place
from relay.templates.meter import Meter, TooMuch, Unfit, weight_of
from relay.templates.rendering import HTML, PLAIN, bound, rendered

SUBJECT, TEXT, BODY = "subject", "text", "html"  # the parts, as requests name them
VARIABLES = "variables"
MOST_FLAWS = 50
LONGEST_SAID = 200  # characters of what is wrong
TOO_DEEP = "is nested too deep"


class NotQuick(Exception):
    """It takes more than can be done at once on the event loop: ask again, in a thread."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing wrong with a template or its variables. `line` and `column`, from 1, where there is a place."""

    path: str
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line}, column {self.column}: {self.message}"


class Flawed(Exception):
    """A template that is none, or that cannot be filled in with these variables."""

    def __init__(self, flaws: Iterable[Flaw]) -> None:
        self.flaws = tuple(flaws)[:MOST_FLAWS]
        super().__init__("; ".join(f"{flaw.path}: {flaw}" for flaw in self.flaws))

    @property
    def problem(self) -> Problem:
        return Problem(Kind.BAD_REQUEST, faults=tuple(Fault(flaw.path, str(flaw)) for flaw in self.flaws))


@dataclass(frozen=True, slots=True)
class Source:
    """What an author wrote. `missing`: whether a variable that is not given is an "error", or "empty"."""

    subject: str = field(repr=False)
    text: str | None = field(repr=False)
    html: str | None = field(repr=False)
    missing: str = "error"

    def parts(self) -> list[tuple[str, str]]:
        parts = ((SUBJECT, self.subject), (TEXT, self.text), (BODY, self.html))
        return [(name, source) for name, source in parts if source is not None]


@dataclass(frozen=True, slots=True)
class Filled:
    """What a template makes of variables."""

    subject: str = field(repr=False)
    text: str | None = field(repr=False)
    html: str | None = field(repr=False)


class Template:
    """Built by `read`. What an author wrote, as the library has it.

    `variables`: those that it takes, in the order of their names, with their members: `user.name`.
    """

    def __init__(self, source: Source, parts: Mapping[str, BoundTemplate]) -> None:
        self._source = source
        self._parts = parts
        used = (each for part in parts.values() for each in part.analyze().globals.values())
        self.variables = tuple(sorted({str(variable) for several in used for variable in several}))

    def fill(self, variables: Mapping[str, object], missing: str | None = None, *, is_quick: bool = False) -> Filled:
        """Raises Flawed; NotQuick where it `is_quick` and has to take more work than that."""
        bounds = (QUICK_STEPS, QUICK_SECONDS) if is_quick else (STEPS, SECONDS)
        meter = Meter(*bounds, gives_way=not is_quick)
        made: dict[str, str] = {}
        wanted: dict[str, Flaw] = {}
        flaws: list[Flaw] = []
        for name, part in self._parts.items():
            try:
                made[name], noted = rendered(part, variables, meter)
            except TooMuch as exc:
                if is_quick:
                    raise NotQuick from exc
                flaws.append(Flaw(name, str(exc)))
                break
            except (Unfit, LiquidInterrupt, *FAILURES) as exc:
                flaws.append(_flaw(name, exc))
            else:
                for variable, token in noted.items():
                    wanted.setdefault(variable, _not_given(name, variable, token))
        if (missing or self._source.missing) == "error":
            flaws += wanted.values()
        if not flaws:
            flaws = _unsendable(made)
        if flaws:
            raise Flawed(flaws)
        return Filled(made[SUBJECT], made.get(TEXT), made.get(BODY))


def read(source: Source) -> Template:
    """Raises Flawed with what is wrong with each part."""
    parts: dict[str, BoundTemplate] = {}
    flaws: list[Flaw] = []
    for name, text in source.parts():
        try:
            parts[name] = _parsed(name, text)
        except Flawed as exc:
            flaws += exc.flaws
    if flaws:
        raise Flawed(flaws)
    return Template(source, parts)


def _parsed(name: str, text: str) -> BoundTemplate:
    if (found := wrong_place(text)) is not None:
        at, why = found
        raise Flawed([Flaw(name, why, *line_and_column(text, at))])
    environment = HTML if name == BODY else PLAIN
    try:
        made = environment.from_string(text)
        filters = bound(made)
    except (LiquidError, RecursionError) as exc:
        raise Flawed([_flaw(name, exc)]) from exc
    unknown = [(used, token) for used, token in filters if used not in environment.filters]
    if unknown:
        raise Flawed(_placed(name, f"there is no filter {printable(used, 40)}", token) for used, token in unknown)
    return made


def require_bounded(variables: Mapping[str, object]) -> None:
    """Raises Problem(BAD_REQUEST) for more of them than any template takes."""
    try:
        weight_of(dict(variables), MOST_VARIABLES)
    except TooMuch as exc:
        fault = Fault(VARIABLES, f"are over {MOST_VARIABLES >> 10} KB together")
        raise Problem(Kind.BAD_REQUEST, faults=(fault,)) from exc


def _flaw(name: str, exc: Exception) -> Flaw:
    if isinstance(exc, LiquidInterrupt):
        return Flaw(name, f"{exc} is in no loop")
    if isinstance(exc, LiquidError) and not _is_recursion(exc):
        return _placed(name, printable(str(exc.message), LONGEST_SAID), exc.token)
    if isinstance(exc, Unfit):
        return Flaw(name, str(exc))
    return Flaw(name, TOO_DEEP if _is_recursion(exc) else "cannot be filled in with this")


def _is_recursion(exc: Exception) -> bool:
    return isinstance(exc, RecursionError) or isinstance(exc.__cause__, RecursionError)


def _placed(name: str, message: str, token: Token | None) -> Flaw:
    if token is None or token.start_index < 0:
        return Flaw(name, message)
    return Flaw(name, message, *line_and_column(token.source, token.start_index))


def _not_given(name: str, variable: str, token: Token | None) -> Flaw:
    """Of a variable, which is what has to be mended; the place says who wants it."""
    where = ""
    if token is not None and token.start_index >= 0:
        line, _ = line_and_column(token.source, token.start_index)
        where = f": {name} has it in line {line}"
    return Flaw(f"{VARIABLES}.{printable(variable, 80)}", f"is not given{where}")


def _unsendable(made: Mapping[str, str]) -> list[Flaw]:
    """What no message may be, whatever it was made of. A subject is one line (RFC 5322 section 3.6.5)."""
    flaws = []
    subject = made[SUBJECT]
    if not subject.strip():
        flaws.append(Flaw(SUBJECT, "comes out empty"))
    elif len(subject) > LONGEST_SUBJECT:
        flaws.append(Flaw(SUBJECT, f"comes out longer than {LONGEST_SUBJECT} characters"))
    if any(ord(character) < 32 or ord(character) == 127 for character in subject):
        flaws.append(Flaw(SUBJECT, "comes out with line breaks or other control characters"))
    for name, text in made.items():
        try:
            is_text = "\0" not in text and bool(text.encode() or True)
        except UnicodeEncodeError:
            is_text = False
        if not is_text:
            flaws.append(Flaw(name, "comes out with a NUL character, or half of a surrogate pair"))
    return flaws
