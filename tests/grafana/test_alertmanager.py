"""Alertmanager's own tool reads the routes; a real Alertmanager inhibits by them."""

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents import blocks
from tests.e2e.conftest import DEADLINE, ROOT, wait_until_up
from tests.grafana.rules import Alert, alerts, load
from tests.ports import free_port

CONFIG = ROOT / "grafana/alertmanager/alertmanager.yml"
RECEIVERS = {"critical": "page", "warning": "ticket", "none": "watchdog"}

Labels = dict[str, str]


def amtool(*arguments: str | Path) -> str:
    """Return what amtool prints."""
    done = subprocess.run(
        ["amtool", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_amtool_accepts_the_configuration() -> None:
    """The configuration is valid, and has three receivers."""
    told = amtool("check-config", CONFIG)

    assert "3 receivers" in told


def test_the_other_receiver_of_the_readme_is_accepted(tmp_path: Path) -> None:
    """What the README shows for PagerDuty fits in the place of the receiver "page"."""
    [block] = [one for one in blocks("grafana/README.md") if one.file == "page.yaml"]
    config = load(CONFIG)
    shown = yaml.safe_load(block.text)
    config["receivers"] = [
        shown if one["name"] == shown["name"] else one for one in config["receivers"]
    ]
    changed = tmp_path / "alertmanager.yml"
    changed.write_text(yaml.safe_dump(config), encoding="utf-8")

    assert shown["name"] == "page"
    assert "SUCCESS" in amtool("check-config", changed)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_every_alert_goes_where_its_severity_says(alert: Alert) -> None:
    """Critical is a page, a warning a ticket, and the watchdog has its own receiver."""
    labels = [f"{key}={value}" for key, value in alert.rule["labels"].items()]
    told = amtool(
        "config",
        "routes",
        "test",
        f"--config.file={CONFIG}",
        f"alertname={alert.name}",
        *labels,
    )

    assert told == RECEIVERS[alert.rule["labels"]["severity"]]


def _pattern(matcher: str) -> str:
    """Return the regular expression that a matcher of alertname asks for."""
    found = re.fullmatch(r'alertname (=~|=) "?([^"]*)"?', matcher)
    assert found, matcher
    return found[2] if found[1] == "=~" else re.escape(found[2])


def test_inhibition_speaks_of_alerts_that_exist() -> None:
    """Each rule of inhibition names, in full or by a pattern, alerts that there are."""
    names = [alert.name for alert in alerts()]
    for rule in load(CONFIG)["inhibit_rules"]:
        for side in ("source", "target"):
            for part in _pattern(rule[f"{side}_matchers"][0]).split("|"):
                assert any(re.fullmatch(part, name) for name in names), part


class Alertmanager:
    """A real one, with the shipped configuration; its receivers go nowhere."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [
                "prometheus-alertmanager",
                f"--config.file={CONFIG}",
                f"--storage.path={folder}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--cluster.listen-address=",
                "--log.level=error",
            ],
            stderr=subprocess.DEVNULL,
        )
        wait_until_up(f"{self.url}/-/ready", self.process)

    def send(self, labels: Labels, *, over: bool = False) -> None:
        """Let an alert fire, as Prometheus does, or be over."""
        now = datetime.now(UTC).isoformat()
        alert = {"labels": labels, **({"endsAt": now} if over else {})}
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/api/v2/alerts",
            json.dumps([alert]).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=DEADLINE).close()  # noqa: S310

    def state(self, labels: Labels) -> str:
        """Return "active" or "suppressed", as soon as Alertmanager knows."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            with urllib.request.urlopen(f"{self.url}/api/v2/alerts") as answer:  # noqa: S310
                known: list[dict[str, Any]] = json.load(answer)
            for alert in known:
                state: str = alert["status"]["state"]
                if alert["labels"] == labels and state != "unprocessed":
                    return state
            time.sleep(0.01)  # its API has nothing to wait for
        raise AssertionError(f"Alertmanager does not know {labels}")


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """Run one for all cases."""
    running = Alertmanager(tmp_path_factory.mktemp("alertmanager"))
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait(DEADLINE)


CASES: list[tuple[str, str, Labels]] = [
    ("LuminaProxyDown", "LuminaAvailabilityBurnFast", {}),
    ("LuminaProxyDown", "LuminaOverheadBurnSlow", {}),
    ("LuminaProxyDown", "LuminaProxyRestarting", {}),
    ("LuminaProxyDown", "TargetDown", {"job": "redis"}),
    ("PostgresDown", "LuminaBackendDown", {}),
    ("PgBouncerDown", "LuminaAvailabilityBurnFast", {}),
    ("PostgresDown", "PgBouncerClientsWaiting", {}),
    ("LuminaBackendDown", "LuminaBackendServerDown", {"backend": "other"}),
    ("LuminaBackendDown", "LuminaAvailabilityBurnFast", {}),
    ("RedisDown", "LuminaLimiterStoreDown", {}),
    ("RedisDown", "LuminaLimiterStoreFlapping", {}),
    ("LuminaLimiterStoreDown", "LuminaLimiterStoreFlapping", {"instance": "x"}),
    ("NginxDown", "LuminaEdgeUnreachable", {}),
    ("LuminaKeyMissing", "LuminaDecryptFailures", {"field": "other"}),
    ("LuminaTokensRefused", "LuminaForgedTokens", {}),
    ("LuminaTokensRefused", "LuminaRefusalsHigh", {}),
    ("LuminaAvailabilityBurnFast", "LuminaAvailabilityBurnSlow", {}),
    ("LuminaOverheadBurnFast", "LuminaOverheadBurnSlow", {}),
    ("LuminaCertificateExpiresNow", "LuminaCertificateExpiring", {}),
]
"""Source, target, and labels of a target that the source says nothing about."""


@pytest.mark.parametrize(
    ("source", "target", "differs"),
    CASES,
    ids=["-".join(case[:2]) for case in CASES],
)
def test_an_effect_is_not_told_beside_its_cause(
    alertmanager: Alertmanager, source: str, target: str, differs: Labels
) -> None:
    """A target alone is told; beside its source it is not; of something else it is."""
    same = {"backend": "lms", "instance": "one", "field": "user.name", "job": "proxy"}
    cause = {"alertname": source, **same}
    effect = {"alertname": target, **same}
    other = {"alertname": target, **same, **differs}
    try:
        alertmanager.send(effect)
        alone = alertmanager.state(effect)
        alertmanager.send(cause)
        alertmanager.send(other)
        beside, elsewhere = alertmanager.state(effect), alertmanager.state(other)
    finally:
        for alert in (cause, effect, other):
            alertmanager.send(alert, over=True)

    assert (alone, beside) == ("active", "suppressed")
    assert elsewhere == ("active" if differs else "suppressed")


def test_every_inhibition_is_tried() -> None:
    """The cases above have every rule of the configuration at least once."""
    tried = [case[:2] for case in CASES]
    for rule in load(CONFIG)["inhibit_rules"]:
        source, target = (
            _pattern(rule[f"{side}_matchers"][0]) for side in ("source", "target")
        )
        assert any(
            re.fullmatch(source, one) and re.fullmatch(target, other)
            for one, other in tried
        ), rule
