"""``lumina-proxy check``, as a security team and their CI use it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.check import check

GOOD = """\
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9000"]}}
limits: {home: {rate: "${RATE:-5/minute}", per: client}}
rules:
  - {id: home, match: GET /, allow: anyone, limits: [home]}
"""
OPEN = GOOD + "  - {id: open, match: POST /, allow: anyone}\n"
BAD = GOOD + "roels: []\n"
SECRET = "${JWT_SECRET}"
WITH_SECRET = f"""\
{GOOD}  - {{id: me, match: GET /me, allow: [student]}}
roles: [student]
issuers:
  lumina:
    issuer: lumina
    audience: lms
    algorithms: [HS256]
    secret: "{SECRET}"
    roles: $.role
"""


@pytest.fixture(name="file")
def file_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to write a policy to, and an environment that knows nothing of it."""
    for name in ("POLICY", "JWT_SECRET", "JWT_SECRET_FILE", "RATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "lms.yaml"


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(check, arguments, env=env)


def test_good_policy_is_one_line(file: Path) -> None:
    """A policy without findings says what it is, and exits 0."""
    file.write_text(GOOD)
    result = run("lms.yaml")

    assert result.exit_code == 0
    digest = json.loads(run("lms.yaml", "--json").output)["digest"]
    assert result.output == f"lms.yaml: 1 rule, 1 limit, digest {digest}: ok\n"


def test_error_is_a_line_with_its_place(file: Path) -> None:
    """Editors can jump to a finding; the exit status is 1."""
    file.write_text(BAD)
    result = run("lms.yaml")

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "lms.yaml:6:1: error: roels: unknown key 'roels' (did you mean 'roles'?)",
        "lms.yaml: 1 error",
    ]


def test_warning_is_no_failure_unless_strict(file: Path) -> None:
    """Warnings are printed and let pass; --strict does not let them."""
    file.write_text(OPEN)
    usual, strict = run("lms.yaml"), run("lms.yaml", "--strict")

    assert (usual.exit_code, strict.exit_code) == (0, 1)
    assert usual.output.endswith(": ok, 1 warning\n")
    assert "lms.yaml:6:38: warning: rules[1].allow: anyone may write" in usual.output


def test_json_has_every_finding(file: Path) -> None:
    """--json prints one object with every part of every finding."""
    file.write_text(BAD)
    result = run("lms.yaml", "--json")

    assert result.exit_code == 1
    assert json.loads(result.output) == {
        "ok": False,
        "digest": None,
        "findings": [
            {
                "file": "lms.yaml",
                "line": 6,
                "column": 1,
                "path": "roels",
                "message": "unknown key 'roels'",
                "hint": "did you mean 'roles'?",
                "severity": "error",
            }
        ],
    }


def test_path_is_taken_from_policy_or_is_the_usual_folder(file: Path) -> None:
    """Without an argument, $POLICY is checked, else ./policies."""
    file.write_text(GOOD)

    assert run(env={"POLICY": "lms.yaml"}).output.startswith("lms.yaml: ")
    assert run().output.splitlines()[0] == (
        "policies:1:1: error: No such file or directory"
    )


def test_unknown_option_is_wrong_usage(file: Path) -> None:
    """Wrong usage is told from findings by its exit status."""
    assert run(str(file), "--fast").exit_code == 2


def test_unset_secret_is_a_finding_like_others(file: Path) -> None:
    """A machine without secrets still hears of everything else."""
    file.write_text(WITH_SECRET + "roels: []\n")
    output = run("lms.yaml").output

    assert "the variable JWT_SECRET is not set" in output
    assert "unknown key 'roels'" in output


def test_assumed_secrets_let_the_rest_be_checked(file: Path) -> None:
    """--assume-secrets makes up what is not set, and nothing else."""
    file.write_text(WITH_SECRET)
    result = run("lms.yaml", "--assume-secrets")

    assert (result.exit_code, result.output.count("\n")) == (0, 1)
    bad = run("lms.yaml", "--assume-secrets", env={"RATE": "often"})
    assert "'${RATE:-5/minute}' is not a rate" in bad.output


def test_secret_is_taken_from_its_file(file: Path) -> None:
    """NAME_FILE names the file that holds NAME, when NAME is not set."""
    file.write_text(WITH_SECRET)
    secret = file.with_name("secret")
    secret.write_text("c0ffee" * 12 + "\n")

    assert run("lms.yaml", env={"JWT_SECRET_FILE": str(secret)}).exit_code == 0


def test_help_teaches() -> None:
    """The help says what PATH is, what a finding looks like, and the exit status."""
    text = run("--help").output

    for word in ("file:line:column", "$POLICY", "Exit status", "HMAC"):
        assert word in text
