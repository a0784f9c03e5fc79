"""What tests of core share: a note of which test module ran which line."""

from collections.abc import Iterator

import coverage
import pytest


@pytest.fixture(scope="module", autouse=True)
def own_context(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measure under the name of the test module; ``tests/own_coverage.py`` reads it."""
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.switch_context(request.path.stem)
    yield
    if measuring is not None:
        measuring.switch_context("")
