"""``lumina-proxy why`` against a running proxy, and against its log."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.__main__ import main
from tests.proxy_process import POLICY, proxy_process
from tests.wire import Client

TOKEN = "the-token-of-the-metrics-port"
LINE = {
    "ts": 1_772_452_800,
    "request_id": "a-1",
    "method": "GET",
    "path": "/about",
    "status": 404,
    "reason": "no-rule",
}


def run(*arguments: str, text: str | None = None, **environment: str) -> Result:
    """Run the command."""
    env = {"METRICS_TOKEN": "", "POLICY": "nowhere", **environment}
    return CliRunner().invoke(main, ["why", *arguments], env=env, input=text)


async def test_refusal_is_explained_by_its_id(tmp_path: Path) -> None:
    """Rule, stage, reason, policy and advice, from the proxy that refused."""
    shadow = POLICY + "  - {id: page, match: GET /page, allow: anyone, mode: shadow,"
    shadow += " addresses: {deny: [127.0.0.0/8]}}\n"
    with proxy_process(tmp_path, shadow, METRICS_TOKEN=TOKEN) as proxy:
        client = await Client.connect(proxy.data)
        refused = await client.request(b"GET /about HTTP/1.1\r\nHost: a\r\n\r\n")
        noted = await client.request(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.close()
        options = {
            "METRICS_URL": f"http://127.0.0.1:{proxy.metrics}",
            "METRICS_TOKEN": TOKEN,
            "POLICY": str(proxy.policy),
        }
        digest = proxy.ask("/policy", TOKEN)[1]["digest"]
        told = run(json.loads(refused.body)["request_id"], **options)
        shadowed = run(noted["X-Request-ID"], "--json", **options)
        unknown = run("nobody", **options)
        closed = proxy.ask("/refusals/nobody")[0]

    assert told.exit_code == 0
    lines = told.output.splitlines()
    assert lines[0] == "GET /about: refused 404 no-rule"
    assert lines[2:] == [
        "  stage     match",
        "  reason    No rule of the policy matches.",
        "  rule      none",
        f"  policy    {digest}",
        "What to do: If this should be served, write a rule for it.",
    ]
    document = json.loads(shadowed.output)
    # The backend of this test is nobody: that is a refusal of its own.
    assert document["reason"] == "upstream-refused"
    assert document["rule"] == "page"
    assert document["place"].startswith(f"{proxy.policy}:9:")
    assert (unknown.exit_code, closed) == (1, 401)
    assert "No refusal of this id is remembered" in unknown.output


def test_refusal_is_found_in_a_log() -> None:
    """The last line of the request, whatever else is in the file."""
    later = {**LINE, "reason": "", "shadow": "not-owner", "rule": "about", "role": "s"}
    noise = [
        "",
        "no JSON about a-1",
        '{"request_id": "a-1"}',
        '{"ts": 1, "path": "a-1"}',
    ]
    text = "\n".join([*noise, json.dumps(LINE), json.dumps(later)])
    result = run("a-1", "--log", "-", text=text)

    assert result.output.splitlines() == [
        "GET /about as s: served, and in shadow mode it would have been 403 not-owner",
        "  when      2026-03-02 12:00:00 UTC",
        "  stage     authorise",
        "  reason    This belongs to somebody else.",
        "  rule      about",
        "  policy    none",
    ]


def test_policy_of_another_day_is_told(tmp_path: Path) -> None:
    """The rule is shown where it is now, and said not to be the one that decided."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    line = {**LINE, "rule": "home", "policy": "0" * 16, "reason": "rate-limited"}
    line |= {"detail": "Used up: api."}
    result = run("a-1", "--log", "-", text=json.dumps(line), POLICY=str(file))

    assert f"  rule      home, in {file}:7:5" in result.output
    assert "            Used up: api." in result.output
    assert f"  policy    {'0' * 16} (the files here are another one: " in result.output
    assert "What to do: Wait as long as Retry-After says." in result.output


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({**LINE, "request_id": "b"}, "No line of this log is about a-1"),
        ({**LINE, "reason": "", "status": 200}, "a-1 was not refused: it was answered"),
    ],
    ids=["other", "served"],
)
def test_what_is_not_there_is_told(line: dict[str, object], expected: str) -> None:
    """With status 1."""
    result = run("a-1", "--log", "-", text=json.dumps(line))

    assert result.exit_code == 1
    assert expected in result.output
