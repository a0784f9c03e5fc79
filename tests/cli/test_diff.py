"""``lumina-proxy diff``, as a reviewer of a change uses it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.diff import diff
from proxy.core.workbench import representatives

LMS = Path(__file__).parents[2] / "policies" / "lms.yaml"


@pytest.fixture(name="new")
def new_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the policy that is delivered, in an environment without secrets."""
    for name in ("JWT_SECRET", "JWT_SECRET_FILE", "RATE_LIMIT_API"):
        monkeypatch.delenv(name, raising=False)
    copy = tmp_path / "new.yaml"
    copy.write_text(LMS.read_text("utf-8"))
    return copy


def edit(file: Path, before: str, after: str) -> None:
    """Replace a text of a file, which has it once or more."""
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after))


def run(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(diff, [str(one) for one in arguments])


def test_same_policy_is_status_0(new: Path) -> None:
    """Comments and order are no difference."""
    new.write_text("# a comment\n" + new.read_text("utf-8"))
    result = run(LMS, new)

    assert (result.exit_code, result.output) == (0, "nothing differs in meaning\n")


def test_name_alone_is_status_0(new: Path) -> None:
    """A rule that is only called otherwise is told, and no difference."""
    edit(new, "id: user-list", "id: people")
    result = run(LMS, new)

    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "names",
        "  = the rule user-list is called people",
        "nothing differs in meaning",
    ]


def test_differences_are_status_1_by_what_they_are_about(new: Path) -> None:
    """Each area has its changes, those that open first; the last line counts them."""
    edit(new, "allow: [admin]", "allow: [teacher, admin]")
    edit(new, "teacher: 1000/hour", "teacher: 500/hour")
    result = run(LMS, new)

    assert result.exit_code == 1
    access, gains, limits, tightened, counts = result.output.splitlines()
    assert (access, limits, counts) == ("access", "limits", "1 open, 1 close")
    assert gains == "  + teacher gains: DELETE /api/users/{id}"
    assert tightened.startswith(
        "  - api for teacher is tightened: 1000/hour per subject -> 500/hour per "
        "subject: GET /api/users, "
    )
    assert tightened.endswith(", and 14 more")


def test_json_has_every_request(new: Path) -> None:
    """--json shortens nothing, and names the rules that decided and decide."""
    edit(new, "teacher: 1000/hour", "teacher: unlimited")
    result = run(LMS, new, "--json")

    assert result.exit_code == 1
    document = json.loads(result.output)
    [change] = document["changes"]
    assert (document["same"], document["notes"]) == (False, [])
    assert (change["area"], change["direction"]) == ("limits", "opens")
    assert len(change["requests"]) == 20
    assert change["requests"][0] == {
        "methods": "GET",
        "path": "/api/users",
        "old_rule": "user-list",
        "new_rule": "user-list",
    }


def test_policy_with_errors_is_status_2(new: Path) -> None:
    """What cannot be compared is trouble, as of diff, and its findings are told."""
    edit(new, "roles: [student", "roels: [student")
    result = run(LMS, new)

    assert result.exit_code == 2
    assert "unknown key 'roels' (did you mean 'roles'?)" in result.output


def test_what_nobody_could_review_is_status_2(
    new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules that overlap in too many ways are trouble, and no endless wait."""
    monkeypatch.setattr(representatives, "MAX_STATES", 3)
    result = run(LMS, new)

    assert result.exit_code == 2
    assert "overlap in too many ways" in result.output


def test_wrong_usage_is_status_2() -> None:
    """One policy is not enough."""
    assert run(LMS).exit_code == 2
