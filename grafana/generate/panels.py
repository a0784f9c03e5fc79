"""What dashboards are made of: a few kinds of panel, and the habits that all share.

In an expression ``{@}``, or ``{@, more="…"}``, stands for the proxies that the
variables ``job`` and ``instance`` choose. All else is PromQL as Prometheus reads it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

# Okabe and Ito, "Color Universal Design": told apart by people who see fewer colours,
# and never the only thing that tells two series apart, for each has its legend.
BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
ORANGE = "#E69F00"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#999999"

PROXIES = 'job=~"$job", instance=~"$instance"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel without its place.

    Attributes:
        kind: Grafana's name of the visualisation.
        title: what it shows.
        description: the question it answers, and when to worry.
        targets: its queries.
        unit: Grafana's name of the unit.
        width: in columns; 0 for an equal share with the others of width 0.
        height: in rows of 30 pixels.
        defaults: of its fields, beside the unit.
        overrides: for fields of some name.
        options: of the visualisation.
        transformations: of what the queries return.
    """

    kind: str
    title: str
    description: str
    targets: Sequence[Json]
    unit: str
    width: int
    height: int
    options: Json
    defaults: Json
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()


def query(
    expression: str,
    legend: str = "",
    *,
    instant: bool = False,
    form: str = "time_series",
) -> Json:
    """Return a query; ``legend`` names its series, ``{{label}}`` filled in."""
    return {
        "datasource": DATASOURCE,
        "expr": expression.replace("{@", "{" + PROXIES),
        "legendFormat": legend or "__auto",
        "format": form,
        "instant": instant,
        "range": not instant,
    }


def steps(*levels: tuple[float | None, str]) -> Json:
    """Return thresholds: each colour from its value on; the first value is None."""
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": color} for value, color in levels],
    }


def _colored(colors: Mapping[str, str]) -> list[Json]:
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [
                {"id": "color", "value": {"mode": "fixed", "fixedColor": color}}
            ],
        }
        for name, color in colors.items()
    ]


def to_rule(label: str = "rule") -> Json:
    """Return a link of a series to what the Application dashboard says of its rule."""
    return {
        "title": "This rule in Application",
        "url": "/d/lumina-application?${__url_time_range}&${datasource:queryparam}"
        "&${job:queryparam}&${instance:queryparam}"
        f"&var-rule=${{__field.labels.{label}}}",
        "targetBlank": False,
    }


def lines(
    title: str,
    description: str,
    *targets: Json,
    unit: str,
    colors: Mapping[str, str] | None = None,
    shade: str = BLUE,
    stacked: bool = False,
    limits: Json | None = None,
    least: float | None = 0,
    most: float | None = None,
    links: Sequence[Json] = (),
    width: int = 12,
) -> Panel:
    """Return lines over time.

    Args:
        title: of the panel.
        description: of the panel.
        targets: the queries.
        unit: of all of them.
        colors: by the names of series, when these are known.
        shade: of which all others are lighter and darker ones.
        stacked: whether areas stand on each other.
        limits: drawn as lines across.
        least: the lower end of the axis; None for what there is.
        most: the upper end, in the same way.
        links: of every series.
        width: in columns.
    """
    defaults: Json = {
        "color": {"mode": "shades", "fixedColor": shade},
        "custom": {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if limits else "off"},
        },
    }
    if least is not None:
        defaults["min"] = least
    if most is not None:
        defaults["max"] = most
    if limits is not None:
        defaults["thresholds"] = limits
    if links:
        defaults["links"] = list(links)
    return Panel(
        kind="timeseries",
        title=title,
        description=description,
        targets=targets,
        unit=unit,
        width=width,
        height=8,
        defaults=defaults,
        overrides=_colored(colors or {}),
        options={
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
                "calcs": ["max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def number(
    title: str,
    description: str,
    target: Json,
    *,
    unit: str,
    limits: Json | None = None,
    words: Mapping[str, tuple[str, str]] | None = None,
    spark: bool = True,
    text: str = "auto",
) -> Panel:
    """Return one number, as wide as there is room for the numbers of its row.

    Args:
        title: of the panel.
        description: of the panel.
        target: the query.
        unit: of the number.
        limits: which change its colour; None keeps it blue.
        words: a value to (word, colour), for what is no number to people.
        spark: whether its course is drawn behind it.
        text: "auto", or "name" to show the series' name.
    """
    mappings = [
        {
            "type": "value",
            "options": {
                value: {"text": word, "color": color, "index": index}
                for index, (value, (word, color)) in enumerate((words or {}).items())
            },
        }
    ]
    return Panel(
        kind="stat",
        title=title,
        description=description,
        targets=[target],
        unit=unit,
        width=0,
        height=4,
        defaults={
            "color": {"mode": "thresholds"},
            "thresholds": limits or steps((None, BLUE)),
            "mappings": mappings if words else [],
            "noValue": "-",
        },
        options={
            "colorMode": "value",
            "graphMode": "area" if spark else "none",
            "justifyMode": "auto",
            "textMode": text,
            "wideLayout": True,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
            "orientation": "auto",
            "reduceOptions": {
                "calcs": ["lastNotNull"],
                "fields": "",
                "values": False,
            },
        },
    )


def bars(
    title: str,
    description: str,
    target: Json,
    *,
    unit: str,
    links: Sequence[Json] = (),
    width: int = 12,
    height: int = 8,
) -> Panel:
    """Return a bar for each series, so that names and not colours tell them apart."""
    return Panel(
        kind="bargauge",
        title=title,
        description=description,
        targets=[target],
        unit=unit,
        width=width,
        height=height,
        defaults={
            "color": {"mode": "fixed", "fixedColor": BLUE},
            "min": 0,
            **({"links": list(links)} if links else {}),
        },
        options={
            "displayMode": "basic",
            "orientation": "horizontal",
            "namePlacement": "left",
            "showUnfilled": True,
            "sizing": "auto",
            "minVizHeight": 12,
            "minVizWidth": 8,
            "maxVizHeight": 24,
            "valueMode": "text",
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": False,
                "calcs": [],
            },
            "reduceOptions": {
                "calcs": ["lastNotNull"],
                "fields": "",
                "values": False,
            },
        },
    )


def heat(
    title: str, description: str, histogram: str, *, unit: str, width: int = 12
) -> Panel:
    """Return how a histogram changes: time to the right, buckets upwards."""
    return Panel(
        kind="heatmap",
        title=title,
        description=description,
        targets=[
            query(
                f"sum by (le) (increase({histogram}_bucket{{@}}[$__rate_interval]))",
                "{{le}}",
                form="heatmap",
            )
        ],
        unit=unit,
        width=width,
        height=8,
        defaults={"custom": {"scaleDistribution": {"type": "linear"}}},
        options={
            "calculate": False,
            "cellGap": 1,
            "cellValues": {"unit": "short"},
            "color": {
                "mode": "scheme",
                "scheme": "Cividis",
                "scale": "exponential",
                "exponent": 0.5,
                "fill": BLUE,
                "reverse": False,
                "steps": 64,
            },
            "exemplars": {"color": ORANGE},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
        },
    )


def table(
    title: str,
    description: str,
    target: Json,
    *,
    unit: str,
    columns: Mapping[str, str],
    width: int = 12,
    height: int = 8,
) -> Panel:
    """Return a table of an instant query; ``columns`` is label to heading, in order."""
    return Panel(
        kind="table",
        title=title,
        description=description,
        targets=[{**target, "format": "table", "instant": True, "range": False}],
        unit="none",
        width=width,
        height=height,
        defaults={
            "color": {"mode": "fixed", "fixedColor": BLUE},
            "custom": {
                "align": "auto",
                "cellOptions": {"type": "auto"},
                "inspect": False,
            },
        },
        overrides=[
            {
                "matcher": {"id": "byName", "options": columns["Value"]},
                "properties": [{"id": "unit", "value": unit}],
            }
        ],
        options={
            "cellHeight": "sm",
            "showHeader": True,
            "frameIndex": 0,
            "sortBy": [{"displayName": columns["Value"], "desc": True}],
        },
        transformations=[
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "indexByName": {name: at for at, name in enumerate(columns)},
                    "renameByName": dict(columns),
                },
            }
        ],
    )
