"""One story for all tests that watch: what happened, and what was seen of it."""

import dataclasses
import signal
import time
from collections.abc import Iterator

import pytest

from tests.grafana.hooks import Hooks
from tests.grafana.stand import Stand
from tests.grafana.traffic import Traffic, for_seconds

RECEIVERS = ("page", "ticket", "watchdog")


@dataclasses.dataclass(frozen=True, slots=True)
class Story:
    """What was left when everything had happened.

    Attributes:
        stand: it still runs, but for the LMS and Redis.
        hooks: what Alertmanager's receivers got.
        began: epoch seconds.
        ended: epoch seconds.
    """

    stand: Stand
    hooks: Hooks
    began: float
    ended: float

    def range(self, expression: str) -> list[list[float]]:
        """Return the values of each series of an expression, over the whole story."""
        data = self.stand.ask(
            "query_range",
            query=expression,
            start=str(self.began),
            end=str(self.ended),
            step="1",
        )
        return [[float(value) for _, value in one["values"]] for one in data["result"]]

    @property
    def seconds(self) -> int:
        """How long it took."""
        return int(self.ended - self.began) + 1


def tell(stand: Stand, hooks: Hooks, seconds: float) -> float:
    """Let everything happen: ``seconds`` of everyday, then one mishap after another.

    Returns:
        When it began, in epoch seconds: before that, nothing was measured.
    """
    traffic = Traffic(stand)
    stand.wait_for_jobs()
    began = time.time()
    for_seconds(seconds, traffic)
    traffic.lose_redis()
    traffic.lose_the_backend()
    # Somebody makes a mistake in the policy, and mends it.
    policy = stand.policies / "lms.yaml"
    good = policy.read_text(encoding="utf-8")
    policy.write_text(good + "\nno: such key\n", encoding="utf-8")
    stand.stack.proxy.send_signal(signal.SIGHUP)
    hooks.wait("WARNING LuminaPolicyReloadRefused")
    policy.write_text(good, encoding="utf-8")
    stand.stack.proxy.send_signal(signal.SIGHUP)
    hooks.wait("RESOLVED LuminaPolicyReloadRefused")
    for name in ("RedisDown", "LuminaBackendDown", "Watchdog"):
        hooks.wait(name)
    return began


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Run the whole stand, once."""
    with Hooks().listening() as hooks:
        urls = {f"alertmanager_{name}_url": hooks.url(name) for name in RECEIVERS}
        folder = tmp_path_factory.mktemp("stand")
        with Stand(folder, urls).running() as stand:
            began = tell(stand, hooks, 8)
            yield Story(stand, hooks, began, time.time())
