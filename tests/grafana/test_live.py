"""Everything runs, something happens, and whoever watches sees it.

Every query of every panel has an answer, every name that dashboards, rules and runbook
use exists, what is exported is looked at, and an alert reaches its receiver.
"""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT, blocks, matches
from tests.e2e.conftest import DEADLINE
from tests.grafana.promql import (
    COUNTED,
    Target,
    expressions,
    selectors,
    targets,
)
from tests.grafana.rules import Alert, alerts, rules
from tests.grafana.story import RECEIVERS, Story, filled_in

ELSEWHERE = {
    "milvus_proxy_req_count": "Milvus cannot run here: read in its sources",
    "milvus_proxy_sq_latency_bucket": "as above",
    "lumina_key_age_seconds": "the proxy of the stand has ENCRYPTION_KEY, no keystore",
    "lumina_keystore_up": "as above",
    "lumina_key_lease_valid": "as above",
    "lumina_upstream_ejections_total": "the backend of the stand has one server",
    "lumina_upstream_certificate_expiry_timestamp_seconds": "and it speaks http",
    "lumina_upstream_certificate_reload_success": "as above",
    "lumina_listener_certificate_expiry_timestamp_seconds": "nginx has the certificate",
    "lumina_listener_certificate_reload_success": "as above",
}
"""Metrics that no source here exports, and why."""

UNUSED = {
    "process_virtual_memory_bytes": "address space, which says little of memory",
    "python_info": "lumina_build_info says which proxy it is",
    "python_gc_objects_collected_total": "for a developer who looks into one process",
    "python_gc_objects_uncollectable_total": "as above",
    "python_gc_collections_total": "as above",
}
"""Families of the proxy that nothing looks at, and why."""

MUST_FIRE = {
    "Watchdog",
    "TargetDown",
    "LuminaPolicyReloadRefused",
    "LuminaDecryptFailures",
    "LuminaKeyMissing",
    "LuminaLimiterStoreDown",
    "RedisDown",
    "LuminaBackendDown",
    "LuminaBackendServerDown",
    "LuminaAvailabilityBurnFast",
    "LuminaAvailabilityBurnSlow",
    "LuminaRefusalsHigh",
    "LuminaCertificateExpiring",
}
"""What the story gives reason to."""

MAY_FIRE = {
    "LuminaLimiterStoreFlapping": "by how often the proxy tried to connect again",
    "LuminaOverheadBurnFast": "by how busy this machine is",
    "LuminaOverheadBurnSlow": "as above",
    "LuminaResponsesAborted": "by how many events were left, of how many requests",
    "LuminaProxyCpuSaturated": "as LuminaOverheadBurnFast",
    "LuminaPasswordGuessing": "by how many rounds there were",
    "LuminaForgedTokens": "as above",
    "LuminaRevocationsStale": "by how long Redis was away",
    "LuminaTokensRefused": "as above",
    "HostCpuHigh": "as LuminaOverheadBurnFast",
    "HostMemoryHigh": "as LuminaOverheadBurnFast",
    "HostDiskFilling": "by this machine's disk",
}
"""What depends on the machine, or on how fast it is."""


def named(value: object) -> str:
    """Return what a query or an alert is called."""
    if isinstance(value, Target):
        return value.where
    return value.name if isinstance(value, Alert) else str(value)


@pytest.mark.parametrize("target", targets(), ids=named)
def test_every_query_has_an_answer(target: Target, story: Story) -> None:
    """A panel's query returns at least one number; none is empty, and none an error."""
    if any(one.name in ELSEWHERE for one in selectors(target.expression)):
        return
    answer = story.range(filled_in(target.expression, story))
    numbers = [value for series in answer for value in series]

    assert any(math.isfinite(value) for value in numbers)


@pytest.mark.parametrize("target", targets(), ids=named)
def test_counters_are_known_by_their_type(target: Target, story: Story) -> None:
    """What its source calls a counter is shown by how fast it grows."""
    known = story.stand.ask("metadata")
    for selector in selectors(target.expression):
        kinds = {one["type"] for one in known.get(selector.name, ())}

        assert kinds != {"counter"} or selector.function in COUNTED, selector.name


@pytest.fixture(scope="module")
def exported(story: Story) -> set[str]:
    """Every name that Prometheus has seen."""
    return set(story.stand.ask("label/__name__/values"))


def test_every_name_exists(exported: set[str]) -> None:
    """What dashboards, rules and the runbook name is exported, or recorded."""
    unknown = {
        selector.name: where
        for where, expression in expressions()
        for selector in selectors(expression)
        if selector.name not in exported | ELSEWHERE.keys()
    }

    assert unknown == {}


def test_nothing_is_excused_in_vain(exported: set[str]) -> None:
    """What is said to run elsewhere is named somewhere, and does not run here."""
    used = {
        selector.name
        for _, expression in expressions()
        for selector in selectors(expression)
    }

    assert ELSEWHERE.keys() <= used
    assert not ELSEWHERE.keys() & exported


def test_every_metric_is_looked_at(story: Story) -> None:
    """Each family of the proxy is in a panel, an alert or the runbook, or excused."""
    families = re.findall(r"^# TYPE (\S+) ", story.stand.scrape(), re.MULTILINE)
    used = {
        re.sub(r"_(bucket|count|sum)$", "", selector.name)
        for _, expression in expressions()
        for selector in selectors(expression)
    }

    assert set(families) - used == set(UNUSED)


@pytest.mark.parametrize("alert", alerts(), ids=named)
def test_alerts_look_at_series_that_exist(alert: Alert, story: Story) -> None:
    """Each selector of an alert finds something: none waits for a misspelling."""
    for selector in selectors(alert.rule["expr"]):
        if selector.name in ELSEWHERE:
            continue
        answer = story.range(selector.text)

        assert answer, selector.text


def test_alerts_fire_for_what_happened_and_nothing_else(story: Story) -> None:
    """After log-ins, refusals, a bad policy and two outages: these, and no other."""
    answer = story.stand.ask(
        "query_range",
        query='count by (alertname) (ALERTS{alertstate="firing"})',
        start=str(story.began + 3),  # there was no proxy when Prometheus started
        end=str(story.ended),
        step="1",
    )
    fired = {one["metric"]["alertname"] for one in answer["result"]}

    assert MUST_FIRE - fired == set()
    assert fired - MUST_FIRE - MAY_FIRE.keys() == set()


def test_no_rule_fails(story: Story) -> None:
    """Prometheus evaluated every rule without an error."""
    groups = story.stand.ask("rules")["groups"]
    seen = [rule for group in groups for rule in group["rules"]]

    assert len(seen) == len(list(rules()))
    assert [rule["name"] for rule in seen if rule["health"] != "ok"] == []


def test_an_alert_reaches_its_receiver_and_so_does_its_end(story: Story) -> None:
    """A refused policy is a ticket that says what to do, and later that it is over."""
    told = story.hooks.wait("LuminaPolicyReloadRefused")
    over = story.hooks.wait("RESOLVED LuminaPolicyReloadRefused")
    summary = "The policy on disk was refused; an older one is in force."
    description = (
        f"127.0.0.1:{story.stand.ports['proxy']} refused what it read last, "
        "and serves by the last good policy."
    )

    assert told.receiver == over.receiver == "ticket"
    assert told.title == "WARNING LuminaPolicyReloadRefused"
    assert told.text.splitlines() == [
        f"{summary} {description}",
        "Runbook: grafana/README.md#luminapolicyreloadrefused",
    ]


def test_each_receiver_gets_what_is_its_own(story: Story) -> None:
    """A dead backend is a page, and the dead man's switch hears the watchdog alone."""
    called = story.hooks.wait("LuminaBackendDown")
    watched = {one.title for one in story.hooks.messages if one.receiver == "watchdog"}

    assert (called.receiver, called.title) == ("page", "CRITICAL LuminaBackendDown")
    assert watched == {"NONE Watchdog"}
    assert {one.receiver for one in story.hooks.messages} == set(RECEIVERS)


def test_an_effect_is_not_told_while_its_cause_is(story: Story) -> None:
    """That Redis is down is told; that limits are therefore local is suppressed."""
    states = {
        one["labels"]["alertname"]: one["status"]["state"]
        for one in story.stand.alerts()
    }

    assert states["RedisDown"] == "active"
    assert states["LuminaLimiterStoreDown"] == "suppressed"


def test_nothing_secret_is_told(story: Story) -> None:
    """No message and no label has a token, a person's name or an address."""
    told = [(one.title, one.text) for one in story.hooks.messages]
    series = story.stand.ask("series", **{"match[]": '{job="proxy"}'})
    text = json.dumps([told, series])
    secrets = (story.stand.token, story.stand.secret, "example.org", "Broken", "tess")

    assert [one for one in secrets if one in text] == []


def test_the_proxys_metrics_are_well_formed(story: Story) -> None:
    """Promtool has nothing to say about names, types and help."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=story.stand.scrape(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_runbook_does_what_it_says(story: Story) -> None:
    """Each command of the README runs against what it speaks of."""
    typed = [one for one in blocks("grafana/README.md") if one.language == "console"]
    told = [one for one in typed if not one.text.startswith("make ")]
    environment = {
        **os.environ,
        "PROMETHEUS": f"http://127.0.0.1:{story.stand.ports['prometheus']}",
        "ALERTMANAGER": f"http://127.0.0.1:{story.stand.ports['alertmanager']}",
        "METRICS_URL": f"http://127.0.0.1:{story.stand.stack.metrics}",
        "METRICS_TOKEN": story.stand.token,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for block in told:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

        assert done.returncode == 0, f"{block.where}: {done.stdout}{done.stderr}"
        if block.output is not None:
            assert matches(block.output, done.stdout), f"{block.where}: {done.stdout}"
