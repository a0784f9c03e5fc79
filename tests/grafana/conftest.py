"""One story for all tests that watch."""

from collections.abc import Iterator

import pytest

from tests.grafana.hooks import Hooks
from tests.grafana.stand import Stand
from tests.grafana.story import Story, hook_urls, tell


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Run the whole stand, once."""
    folder = tmp_path_factory.mktemp("stand")
    with (
        Hooks().listening() as hooks,
        Stand(folder, hook_urls(hooks)).running() as stand,
    ):
        yield tell(stand, hooks, 8)
