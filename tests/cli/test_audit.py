"""``lumina-proxy audit``, as a reviewer uses it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.audit import audit
from proxy.core.workbench.lints import Lint

LMS = Path(__file__).parents[2] / "policies" / "lms.yaml"


@pytest.fixture(name="file")
def file_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A policy that anyone may write to, in an environment without secrets."""
    for name in ("POLICY", "JWT_SECRET", "JWT_SECRET_FILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "p.yaml"
    file.write_text(
        'version: 1\nbackends: {lms: {servers: ["http://127.0.0.1:9000"]}}\n'
        "rules: [{id: talk, match: POST /talk, allow: anyone}]\n"
    )
    return file


def run(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(audit, [str(one) for one in arguments])


def test_policy_of_the_lms_has_answers(file: Path) -> None:
    """The policy that is delivered has no warning; what is left is a note."""
    del file
    result = run(LMS)

    assert result.exit_code == 0
    first, summary = result.output.splitlines()
    assert "note: issuers.lumina.algorithms: shared-secret: lumina signs" in first
    assert summary == f"{LMS}: 1 note"
    assert run(LMS, "--strict").exit_code == 1
    clean = run(LMS, "--strict", "--ignore", "shared-secret")
    assert (clean.exit_code, clean.output) == (0, f"{LMS}: nothing to ask\n")


def test_warning_is_status_1(file: Path) -> None:
    """A question that should be answered fails the audit, with its place and reason."""
    result = run(file)

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        (
            f"{file}:3:27: note: rules[0].match: large-anonymous-body: talk has no "
            f"max_body ({Lint.LARGE_ANONYMOUS_BODY.why})"
        ),
        (
            f"{file}:3:46: warning: rules[0].allow: unlimited-write: anyone may use "
            f"talk without a limit ({Lint.UNLIMITED_WRITE.why})"
        ),
        f"{file}: 1 warning, 1 note",
    ]
    assert run(file, "--ignore", "unlimited-write").exit_code == 0


def test_json_has_every_risk(file: Path) -> None:
    """--json is one object with lint, place and reason."""
    result = run(file, "--json", "--ignore", "large-anonymous-body")

    assert result.exit_code == 1
    assert json.loads(result.output) == {
        "ok": False,
        "risks": [
            {
                "lint": "unlimited-write",
                "severity": "warning",
                "file": str(file),
                "line": 3,
                "column": 46,
                "path": "rules[0].allow",
                "message": "anyone may use talk without a limit",
                "why": Lint.UNLIMITED_WRITE.why,
            }
        ],
    }


def test_lints_are_listed() -> None:
    """--list names every lint, and needs no policy."""
    result = run("--list", "nowhere")

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == [
        lint.slug for lint in Lint
    ]


def test_bad_policy_is_its_findings(file: Path) -> None:
    """A policy with errors has no risks, but findings."""
    file.write_text("version: 2\n")
    result = run(file)

    assert result.exit_code == 1
    assert "version '2' is not known" in result.output


def test_unknown_lint_is_wrong_usage(file: Path) -> None:
    """A lint that does not exist cannot be left out."""
    assert run(file, "--ignore", "everything").exit_code == 2
