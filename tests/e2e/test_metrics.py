"""The metrics of a running proxy: what tools say of them, and that they add up."""

import asyncio
import dataclasses
import re
import subprocess
from collections import Counter
from collections.abc import Iterable

import aiohttp
import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.e2e.conftest import Stack
from tests.e2e.test_story import TESS, Person

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


async def live(session: aiohttp.ClientSession, stack: Stack) -> int:
    """Let people use the service in many ways; return how many requests that took."""
    tess, sam, nobody = (Person(session, stack) for _ in range(3))
    await tess.log_in(TESS)
    await sam.log_in({**TESS, "email": "sam@example.org", "role": "student"})
    asked = [
        await tess.ask("POST", "/api/users", {"email": "a@b.org", "name": "Ada"}),
        await tess.ask("GET", "/api/users"),
        await tess.ask("POST", "/api/pathways", {"title": "Fractions"}),
        await sam.ask("POST", "/api/pathways", {"title": "Decimals"}),
        await sam.ask("POST", "/api/pathways", {"title": ""}),
        await sam.ask("POST", "/api/users", {"email": "c@d.org", "name": "Eve"}),
        await sam.ask("GET", "/nowhere"),
        await nobody.ask("GET", "/api/users"),
        await nobody.ask("DELETE", "/api/pathways"),
        *[await nobody.ask("POST", "/api/auth/login", {}) for _ in range(4)],
    ]
    return 4 + len(asked)


async def scrape(session: aiohttp.ClientSession, stack: Stack, accept: str) -> str:
    """Return the exposition in a format."""
    address = f"http://127.0.0.1:{stack.metrics}/metrics"
    async with session.get(address, headers={"Accept": accept}) as response:
        return await response.text()


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a proxy showed after people had used it.

    Attributes:
        count: how many requests they made.
        text: the exposition in the text format.
        openmetrics: the same in OpenMetrics.
    """

    count: int
    text: str
    openmetrics: str


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """What one proxy shows to all tests."""
    stack = Stack(tmp_path_factory.mktemp("stack"), {})

    async def use() -> Shown:
        async with aiohttp.ClientSession() as session:
            count = await live(session, stack)
            text = await scrape(session, stack, "")
            return Shown(count, text, await scrape(session, stack, OPENMETRICS))

    try:
        stack.start()
        return asyncio.run(use())
    finally:
        stack.stop()


def ours(families: Iterable[Metric]) -> dict[str, Metric]:
    """Return the families of the proxy by name."""
    return {one.name: one for one in families if one.name.startswith("lumina_")}


def by(family: Metric, label: str) -> dict[str, float]:
    """Return the sums of a counter by one label."""
    sums: Counter[str] = Counter()
    for sample in family.samples:
        sums[sample.labels[label]] += int(sample.value)
    return dict(sums)


def promtool(exposition: str) -> tuple[int, str]:
    """Return exit status and output of Prometheus's own linter."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposition,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_promtool_has_nothing_to_say(shown: Shown) -> None:
    """It reads every family and finds no fault with any; with others it does."""
    assert promtool("lumina_milliseconds_count 1\n")[0] != 0

    assert promtool(shown.text) == (0, "")


def test_every_request_is_counted_once_everywhere(shown: Shown) -> None:
    """Decisions and all three histograms agree on how many there were, and of what."""
    families = ours(parse_text(shown.text))
    decisions = by(families["lumina_decisions"], "reason")

    assert sum(decisions.values()) == shown.count
    assert decisions.pop("served") == 12
    assert decisions == {
        "role-not-allowed": 1,
        "no-rule": 1,
        "token-missing": 1,
        "method-not-allowed": 1,
        "rate-limited": 1,
    }
    assert by(families["lumina_limiter_takes"], "outcome")["refused"] == 1
    for name, expected in {
        "lumina_request_duration_seconds": shown.count,
        "lumina_overhead_seconds": shown.count,
        "lumina_upstream_duration_seconds": 12,
    }.items():
        counts = [one for one in families[name].samples if one.name == f"{name}_count"]
        assert sum(one.value for one in counts) == expected
    [generated] = families["lumina_pathways_generated"].samples
    [people] = families["lumina_active_users"].samples
    assert (generated.value, people.value) == (2.0, 2.0)


def test_both_formats_are_read_by_strict_parsers(shown: Shown) -> None:
    """OpenMetrics' parser checks buckets, units and names; both show one truth."""
    text = ours(parse_text(shown.text))
    openmetrics = ours(parse_openmetrics(shown.openmetrics))  # type: ignore[no-untyped-call]

    assert shown.openmetrics.endswith("# EOF\n")
    assert text.keys() == openmetrics.keys()
    for name, family in text.items():
        assert (family.type, family.documentation, len(family.samples)) == (
            openmetrics[name].type,
            openmetrics[name].documentation,
            len(openmetrics[name].samples),
        )


def test_no_person_is_in_the_metrics(shown: Shown) -> None:
    """Neither addresses, names nor paths of requests become labels."""
    found = re.findall(r"tess|sam@|example\.org|Ada|nowhere|/api/", shown.text)

    assert found == []
