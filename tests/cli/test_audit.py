"""``lumina-proxy audit``, as a reviewer uses it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.audit import audit
from proxy.core.audit_chain import AuditKey, Head, head_of, line_of
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


# The audit log.

KEYS = {"AUDIT_KEY": "A" * 43}


@pytest.fixture(name="log")
def log_fixture(tmp_path: Path) -> Path:
    """An audit log of four lines."""
    path = tmp_path / "audit.jsonl"
    head, lines = Head(), []
    for number in range(4):
        jti = f"t{number}"
        line, head = line_of(
            AuditKey(bytes(32)), head, "t", "token.revoked", {"jti": jti}
        )
        lines.append(line)
    path.write_bytes(b"".join(lines))
    return path


def verify(*arguments: object, **variables: str) -> Result:
    """Verify a log."""
    words = ["verify", *map(str, arguments)]
    return CliRunner().invoke(audit, words, env={**KEYS, **variables})


def test_untouched_log_is_status_0(log: Path) -> None:
    """The verdict, and a checkpoint for the next time."""
    result = verify(log)
    head = head_of(log.read_bytes().splitlines(keepends=True)[-1])

    assert result.exit_code == 0
    assert result.output == f"4 lines: untouched\ncheckpoint: {head}\n"


def test_touched_log_is_status_1(log: Path) -> None:
    """Each flaw has its line."""
    log.write_bytes(log.read_bytes().replace(b"t2", b"t9"))
    result = verify(log)

    assert result.exit_code == 1
    assert result.output.splitlines()[:2] == [
        "line 3: line 3 was changed, or the one before it replaced",
        "4 lines: TOUCHED",
    ]


def test_log_that_was_cut_fails_its_checkpoint(log: Path) -> None:
    """What an earlier verify printed is met, or it is told."""
    lines = log.read_bytes().splitlines(keepends=True)
    kept = head_of(lines[3])
    log.write_bytes(b"".join(lines[:2]))

    assert verify(log).exit_code == 0
    cut = verify(log, "--checkpoint", kept)
    assert cut.exit_code == 1
    assert "lines up to 4, of a checkpoint, are missing at the end" in cut.output


def test_parts_are_verified_together(log: Path, tmp_path: Path) -> None:
    """In the order in which they are named."""
    lines = log.read_bytes().splitlines(keepends=True)
    old, new = tmp_path / "1", tmp_path / "2"
    old.write_bytes(b"".join(lines[:2]))
    new.write_bytes(b"".join(lines[2:]))

    assert verify(old, new).exit_code == 0
    assert verify(new, old).exit_code == 1


def test_verdict_is_json_for_scripts(log: Path) -> None:
    """The same as one object."""
    document = json.loads(verify(log, "--json").output)

    assert (document["intact"], document["lines"], document["flaws"]) == (True, 4, [])
    assert document["events"] == {"token.revoked": 4}
    assert Head.parse(document["checkpoint"]).seq == 4


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["--checkpoint", "17"], {}, "a checkpoint is seq:mac"),
        ([], {"AUDIT_KEY": "x"}, "AUDIT_KEY is not 32 bytes"),
        ([], {"AUDIT_KEY": "", "ENCRYPTION_KEY": "x"}, "ENCRYPTION_KEY: "),
    ],
    ids=["checkpoint", "audit-key", "encryption-key"],
)
def test_wrong_usage_of_verify_is_status_2(
    log: Path, arguments: list[str], variables: dict[str, str], says: str
) -> None:
    """What is wrong is said, and no key is shown."""
    result = verify(log, *arguments, **variables)

    assert result.exit_code == 2
    assert says in result.output
