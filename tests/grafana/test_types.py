"""The dashboards against Grafana's own types, by TypeScript's compiler.

Its schema knows a panel's common keys and, for each kind of panel, its options and what
is special about its fields. What is wrong on purpose must be found, too.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from grafana.generate.dashboards import DASHBOARDS
from tests.documents import ROOT
from tests.grafana.promql import panels

pytestmark = pytest.mark.grafana

MODULES = ROOT / "grafana/node_modules"

KINDS = {
    "timeseries": ("TimeSeriesPanelCfg", True),
    "stat": ("StatPanelCfg", False),
    "bargauge": ("BarGaugePanelCfg", False),
    "heatmap": ("HeatmapPanelCfg", True),
    "table": ("TablePanelCfg", True),
}
"""A kind of panel to where its options are, and whether its fields have any."""

# JSON has strings where the types have members of enumerations.
PROLOGUE = """
import type { AnnotationQuery, Dashboard, Panel } from "@grafana/schema";
type Json<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Json<U>[]
  : T extends object ? { [K in keyof T]: Json<T[K]> }
  : T;
// What Grafana's Prometheus plugin adds to an annotation, which the schema leaves open.
interface Annotation extends Omit<AnnotationQuery, "target"> {
  target: { refId: string; expr: string };
  titleFormat: string; textFormat: string; useValueForTime: "on" | "off";
}
interface Whole extends Omit<Dashboard, "annotations"> {
  annotations: { list: Annotation[] };
}
"""


def run(*command: str | Path, folder: Path) -> str:
    """Return what a program of npm's packages writes; it must exit 0."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def import_of(kind: str) -> str:
    """Return the lines that give the types of a kind of panel a name."""
    name, special = KINDS[kind]
    place = f"@grafana/schema/dist/esm/raw/composable/{kind}/panelcfg/x"
    fields = f", FieldConfig as {kind}Fields" if special else ""
    also = "" if special else f"type {kind}Fields = Record<string, never>;\n"
    return (
        f"import type {{ Options as {kind}Options{fields} }} "
        f'from "{place}/{name}_types.gen";\n{also}'
    )


def constant(name: str, type_: str, value: object, *, wrong: bool = False) -> str:
    """Return the declaration of a value of a type, or of one that must not be."""
    text = json.dumps(value) if wrong else json.dumps(value, indent=1)
    expected = "// @ts-expect-error\n" if wrong else ""
    return f"{expected}const {name}: Json<{type_}> = {text};\n"


def typed(number: int, panel: dict[str, Any]) -> str:
    """Return the declarations for one panel."""
    kind = panel["type"]
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    return "".join(
        [
            constant(f"panel{number}", "Panel", panel),
            constant(f"options{number}", f"{kind}Options", panel["options"]),
            constant(f"fields{number}", f"{kind}Fields", custom),
        ]
    )


def mistaken() -> str:
    """Return declarations with a mistake each."""
    dashboard = DASHBOARDS["slo.json"]
    _, panel = next(one for one in panels() if one[1]["type"] == "timeseries")
    options = {**panel["options"], "tooltip": {"mode": "many", "sort": "desc"}}
    custom = {**panel["fieldConfig"]["defaults"]["custom"], "showPoints": "seldom"}
    wrong: list[tuple[str, object]] = [
        ("Whole", {**dashboard, "refresh": 5}),
        ("Whole", {**dashboard, "autoRefresh": "5s"}),
        ("Panel", {**panel, "desciption": "misspelt"}),
        ("timeseriesOptions", options),
        ("timeseriesOptions", {"legend": panel["options"]["legend"]}),
        ("timeseriesFields", custom),
    ]
    return "".join(
        constant(f"wrong{number}", name, value, wrong=True)
        for number, (name, value) in enumerate(wrong)
    )


def test_grafanas_types_accept_the_dashboards(tmp_path: Path) -> None:
    """Every key and every value of the JSON is one that Grafana's schema knows."""
    (tmp_path / "node_modules").symlink_to(MODULES)
    source = tmp_path / "check.ts"
    source.write_text(
        "".join(import_of(kind) for kind in KINDS)
        + PROLOGUE
        + "".join(
            constant(f"dashboard{number}", "Whole", dashboard)
            for number, dashboard in enumerate(DASHBOARDS.values())
        )
        + "".join(typed(number, panel) for number, (_, panel) in enumerate(panels()))
        + mistaken(),
        encoding="utf-8",
    )

    told = run(
        MODULES / ".bin/tsc",
        *("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022"),
        *("--module", "esnext", "--moduleResolution", "bundler"),
        source,
        folder=tmp_path,
    )

    assert told == ""


def test_grafana_knows_the_units(tmp_path: Path) -> None:
    """Each unit is in Grafana's own list, so that none is shown as a bare number."""
    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "units.mjs").write_text(
        'import { getValueFormats } from "@grafana/data";\n'
        "const units = getValueFormats().flatMap((one) => one.submenu);\n"
        "console.log(JSON.stringify(units.map((one) => one.value)));\n"
    )
    run(
        MODULES / ".bin/esbuild",
        *("units.mjs", "--bundle", "--platform=node", "--outfile=units.cjs"),
        '--banner:js=globalThis.navigator ??= { languages: ["en"] };',
        "--log-level=error",
        folder=tmp_path,
    )
    known = set(json.loads(run("node", "units.cjs", folder=tmp_path)))
    used = {panel["fieldConfig"]["defaults"]["unit"] for _, panel in panels()}

    assert used - known == set()
