"""All dashboards, and the files they are in."""

import json
from pathlib import Path

from grafana.generate import application, overview, security, slo

FOLDER = Path(__file__).resolve().parent.parent / "dashboards"
DASHBOARDS = {
    "overview.json": overview.DASHBOARD,
    "application.json": application.DASHBOARD,
    "security.json": security.DASHBOARD,
    "slo.json": slo.DASHBOARD,
}


def rendered() -> dict[str, str]:
    """Return the text of each file by its name."""
    return {
        name: json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
        for name, dashboard in DASHBOARDS.items()
    }
