"""The dashboards as files: fresh, and by the rules of grafana/dashboard-linter."""

import itertools
import json
import re
from typing import Any

import pytest
import yaml

from grafana.generate import panels as vocabulary
from grafana.generate.dashboards import DASHBOARDS, FOLDER, rendered
from proxy.core.reasons import Reason
from tests.documents import text_of
from tests.grafana.promql import COUNTED, Target, panels, selectors, targets
from tests.grafana.rules import rules

PALETTE = {
    value
    for name, value in vars(vocabulary).items()
    if name.isupper() and isinstance(value, str) and value.startswith("#")
}
UNITS = {
    *("reqps", "ops", "percentunit", "percent", "s", "ms", "bytes", "Bps"),
    *("short", "none", "dateTimeAsIso"),
}
"""Names of units; `make test-grafana` asks Grafana's own code whether it knows them."""

COLUMNS = 24
SERVICES = {"redis", "postgres", "pgbouncer", "nginx", "node", "milvus", "edge"}
"""Jobs that are not of the proxy, and so not what the variable job chooses from."""

UNLABELLED = ("slo:", "ALERTS", "up")
"""What is about everything, and so has no job or instance to choose."""


def dashboards() -> list[Any]:
    """Return each dashboard, named by its uid."""
    return [pytest.param(one, id=one["uid"]) for one in DASHBOARDS.values()]


def named(value: object) -> str:
    """Return what a query is called."""
    return value.where if isinstance(value, Target) else str(value)


PANELS = [pytest.param(panel, id=where) for where, panel in panels()]


def test_what_is_committed_is_what_is_generated() -> None:
    """The JSON that Grafana reads is fresh: generating it again changes nothing."""
    committed = {path.name: path.read_text() for path in FOLDER.iterdir()}

    assert committed == rendered()


def test_provisioning_and_dashboards_name_the_same_data_source() -> None:
    """What a dashboard chooses at first is what is provisioned."""
    text = text_of("grafana/provisioning/datasources/prometheus.yml")
    [source] = yaml.safe_load(text)["datasources"]
    for dashboard in DASHBOARDS.values():
        [chosen] = [
            one
            for one in dashboard["templating"]["list"]
            if one["type"] == "datasource"
        ]

        assert chosen["query"] == source["type"]
        assert chosen["current"]["value"] == source["uid"]
        assert chosen["current"]["text"] == source["name"]


def test_the_data_source_knows_the_scrape_interval() -> None:
    """`$__rate_interval` is made of the interval at which Prometheus really scrapes."""
    text = text_of("grafana/provisioning/datasources/prometheus.yml")
    [source] = yaml.safe_load(text)["datasources"]
    scraping = yaml.safe_load(text_of("grafana/prometheus/prometheus.yml"))

    assert source["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]


@pytest.mark.parametrize("dashboard", dashboards())
def test_dashboards_keep_the_habits(dashboard: dict[str, Any]) -> None:
    """Not editable, tagged, linked, described, and with the usual variables."""
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}

    assert dashboard["editable"] is False
    assert dashboard["tags"] == ["lumina"]
    assert dashboard["description"].endswith(".")
    assert [link["tags"] for link in dashboard["links"]] == [["lumina"]]
    assert list(variables)[:3] == ["datasource", "job", "instance"]
    for name in ("job", "instance"):
        assert variables[name]["multi"] is True
        assert variables[name]["includeAll"] is True
        assert variables[name]["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("dashboard", dashboards())
def test_panels_stand_beside_each_other(dashboard: dict[str, Any]) -> None:
    """No panel covers another or hangs over the edge, and each has its own id."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]),
                range(place["y"], place["y"] + place["h"]),
            )
        )

        assert place["x"] + place["w"] <= COLUMNS
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]

    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_explains_itself(panel: dict[str, Any]) -> None:
    """It has a title, a description, a unit, and the data source that is chosen."""
    assert panel["title"]
    assert len(panel["description"]) > len(panel["title"])
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("panel", PANELS)
def test_colours_can_be_told_apart(panel: dict[str, Any]) -> None:
    """Only the palette of Okabe and Ito, shades of one, or Cividis; none twice."""
    text = json.dumps(panel)
    mode = panel["fieldConfig"]["defaults"].get("color", {}).get("mode", "scheme")
    fixed = [
        one["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "color"
    ]

    assert set(re.findall(r"#[0-9a-fA-F]{6}", text)) <= PALETTE
    assert mode in {"fixed", "shades", "thresholds", "scheme"}
    assert len(set(fixed)) == len(fixed)
    if panel["type"] == "heatmap":
        assert panel["options"]["color"]["scheme"] == "Cividis"


@pytest.mark.parametrize("panel", PANELS)
def test_fixed_colours_are_of_series_that_a_query_names(panel: dict[str, Any]) -> None:
    """An override by name is for a legend that one of the panel's queries can give."""
    legends = [target["legendFormat"] for target in panel["targets"]]
    patterns = [re.sub(r"\\\{\\\{.*?\\\}\\\}", ".+", re.escape(one)) for one in legends]
    for override in panel["fieldConfig"]["overrides"]:
        name = override["matcher"]["options"]
        if panel["type"] == "timeseries":
            assert any(re.fullmatch(one, name) for one in patterns), name


@pytest.mark.parametrize("panel", PANELS)
def test_links_lead_to_dashboards_and_variables_that_exist(
    panel: dict[str, Any],
) -> None:
    """A link of a panel names a dashboard that there is, and variables that it has."""
    by_uid = {one["uid"]: one for one in DASHBOARDS.values()}
    for link in panel["fieldConfig"]["defaults"].get("links", ()):
        uid = link["url"].split("/d/")[1].split("?")[0]
        names = {one["name"] for one in by_uid[uid]["templating"]["list"]}
        used = set(re.findall(r"var-(\w+)=|\$\{(\w+):queryparam\}", link["url"]))
        labels = re.findall(r"__field\.labels\.(\w+)", link["url"])

        assert {one or other for one, other in used} <= names
        for label in labels:
            assert f"{{{{{label}}}}}" in panel["targets"][0]["legendFormat"]


@pytest.mark.parametrize("target", targets(), ids=named)
def test_queries_ask_for_what_is_chosen(target: Target) -> None:
    """Each selector asks for a job, and of proxies for those that are chosen."""
    for selector in selectors(target.expression):
        if selector.name.startswith(UNLABELLED):
            continue
        job = selector.matchers["job"]
        if job not in SERVICES:
            assert job == "$job"
            assert selector.matchers["instance"] == "$instance"
        if "rule" in selector.matchers and "$" in selector.matchers["rule"]:
            assert selector.matchers["rule"] == "$rule"


@pytest.mark.parametrize("target", targets(), ids=named)
def test_rates_are_over_enough_samples(target: Target) -> None:
    """Windows are what Grafana knows to be wide enough, and never a fixed time."""
    windows = re.findall(r"\[([^\]]+)\]", target.expression)

    assert set(windows) <= {"$__rate_interval", "$__range"}


@pytest.mark.parametrize("target", targets(), ids=named)
def test_counters_are_not_shown_as_they_are(target: Target) -> None:
    """What only grows is shown by how fast it does."""
    for selector in selectors(target.expression):
        if re.search(r"_(total|count|sum|bucket)$", selector.name):
            gauge = selector.name == "pg_stat_activity_count"
            assert gauge or selector.function in COUNTED, selector.name


def classes() -> list[str]:
    """Return the patterns of reasons that the panel "Decisions" adds up."""
    panel = dict(panels())["security: Decisions"]
    return [
        selector.matchers["reason"]
        for target in panel["targets"]
        for selector in selectors(target["expr"])
    ]


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.slug)
def test_every_reason_has_its_place(reason: Reason) -> None:
    """A request counts once in "Decisions", or it is a failure of ours in Overview."""
    [target] = dict(panels())["overview: Failures by reason"]["targets"]
    [failed] = selectors(target["expr"])
    patterns = [*classes(), failed.matchers["reason"]]

    assert sum(bool(re.fullmatch(one, reason.slug)) for one in patterns) == 1


def test_alerts_know_every_way_in_which_a_token_is_no_good() -> None:
    """Refused tokens are recorded by each reason of 401 but that there is none."""
    name = "reason:lumina_tokens_refused:rate5m"
    [rule] = [rule for _, _, rule in rules() if rule.get("record") == name]
    [selector] = selectors(rule["expr"])
    unauthorised = {reason.slug for reason in Reason if reason.status == 401}

    assert set(selector.matchers["reason"].split("|")) == (
        unauthorised - {Reason.TOKEN_MISSING.slug}
    )
