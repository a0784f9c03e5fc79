"""``lumina-proxy policy``: the way back, as it is gone when something went wrong."""

import json
import re
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.__main__ import main
from proxy.core.policy_parser import digest_of
from proxy.edge.policy_history import PolicyHistory
from tests.proxy_process import POLICY, ProxyProcess, proxy_process
from tests.wire import eventually

OTHER = POLICY + "  - {id: about, match: GET /about, allow: anyone}\n"
POLL = "0.05"


def run(*arguments: str, state: Path, **environment: str) -> Result:
    """Run the command."""
    env = {"POLICY_STATE": str(state), "METRICS_URL": "", **environment}
    return CliRunner().invoke(main, ["policy", *arguments], env=env)


def digest(proxy: ProxyProcess) -> str:
    """Return the digest in force."""
    found: str = proxy.ask("/policy")[1]["digest"]
    return found


async def test_rollback_takes_force_and_stays(tmp_path: Path) -> None:
    """Within a look or two, over a restart, and until it is released."""
    state = tmp_path / "state"
    settings = {"POLICY_STATE": str(state), "POLICY_POLL": POLL}
    with proxy_process(tmp_path, **settings) as proxy:
        good = digest(proxy)
        proxy.policy.write_text(OTHER)
        await eventually(lambda: digest(proxy) != good)
        other = digest(proxy)
        # It is kept just after it came into force.
        await eventually(lambda: other in run("history", state=state).output)
        url = f"http://127.0.0.1:{proxy.metrics}"
        result = run("rollback", "--url", url, state=state)

        assert result.exit_code == 0
        assert result.output.startswith(f"{good} is pinned, which was in force since")
        assert f"It is in force at {url}" in result.output
        assert proxy.ask("/policy")[1]["pinned"] is True
        assert proxy.ask("/ready")[1]["checks"]["policy"] == "pinned"
        assert "lumina_policy_pinned 1.0" in proxy.ask("/metrics")[1]
        assert f"policy {good} is pinned" in proxy.log
        proxy.policy.write_text(OTHER + "# once more\n")
        proxy.tell(signal.SIGHUP)
        await eventually(lambda: proxy.log.count("is in force") >= 3)
        assert digest(proxy) == good

    with proxy_process(tmp_path, OTHER, **settings) as proxy:
        assert digest(proxy) == good
        listed = run("history", state=state)
        released = run("release", state=state)
        await eventually(lambda: digest(proxy) == other)

        assert re.fullmatch(
            rf"{other}  since [-0-9 :]+ UTC, 1 file\n"
            rf"{good}  since [-0-9 :]+ UTC, 1 file  pinned\n",
            listed.output,
        )
        assert released.output == (
            f"{good} is released: proxies read what is on disk again\n"
        )
        assert "lumina_policy_pinned 0.0" in proxy.ask("/metrics")[1]


async def test_edit_comes_into_force_by_itself(tmp_path: Path) -> None:
    """A good one; a bad one is told and changes nothing, and is read no second time."""
    with proxy_process(tmp_path, POLICY_POLL=POLL) as proxy:
        before = digest(proxy)
        proxy.policy.write_text(OTHER)
        await eventually(lambda: digest(proxy) != before)
        good = digest(proxy)
        proxy.policy.write_text(OTHER + "roels: []\n")
        await eventually(lambda: proxy.ask("/policy")[1]["last_error"] is not None)
        refusals = proxy.log.count("the policy was refused")

        assert (digest(proxy), refusals) == (good, 1)
        proxy.policy.write_text(POLICY)
        await eventually(lambda: digest(proxy) == before)
        assert proxy.ask("/policy")[1]["last_error"] is None


@pytest.fixture(name="state")
def state_fixture(tmp_path: Path) -> Path:
    """A folder with three policies, the last of which needs a secret."""
    history = PolicyHistory(tmp_path)
    for now, text in enumerate((POLICY, OTHER, POLICY + "deployment: ${SCHOOL}\n")):
        files = [("lms.yaml", text)]
        history.keep(digest_of(files), files, float(now))
    return tmp_path


def test_rollback_goes_further_back_each_time(state: Path) -> None:
    """To the one before, and before that, until there is none."""
    names = [one.digest for one in PolicyHistory(state).all()]
    pinned = []
    for _ in range(2):
        run("rollback", state=state)
        pinned.append(PolicyHistory(state).pinned)
    result = run("rollback", state=state)

    assert pinned == names[1:]
    assert (result.exit_code, result.output.strip()) == (
        1,
        "There is no policy before the one in force",
    )


def test_rollback_to_a_named_policy(state: Path) -> None:
    """By the beginning of its digest; what cannot be checked here is said."""
    names = [one.digest for one in PolicyHistory(state).all()]
    unchecked = run("rollback", names[0][:6], state=state, SCHOOL="")
    unknown = run("rollback", "nothing", state=state)

    assert "Not checked here, where there is no SCHOOL" in unchecked.output
    assert PolicyHistory(state).pinned == names[0]
    assert "0 policies that are kept have a digest like nothing" in unknown.output


def test_policy_that_would_be_refused_is_not_pinned(state: Path) -> None:
    """For it would come into force nowhere."""
    files = [("lms.yaml", "version: 1\n")]
    PolicyHistory(state).keep(digest_of(files), files, 9.0)
    result = run("rollback", digest_of(files), state=state)

    assert result.exit_code == 1
    assert "lms.yaml:1:1: error: there are no backends" in result.output
    assert PolicyHistory(state).pinned is None


def test_history_for_scripts(state: Path, tmp_path: Path) -> None:
    """As JSON; and an empty folder is said to be one."""
    names = [one.digest for one in PolicyHistory(state).all()]
    document = json.loads(run("history", "--json", state=state).output)
    empty = run("history", state=tmp_path / "nowhere")
    release = run("release", state=state)

    assert [one["digest"] for one in document["policies"]] == names
    assert document["pinned"] is None
    assert empty.output == f"{tmp_path / 'nowhere'} keeps no policy\n"
    assert release.output == "No policy is pinned\n"
