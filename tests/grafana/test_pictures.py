"""Grafana's own components draw every panel, in a real browser."""

from pathlib import Path

import pytest

from grafana.generate.dashboards import DASHBOARDS
from tests.grafana.pictures import Studio
from tests.grafana.promql import selectors
from tests.grafana.story import Story
from tests.grafana.test_live import ELSEWHERE

pytestmark = pytest.mark.grafana

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Bundle the page once."""
    return Studio(tmp_path_factory.mktemp("studio"))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_is_drawn(
    name: str, studio: Studio, story: Story, tmp_path: Path
) -> None:
    """No panel fails, each shows lines, cells, bars or text, and the picture is one."""
    picture = tmp_path / "dashboard.png"
    seen = studio.draw(name, story, picture)

    assert seen["errors"] == []
    for panel in DASHBOARDS[name]["panels"]:
        if panel["type"] == "row":
            continue
        drawn = seen["drawn"][panel["title"]]
        used = {
            one.name for target in panel["targets"] for one in selectors(target["expr"])
        }
        lacking = bool(used & ELSEWHERE.keys())

        assert ("No data" in drawn["text"]) == lacking, panel["title"]
        if not lacking:
            match panel["type"]:
                case "timeseries":
                    assert drawn["ink"] > 500, panel["title"]
                case "heatmap":
                    assert drawn["shapes"] > 20, panel["title"]
                case _:
                    assert drawn["text"].removeprefix(panel["title"]).strip()
    assert picture.read_bytes().startswith(PNG)
