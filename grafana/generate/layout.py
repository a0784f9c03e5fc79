"""Where panels stand, and what is around them: variables, annotations, links."""

from collections.abc import Mapping, Sequence

from grafana.generate.panels import DATASOURCE, GREY, PROXIES, PURPLE, Json, Panel

DEFAULT_DATASOURCE = {"text": "Prometheus", "value": "lumina-prometheus"}
"""As grafana/provisioning names it."""

COLUMNS = 24
"""How many a dashboard is wide, in Grafana."""


def variable(
    name: str, label: str, values: str, *, everything: str, default: str = "$__all"
) -> Json:
    """Return a variable of a label's values; ``everything`` is what All matches."""
    shown = "All" if default == "$__all" else default
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": values, "refId": f"Variable-{name}"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": everything,
        "current": {"selected": True, "text": [shown], "value": [default]},
        "hide": 0,
    }


def variables(*, rule: bool) -> list[Json]:
    """Return the variables that every dashboard has, and perhaps the policy's rules."""
    found = [
        {
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "current": {"selected": True, **DEFAULT_DATASOURCE},
            "hide": 0,
        },
        variable("job", "Job", "label_values(lumina_build_info, job)", everything=".+"),
        variable(
            "instance",
            "Proxy",
            'label_values(lumina_build_info{job=~"$job"}, instance)',
            everything=".+",
        ),
    ]
    if rule:
        found.append(
            variable(
                "rule",
                "Rule",
                'label_values(lumina_decisions_total{job=~"$job"}, rule)',
                everything=".*",
            )
        )
    return found


def _annotation(name: str, expression: str, color: str) -> Json:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "target": {
            "refId": "Annotation",
            "expr": expression.replace("{@", "{" + PROXIES),
        },
        "useValueForTime": "on",
        "titleFormat": name,
        "textFormat": "{{instance}}",
    }


def _placed(panel: Panel, number: int, x: int, y: int, width: int) -> Json:
    targets = [
        {**target, "refId": chr(ord("A") + at)}
        for at, target in enumerate(panel.targets)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": panel.height},
        "targets": targets,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, **panel.defaults},
            "overrides": list(panel.overrides),
        },
        "options": panel.options,
        "transformations": list(panel.transformations),
    }


def _laid_out(rows: Mapping[str, Sequence[Panel]]) -> list[Json]:
    """Return the panels, each row's from left to right under its heading."""
    placed: list[Json] = []
    y = 0
    for title, panels in rows.items():
        placed.append(
            {
                "id": len(placed) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
                "panels": [],
            }
        )
        x, y, tallest = 0, y + 1, 0
        sharing = sum(not panel.width for panel in panels)
        for panel in panels:
            width = panel.width or COLUMNS // sharing
            if x + width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            placed.append(_placed(panel, len(placed) + 1, x, y, width))
            x, tallest = x + width, max(tallest, panel.height)
        y += tallest
    return placed


def dashboard(
    uid: str,
    title: str,
    description: str,
    rows: Mapping[str, Sequence[Panel]],
    *,
    rule: bool = False,
    since: str = "now-6h",
) -> Json:
    """Return a dashboard of rows of panels, linked to the others by their tag."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["lumina"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": since, "to": "now"},
        "links": [
            {
                "type": "dashboards",
                "title": "lumina",
                "tags": ["lumina"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "The other dashboards, for the same time and proxies",
            }
        ],
        "annotations": {
            "list": [
                _annotation(
                    "Policy loaded or refused",
                    "1000 * lumina_policy_last_reload_timestamp_seconds{@}",
                    PURPLE,
                ),
                _annotation(
                    "Proxy started", "1000 * process_start_time_seconds{@}", GREY
                ),
            ]
        },
        "templating": {"list": variables(rule=rule)},
        "panels": _laid_out(rows),
    }
