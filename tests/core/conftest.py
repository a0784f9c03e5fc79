"""What tests of core share: a note of which test module ran which line."""

from collections.abc import Generator, Iterator

import coverage
import pytest


def measure_as(context: str) -> None:
    """Note from now on that lines are run by ``context``, if anybody measures."""
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.switch_context(context)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Measure what a test module runs while it is imported under its name."""
    measure_as(collector.path.stem if isinstance(collector, pytest.Module) else "")
    try:
        return (yield)
    finally:
        measure_as("")


@pytest.fixture(scope="module", autouse=True)
def own_context(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measure under the name of the test module; ``tests/own_coverage.py`` reads it."""
    measure_as(request.path.stem)
    yield
    measure_as("")
