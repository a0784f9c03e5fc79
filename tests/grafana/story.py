"""What happens in front of those who watch, and what Prometheus has seen of it."""

import dataclasses
import signal
import time

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
        began: epoch seconds; before that, nothing was measured.
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


def hook_urls(hooks: Hooks) -> dict[str, str]:
    """Return the URL of each receiver by the name of the secret that holds it."""
    return {f"alertmanager_{name}_url": hooks.url(name) for name in RECEIVERS}


def tell(stand: Stand, hooks: Hooks, seconds: float) -> Story:
    """Let everything happen: ``seconds`` of everyday, then one mishap after another."""
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
    return Story(stand, hooks, began, time.time())


def filled_in(expression: str, story: Story) -> str:
    """Return an expression with a value for each of Grafana's variables."""
    for name, value in {
        "$__rate_interval": "5s",
        "$__interval": "1s",
        "$__range": f"{story.seconds}s",
        '"$job"': '"proxy"',
        '"$instance"': '".+"',
        '"$rule"': '".*"',
    }.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression
