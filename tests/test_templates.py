"""Templates: what they make of variables, what is wrong with them, and that no author makes them take long."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Kind, Problem
from relay.templates.limits import LONGEST_BODY, LONGEST_MARKUP, MOST_MARKUP, MOST_VARIABLES, SECONDS
from relay.templates.markup import line_and_column, wrong_place
from relay.templates.meter import Meter, TooMuch
from relay.templates.template import Filled, Flaw, Flawed, NotQuick, Source, Template, read, require_bounded

TOO_LONG = 8 * SECONDS  # of a wall clock, on a machine that does other things


def text(source: str, variables: dict[str, Any] | None = None, missing: str = "error") -> str:
    """What a text template makes of variables."""
    filled = read(Source("s", source, None, missing)).fill(variables or {})
    assert filled.text is not None
    return filled.text


def html(source: str, **variables: Any) -> str:
    filled = read(Source("s", None, source)).fill(variables)
    assert filled.html is not None
    return filled.html


def flaws(source: Source, variables: dict[str, Any] | None = None) -> list[Flaw]:
    with pytest.raises(Flawed) as caught:
        read(source).fill(variables or {})
    return list(caught.value.flaws)


# -- what becomes of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "variables", "made"),
    [
        ("Hi {{ name }}", {"name": "Ana"}, "Hi Ana"),
        ("{{ user.name }} {{ user['e mail'] }} {{ list[1] }} {{ list.last }}", {"user": {"name": "A", "e mail": "b"}, "list": [1, 2]}, "A b 2 2"),
        ("{% for i in items %}{{ forloop.index }}:{{ i.n }} {% else %}none{% endfor %}", {"items": [{"n": "a"}, {"n": "b"}]}, "1:a 2:b "),
        ("{% for i in items %}{{ i }}{% else %}none{% endfor %}", {"items": []}, "none"),
        ("{% if a > 1 and b %}x{% elsif c == 'd' %}y{% else %}z{% endif %}", {"a": 1, "b": 2, "c": "d"}, "y"),
        ("{% case n %}{% when 1, 2 %}few{% else %}many{% endcase %}", {"n": 2}, "few"),
        ("{% assign n = a | plus: 2 %}{% capture c %}<{{ n }}>{% endcapture %}{{ c }}{{ c }}", {"a": 1}, "<3><3>"),
        ("{{ a | upcase | append: '!' }} {{ b | join: '-' }} {{ c | size }}", {"a": "x", "b": [1, 2], "c": "abc"}, "X! 1-2 3"),
        ("{{ price | times: 2 | round: 2 }}", {"price": 1.255}, "2.51"),
        ("{{ a | default: 'friend' }}{% if b %}b{% endif %}{% unless c == 'x' %}c{% endunless %}", {}, "friendc"),
        ("{% raw %}{{ a }}{% endraw %}{% comment %}{{ b }}{% endcomment %}{% # said aside %}", {}, "{{ a }}"),
        ("{{ at | date: '%d.%m.%Y %H:%M' }}", {"at": "2026-01-02T03:04:05Z"}, "02.01.2026 03:04"),
        ("{{ at | date: '%Y' }} {{ when | date: '%Y' }} {{ at | date }}", {"at": 0, "when": "soon"}, "1970 soon 0"),
        ("{{ a | strip_html }} {{ b | strip_html }}", {"a": "<p>x</p>", "b": "1 < 2"}, "x 1 < 2"),
        ("{% cycle 'a', 'b' %}{% cycle 'a', 'b' %}{% increment n %}{% increment n %}", {}, "ab01"),
        ("{{ a }}", {"a": "<&>\r\n\u05d0 \U0001f600 e\u0301"}, "<&>\r\n\u05d0 \U0001f600 e\u0301"),
        ("{{ a }} {{ b }} {{ c }}", {"a": None, "b": True, "c": 1.5}, " true 1.5"),
        ("{% for i in (1..3) reversed %}{{ i }}{% endfor %}", {}, "321"),
        ("a {{- b -}} c", {"b": "x"}, "axc"),
        ("{{ partial }}{{ now }}{{ today }}", {"partial": "p", "now": "n", "today": "t"}, "pnt"),
        ("no markup at all { } % }} %}", {}, "no markup at all { } % }} %}"),
    ],
)  # fmt: skip
def test_a_template_with_variables_is_a_text(source: str, variables: dict[str, Any], made: str) -> None:
    assert text(source, variables) == made


def test_html_is_escaped_and_text_is_not() -> None:
    name = "<b>A & \"B\" 'C'</b>"
    filled = read(Source("{{ name }}", "{{ name }}", "<p>{{ name }}</p>")).fill({"name": name})
    assert filled == Filled(name, name, "<p>&lt;b&gt;A &amp; &#34;B&#34; &#39;C&#39;&lt;/b&gt;</p>")


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("{{ x | upcase }}", "&lt;A&gt;"),
        ("{{ x | append: '<i>' }}", "&lt;a&gt;<i>"),  # what the author writes is HTML
        ("{{ '<i>' | append: x }}", "<i>&lt;a&gt;"),
        ("{{ '<i>y</i>' | replace: 'y', x }}", "<i>&lt;a&gt;</i>"),
        ("{{ '%3Ca%3E' | url_decode }}{{ 'PGE+' | base64_decode }}", "&lt;a&gt;&lt;a&gt;"),
        ("{{ x | escape | escape_once }}{{ x | truncate: 9 }}", "&lt;a&gt;&lt;a&gt;"),
        ("{{ x | date: '<%Y>' }}{{ 'now' | date: '<>' }}", "&lt;a&gt;&lt;&gt;"),
        ("{% capture c %}{{ x }}{% endcapture %}{{ c | split: '' | last }}", ";"),
        ("{{ x | escape }}", "&lt;a&gt;"),
        ("{{ x | newline_to_br }}", "&lt;a&gt;"),
        ("{% capture c %}{{ x }}{% endcapture %}{{ c }}", "&lt;a&gt;"),
        ("{% assign c = x %}{{ c }}", "&lt;a&gt;"),
        ("{{ list }}{{ list | join: x }}", "&lt;a&gt;&lt;a&gt;&lt;a&gt;&lt;a&gt;&lt;a&gt;"),
        ("{{ list | first }}{% for i in list %}{{ i }}{% endfor %}", "&lt;a&gt;" * 3),
        ("{% cycle x %}", "&lt;a&gt;"),
        ("{{ x | url_encode }}", "%3Ca%3E"),
        ("{{ x | split: '' | join: '' }}", "&lt;a&gt;"),
        ("{{ x | safe }}", "<a>"),  # the one way out, for authors who mean it
    ],
)
def test_no_way_through_a_template_leaves_html_unescaped(source: str, made: str) -> None:
    assert html(source, x="<a>", list=["<a>", "<a>"]) == made


@given(
    st.dictionaries(
        st.from_regex(r"v[a-z]{1,5}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        min_size=1,
    )
)
def test_variables_come_through_as_they_are(variables: dict[str, str]) -> None:
    source = "|".join(f"{{{{ {name} }}}}" for name in variables)
    assert text(source, variables) == "|".join(variables.values())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))  # fmt: skip
def test_whatever_a_variable_is_it_is_written_or_refused(value: Any) -> None:
    template = read(
        Source("s", "{{ v }}{% for i in v %}{{ i }}{% endfor %}{{ v | size }}{{ v.a.b }}", "{{ v }}", "empty")
    )
    try:
        template.fill({"v": value})
    except Flawed as exc:
        assert "surrogate" in str(exc)


@given(st.text(st.sampled_from("{}%-| .:'\"ab\n()[]0") | st.characters(), max_size=60))
def test_whatever_is_written_is_a_template_or_is_not(source: str) -> None:
    try:
        read(Source("s", source, None, "empty")).fill({"a": "x"})
    except Flawed as exc:
        assert exc.flaws


# -- what is missing -------------------------------------------------------------------------------------------------

WANTING = Source("Hi {{ name }}", "{{ name }}\n{{ order.id }}", "<p>{% for i in items %}{{ i.n }}{% endfor %}</p>")


def test_every_variable_that_is_missing_is_named_with_where_it_is_wanted() -> None:
    found = flaws(WANTING, {"order": {}, "items": [{"n": 1}, {}]})
    assert [(flaw.path, flaw.message) for flaw in found] == [
        ("variables.name", "is not given: subject has it in line 1"),
        ("variables.order.id", "is not given: text has it in line 2"),
        ("variables.i.n", "is not given: html has it in line 1"),
    ]


def test_what_is_missing_is_empty_where_the_author_or_the_sender_says_so() -> None:
    empty = Filled("Hi ", "\n", "<p></p>")
    assert read(WANTING).fill({}, "empty") == empty
    assert read(Source(WANTING.subject, WANTING.text, WANTING.html, "empty")).fill({}) == empty
    with pytest.raises(Flawed):
        read(Source(WANTING.subject, WANTING.text, WANTING.html, "empty")).fill({}, "error")


@pytest.mark.parametrize(
    "source",
    [
        "{% if a %}x{% endif %}",
        "{% unless a %}{% endunless %}",
        "{{ a | default: 'b' }}",
        "{% if a == 'b' or a != nil %}{% endif %}",
        "{% case a %}{% when 'b' %}{% endcase %}",
        "{% assign b = a %}{% if b %}{% endif %}",
        "{% if a contains 'b' %}{% endif %}",
    ],
)
def test_to_ask_for_a_variable_is_not_to_want_it(source: str) -> None:
    text(source)


@pytest.mark.parametrize(
    "source",
    ["{{ a }}", "{{ a | upcase }}", "{% for i in a %}{% endfor %}", "{{ a.b.c }}", "{{ a | join }}", "{{ a | size }}", "{{ a | first }}", "{% assign b = a %}{{ b }}", "{{ 'x' | append: a }}", "{% for i in (1..a) %}{% endfor %}", "{% cycle a %}", "{{ a | date: '%Y' }}", "{% capture b %}{{ a }}{% endcapture %}"],
)  # fmt: skip
def test_to_use_a_variable_is_to_want_it(source: str) -> None:
    assert flaws(Source("s", source, None))[0].path.startswith("variables.a")


def test_the_variables_of_a_template_are_those_it_does_not_make_itself() -> None:
    source = "{% assign b = a %}{% for i in items %}{{ i.n }}{{ b }}{{ forloop.index }}{% endfor %}{{ user.name }}"
    assert read(Source("{{ user.id }}", source, "{{ list[0].x }}")).variables == (
        "a",
        "items",
        "list[0].x",
        "user.id",
        "user.name",
    )


# -- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("a\nb {{ x", "line 2, column 3: {{ is not closed by }} within 2000 characters"),
        ("{% if x", "line 1, column 1: {% is not closed by %} within 2000 characters"),
        ("{% raw %}{{ x }}", "line 1, column 1: raw is not closed by endraw"),
        ("{% if %}{% endif %}", "line 1, column 4: missing expression"),
        ("{% if x %}", "expected tag endif, found end of expression"),
        ("{% for x %}{% endfor %}", "expected in, found end of expression"),
        ("\n {{ x | nope }}{{ y | nor }}", "line 2, column 9: there is no filter nope"),
        ("{% include 'a' %}", "line 1, column 4: unexpected tag 'include'"),
        ("{% render 'a' %}", "line 1, column 4: unexpected tag 'render'"),
        ("{% extends 'a' %}", "line 1, column 4: unexpected tag 'extends'"),
        ("{% liquid\n echo x %}", "line 1, column 4: unexpected tag 'liquid'"),
        ("{{ " + "a[" * 6 + "b" + "]" * 6 + " }}", "line 1, column 14: brackets are nested too deep"),
        ("{% if a %}" * 21 + "{% endif %}" * 21, "line 1, column 214: block nesting limit reached"),
        ("{{ a }}" * (MOST_MARKUP + 1), f"line 1, column {7 * MOST_MARKUP + 1}: has more than 5000 tags and variables"),
        ("{{ " + "a" * LONGEST_MARKUP + " }}", "line 1, column 1: {{ is not closed by }} within 2000 characters"),
        ("{{" + " " * 101 + "a }}", "line 1, column 1: has more than 100 blanks at an end"),
    ],
)
def test_what_is_no_template_is_told_with_its_place(source: str, said: str) -> None:
    for found in (Source("s", source, None), Source("s", None, source)):
        assert str(flaws(found)[0]).startswith(said)


def test_every_part_is_looked_at() -> None:
    found = flaws(Source("{{", "{{ a | b }}", "{% c %}"))
    assert [flaw.path for flaw in found] == ["subject", "text", "html"]


@pytest.mark.parametrize(
    ("source", "variables", "said"),
    [
        ("{{ 'x' | slice: a }}", {"a": "secret"}, "the filter slice cannot take what it is given"),
        ("{{ a | divided_by: 0 }}", {"a": 1}, "the filter divided_by cannot take what it is given"),
        ("{{ a | sort }}", {"a": [1, "secret"]}, "the filter sort cannot take what it is given"),
        ("{{ a | base64_decode }}", {"a": "\xff"}, "the filter base64_decode cannot take what it is given"),
        ("{{ a | map: 'b' | compact: 'c' }}", {"a": [1]}, "cannot take what it is given"),
        ("{% break %}", {}, "break is in no loop"),
        ("{% if a < b %}{% endif %}", {"a": 1, "b": "secret"}, ""),
        ("{% if a contains 'x' %}{% endif %}", {"a": 1}, ""),
        ("{% for i in b limit: a %}{% endfor %}", {"a": 1e999, "b": [1]}, "cannot be filled in with this"),
        ("{{ a | times: a | times: a }}", {"a": 10**4000}, "cannot be filled in with this"),
    ],
)
def test_what_cannot_be_done_is_told_without_what_it_was_to_be_done_to(source: str, variables: Any, said: str) -> None:
    [flaw] = flaws(Source("s", source, None), variables)
    assert flaw.path == "text"
    assert said in flaw.message
    assert "secret" not in flaw.message


@pytest.mark.parametrize(
    ("subject", "variables", "said"),
    [
        ("{{ a }}", {"a": "x\r\nBcc: eve@one.test"}, "comes out with line breaks or other control characters"),
        ("{{ a }}", {"a": "x\x00"}, "comes out with line breaks or other control characters"),
        ("{{ a }}", {"a": " "}, "comes out empty"),
        ("{{ a }}", {"a": "x" * 999}, "comes out longer than 998 characters"),
        ("{{ a }}", {"a": "\ud800"}, "comes out with a NUL character, or half of a surrogate pair"),
    ],
)
def test_a_subject_is_one_line_whatever_the_variables_are(subject: str, variables: Any, said: str) -> None:
    first = flaws(Source(subject, "t", None), variables)[0]
    assert (first.path, first.message) == ("subject", said)


def test_a_body_is_text() -> None:
    assert [flaw.path for flaw in flaws(Source("s", "{{ a }}", "{{ b }}"), {"a": "\0", "b": "\udfff"})] == [
        "text",
        "html",
    ]


# -- what would take long --------------------------------------------------------------------------------------------

BIG = {
    "big": "x" * 200_000,
    "same": "x" * 199_999 + "y",
    "list": ["x"] * 20_000,
    "nested": [[["x"] * 10_000], ["y"] * 10_000],
}
EXHAUSTING = {
    "a loop": "{% for i in (1..10000) %}{% for j in (1..10000) %}{% endfor %}{% endfor %}",
    "loops one after the other": "{% for i in (1..10000) %}{{ i }}{% endfor %}" * 100,
    "a long loop": "{% for i in (1..100000000) %}x{% endfor %}",
    "a long loop backwards": "{% for i in (1..100000000) reversed %}x{% endfor %}",
    "a range to be joined": "{{ (1..100000000) | join }}",
    "a range to be searched": "{% if (1..100000000) contains 'a' %}{% endif %}",
    "a range in a condition": "{% unless false or true and (1..100000000) contains 'a' %}{% endunless %}",
    "a range in another branch": "{% if false %}{% elsif (1..100000000) contains 'a' %}{% endif %}",
    "a range that is kept": "{% assign a = (1..100000000) %}{{ a | reverse }}",
    "a range of numbers without end": "{% for i in (1..a) %}{% endfor %}",
    "a case of ranges": "{% case 'a' %}{% when (1..100000000) %}{% endcase %}",
    "rounds that do nothing": "{% for i in (1..10000) %}" + "{% if true %}{% endif %}" * 2000 + "{% endfor %}",
    "doubling by append": "{% assign x = 'abcdefghij' %}" + "{% assign x = x | append: x %}" * 40,
    "squaring by replace": "{% assign x = 'aaaaaaaaaa' %}" + "{% assign x = x | replace: 'a', x %}" * 40,
    "replacing nothing": "{{ big | replace: '', big }}",
    "doubling by capture": "{% capture x %}aaaaaaaa{% endcapture %}" + "{% capture x %}{{ x }}{{ x }}{% endcapture %}" * 40,
    "doubling by prepend": "{% assign x = 'abcdefghij' %}" + "{% assign x = x | prepend: x %}" * 40,
    "doubling lists": "{% assign x = 'a,b' | split: ',' %}" + "{% assign x = x | concat: x %}" * 40,
    "squaring numbers": "{% assign x = 9 %}" + "{% assign x = x | times: x %}" * 4000,
    "joining by what is long": "{{ list | join: big }}",
    "joining lists within lists": "{{ nested | join: big }}",
    "comparing lists within lists": "{{ nested | uniq | size }}",
    "splitting into characters": "{{ big | split: '' | size }}",
    "comparing each with each": "{{ list | uniq | size }}",
    "seeking backwards": "{{ big | replace_last: same, 'x' }}",
    "removing backwards": "{{ big | remove_last: same }}",
    "escaping again and again": "{% assign x = big %}" + "{% assign x = x | append: '<' | url_encode | escape | url_encode %}" * 200,
    "filters in a loop": "{% for i in (1..10000) %}{% assign s = big | upcase %}{% endfor %}",
    "comparing in a loop": "{% for i in (1..10000) %}{% if big == same %}{% endif %}{% endfor %}",
    "lists in a loop": "{% for i in (1..10000) %}{{ list }}{% endfor %}",
    "lists kept in a loop": "{% for i in (1..10000) %}{% assign a = list %}{% endfor %}",
    "what is kept under many names": "".join(f"{{% assign a{i} = big %}}" for i in range(200)),
    "keys of cycles": "{% for i in (1..5000) %}{% assign c = big | append: i %}{% cycle c: 'a' %}{% endfor %}",
    "much to write": "{{ big }}" * 10,
    "nesting captures": "{% capture a %}" * 10 + "{% for i in (1..10000) %}{{ big }}{% endfor %}" + "{% endcapture %}" * 10,
    "sorting in a loop": "{% for i in (1..10000) %}{% assign a = list | sort_natural %}{% endfor %}",
    "tags to be stripped": "{% assign a = big | replace: 'x', '<' %}{% for i in (1..10000) %}{{ a | strip_html }}{% endfor %}",
    "dates in a loop": "{% for i in (1..10000) %}{{ 'now' | date: '%c%c%c%c%c%c' }}{% endfor %}" * 3,
}  # fmt: skip


@pytest.mark.parametrize("name", EXHAUSTING)
def test_what_would_take_long_is_ended(name: str) -> None:
    template = read(Source("s", None, EXHAUSTING[name]))
    start = time.monotonic()
    with pytest.raises(Flawed) as caught:
        template.fill(BIG | {"a": "9" * 30})
    assert time.monotonic() - start < TOO_LONG
    [flaw] = caught.value.flaws
    assert flaw.path == "html"
    assert len(flaw.message) < 100


@pytest.mark.parametrize("name", EXHAUSTING)
def test_what_would_take_long_does_not_hold_the_loop(name: str) -> None:
    template = read(Source("s", None, EXHAUSTING[name]))
    start = time.thread_time()
    with pytest.raises((NotQuick, Flawed)):
        template.fill(BIG | {"a": "9" * 30}, is_quick=True)
    assert time.thread_time() - start < 0.1


def test_what_does_not_take_long_is_done_at_once() -> None:
    source = "{% for i in items %}<tr><td>{{ i.name | escape }}</td><td>{{ i.price | times: 2 }}</td></tr>{% endfor %}"
    template = read(
        Source("{{ name }}", "{{ name }}", f"<p>{{{{ name }}}}</p><table>{source}</table>" + "<p>x</p>" * 5000)
    )
    items = [{"name": f"thing {i}", "price": i} for i in range(100)]
    assert template.fill({"name": "Ana", "items": items}, is_quick=True).subject == "Ana"


SLOW_TO_READ = {
    "openings": "{{" * (LONGEST_BODY // 2),
    "tag openings": "{%" * (LONGEST_BODY // 2),
    "braces": "{" * LONGEST_BODY,
    "braces apart": "{ " * (LONGEST_BODY // 2),
    "raw in raw": "{% raw %}" * (LONGEST_BODY // 9),
    "raw in a comment": "{% comment %}" + "{% raw %}" * 4000,
    "doc in a comment": "{% comment %}" + "{% doc %}" * 4000,
    "blanks": "{{" + " " * 1990 + "}}",
    "many blanks": ("{{ a" + " " * 95 + "}}") * 2500,
    "blanks inside": ("{{ a" + " " * 1900 + "| upcase }}") * 100,
    "parentheses": ("{{ " + "(" * 1990 + " }}") * 120,
    "ranges": ("{{ " + "(" * 1980 + "..1) }}") * 120,
    "quotes": ("{{ a" + "['a" * 600 + "']}}") * 100,
    "long names": ("{{ " + "a" * 1990 + " }}") * 120,
    "dots": ("{{ a" + ".a" * 990 + " }}") * 120,
    "pipes": ("{{ a" + "|upcase" * 270 + " }}") * 120,
    "conditions": ("{% if a" + " and a" * 320 + " %}{% endif %}") * 120,
    "brackets": ("{{ " + "a[" * 300 + "b" + "]" * 300 + " }}") * 60,
    "branches": "{% if a %}" + "{% elsif a %}" * 4000 + "{% endif %}",
    "whens": "{% case a %}" + "{% when 1 %}" * 4000 + "{% endcase %}",
    "comments": "{% comment %}" * 5000,
    "line ends": "\n" * (LONGEST_BODY - 14) + "{{ a | nope }}",
    "unknown filters": "{{ a | nope }}\n" * 5000,
}


@pytest.mark.parametrize("name", SLOW_TO_READ)
def test_what_is_made_to_be_slow_to_read_is_not(name: str) -> None:
    start = time.monotonic()
    try:
        made: Template | None = read(Source("s", None, SLOW_TO_READ[name], "empty"))
    except Flawed as exc:
        made = None
        assert len(str(exc)) < 50_000
    if made is not None:
        made.fill({"a": "x"})
    assert time.monotonic() - start < TOO_LONG


def test_a_collection_of_garbage_is_not_the_template_s_work() -> None:
    def burn(phase: str, info: object) -> None:
        end = time.thread_time() + 0.03
        while phase == "start" and time.thread_time() < end:
            sum(range(100))

    meter = Meter(1000, 0.02, gives_way=False)
    gc.callbacks.append(burn)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(burn)
    meter.look()
    burn("start", None)
    with pytest.raises(TooMuch):
        meter.look()


def test_variables_are_bounded() -> None:
    require_bounded({"a": "x" * (MOST_VARIABLES - 100)})
    for over in (
        {"a": "x" * MOST_VARIABLES},
        {"a": [0] * MOST_VARIABLES},
        {"a" * MOST_VARIABLES: 0},
        {"a": {"b": ["x" * MOST_VARIABLES]}},
    ):
        with pytest.raises(Problem) as caught:
            require_bounded(over)
        assert caught.value.kind is Kind.BAD_REQUEST
        assert [str(fault) for fault in caught.value.faults] == ["variables: are over 256 KB together"]


@given(st.text(st.sampled_from("{%}- rawendoc\n") | st.characters(), max_size=200))
def test_looking_over_finds_a_place_that_there_is(source: str) -> None:
    found = wrong_place(source)
    if found is not None:
        assert 0 <= found[0] < len(source)
        line, column = line_and_column(source, found[0])
        assert source.split("\n")[line - 1][column - 1] == source[found[0]]


def test_nothing_of_python_is_in_reach() -> None:
    for source in ("{{ a.__class__ }}", "{{ a['__class__'] }}", "{{ a.upper }}", "{{ l.append }}", "{{ forloop.it }}", "{{ a.__init__.__globals__ }}"):  # fmt: skip
        assert flaws(Source("s", source, None), {"a": "x", "l": []})[0].message.startswith("is not given")
