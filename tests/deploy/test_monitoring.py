"""The alerts and the board that come with Relay: of a form that Prometheus and Grafana take, about metrics there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.metrics import Metrics
from tests.deploy.test_references import parse

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "relay.rules.yaml").read_text("utf-8"))
BOARD = json.loads((ROOT / "deploy" / "grafana" / "relay.json").read_text("utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [rule["expr"] for rule in ALERTS] + [each["expr"] for panel in PANELS for each in panel["targets"]]

SPAN = re.compile(r"\d+[smhdw]")
SELECTOR = re.compile(r"(relay_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"')
OTHERS = {"instance", "job", "le"}  # labels that Prometheus gives


def exposed() -> dict[str, set[str]]:
    """The labels of each series' name, as /metrics has it."""
    found: dict[str, set[str]] = {}
    for collector in list(Metrics().registry._collector_to_names):
        [family] = collector.describe()  # type: ignore[attr-defined]
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        for ending in endings:
            found[family.name + ending] = set(collector._labelnames)  # type: ignore[attr-defined]
    return found


def closed(text: str) -> bool:
    """Whether every bracket has its other half. Quoted text does not count."""
    stack = []
    for each in re.sub(r'"[^"]*"', "", text):
        if each in "([{":
            stack.append(")]}"["([{".index(each)])
        elif each in ")]}" and (not stack or stack.pop() != each):
            return False
    return not stack


@pytest.mark.parametrize("number", range(len(EXPRESSIONS)))
def test_each_expression_is_about_what_there_is(number: int) -> None:
    expression, there = EXPRESSIONS[number], exposed()
    assert closed(expression)
    selectors = SELECTOR.findall(expression)
    assert selectors
    for name, matchers in selectors:
        assert name in there, name
        labels = set(MATCHER.findall(matchers))
        assert labels <= there[name] | OTHERS, (name, labels)
    grouped = {
        label.strip() for words in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in words.split(",")
    }
    assert grouped <= set().union(*(there[name] for name, _ in selectors)) | OTHERS
    for span in re.findall(r"\[([^\]]*)\]", expression):
        assert SPAN.fullmatch(span)
    for name, _ in selectors:  # what only grows is looked at by its growth
        if name.endswith(("_total", "_bucket")):
            assert re.search(rf"\b(?:rate|increase)\({name}", expression)


def test_alerts_have_what_prometheus_wants() -> None:
    assert set(RULES) == {"groups"}
    assert len({group["name"] for group in RULES["groups"]}) == len(RULES["groups"])
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Relay[A-Za-z]+", rule["alert"])
        assert SPAN.fullmatch(rule.get("for", "0s"))
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
        for text in rule["annotations"].values():
            for template in re.findall(r"{{(.*?)}}", text):
                assert re.fullmatch(r" \$(value( \| humanize\w*)?|labels\.\w+) ", template)
                if found := re.search(r"labels\.(\w+)", template):
                    assert found[1] in labels_of(rule["expr"])


def labels_of(expression: str) -> set[str]:
    there = exposed()
    return set().union(*(there[name] for name, _ in SELECTOR.findall(expression))) | OTHERS


def test_the_gap_alarm_and_dead_letters_are_among_them() -> None:
    every = " ".join(rule["expr"] for rule in ALERTS)
    for name in ("relay_feedback_silent", "relay_feedback_waiting", "relay_feedback_dead", "relay_lane_held"):
        assert name in every


def test_the_board_has_what_grafana_wants() -> None:
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= set(BOARD)
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    known = {each["name"] for each in BOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)\}?", json.dumps(BOARD["panels"]))) <= known
    for panel in PANELS:
        assert panel["targets"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    assert not list(overlapping(BOARD["panels"]))


def overlapping(panels: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if (x, y) in taken:
                    yield taken[x, y], panel["title"]
                taken[x, y] = panel["title"]


def commands() -> Iterator[tuple[str, str]]:
    """Those that alerts name, and the doctor's remedies, by where they stand."""
    for rule in ALERTS:
        for text in rule["annotations"].values():
            yield from ((rule["alert"], each) for each in re.findall(r"`relay ([^`]*)`", text))
    for file in sorted((ROOT / "relay" / "management" / "doctoring").glob("*.py")):
        yield from ((file.name, each) for each in re.findall(r"`relay ([^`]*)`", file.read_text("utf-8")))


def test_every_command_that_an_alert_or_a_remedy_names_is_there() -> None:
    found = list(commands())
    assert len(found) > 20
    for where, words in found:
        plain = re.sub(r"\{+[^}]*\}+", "NAME", words)
        try:
            parse(plain.split(), is_whole=False)
        except AssertionError as exc:
            raise AssertionError(f"{where}: relay {words}") from exc
