"""Prometheus's own tool reads the configuration, and tries every alert."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents import ROOT, anchors, text_of
from tests.grafana.rules import (
    RULES,
    TESTS,
    Alert,
    alerts,
    cases,
    load,
    mutants,
    promtool,
    rules,
)

SEVERITIES = {"critical", "warning", "none"}


def named(value: object) -> str:
    """Return what an alert or a file is called."""
    return value.name if isinstance(value, Alert | Path) else str(value)


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    """With its secret in place, the configuration and all its files are valid."""
    shutil.copytree(ROOT / "grafana/prometheus", tmp_path / "prometheus")
    (tmp_path / "metrics_token").write_text("secret")
    config = tmp_path / "prometheus/prometheus.yml"
    config.write_text(config.read_text().replace("/run/secrets", str(tmp_path)))

    status, told = promtool("check", "config", "--lint=all", "--lint-fatal", config)

    assert status == 0, told


def test_promtool_finds_nothing_to_say_about_the_rules() -> None:
    """Every rule file passes promtool's linter."""
    status, told = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)

    assert status == 0, told


def test_every_secret_is_a_file() -> None:
    """No secret stands in the configurations, nor a default for one."""
    for name in ("prometheus/prometheus.yml", "alertmanager/alertmanager.yml"):
        text = text_of(f"grafana/{name}")
        secrets = re.findall(
            r"^\s*-? ?(\w*(?:credentials|password|token|key|secret|api_url)\w*):(.*)$",
            text,
            re.MULTILINE,
        )

        assert secrets, name
        for key, value in secrets:
            assert key.endswith("_file"), key
            assert value.strip().startswith("/run/secrets/"), key


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_alerts_fire_when_they_should(path: Path) -> None:
    """The unit tests of the rules pass."""
    status, told = promtool("test", "rules", path)

    assert status == 0, told


@pytest.mark.parametrize("alert", alerts(), ids=named)
def test_every_alert_is_tested_both_ways(alert: Alert) -> None:
    """Each alert fires in one test and, but for Watchdog, does not in another."""
    tried = cases()[alert.name]

    assert tried[True]
    assert tried[False] or alert.name == "Watchdog"


@pytest.mark.parametrize("alert", alerts(), ids=named)
def test_every_alert_says_what_to_do(alert: Alert) -> None:
    """Each has a severity, a fixed summary, a description, and a runbook."""
    labels, annotations = alert.rule["labels"], alert.rule["annotations"]
    document, _, fragment = annotations["runbook"].partition("#")

    assert labels["severity"] in SEVERITIES
    assert set(annotations) == {"summary", "description", "runbook"}
    assert "{{" not in annotations["summary"]
    assert annotations["summary"].endswith(".")
    assert annotations["description"].endswith(".")
    assert re.fullmatch(r"([A-Z][a-z]+)+", alert.name)
    assert fragment == alert.name.lower()
    assert fragment in anchors(text_of(document))


def test_alerts_have_names_of_their_own() -> None:
    """No two alerts, and no two recording rules with the same labels, share a name."""
    names = [
        (rule.get("alert") or rule["record"], json.dumps(rule.get("labels")))
        for _, _, rule in rules()
    ]

    assert len(set(names)) == len(names)


def test_each_window_looks_back_as_far_as_its_name_says() -> None:
    """A recorded ratio of 6 h is over 6 h, in its numerator and its denominator."""
    windows = {
        rule["record"].rpartition("ratio_rate")[2]: set(
            re.findall(r"\[(\w+)\]", rule["expr"])
        )
        for _, group, rule in rules()
        if group == "slo-ratios"
    }

    assert windows.pop("5m") == set()  # of the 5 m rates themselves
    assert windows == {window: {window} for window in windows}
    assert set(windows) == {"30m", "1h", "2h", "6h", "1d", "3d", "30d"}


def try_rule(
    folder: Path, alert: Alert, rule: dict[str, Any], order: list[str]
) -> bool:
    """Say whether the tests of an alert pass with another rule in its place."""
    folder.mkdir()
    (folder / "alert.yml").write_text(
        yaml.safe_dump({"groups": [{"name": alert.group, "rules": [rule]}]})
    )
    recording = ROOT / "grafana/prometheus/rules/recording.yml"
    for path in TESTS:
        document = load(path)
        document["rule_files"] = [str(recording), "alert.yml"]
        document["group_eval_order"] = [*order, alert.group]
        document["tests"] = [
            {**test, "alert_rule_test": mine}
            for test in document["tests"]
            if (
                mine := [
                    case
                    for case in test.get("alert_rule_test", ())
                    if case["alertname"] == alert.name
                ]
            )
        ]
        if document["tests"]:
            file = folder / path.name
            file.write_text(yaml.safe_dump(document))
            if promtool("test", "rules", file)[0]:
                return False
    return True


@pytest.mark.grafana
def test_a_wrong_threshold_is_noticed(tmp_path: Path) -> None:
    """Change a number or a delay of any alert, and a test of that alert fails."""
    order = [
        group["name"]
        for group in load(ROOT / "grafana/prometheus/rules/recording.yml")["groups"]
    ]
    wrong = [
        (alert, what, rule) for alert in alerts() for what, rule in mutants(alert.rule)
    ]

    def survives(number: int) -> bool:
        alert, _, rule = wrong[number]
        return try_rule(tmp_path / str(number), alert, rule, order)

    with ThreadPoolExecutor(2) as pool:
        survived = list(pool.map(survives, range(len(wrong))))

    unnoticed = [
        f"{alert.name}: {what}\n"
        for (alert, what, _), lives in zip(wrong, survived, strict=True)
        if lives
    ]

    assert "".join(unnoticed) == ""
