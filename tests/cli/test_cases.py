"""``lumina-proxy test``, as a security team and their CI use it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.test import test as cases_command

ROOT = Path(__file__).parents[2]
POLICY = """\
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9000"]}}
issuers:
  lumina:
    issuer: lumina
    audience: lms
    algorithms: [HS256]
    secret: "${JWT_SECRET}"
    roles: $.role
roles: [student, teacher]
rules:
  - {id: home, match: GET /, allow: anyone}
  - {id: class, match: GET /class, allow: [student, teacher]}
"""
GOOD = """\
version: 1
cases:
  - {request: GET /, as: anyone, expect: {rule: home}}
  - {request: GET /class, as: [student, teacher], expect: {rule: class}}
"""


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy and cases, and an environment without secrets."""
    for name in ("POLICY", "JWT_SECRET", "JWT_SECRET_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lms.yaml").write_text(POLICY)
    (tmp_path / "lms.test.yaml").write_text(GOOD)
    return tmp_path


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cases_command, arguments)


def test_policy_of_the_lms_is_covered_whole() -> None:
    """The policy that is delivered decides what its cases say, for every pair."""
    result = run(str(ROOT / "policies"), "--cover", "100")

    assert result.exit_code == 0, result.output
    assert "(100 %)" in result.output


def test_uncovered_pairs_are_listed(folder: Path) -> None:
    """What no case shows is a line with the place of its rule, and no failure."""
    del folder
    result = run(".")

    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "lms.yaml:13:5: not covered: class as anyone",
        ".: 3 requests, 0 failed; 3 of 4 pairs of rule and role covered (75 %)",
    ]


def test_many_uncovered_pairs_are_cut_short(folder: Path) -> None:
    """Whoever begins with a large policy is not buried in lines."""
    rules = "".join(
        f"  - {{id: r{n}, match: GET /{n}, allow: anyone}}\n" for n in range(60)
    )
    (folder / "lms.yaml").write_text(POLICY + rules)
    lines = run(".").output.splitlines()

    assert len(lines) == 52
    assert lines[-2] == "and 11 more pairs that are not covered"


@pytest.mark.parametrize(("cover", "status"), [("75", 0), ("76", 1), ("100", 1)])
def test_coverage_gate(folder: Path, cover: str, status: int) -> None:
    """--cover fails a run that shows too little."""
    del folder
    result = run("lms.yaml", "--cover", cover)

    assert result.exit_code == status
    asked = f"(75 %), {cover} % are asked for\n" in result.output
    assert asked == bool(status)


def test_failure_says_expected_and_found(folder: Path) -> None:
    """A failed case is told with its place, its name and what the policy says."""
    (folder / "lms.test.yaml").write_text(
        "version: 1\n"
        "cases:\n"
        "  - name: nobody is let in\n"
        "    request: GET /class\n"
        "    as: [anyone, student]\n"
        "    expect: {reason: role-not-allowed}\n"
    )
    result = run(".")

    assert result.exit_code == 1
    assert result.output.splitlines()[:6] == [
        "lms.test.yaml:3:5: failed: GET /class as anyone (nobody is let in)",
        (
            "  outcome: expected refused with role-not-allowed, found refused with "
            "token-missing"
        ),
        "  the policy says: This rule needs a bearer token. (lms.yaml:13:5)",
        "lms.test.yaml:3:5: failed: GET /class as student (nobody is let in)",
        "  outcome: expected refused with role-not-allowed, found allowed",
        "  the policy says: class: GET /class (lms.yaml:13:5)",
    ]


def test_malformed_case_stops_all(folder: Path) -> None:
    """A mistake in a file of cases is a finding, and nothing else is claimed."""
    (folder / "more.test.yaml").write_text(GOOD.replace("expect", "expct", 1))
    result = run(".")

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "more.test.yaml:3:5: error: cases[0]: 'expect' is missing",
        (
            "more.test.yaml:3:34: error: cases[0].expct: unknown key 'expct' (did you "
            "mean 'expect'?)"
        ),
        ".: no case was run",
    ]


def test_cases_may_come_from_elsewhere(folder: Path) -> None:
    """--cases holds a candidate against the cases of another policy."""
    (folder / "new").mkdir()
    (folder / "new" / "next.yaml").write_text(POLICY.replace("student, t", "t"))
    result = run("new/next.yaml", "--cases", "lms.test.yaml")

    assert result.exit_code == 1
    assert "lms.test.yaml:4:32: error: cases[1].as[0]: unknown role 'student'" in (
        result.output
    )


def test_no_cases_is_a_failure(folder: Path) -> None:
    """A policy without cases is not one whose cases pass."""
    (folder / "lms.test.yaml").unlink()
    result = run(".")

    assert result.exit_code == 1
    assert "there are no test cases: write *.test.yaml" in result.output


def test_unreadable_file_of_cases_is_a_finding(folder: Path) -> None:
    """A file that does not exist is told like any other mistake."""
    del folder
    result = run(".", "--cases", "nothing.yaml")

    assert result.exit_code == 1
    assert "nothing.yaml:1:1: error: No such file or directory" in result.output


def test_json_has_it_all(folder: Path) -> None:
    """--json is one object with failures, findings and coverage."""
    (folder / "lms.test.yaml").write_text(GOOD.replace("rule: home", "limits: [x]"))
    broken = run(".", "--json")
    (folder / "lms.test.yaml").write_text(
        GOOD.replace("rule: home", "outcome: refused")
    )
    failed = run(".", "--json")

    assert (broken.exit_code, failed.exit_code) == (1, 1)
    assert [one["hint"] for one in json.loads(broken.output)["findings"]] == [""]
    document = json.loads(failed.output)
    assert document["failures"] == [
        {
            "file": "lms.test.yaml",
            "line": 3,
            "column": 5,
            "name": "",
            "request": "GET /",
            "asking": "as anyone",
            "mismatches": [
                {"what": "outcome", "expected": "refused", "actual": "allowed"}
            ],
            "why": "home: GET /",
        }
    ]
    assert (document["pairs"], document["covered"]) == (4, 2)
    assert document["uncovered"] == [
        {"rule": "home", "as": "anyone"},
        {"rule": "class", "as": "anyone"},
    ]


def test_wrong_usage_is_status_2(folder: Path) -> None:
    """A percentage above a hundred is wrong usage."""
    del folder

    assert run(".", "--cover", "101").exit_code == 2
