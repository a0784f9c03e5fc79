"""PromQL taken apart, and the queries of dashboards, rules and the runbook."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import promql_parser as promql

from grafana.generate.dashboards import DASHBOARDS
from tests.documents import blocks
from tests.grafana.rules import rules

COUNTED = ("rate", "irate", "increase", "changes", "resets")
"""Functions that make something of a counter."""

_FOR_PARSING = {"$__rate_interval": "1m", "$__interval": "1m", "$__range": "1h"}


@dataclasses.dataclass(frozen=True, slots=True)
class Selector:
    """A selector of an expression.

    Attributes:
        name: of the metric.
        matchers: label to its value or pattern.
        function: the innermost call around it; "" for none.
        text: the selector alone, as PromQL.
    """

    name: str
    matchers: dict[str, str]
    function: str
    text: str


def _parts(node: promql.Expr, function: str = "") -> Iterator[Selector]:
    match node:
        case promql.VectorSelector():
            matchers = {one.name: one.value for one in node.matchers.matchers}
            name = node.name or matchers["__name__"]
            text = str(node).split(" offset ")[0]
            yield Selector(name, matchers, function, text)
        case promql.MatrixSelector():
            yield from _parts(node.vector_selector, function)
        case promql.Call():
            for argument in node.args:
                yield from _parts(argument, node.func.name)
        case promql.BinaryExpr():
            yield from _parts(node.lhs, function)
            yield from _parts(node.rhs, function)
        case promql.AggregateExpr():
            if node.param is not None:
                yield from _parts(node.param, function)
            yield from _parts(node.expr, function)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _parts(node.expr, function)
        case _:
            pass  # a number or a string


def selectors(expression: str) -> list[Selector]:
    """Return the selectors of an expression, Grafana's own variables filled in.

    Raises:
        ValueError: it is not PromQL.
    """
    for name, value in _FOR_PARSING.items():
        expression = expression.replace(name, value)
    return list(_parts(promql.parse(expression)))


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """One query of one panel; ``where`` is for people."""

    where: str
    panel: dict[str, Any]
    expression: str


def panels() -> list[tuple[str, dict[str, Any]]]:
    """Return every panel that is not a heading, with a name for people."""
    return [
        (f"{dashboard['uid'].removeprefix('lumina-')}: {panel['title']}", panel)
        for dashboard in DASHBOARDS.values()
        for panel in dashboard["panels"]
        if panel["type"] != "row"
    ]


def targets() -> list[Target]:
    """Return every query of every panel."""
    return [
        Target(f"{where} {target['refId']}", panel, target["expr"])
        for where, panel in panels()
        for target in panel["targets"]
    ]


def runbook() -> list[str]:
    """Return the queries that the runbook tells its reader to ask."""
    typed = [one for one in blocks("grafana/README.md") if one.language == "console"]
    text = "\n".join(block.text for block in typed)
    return re.findall(r"promtool query instant \$PROMETHEUS '([^']+)'", text)


def expressions() -> Iterator[tuple[str, str]]:
    """Yield where and what of each expression of dashboards, rules and runbook."""
    for target in targets():
        yield target.where, target.expression
    for dashboard in DASHBOARDS.values():
        for annotation in dashboard["annotations"]["list"]:
            yield (
                f"{dashboard['uid']}: {annotation['name']}",
                annotation["target"]["expr"],
            )
    for path, group, rule in rules():
        name = rule.get("alert") or rule["record"]
        yield f"{path.name}: {group}: {name}", rule["expr"]
    for query in runbook():
        yield "README.md", query
