"""``lumina-proxy replay`` on logs as they are."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.__main__ import main

ROOT = Path(__file__).parents[2]
LINE = {"ts": 1_772_452_800, "method": "GET", "path": "/api/users/7", "status": 200}


def run(lines: list[object], *arguments: str) -> Result:
    """Replay lines against the policy that is delivered."""
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines)
    policy = str(ROOT / "policies" / "lms.yaml")
    command = ["replay", "-", "--policy", policy, *arguments]
    return CliRunner().invoke(main, command, input=text)


def test_what_would_change_is_told() -> None:
    """What would be refused first, then what would be served; status 1."""
    result = run(
        [
            {**LINE, "role": "teacher"},
            {**LINE, "role": "student"},
            {**LINE, "role": "student", "path": "/api/users/8"},
            {**LINE, "path": "/", "reason": "no-rule"},
            "",
            "no JSON",
        ]
    )

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        (
            "- GET /api/users/{id} as student (rule user): 2 x served -> refused with "
            "role-not-allowed"
        ),
        "+ GET / (rule home): 1 x refused with no-rule -> served",
        "4 requests, 3 would come out otherwise",
        "1 lines left out: it is not a JSON object",
    ]


def test_nothing_that_changes_is_status_0() -> None:
    """And a log of nothing changes nothing."""
    assert run([{**LINE, "role": "teacher"}]).exit_code == 0
    assert run([]).output == "0 requests, 0 would come out otherwise\n"


@pytest.mark.parametrize(("flags", "expected"), [((), 2), (("--no-limits",), 0)])
def test_limits_are_those_of_the_proxy(flags: tuple[str, ...], expected: int) -> None:
    """Buckets fill and empty by the times of the log."""
    lines: list[object] = [
        {**LINE, "method": "POST", "path": "/api/auth/login", "client": "192.0.2.1"}
        | {"ts": 1_772_452_800 + n / 10}
        for n in range(7)
    ]
    lines.append({**lines[0], "ts": 1_772_452_900})  # type: ignore[dict-item]
    result = run(lines, "--json", *flags)
    document = json.loads(result.output)

    assert sum(one["count"] for one in document["changes"]) == expected
    assert document["requests"] == 8
    assert {one["now"] for one in document["changes"]} <= {"rate-limited"}


def test_policy_that_is_refused_is_wrong_usage(tmp_path: Path) -> None:
    """With its findings."""
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    command = ["replay", "-", "--policy", str(tmp_path / "bad.yaml")]
    result = CliRunner().invoke(main, command, input="")

    assert result.exit_code == 2
    assert "there are no backends" in result.output
