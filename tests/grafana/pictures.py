"""Draws the dashboards: ``python -m tests.grafana.pictures``.

From what a stand has measured, with Grafana's own drawing code in headless Chromium.
It shows units, legends, colours and shapes as Grafana would; it is not Grafana, and
proves nothing of its provisioning.
"""

import html
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from grafana.generate.dashboards import DASHBOARDS
from tests.e2e.conftest import ROOT
from tests.grafana.hooks import Hooks
from tests.grafana.stand import Stand
from tests.grafana.story import Story, filled_in, hook_urls, tell

PICTURES = ROOT / "grafana/pictures"
MODULES = ROOT / "grafana/node_modules"
SECONDS = 75.0
WIDTH = 1600
ROW_PIXELS = 38
"""As draw.jsx has them."""

_CHROMIUM = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--hide-scrollbars"),
    *("--disable-component-update", "--disable-sync", "--allow-file-access-from-files"),
    "--virtual-time-budget=6000",
)


def answers(dashboard: dict[str, Any], story: Story) -> dict[int, list[dict[str, Any]]]:
    """Return what each panel's queries answer, as draw.jsx wants it."""
    found: dict[int, list[dict[str, Any]]] = {}
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            continue
        found[panel["id"]] = [
            {
                "refId": target["refId"],
                "legend": target["legendFormat"],
                "series": _series(target, story),
            }
            for target in panel["targets"]
        ]
    return found


def _series(target: dict[str, Any], story: Story) -> list[dict[str, Any]]:
    expression = filled_in(target["expr"], story)
    if target["instant"]:
        data = story.stand.ask("query", query=expression, time=str(story.ended))
        rows = [(one["metric"], [one["value"]]) for one in data["result"]]
    else:
        data = story.stand.ask(
            "query_range",
            query=expression,
            start=str(story.began),
            end=str(story.ended),
            step="1",
        )
        rows = [(one["metric"], one["values"]) for one in data["result"]]
    return [
        {
            "labels": labels,
            "times": [1000 * float(at) for at, _ in points],
            "values": [None if value == "NaN" else float(value) for _, value in points],
        }
        for labels, points in rows
    ]


class Studio:
    """Where pictures are made.

    Args:
        folder: for the bundle, its pages and the browser's profile.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        subprocess.run(
            [
                *(MODULES / ".bin/esbuild", Path(__file__).with_name("draw.jsx")),
                *("--bundle", f"--outfile={folder / 'draw.js'}", "--jsx=automatic"),
                *("--loader:.svg=text", "--loader:.woff2=dataurl"),
                *("--loader:.ttf=dataurl", "--loader:.png=dataurl"),
                *('--define:process.env.NODE_ENV="production"', "--log-level=error"),
            ],
            check=True,
            env={"NODE_PATH": str(MODULES), "PATH": "/usr/bin:/bin"},
        )

    def draw(self, name: str, story: Story, picture: Path) -> dict[str, Any]:
        """Draw a dashboard; return what is on the page: panels, and errors."""
        dashboard = DASHBOARDS[name]
        document = {
            "dashboard": dashboard,
            "from": 1000 * story.began,
            "to": 1000 * story.ended,
            "answers": answers(dashboard, story),
        }
        page = self._folder / f"{name}.html"
        data = json.dumps(document).replace("<", "\\u003c")
        page.write_text(
            '<!doctype html><meta charset="utf-8">'
            '<link rel="stylesheet" href="draw.css"><body>'
            f"<script>window.STORY = {data};</script>"
            '<script src="draw.js"></script>',
            encoding="utf-8",
        )
        tallest = max(
            panel["gridPos"]["y"] + panel["gridPos"]["h"]
            for panel in dashboard["panels"]
        )
        profile = f"--user-data-dir={self._folder / 'profile'}"
        size = f"--window-size={WIDTH},{tallest * ROW_PIXELS + 60}"
        url = page.as_uri()
        self._run(*_CHROMIUM, profile, size, f"--screenshot={picture}", url)
        seen = self._run(*_CHROMIUM, profile, size, "--dump-dom", url)
        found = re.search(r'<script [^>]*id="drawn">(.*?)</script>', seen, re.DOTALL)
        assert found, seen[-500:]
        return dict(json.loads(html.unescape(found[1])))

    @staticmethod
    def _run(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout


def main() -> int:
    """Watch a stand for a while, and put a picture of each dashboard in its folder."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        Hooks().listening() as hooks,
        Stand(Path(folder), hook_urls(hooks)).running() as stand,
    ):
        sys.stderr.write(f"Watching real services for {SECONDS:.0f} s ...\n")
        story = tell(stand, hooks, SECONDS)
        studio = Studio(Path(folder))
        for name in DASHBOARDS:
            picture = PICTURES / f"{Path(name).stem}.png"
            studio.draw(name, story, picture)
            sys.stdout.write(f"{picture}\n")
    sys.stderr.write(f"Done in {time.monotonic() - began:.0f} s.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
