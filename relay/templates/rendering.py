"""The library's machinery, held in: which tags there are, what a variable that is not given does, what work costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, RenderContext
from liquid.ast import Node
from liquid.builtin import register
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.exceptions import LiquidSyntaxError
from liquid.token import Token
from liquid.undefined import UNDEFINED, Undefined, is_undefined
from liquid.utils import ReadOnlyChainMap

from relay.templates.filters import measured
from relay.templates.limits import DEEPEST, LONGEST_RANGE, LONGEST_RESULT, MOST_HELD
from relay.templates.meter import Meter, TooMuch

# Not `include` and `render`, which load others; not `liquid` and `tablerow`, which only write the same otherwise.
TAKEN = frozenset(
    {"if", "unless", "case", "for", "break", "continue", "cycle", "ifchanged"}
    | {"assign", "capture", "increment", "decrement", "echo", "comment", "#"}
)
INNER = frozenset({"content", "output", "illegal"})  # what the library keeps among the tags
PER_WRITE = 256  # characters that are written in a step
PER_MEMBER = 4  # members of a list
DEEPEST_PATH = 5
PER_KEY = 8  # characters of a key that is kept


class NotGiven(Undefined):
    """A variable that is not given: nothing, which is noted where it is written out or gone through, and not where
    it is only asked for, as by `if` or `default`."""

    __slots__ = ("noted",)
    force_liquid_default = True

    def __init__(self, name: str, token: Token | None, noted: dict[str, Token | None]) -> None:
        super().__init__(name, token=token)
        self.noted = noted

    def _note(self) -> None:
        self.noted.setdefault(self.name, self.token)

    def __str__(self) -> str:
        self._note()
        return ""

    def __iter__(self) -> Iterator[Any]:
        self._note()
        return iter(())

    def __len__(self) -> int:
        self._note()
        return 0

    def __int__(self) -> int:
        self._note()
        return 0

    def __bool__(self) -> bool:
        return False

    __hash__ = Undefined.__hash__


class Written(StringIO):
    """What a template, or a block of one, has written. Raises TooMuch where that is too long."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter
        self._size = 0

    def write(self, text: str, /) -> int:
        self._size += len(text)
        self._meter.spend(1 + len(text) // PER_WRITE)
        if self._size > LONGEST_RESULT:
            raise TooMuch(f"makes more than {LONGEST_RESULT} characters")
        return super().write(text)


class Context(RenderContext):
    """Of one part that is filled in once. `noted`: the variables that were wanted and are not given."""

    __slots__ = ("_held", "_weights", "meter", "noted")

    def __init__(self, template: BoundTemplate, variables: Mapping[str, object], meter: Meter) -> None:
        super().__init__(template, globals=variables)
        # Without the library's `now` and `today`: a variable is what the sender gives.
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self.meter = meter
        self.noted: dict[str, Token | None] = {}
        self._held = 0
        self._weights: dict[str, int] = {}

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        found = super().get(path, token=token, default=default)
        if is_undefined(found):
            self.meter.spend(1)
            return found if isinstance(found, NotGiven) else NotGiven(_written_out(path), token, self.noted)
        self.meter.spend(1 + _reading(found))
        return found

    def resolve(self, name: str, *, token: Token | None = None, default: object = UNDEFINED) -> Any:
        return self.get([name], token=token, default=default)

    def assign(self, key: str, val: Any) -> None:
        weight = self.meter.weigh(val)
        self._held += weight - self._weights.get(key, 0)
        self._weights[key] = weight
        if self._held > MOST_HELD:
            raise TooMuch(f"assigns and captures more than {MOST_HELD} characters")
        self.locals[key] = val

    def cycle(self, key: object, length: int) -> int:
        self.meter.spend(len(str(key)) // PER_KEY)
        return super().cycle(key, length)

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        return Written(self.meter)

    @contextmanager
    def loop(self, namespace: Mapping[str, object], forloop: Any) -> Iterator[RenderContext]:
        forloop.it = self._counted(forloop.it)
        with super().loop(namespace, forloop) as context:
            yield context

    def _counted(self, members: Iterator[object]) -> Iterator[object]:
        """A round may have no variable and write nothing, and yet take long."""
        for each in members:
            self.meter.spend(1)
            self.meter.look()
            yield each


def _reading(value: object) -> int:
    """Steps that writing a value out takes, or comparing it."""
    if isinstance(value, str):
        return len(value) // PER_WRITE
    return len(value) // PER_MEMBER if isinstance(value, list | dict) else 0


def _written_out(path: list[object]) -> str:
    return ".".join(str(each) for each in path)


class BoundedRange(RangeLiteral):
    """`(1..n)`, no longer than is of use: what goes through a long one takes time that no step counts."""

    __slots__ = ()

    def _make_range(self, start: Any, stop: Any) -> range:
        made = super()._make_range(start, stop)
        if made.stop - made.start > LONGEST_RANGE:
            raise TooMuch(f"counts further than {LONGEST_RANGE}")
        return made


class Liquid(Environment):
    """The language as it is here."""

    block_nesting_limit = DEEPEST
    context_depth_limit = DEEPEST + 10  # the scopes that there are without any block

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        register(self)
        self.tags = {name: tag for name, tag in self.tags.items() if name in TAKEN | INNER}
        self.filters = measured(self.filters)


PLAIN = Liquid()
HTML = Liquid(autoescape=True)


def bound(template: BoundTemplate) -> list[tuple[str, Token]]:
    """Put bounds on what the library leaves without any. Returns the filters that are used, with their places.

    Raises LiquidError for variables in the names of members, `a[b[c]]`, further than anybody needs.
    """
    filters: list[tuple[str, Token]] = []
    context = RenderContext(template)
    nodes: list[Node] = list(template.nodes)
    while nodes:
        node = nodes.pop()
        nodes.extend(node.children(context))
        expressions = [(each, 0) for each in node.expressions()]
        while expressions:
            each, depth = expressions.pop()
            depth += isinstance(each, Path)
            if depth > DEEPEST_PATH:
                raise LiquidSyntaxError("brackets are nested too deep", token=each.token)
            expressions.extend((child, depth) for child in each.children())
            if type(each) is RangeLiteral:
                each.__class__ = BoundedRange
            elif isinstance(each, FilteredExpression):
                filters += [(used.name, used.token) for used in each.filters or ()]
    return sorted(filters, key=lambda used: used[1].start_index)


def rendered(
    template: BoundTemplate, variables: Mapping[str, object], meter: Meter
) -> tuple[str, dict[str, Token | None]]:
    """What a template makes of variables, and which it wanted that are not given.

    Raises TooMuch, Unfit, LiquidError, LiquidInterrupt and RecursionError.
    """
    context = Context(template, variables, meter)
    written = Written(meter)
    for node in template.nodes:
        node.render(context, written)
    return written.getvalue(), context.noted
