"""``lumina-proxy explain``, as somebody who was refused uses it."""

import json
import time
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner, Result

from proxy.cli.explain import explain

LMS = Path(__file__).parents[2] / "policies" / "lms.yaml"
SECRET = "c0ffee" * 12


def run(*arguments: str, **environment: str) -> Result:
    """Run the command on the policy that is delivered."""
    env = {"JWT_SECRET": "", "POLICY": str(LMS), **environment}
    return CliRunner().invoke(explain, arguments, env=env)


def token(**claims: object) -> str:
    """Return a token that the policy trusts when JWT_SECRET is set."""
    usual = {"iss": "lumina", "aud": "lms", "sub": "u1", "exp": time.time() + 60}
    return jwt.encode({**usual, **claims}, SECRET, algorithm="HS256")


def test_allowed_request_is_told_stage_by_stage() -> None:
    """Rule, verdicts, limits, fields and backend are a line each; the status is 0."""
    result = run("GET", "/api/users/7", "--role", "admin")

    line = next(
        number
        for number, text in enumerate(LMS.read_text("utf-8").splitlines(), start=1)
        if text == "  - id: user"
    )
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "GET /api/users/7 as admin: allowed",
        "  match         ok           user: GET,PUT,PATCH /api/users/{id}",
        "                             id = 7",
        "  authenticate  ok           taken for granted: a token with the role admin",
        "  authorise     ok           acts as admin; the rule allows admin and teacher",
        "  limits        ok           api: unlimited",
        "  encrypt       ok           $.email is encrypted as user.email",
        "                             $.name is encrypted as user.name",
        "  decrypt       ok           $.email is user.email, decrypted",
        "                             $.name is user.name, decrypted",
        "  backend                    lms",
        f"The rule user is in {LMS}:{line}:5.",
        "Not user-delete (DELETE /api/users/{id}): it is for DELETE.",
    ]


def test_upgrade_is_told_with_its_end() -> None:
    """What a connection may become, and until when, is part of the explanation."""
    shown = run("GET", "/api/rooms/7/ws", "--role", "student")
    told = run("GET", "/api/rooms/7/ws", "--role", "student", "--json")

    assert (
        "  may become                 websocket, until its token expires or nothing is "
        "said for 1h\n"
    ) in shown.output
    assert json.loads(told.output)["may_become"] == ["websocket"]


def test_refusal_says_why_and_what_to_do() -> None:
    """A refused request exits 1, with status, reason, its meaning and the way on."""
    result = run("POST", "/api/users", "--role", "student")

    assert result.exit_code == 1
    first, *_, last = result.output.splitlines()
    assert first == "POST /api/users as student: refused, 403 role-not-allowed"
    assert "The role of this token may not do this." in result.output
    assert last == (
        "What to do: Use a token with the role admin or teacher, or add a role to the "
        "rule's allow."
    )


def test_nobody_is_the_usual() -> None:
    """Without a role or a token, it is asked without one."""
    plain, anyone = run("GET", "/api/me"), run("GET", "/api/me", "--anyone")

    assert plain.output == anyone.output
    assert "as anyone: refused, 401 token-missing" in plain.output


def test_token_is_verified_and_never_printed() -> None:
    """A good token tells its subject and issuer; no part of it is in the output."""
    given = token(role="student")
    found = run("GET", "/api/me", "--token", f"Bearer {given}", JWT_SECRET=SECRET)

    assert found.exit_code == 0
    assert "the subject 'u1', by the issuer lumina" in found.output
    assert not any(part in found.output for part in given.split("."))


def test_token_may_come_from_standard_input() -> None:
    """A dash reads the token, so that it is in no list of processes."""
    found = CliRunner().invoke(
        explain,
        ["GET", "/api/me", "--token", "-"],
        input=token(role="student", exp=1) + "\n",
        env={"JWT_SECRET": SECRET, "POLICY": str(LMS)},
    )

    assert found.exit_code == 1
    assert "with the token: refused, 401 token-expired" in found.output
    assert "What to do: Get a new token." in found.output


def test_token_needs_the_secret() -> None:
    """A token cannot be verified with a made-up secret, so a missing one is said."""
    found = run("GET", "/api/me", "--token", token(role="student"))

    assert found.exit_code == 1
    assert "the variable JWT_SECRET is not set" in found.output


def test_json_has_all_of_it() -> None:
    """--json is one object with the same answers for scripts."""
    found = json.loads(
        run("PATCH", "/api/users/7", "--role", "teacher", "--json").output
    )

    assert found["allowed"] is True
    assert (found["rule"], found["params"]) == ("user", {"id": "7"})
    assert found["limits"] == [
        {"id": "api", "per": "subject", "rate": "1000/hour", "burst": 1000}
    ]
    assert found["request_fields"] == [
        {"path": "$.email", "field": "user.email"},
        {"path": "$.name", "field": "user.name"},
    ]
    assert found["response_fields"] == [
        {"path": "$.email", "field": "user.email", "view": "plain"},
        {"path": "$.name", "field": "user.name", "view": "plain"},
    ]
    assert [stage["verdict"] for stage in found["stages"]] == ["ok"] * 6
    assert [rival["rule"] for rival in found["rivals"]] == ["user-delete"]


def test_json_of_a_refusal_has_its_reason() -> None:
    """A script learns status, reason, meaning and advice."""
    found = json.loads(run("GET", "/nothing", "--json").output)

    assert (found["allowed"], found["status"], found["reason"]) == (
        False,
        404,
        "no-rule",
    )
    assert found["meaning"] == "No rule of the policy matches."
    assert found["advice"]
    assert (found["rule"], found["backend"], found["limits"]) == (None, None, [])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["GET", "/", "--role", "techer"], "did you mean 'teacher'?"),
        (["GET", "/", "--role", "admin", "--anyone"], "exclude each other"),
        (["get", "/"], "methods are written in upper case: GET"),
        (["GET"], "Missing argument 'PATH'"),
    ],
    ids=["unknown-role", "two-at-once", "lower-case", "no-path"],
)
def test_wrong_usage_is_status_2(arguments: list[str], expected: str) -> None:
    """Wrong usage is told from a refusal by its exit status."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert expected in result.output


def test_bad_policy_is_its_findings(tmp_path: Path) -> None:
    """A policy with errors explains nothing but them."""
    file = tmp_path / "bad.yaml"
    file.write_text("version: 2\n")
    result = run("GET", "/", "--policy", str(file))

    assert result.exit_code == 1
    assert "version '2' is not known" in result.output


GUARDS = Path(__file__).parents[1] / "policies" / "good" / "guards.yaml"


def test_what_is_asked_beside_a_role_is_told() -> None:
    """Taken for granted, until there is a token, an address or a field."""
    granted = run("GET", "/users/a/notes/1", "--role", "teacher", POLICY=str(GUARDS))
    decided = run("GET", "/", "--client", "10.9.0.1", POLICY=str(GUARDS))
    fields = run("GET", "/", "--header", "X-Legacy=1", POLICY=str(GUARDS))
    shadow = run("POST", "/grades", "--role", "student", POLICY=str(GUARDS))

    assert granted.output.splitlines()[:10] == [
        "GET /users/a/notes/1 as teacher: allowed",
        "  match         ok           own: GET /users/{id}/notes/{note}",
        "                             id = a",
        "                             note = 1",
        (
            "  address       ok           allowed: 10.0.0.0/8, 192.0.2.1/32 and "
            "2001:db8::/32"
        ),
        "                             denied: 10.6.0.1/32 and 10.9.0.0/16",
        "                             taken for granted: an address that may",
        "  authenticate  ok           taken for granted: a token with the role teacher",
        (
            "  authorise     ok           acts as teacher; the rule allows head, "
            "student and teacher"
        ),
        (
            "                             taken for granted: the token has the scopes "
            "notes.read and urn:lms:notes"
        ),
    ]
    assert (decided.exit_code, fields.exit_code) == (1, 1)
    assert "refused, 403 address-not-allowed" in decided.output
    assert "What to do: Ask from another network" in decided.output
    assert "refused, 403 condition-not-met" in fields.output
    assert "asks: !('x-legacy' in headers)" in fields.output
    assert "(in shadow mode: what is decided is noted, and not enforced)" in (
        shadow.output
    )


def test_field_is_a_name_and_a_value() -> None:
    """What is not is wrong usage."""
    result = run("GET", "/", "--header", "X-Legacy", POLICY=str(GUARDS))

    assert result.exit_code == 2
    assert "'X-Legacy' is not NAME=VALUE" in result.output


def test_another_port_is_asked_at(tmp_path: Path) -> None:
    """There other rules decide; one that the policy does not have is no port."""
    file = tmp_path / "policy.yaml"
    file.write_text(
        "version: 1\n"
        'listeners: {egress: {listen: "127.0.0.1:8081"}}\n'
        'backends: {lms: {servers: ["http://127.0.0.1:9000"]}}\n'
        "rules:\n"
        "  - {id: home, match: GET /, allow: anyone}\n"
        "  - {id: out, listener: egress, match: GET /v1, allow: anyone}\n"
    )
    here = run("GET", "/v1", POLICY=str(file))
    there = run("GET", "/v1", "--listener", "egress", POLICY=str(file))
    nowhere = run("GET", "/v1", "--listener", "egres", POLICY=str(file))

    assert "refused, 404 no-rule" in here.output
    assert "The rule out is in" in there.output
    assert there.exit_code == 0
    assert nowhere.exit_code == 2
    assert "did you mean 'egress'?" in nowhere.output
