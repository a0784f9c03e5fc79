"""The shipped rules and their promtool tests, as data."""

import dataclasses
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.conftest import ROOT

RULES = sorted((ROOT / "grafana/prometheus/rules").glob("*.yml"))
TESTS = sorted(Path(__file__).with_name("rules").glob("*.test.yml"))


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """One alert rule.

    Attributes:
        name: of the alert.
        group: of rules.
        file: where it is.
        rule: as it is written there.
    """

    name: str
    group: str
    file: Path
    rule: dict[str, Any]


def load(path: Path) -> dict[str, Any]:
    """Return a YAML mapping."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def rules() -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Yield file, group and rule of every shipped rule."""
    for path in RULES:
        for group in load(path)["groups"]:
            for rule in group["rules"]:
                yield path, group["name"], rule


def alerts() -> list[Alert]:
    """Return every shipped alert."""
    return [
        Alert(rule["alert"], group, path, rule)
        for path, group, rule in rules()
        if "alert" in rule
    ]


def cases() -> dict[str, dict[bool, int]]:
    """Return how often each alert is expected to fire (True), and not to (False)."""
    found = {alert.name: {True: 0, False: 0} for alert in alerts()}
    for path in TESTS:
        for test in load(path)["tests"]:
            for case in test.get("alert_rule_test", ()):
                found[case["alertname"]][bool(case.get("exp_alerts"))] += 1
    return found


def promtool(*arguments: str | Path) -> tuple[int, str]:
    """Run promtool; return its exit status and all that it wrote."""
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


# -- rules that are slightly wrong, which a test must notice

_THRESHOLD = re.compile(r"(?P<sign>>|<|==) (?P<number>[\d.]+)")
_FACTOR = 2.1
"""What a threshold may be wrong by without a test noticing."""


def mutants(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a description and a rule with one threshold, or the delay, wrong."""
    expression = rule["expr"]
    for found in _THRESHOLD.finditer(expression):
        number = float(found["number"])
        wrong = [number * _FACTOR, number / _FACTOR] if number else [1.0]
        if found["sign"] == "==":
            wrong = [1.0 - number]
        for one in wrong:
            changed = (
                f"{expression[: found.start()]}{found['sign']} {one:.6g}"
                f"{expression[found.end() :]}"
            )
            yield f"{found[0]} -> {one:.6g}", {**rule, "expr": changed}
    if "for" in rule:
        yield "no for", {key: value for key, value in rule.items() if key != "for"}
        yield "for ten times", {**rule, "for": f"{rule['for'][:-1]}0{rule['for'][-1]}"}
