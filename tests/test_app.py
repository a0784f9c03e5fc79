"""The life of the process, as far as one test can see it from inside."""

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.app import App
from proxy.settings import Settings

POLICY = """\
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9"]}}
rules: [{id: home, match: GET /, allow: anyone}]
"""


@pytest.fixture
async def built(tmp_path: Path) -> AsyncIterator[App]:
    """An app that is put together and does not listen yet."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    environment = {
        "LISTEN": "127.0.0.1:0",
        "METRICS_LISTEN": "127.0.0.1:0",
        "POLICY": str(tmp_path),
        "ENCRYPTION_KEY": "A" * 43,
        "DRAIN_GRACE": "0",
    }
    thresholds = gc.get_threshold()
    app = App(Settings.read(environment), environment)
    app._build(app._source.load())
    yield app
    await app._stop()
    gc.unfreeze()
    gc.set_threshold(*thresholds)


async def test_ready_means_that_the_data_port_accepts(built: App) -> None:
    """Neither before it listens nor once it drains is the process ready."""
    before = built._ready()[0]
    await built._start()
    serving = built._ready()[0]
    built._listener.stop_accepting()
    after = built._ready()[0]

    assert (before, serving, after) == (False, True, False)
